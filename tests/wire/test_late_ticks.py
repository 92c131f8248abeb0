"""What only shows when the ticks are near their wrap, or when something is counted twice."""

from __future__ import annotations

import pytest
from tests.wire.pair import ADDRESS, KEY, UP, Pair, frames_of

from sos_wire.handshake import who
from sos_wire.lanes import WINDOW
from sos_wire.link import BACKLOG, LIVE
from sos_wire.pole_end import PoleLink
from sos_wire.ticks import TICKS_MASK, ticks_add


@pytest.mark.parametrize("now", [0, 1 << 28, 3 << 28, TICKS_MASK])
def test_a_pole_answers_who_asks_at_any_tick(now: int) -> None:
    pole = PoleLink(ADDRESS, KEY, bytes(32))
    pole.begin(1, 1)
    pole.receive(frames_of(who(ADDRESS))[0], now)
    assert pole._call_at == now and pole.poll(now, 5) is not None


@pytest.mark.parametrize("start", [0, TICKS_MASK - 2_000])
def test_each_repeat_is_counted(start: int) -> None:
    pair = Pair()
    pair.now = start
    while not (pair.pole.up and pair.agent.up):
        pair.turn()
        pair.now &= TICKS_MASK
    pair.deaf.add(pair.agent)
    before, said = pair.pole.counts["resent"], len(pair.sent[UP])
    pair.pole.send(LIVE, b"help")
    for _ in range(450):
        pair.now = ticks_add(pair.now, 1) - 1
        pair.turn()
    again = [frame for wire in pair.sent[UP][said:] for frame in frames_of(wire) if frame.body[0] & 2]
    assert pair.pole.counts["resent"] - before == len(again) - 1 >= 3


def test_a_backlog_that_was_acknowledged_late_has_nothing_to_wait_for() -> None:
    """A shared pair was noisy for a while. The pole meant to wait before it said its message again, but the agent had
    it: the pole had no rest from then on, and six days later its next message waited for six days."""
    pair = Pair().open()
    pair.pole.counts["address"] = 1  # it hears what is said to others
    pair.pole.send(BACKLOG, b"tamper")
    for _ in range(2_000):
        pair.turn()
        if pair.agent.take():
            break
    pair.now += 1_600
    pair.run(1_300)
    assert pair.pole.room(BACKLOG) == WINDOW
    rested = 0
    for _ in range(500):
        pair.turn()
        rested += pair.pole.wake(pair.now) > 0
    assert rested > 400
