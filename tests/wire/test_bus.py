"""Figures of the wire on virtual time: eight poles on one pair, and how often a lossy line looks like a dead one."""

from __future__ import annotations

import pytest
from tests.wire.pair import Pair
from tests.wire.world import Faults, Zone

from sos_wire.agent_end import REPLY_MS, AgentLine
from sos_wire.handshake import POLE
from sos_wire.line import STALL_MS
from sos_wire.link import LINK_LOST_MS
from sos_wire.pole_end import POLE_GAP_MS, SLOT_MS, SLOTS, PoleLine

POLES = 8
SEEDS = 100


def burst(seed: int, store_ms: int = 2, jitter_ms: int = 0) -> list[int]:
    """Milliseconds from press to *held* of eight poles on one pair, pressed within 10 ms, with all else they say."""
    zone = Zone(seed, POLES, shared=True, jitter_ms=jitter_ms, whole=True)
    zone.store_ms = store_ms
    zone.open()
    zone.run(zone.now + zone.rng.randint(3000, 6000))
    start = zone.now
    for at, address in sorted((start + zone.rng.randint(0, 10), pole.link.address) for pole in zone.poles):
        if at > zone.now:
            zone.run(at)
        assert zone.press(zone.poles[address - 1], 1)
    assert zone.run(lambda: len(zone.held) == POLES)
    assert all(heard == [(0, 1)] for heard in zone.heard.values())
    return [zone.held[key] - zone.pressed[key] for key in zone.pressed]


def test_eight_presses_on_one_pair_are_all_held_in_time() -> None:
    """The slowest of the eight, in all but one of a hundred bursts."""
    slowest = sorted(max(burst(seed)) for seed in range(SEEDS))
    assert slowest[SEEDS * 99 // 100 - 1] <= 450
    assert slowest[SEEDS // 2] <= 350


def test_a_slow_disk_and_late_ears_slow_the_burst_a_little() -> None:
    """A commit of 20 ms, and ends that hear up to 4 ms later than they should, as on a machine that is too busy."""
    slowest = sorted(max(burst(seed, store_ms=20, jitter_ms=4)) for seed in range(20))
    assert slowest[10] <= 600 and slowest[-1] <= 1000


def test_one_press_on_a_shared_pair_waits_for_nobody() -> None:
    worst = 0
    for seed in range(20):
        zone = Zone(seed, POLES, shared=True)
        zone.open()
        zone.run(zone.now + 3000 + 137 * seed)
        zone.press(zone.poles[seed % POLES], 1)
        assert zone.run(lambda zone=zone: bool(zone.held))  # type: ignore[misc]
        worst = max(worst, *(zone.held[key] - zone.pressed[key] for key in zone.held))
    assert worst <= 250, "one may meet a beat"


def repeats_before_loss(seed: int, poles: int) -> int:
    """How often a pole that hears nothing any more asks before it gives the link up."""
    zone = Zone(seed, poles, shared=poles > 1)
    zone.open()
    zone.run(zone.now + 8000 + zone.rng.randrange(3000))
    link = zone.poles[0].link
    zone.cable.cut_toward = POLE
    zone.cable.keep_log = True
    assert zone.run(lambda: not link.up)
    own = [wire for _at, role, wire in zone.cable.log if role == POLE]
    return len(own) // poles


@pytest.mark.parametrize("poles", [1, POLES])
def test_thirty_percent_loss_is_no_loss_of_the_link(poles: int) -> None:
    """A beat and its answer both come through in 0.49 of all cases; the link is lost when all repeats fail. Beats are
    2 s apart, 43,200 a day, and the mean of 0.51^n over measured n tells how often that happens."""
    repeats = [repeats_before_loss(seed, poles) for seed in range(12)]
    losses_a_day = 43_200 * sum(0.51**count for count in repeats) / len(repeats)
    # On a shared pair all eight ask at once here, which is worse than losses that come singly.
    assert losses_a_day <= (1 if poles > 1 else 0.01), repeats


@pytest.mark.parametrize(("poles", "minutes"), [(1, 120), (POLES, 5)])
def test_no_link_is_lost_in_hours_of_loss(poles: int, minutes: int) -> None:
    zone = Zone(5, poles, shared=poles > 1, faults=Faults(loss=0.3))
    zone.open()
    assert zone.run(zone.now + minutes * 60_000)
    assert all(pole.link.losses == 0 for pole in zone.poles)
    assert all(link.losses == 0 for link in zone.agent.links.values())


def test_at_half_loss_the_model_holds() -> None:
    """What the figure above is reckoned with, seen directly where losses are frequent enough to count: of 0.75^n with
    n about 30 and 1,800 beats an hour, some 0.3 an hour are to be expected."""
    zone = Zone(1, 1, faults=Faults(loss=0.5))
    zone.open()
    assert zone.run(zone.now + 3 * 3_600_000)
    assert zone.poles[0].link.losses <= 4


def test_a_dead_agent_is_noticed_and_the_pair_stays_usable() -> None:
    """Eight poles that call for their agent leave most of the pair's time free, or it could not answer."""
    zone = Zone(2, POLES, shared=True)
    zone.open()
    zone.cable.cut_toward = POLE
    zone.run(zone.now + LINK_LOST_MS + 1500)
    assert not any(pole.link.up for pole in zone.poles)
    zone.cable.keep_log = True
    start = zone.now
    zone.run(start + 10_000)
    busy_ms = sum(len(wire) * 10_000 / 115_200 for _at, role, wire in zone.cable.log if role == POLE)
    assert busy_ms < 0.15 * 10_000
    zone.cable.cut_toward = None
    start = zone.now
    assert zone.run(lambda: all(pole.link.up for pole in zone.poles))
    assert zone.now - start < 5000


def test_a_line_of_its_own_never_waits() -> None:
    line = PoleLine(False, 115200, 1)
    line.feed(b"\1\2\3", 5)
    line.sent(100, 5)
    assert line.quiet(5) and line.wait(5) == 0


def test_poles_follow_each_other_in_a_ring() -> None:
    """Behind the address that was heard last, each has a slot of its own; nobody shares one with a neighbour."""
    pair = Pair().open()
    poles = {address: PoleLine(True, 115200, address) for address in range(1, SLOTS + 1)}
    for line in poles.values():
        line.feed(pair.sent[0][-1], 100)  # the pole with address 5
    waits = {address: line.wait(100) for address, line in poles.items()}
    assert sorted(waits, key=lambda address: waits[address]) == [6, 7, 8, 1, 2, 3, 4, 5]
    assert sorted(waits.values()) == [POLE_GAP_MS + SLOT_MS * slot for slot in range(SLOTS)]


def test_who_speaks_when() -> None:
    """After a frame the agent is first, then the pole that was spoken to, then the others in their slots."""
    pair = Pair().open()
    up, down = pair.sent[0][-1], pair.sent[1][-1]
    agent, spoken_to, other = (
        AgentLine(True, 115200),
        PoleLine(True, 115200, 5),
        PoleLine(True, 115200, 6),
    )
    for line in (agent, spoken_to, other):
        assert line.quiet(0)
        line.feed(up if line is agent else down, 100)
    assert agent.wait(100) == spoken_to.wait(100) == 1
    assert POLE_GAP_MS <= other.wait(100) <= POLE_GAP_MS + SLOT_MS * SLOTS
    agent.sent(57, 200)
    assert agent.wait(200) >= 5 + REPLY_MS, "57 bytes take 5 ms, and then it is the turn of the pole"
    wait = other.wait(100)
    assert not other.quiet(100 + wait - 1) and other.quiet(100 + wait)
    other.feed(up[:9], 300)  # an unfinished frame, that never ends
    assert other.wait(300) >= STALL_MS + POLE_GAP_MS
    assert other.quiet(300 + other.wait(300))
    other.sent(115, 400)
    assert other.wait(400) >= 10 + POLE_GAP_MS, "115 bytes take 10 ms"
