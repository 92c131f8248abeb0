"""What a station says counts once it has answered a probe: that inbox, in that run of the program."""

from __future__ import annotations

import pytest
from tests.agent.core_world import World
from tests.agent.test_core_station import ready, with_received

from sos_agent.core import effects
from sos_contract import payloads
from sos_contract.payloads import Identity, Probe, ProbeAnswer, Progress, Receipt


def with_unreceipted() -> tuple[World, Identity]:
    """A press that the station has, in its run "a", and says nothing of."""
    world = ready(World())
    world.station.run = "a"
    world.run(10_000)
    world.station.mute_receipts = True
    press = world.press()
    world.until(lambda: press in world.station.alarms)
    return world, press


@pytest.mark.parametrize("leaf", ["receipt", "progress"])
def test_what_an_earlier_run_of_the_station_said_counts_no_more(leaf: str) -> None:
    """The inbox was restored from a copy and lacks the press; a broker delivers what was said before: believed, it
    would have ended the waiting of a press that the station does not hold."""
    world, press = with_unreceipted()
    world.station.up = False
    world.run(1_000)
    world.station.alarms, world.station.run = {}, "b"
    world.station_comes_back()
    world.run(1_000)  # it has answered a probe, and the press was offered to it
    world.station.alarms = {}
    world.station.deaf = True
    old = Receipt(inbox="inbox-1", run="a", alarms=(press,))
    stages = Progress(inbox="inbox-1", run="a", stages=((press, "accepted"),))
    world.from_station(leaf, old if leaf == "receipt" else stages)
    world.run(200)
    assert world.stage(press) == "held"
    assert [kept.row.id for kept in world.store.waiting()] == [press]
    world.station.deaf = world.station.mute_receipts = False
    world.until(lambda: world.stage(press) == "received", 10_000)
    assert press in world.station.alarms


def test_a_receipt_is_believed_once_a_probe_of_this_run_was_answered() -> None:
    """An agent that starts has nothing proved yet: what comes before the first answer is offered again at once."""
    world = World()
    world.station.mute_probes = True
    world.start()
    world.run(2_000)
    press = world.press()
    world.run(1_000)
    assert press in world.station.alarms and world.stage(press) == "held"
    world.station.mute_probes = False
    world.until(lambda: world.stage(press) == "received", 6_000)


def test_a_station_that_starts_anew_is_asked_at_once_and_its_receipts_count() -> None:
    world = ready(World())
    world.station.run = "a"
    world.run(12_000)
    # it was away for less than a probe takes, and nobody told of it
    world.station.run, world.station.opened = "b", world.station.commits
    press = world.press()
    world.until(lambda: world.stage(press) == "received", 1_500)
    assert len(world.station.seen) == 2, "its first receipt was of a run that had proved nothing yet"


def test_a_station_of_the_release_before_tells_no_run_with_its_receipts() -> None:
    world, press = with_unreceipted()
    world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(press,)))
    world.run(200)
    assert world.stage(press) == "received"


def test_what_a_station_told_before_it_proved_its_inbox_is_asked_again() -> None:
    """With a full disk it told stages and answered no probe, then an older copy took its place: a press that only the
    first one had was asked for no more (seed 64, one hour)."""
    world, presses = with_received(3)
    for press in presses:
        world.station.alarms[press] = "closed"
    world.run(35_000)
    world.crash()
    world.station.mute_probes = True
    world.start()
    world.run(10_000)
    assert any(set(presses) <= set(query.alarms) for query in world.station.queries)
    del world.station.alarms[presses[1]]
    world.station.mute_probes = False
    world.until(lambda: presses[1] in world.station.alarms, 10_000)


def test_a_receipt_just_before_the_proof_does_not_cost_the_press_a_retry() -> None:
    """A station that has started anew commits probe and press at once and says the receipt first: it did not count,
    and as the press had gone after the probe it was not offered again with the answer, but seconds later."""
    world = ready(World())
    world.station.run = "a"
    world.run(12_000)
    world.station.run, world.station.opened, world.station.mute_probes = "b", world.station.commits, True
    sent = len(world.effects_of(effects.Publish))
    world.until(lambda: any(one.topic.endswith("/probe") for one in world.effects_of(effects.Publish)[sent:]))
    world.run(10)
    asked = payloads.decode(world.effects_of(effects.Publish)[-1].payload, Probe)
    assert isinstance(asked, Probe)
    press = world.press()
    world.until(lambda: world.agent is not None and world.agent.counts.get("receipt_unproved", 0) > 0, 100)
    answer = ProbeAnswer(
        session=asked.session, number=asked.number, inbox="inbox-1", high_water=world.station.commits, run="b",
        opened=world.station.opened,
    )  # fmt: skip
    world.from_station("probe_answer", answer)
    world.until(lambda: world.stage(press) == "received", 100)
