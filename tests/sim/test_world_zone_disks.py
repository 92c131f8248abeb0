"""The assembled zone on broken disks and with clocks that do not know the time."""

from __future__ import annotations

import msgspec
import pytest
from tests.sim.test_world_zone import POINT, POLE, SMALL, looks, received_once, rows, served, touch

from sos_contract.site import Button
from sos_sim.ground import ZoneGround
from sos_sim.scenario import town_of
from sos_sim.world.program import Program


def test_an_agent_that_loses_its_disk_is_offered_again_what_the_pole_still_has() -> None:
    zone = served()
    zone.station.kill()
    touch(zone)
    assert zone.run_until(looks(zone, "held"), 2)
    zone.agents[POINT].power_cut()
    zone.agents[POINT].disk.lose()
    assert zone.agents[POINT].start() and zone.station.start()
    assert zone.run_until(looks(zone, "received"), 20)
    received_once(zone)
    assert [row.fields for row in rows(zone, "disk")] == [("lost",)]


def test_a_points_own_button_lives_with_its_agent_and_its_journal_with_the_agents_disk() -> None:
    point = msgspec.structs.replace(SMALL.point[0], button=Button(id="desk", gpio=5))
    zone = served(msgspec.structs.replace(SMALL, point=(point,)))
    zone.station.kill()
    touch(zone, "desk")
    assert zone.run_until(looks(zone, "held", "desk"), 2)
    agent = zone.agents[POINT]
    agent.kill()
    assert not zone.poles["desk"].running
    assert agent.start() and zone.poles["desk"].running
    agent.disk.lose()
    assert rows(zone, "forgot")[0].fields == rows(zone, "minted")[0].fields[:1]
    agent.kill()
    assert agent.start() and zone.station.start()
    assert zone.run_until(zone.in_service, 20)
    touch(zone, "desk")
    assert zone.run_until(looks(zone, "received", "desk"), 5)


@pytest.mark.parametrize("fault", ["lose", "damaged"])
@pytest.mark.parametrize("which", ["agent", "station"])
def test_a_program_whose_store_breaks_while_it_runs_ends_by_itself_and_begins_a_new_one(which: str, fault: str) -> None:
    # The station once went on without an inbox: nothing was received until somebody started it again.
    zone = served()
    program: Program = zone.agents[POINT] if which == "agent" else zone.station
    if fault == "lose":
        program.disk.lose()
    else:
        program.disk.damaged = True
    touch(zone)
    assert zone.run_until(lambda: not program.running, 5)
    assert [row.fields for row in rows(zone, "down")] == [("broken",)], "it ends once"
    assert program.start()
    assert zone.run_until(looks(zone, "received"), 20)
    received_once(zone)


def test_an_agent_that_goes_on_and_finds_its_outbox_broken_ends() -> None:
    zone = served()
    agent = zone.agents[POINT]
    touch(zone)
    assert zone.run_until(lambda: agent.outbox is not None and agent.outbox.waited_s() > 0, 2)
    agent.freeze()
    agent.disk.damaged = True
    zone.run_s(5)
    agent.thaw()
    zone.run_s(1)
    assert [row.fields for row in rows(zone, "down")] == [("freeze",), ("broken",)]
    assert agent.start()
    assert zone.run_until(looks(zone, "received"), 20)


@pytest.mark.parametrize("over", [False, True])
def test_a_station_restored_from_yesterdays_copy_is_offered_what_it_lacks(over: bool) -> None:
    zone = served()
    copy = zone.station.disk.copy()
    touch(zone)
    assert zone.run_until(looks(zone, "received"), 2)
    zone.run_s(6)
    zone.station.kill()
    zone.station.disk.restore(copy, over=over)
    assert zone.station.start()
    assert zone.run_until(lambda: len(rows(zone, "received")) == 2, 40)
    assert {row.fields[1] for row in rows(zone, "received")} == {"new"}, "the copy lacked it"


def test_presses_are_held_on_a_full_disk_and_not_on_a_failing_one() -> None:
    zone = served()
    zone.agents[POINT].disk.full = True
    zone.station.disk.full = True
    touch(zone)
    assert zone.run_until(looks(zone, "held"), 2)
    assert not zone.run_until(looks(zone, "received"), 5), "the inbox has no room of its own"
    zone.station.disk.full = False
    assert zone.run_until(looks(zone, "received"), 10)
    zone.agents[POINT].disk.full = False
    zone.agents[POINT].disk.failing = True
    zone.run_s(1)
    touch(zone)
    assert not zone.run_until(looks(zone, "held"), 5)
    zone.agents[POINT].disk.failing = False
    assert zone.run_until(looks(zone, "received"), 20)
    received_once(zone)


def test_a_disk_that_hangs_keeps_the_lamp_from_promising_and_the_watchdog_from_being_fed() -> None:
    zone = served()
    zone.station.disk.hang = True
    assert zone.run_until(looks(zone, "out_of_service"), 20)
    zone.run_s(20)
    assert zone.station.stalled and not zone.agents[POINT].stalled
    zone.station.disk.hang = False
    assert zone.run_until(zone.in_service, 10)
    assert not zone.station.stalled


def test_an_agent_without_a_clock_at_boot_tells_the_age_all_the_same() -> None:
    zone = served()
    agent = zone.agents[POINT]
    agent.power_cut()
    agent.clock.at_boot = "unset"
    zone.run_s(5)
    assert agent.start()
    assert agent.clock.quality(zone.loop.now_us) == "unset"
    touch(zone)
    assert zone.run_until(looks(zone, "received"), 20)
    (row,) = rows(zone, "received")
    assert row.fields[5] is not None and int(str(row.fields[5])) < 30_000
    agent.clock.synchronise()
    assert agent.clock.quality(zone.loop.now_us) == "synced"


def test_what_a_pole_has_just_begun_to_say_is_on_its_way_and_not_stuck() -> None:
    """Half an hour of seed 62: a chatter that ended in the last second of a phase stood open: a finding."""
    zone = served()
    ground = ZoneGround(zone, town_of(SMALL, 1))
    zone.station.kill()
    zone.run_s(20)
    zone.poles[POLE].sense("tamper", 1)
    unknown = f"the station does not know of tamper of {POLE}"
    zone.run_s(5)
    assert unknown not in ground.unsettled()
    zone.run_s(10)
    assert unknown in ground.unsettled()
