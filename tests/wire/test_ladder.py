"""The ladder: the same conversation over ever worse cables. All arrive, each once, in order per lane."""

from __future__ import annotations

import pytest
from tests.wire.world import Faults, Zone

from sos_wire.link import BACKLOG, LIVE
from sos_wire.ticks import TICKS_MASK

ALL_AT_ONCE = Faults(loss=0.2, corruption=0.1, duplication=0.1, delay_ms=30, echo=True, single_bytes=True)
LADDER = {
    "perfect": (Faults(), 1, False),
    "one byte at a time": (Faults(single_bytes=True), 1, False),
    "lossy": (Faults(loss=0.3), 1, False),
    "corrupting": (Faults(corruption=0.3), 1, False),
    "duplicating": (Faults(duplication=0.5), 1, False),
    "delayed": (Faults(delay_ms=80), 1, False),
    "echoing": (Faults(echo=True), 1, False),
    "shared pair": (Faults(), 4, True),
    "all at once": (ALL_AT_ONCE, 4, True),
}
MESSAGES = 30


def converse(zone: Zone, messages: int) -> None:
    """Every pole offers presses on both lanes as fast as the windows take them; until all are held."""
    waiting = {
        (pole.link.address, lane): list(range(lane, messages, 2)) for pole in zone.poles for lane in (LIVE, BACKLOG)
    }
    wanted = {(pole.link.address, number) for pole in zone.poles for number in range(messages)}

    def offer_and_look() -> bool:
        for (address, lane), numbers in waiting.items():
            while numbers and zone.press(zone.poles[address - 1], numbers[0], lane):
                numbers.pop(0)
        return zone.held.keys() == wanted

    assert zone.run(offer_and_look), f"stuck at {zone.now} ms with {len(zone.held)} of {len(wanted)} held"
    for pole in zone.poles:
        for lane in (LIVE, BACKLOG):
            heard = [number for at, number in zone.heard[pole.link.address] if at == lane]
            assert heard == list(range(lane, messages, 2))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rung", LADDER)
def test_all_arrive_once_and_in_order(rung: str, seed: int) -> None:
    faults, poles, shared = LADDER[rung]
    zone = Zone(seed, poles, shared, faults)
    zone.open()
    converse(zone, MESSAGES)
    for end in [zone.agent, *zone.poles]:
        for link in end.links.values():
            assert link.up and link.losses == 0
            assert link.counts["malformed"] == link.counts["ack"] == 0
            assert link.counts["tag"] == 0 or faults.corruption or shared


@pytest.mark.parametrize("rung", LADDER)
def test_the_ticks_wrap_in_the_middle(rung: str) -> None:
    faults, poles, shared = LADDER[rung]
    zone = Zone(7, poles, shared, faults)
    for end in [zone.agent, *zone.poles]:
        end.origin_ms = TICKS_MASK + 1 - 2000 - zone.rng.randrange(3000)
    zone.open()
    zone.run(2000)
    converse(zone, MESSAGES)
    zone.run(20_000)
    assert all(pole.link.up and pole.link.opened == 1 for pole in zone.poles)


def test_the_same_seed_gives_the_same_trace() -> None:
    def trace() -> list[tuple[int, int, bytes]]:
        zone = Zone(11, 4, True, ALL_AT_ONCE)
        zone.cable.keep_log = True
        zone.open()
        converse(zone, 10)
        return zone.cable.log

    assert trace() == trace()


def test_lanes_count_beyond_65535() -> None:
    """The number of a message is 16 bits wide; so many are sent that it wraps."""
    zone = Zone(3, 1, False)
    zone.open()
    pole, agent = zone.poles[0].link, zone.agent.links[1]
    taken = 0
    for number in range(66_000):
        assert pole.send(LIVE, number.to_bytes(4, "little"))
        if number % 4 < 3:
            continue
        # The cable itself is not what is tested.
        for source, line, link in ((pole, zone.agent.line, agent), (agent, zone.poles[0].line, pole)):
            zone.cable.now += 15
            while (wire := source.poll(zone.now, zone.now)) is not None:
                for frame in line.feed(wire, zone.now):
                    link.receive(frame, zone.now)
            zone.cable.now += 15
        for _lane, payload, _uptime in agent.take():
            assert int.from_bytes(payload, "little") == taken
            taken += 1
    assert taken == 66_000
