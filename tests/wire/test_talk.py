"""Within a session: windows, retries, order, status, and frames that are sealed and yet wrong."""

from __future__ import annotations

import itertools
import struct

import pytest
from tests.wire.pair import ADDRESS, DOWN, UP, Pair, frames_of

from sos_wire.frame import TALK_DOWN, TALK_UP, build, wrap
from sos_wire.link import BACKLOG, LIVE
from sos_wire.messages import Service
from sos_wire.pole_end import PoleLink
from sos_wire.seal import Seal
from sos_wire.talk import MAX_PAYLOAD, MAX_STATUS


def messages_in(wires: list[bytes]) -> list[bytes]:
    """Lane, number and payload of each message frame."""
    return [frame.body[5:] for wire in wires for frame in frames_of(wire) if frame.body and frame.body[0] & 2]


def neighbours(pair: Pair) -> Pair:
    """Let the pole hear that it is not alone on its pair."""
    pair.hear(pair.pole, build(TALK_DOWN, ADDRESS + 1, 1, 1, 1, bytes(5), Seal(bytes(32))))
    return pair


def sealed(pair: Pair, body: bytes, ahead: int = 1) -> bytes:
    """A talk from the pole with any body, genuinely sealed."""
    talk = pair.pole._talk
    assert talk
    talk.sequence += ahead
    return build(TALK_UP, ADDRESS, talk.id, talk.sequence, pair.now, body, talk._ours)


def test_a_retry_is_the_same_message_in_a_fresh_frame() -> None:
    pair = Pair().open()
    pair.deaf.add(pair.agent)
    said = len(pair.sent[UP])
    pair.pole.send(LIVE, b"help")
    pair.run(3000)
    wires = [wire for wire in pair.sent[UP][said:] if messages_in([wire])]
    assert len(wires) >= 4 and set(messages_in(wires)) == {b"\0\0\0help"}
    frames = [frames_of(wire)[0] for wire in wires]
    assert len({frame.sequence for frame in frames}) == len({frame.uptime_ms for frame in frames}) == len(frames)
    gaps = [b.uptime_ms - a.uptime_ms for a, b in itertools.pairwise(frames)]
    assert max(gaps) <= 1000, "while a press waits it is said again within a second"
    pair.deaf.clear()
    pair.run(1100)
    assert [payload for _lane, payload, _uptime in pair.agent.take()] == [b"help"]


def test_the_window_is_bounded_and_empties() -> None:
    pair = Pair().open()
    for lane in (LIVE, BACKLOG):
        assert [pair.pole.send(lane, bytes([n])) for n in range(6)] == [True] * 4 + [False] * 2
        assert pair.pole.room(lane) == 0
    pair.run(1000)
    assert pair.pole.room(LIVE) == pair.pole.room(BACKLOG) == 4
    assert [(lane, payload) for lane, payload, _ in pair.agent.take() if lane == LIVE] == [
        (LIVE, bytes([n])) for n in range(4)
    ]


def test_live_overtakes_the_backlog() -> None:
    pair = neighbours(Pair().open())
    for n in range(4):
        pair.pole.send(BACKLOG, bytes([n]))
    pair.run(2)
    pair.pole.send(LIVE, b"new")
    pair.run(2)
    assert [taken[:2] for taken in pair.agent.take()] == [(LIVE, b"new")]
    pair.run(950)
    assert [payload for _lane, payload, _uptime in pair.agent.take()] == [bytes([n]) for n in range(4)]


def test_a_backlog_is_held_up_once_and_then_worked_off() -> None:
    """It begins late, so that presses of all poles on a pair go first, and then goes on without a pause."""
    pair = neighbours(Pair().open())
    began = pair.now
    sent = taken = 0
    while taken < 64:
        if pair.pole.room(BACKLOG) == 4:  # as slow as an owner can be: a window at a time
            sent += sum(pair.pole.send(BACKLOG, bytes([sent + n])) for n in range(4))
        pair.turn()
        taken += len(pair.agent.take())
    assert 500 <= pair.now - began <= 1500


def test_without_a_session_nothing_is_taken() -> None:
    pair = Pair()
    assert not pair.pole.send(LIVE, b"x") and pair.pole.room(LIVE) == 0 and pair.agent.room(LIVE) == 0


def test_what_nobody_takes_is_not_acknowledged() -> None:
    """An owner that stops taking stops the peer; memory stays bounded and nothing is lost."""
    pair = Pair().open()
    sent = 0
    for _ in range(3000):
        sent += pair.pole.send(BACKLOG, bytes([sent]))
        pair.turn()
    assert sent <= 8 + 4 and pair.agent.counts["full"] > 0 and pair.agent._talk
    assert len(pair.agent._talk.inbox) == 8
    got: list[bytes] = []
    for _ in range(2000):
        pair.turn()
        got += [payload for _lane, payload, _uptime in pair.agent.take()]
    assert got == [bytes([n]) for n in range(sent)]


def test_a_new_session_empties_both_windows() -> None:
    pair = Pair().open()
    pair.deaf = {pair.agent, pair.pole}
    pair.pole.send(LIVE, b"old")
    pair.agent.send(LIVE, b"old")
    pair.run(9000)
    assert not pair.pole.up and not pair.agent.up and pair.pole.room(LIVE) == 0
    pair.deaf.clear()
    pair.open()
    pair.run(2000)
    assert pair.agent.take() == () and pair.pole.take() == () and pair.pole.room(LIVE) == 4


def test_an_urgent_status_is_told_at_once_and_again_until_answered() -> None:
    pair = Pair().open()
    lost = Service("station_lost").pack()
    pair.deaf.add(pair.pole)
    said = len(pair.sent[DOWN])
    pair.agent.set_status(lost, True)
    pair.run(1000)
    assert len(pair.sent[DOWN]) - said >= 3
    pair.deaf.clear()
    pair.run(300)
    assert pair.pole.peer_status == lost
    said = len(pair.sent[DOWN])
    pair.run(1500)
    assert len(pair.sent[DOWN]) - said <= 2, "answered, so it is not said again but in answers to beats"


def test_a_poles_news_is_told_within_a_second_and_once() -> None:
    """A press changes the lamp three times; on a shared pair nobody wants to hear of it before the other presses."""
    pair = neighbours(Pair().open())
    pair.run(300)
    said = len(pair.sent[UP])
    for look in (b"\4one", b"\4two", b"\4three"):
        pair.pole.set_status(look, True)
        pair.run(100)
    pair.run(800)
    assert pair.agent.peer_status == b"\4three" and len(pair.sent[UP]) - said == 1


def test_news_that_does_not_end_keeps_no_beat_from_being_told() -> None:
    """The lamp changes again and again; the agent is asked all the same before the link could count as lost."""
    pair = neighbours(Pair().open())
    for turn in range(60):
        pair.pole.set_status(b"\4" + bytes([turn]), True)
        pair.run(500)
        assert pair.now - pair.pole.heard_at < 4000
    assert pair.pole.losses == 0


def test_an_alone_pole_tells_its_news_at_once() -> None:
    pair = Pair().open()
    pair.pole.set_status(b"\4news", True)
    pair.pole.send(BACKLOG, b"notice")
    pair.run(3)
    assert pair.agent.peer_status == b"\4news" and len(pair.agent.take()) == 1


def test_being_acknowledged_proves_that_the_agent_hears_and_being_spoken_to_does_not() -> None:
    pair = Pair().open()
    pair.pole.set_status(b"", False)
    heard_at = pair.pole.heard_at
    pair.pole.send(LIVE, b"help")
    pair.run(30)
    assert pair.pole.heard_at > heard_at
    pair.deaf.add(pair.agent)
    heard_at = pair.pole.heard_at
    for _ in range(40):
        pair.agent.send(LIVE, b"said again and again")
        pair.run(50)
    assert pair.pole.heard_at == heard_at and pair.pole.counts["replay"] == 0


def test_beats_come_each_two_seconds_with_jitter() -> None:
    pair = Pair().open()
    pair.pole.set_status(b"\4status", False)
    said = len(pair.sent[UP])
    pair.run(60_000)
    at = [frames_of(wire)[0].uptime_ms for wire in pair.sent[UP][said:]]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) >= 26 and all(1750 <= gap <= 2260 for gap in gaps) and len(set(gaps)) > 15
    assert pair.agent.peer_status == b"\4status" and pair.pole.counts == dict.fromkeys(pair.pole.counts, 0)


BODIES = {
    "nothing": (b"", "malformed"),
    "cut short": (bytes(4), "malformed"),
    "message and status": (bytes([6, 0, 0, 0, 0, 0, 0, 0, 9]), "malformed"),
    "message without a number": (bytes([2, 0, 0, 0, 0, 0, 0]), "malformed"),
    "lane 2": (bytes([2, 0, 0, 0, 0, 2, 0, 0, 9]), "malformed"),
    "acknowledges what was never sent": (bytes([0, 1, 0, 0, 0]), "ack"),
    "acknowledges what was never sent on the other lane": (bytes([0, 0, 0, 0xFF, 0xFF]), "ack"),
    "a message too far ahead": (bytes([2, 0, 0, 0, 0, 0, 1, 0, 9]), "window"),
    "a message of long ago": (bytes([2, 0, 0, 0, 0, 0, 0, 0x80, 9]), "window"),
}


@pytest.mark.parametrize("name", BODIES)
def test_sealed_and_yet_wrong(name: str) -> None:
    body, reason = BODIES[name]
    pair = Pair().open()
    pair.hear(pair.agent, sealed(pair, body))
    assert pair.agent.counts[reason] == 1 and pair.agent.refused == 1
    assert pair.agent.take() == () and pair.agent.up
    pair.pole.send(LIVE, b"still well")
    pair.run(100)
    assert [payload for _lane, payload, _uptime in pair.agent.take()] == [b"still well"]


def test_a_number_is_taken_once_and_never_again() -> None:
    pair = Pair().open()
    one = sealed(pair, bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"a")
    two = sealed(pair, bytes([2, 0, 0, 0, 0, 0, 1, 0]) + b"b")
    for wire in (one, one, two, one, two):
        pair.hear(pair.agent, wire)
    assert [payload for _lane, payload, _uptime in pair.agent.take()] == [b"a", b"b"]
    assert pair.agent.counts["replay"] == 3


def test_a_lost_acknowledgement_is_said_again_at_once() -> None:
    pair = Pair().open()
    pair.deaf.add(pair.pole)
    pair.pole.send(LIVE, b"help")
    pair.run(25)
    assert len(pair.agent.take()) == 1
    pair.deaf.clear()
    for _ in range(200):
        if pair.agent.counts["duplicate"]:
            break
        pair.turn()
    pair.run(2)
    assert pair.pole.room(LIVE) == 4 and pair.agent.take() == ()


def test_a_flipped_bit_anywhere_is_refused() -> None:
    pair = Pair().open()
    raw = frames_of(sealed(pair, bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"a"))[0]
    whole = raw.signed + raw.tag
    before = pair.state()

    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        if 1 <= changed[1] <= 5 and 1 <= changed[0] <= 2:
            pair.hear(pair.agent, wrap(bytes(changed)))
    assert pair.agent.take() == () and pair.state() == before


def test_the_longest_payload_and_status_fit() -> None:
    pair = Pair().open()
    pair.pole.set_status(bytes(MAX_STATUS), True)
    assert pair.pole.send(LIVE, bytes(MAX_PAYLOAD))
    pair.run(1100)
    assert pair.agent.peer_status == bytes(MAX_STATUS)
    assert pair.agent.take()[0][1] == bytes(MAX_PAYLOAD)
    for too_much in (
        lambda: pair.pole.send(LIVE, bytes(MAX_PAYLOAD + 1)),
        lambda: pair.pole.set_status(bytes(MAX_STATUS + 1), False),
    ):
        with pytest.raises(AssertionError):
            too_much()


def test_the_peers_uptime_comes_with_each_message() -> None:
    pair = Pair()
    while not pair.pole.up:
        pair.turn()
    assert pair.pole.peer_uptime_ms == pair.pole.heard_at == pair.now, "the WELCOME was genuine, too"
    pair.open()
    pair.pole.send(LIVE, b"now")
    pair.turn()
    ((_lane, _payload, uptime_ms),) = pair.agent.take()
    assert uptime_ms == pair.now == pair.agent.peer_uptime_ms == pair.agent.heard_at


def test_wake_never_misses_what_poll_would_say() -> None:
    """Polling each millisecond and polling only when told give the same words at the same times."""
    traces = []
    for lazy in (False, True):
        pair = Pair().open()
        trace = []
        due = dict.fromkeys((pair.pole, pair.agent), 0)
        for _ in range(9000):
            pair.now += 1
            if pair.now % 1000 == 0:
                pair.pole.send(LIVE, struct.pack("<I", pair.now))
                due[pair.pole] = pair.now
            for link, other in ((pair.pole, pair.agent), (pair.agent, pair.pole)):
                if lazy and pair.now < due[link]:
                    continue
                while (wire := link.poll(pair.now, pair.now)) is not None:
                    trace.append((pair.now, wire))
                    if pair.now % 7:
                        pair.hear(other, wire)
                        due[other] = pair.now
                due[link] = pair.now + link.wake(pair.now)
                assert 0 < link.wake(pair.now) <= 2500
            pair.agent.take()
        traces.append(trace)
    assert traces[0] == traces[1]


def test_a_link_uses_up_its_numbers_and_opens_a_new_session() -> None:
    pair = Pair().open()
    assert pair.pole._talk
    pair.pole._talk.sequence = 0x3FFFFFFE
    pair.run(6000)
    assert pair.pole.opened == pair.agent.opened == 2 and pair.agent.up


def test_links_share_nothing() -> None:
    assert PoleLink(1, bytes(32), bytes(32)).counts is not PoleLink(1, bytes(32), bytes(32)).counts
