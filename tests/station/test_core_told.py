"""Notices and health tell of the same fault, in any order: it stands once in the table, from beginning to end."""

from __future__ import annotations

import pytest
from tests.station.test_core_faults import _open, health, notice, without_poles
from tests.station.world import WALL_MS, World


def test_health_and_the_notice_of_a_fault_tell_of_it_once() -> None:
    """A change is in the health a moment before its notice is on the agent's disk: every fault was shown twice."""
    world = World()
    world.send("health", health(poles=("tamper",)))
    assert world.faults()["merlin", "merlin-1", "tamper"].count == 1
    world.send("notice", notice(1, "tamper", wall_ms=WALL_MS - 3, value=9))
    fault = world.faults()["merlin", "merlin-1", "tamper"]
    assert (fault.count, fault.value) == (1, 9)
    world.send("notice", notice(2, "tamper", wall_ms=WALL_MS + 5, merged=1))
    assert world.faults()["merlin", "merlin-1", "tamper"].count == 3


@pytest.mark.parametrize(("began_ms", "records"), [(-3, 1), (-9_999, 1), (-10_001, 2), (4_999, 1), (5_000, 2)])
def test_a_notice_that_comes_after_health_has_told_the_end_opens_no_second_fault(began_ms: int, records: int) -> None:
    """A notice waits behind alarms, and that of a full disk until the disk takes it: each such outage stood in the
    table twice. What began long before, or after that end, is another one."""
    world = World()
    world.send("health", health(poles=("tamper",)))
    world.pass_ms(5_000)
    world.send("health", health())
    world.send("notice", notice(1, "tamper", wall_ms=WALL_MS + began_ms))
    assert (("merlin", "merlin-1", "tamper") in _open(world)) == (records == 2)
    world.send("notice", notice(2, "tamper", False, wall_ms=WALL_MS + 5_000))
    world.send("notice", notice(3, "tamper", wall_ms=WALL_MS + began_ms, value=3))
    world.send("notice", notice(4, "tamper", False, wall_ms=WALL_MS + 5_000))
    found = [fault for fault in world.ask("notices", everything=True).faults if fault.kind == "tamper"]
    assert len(found) == records + 1 and _open(world) == set(), "a second notice is another fault"


def test_a_fault_that_the_disk_did_not_take_of_a_pole_that_left_is_not_written_after_its_end() -> None:
    """It was written once the disk took it, after all that its point said of the poles that it has, and stood open."""
    world = World()
    world.send("health", health())
    world.full_disk = True
    world.send("health", health(poles=("tamper",)))
    world.full_disk = False
    for _ in range(2):
        world.send("health", without_poles("run2.1"))
    assert _open(world) == set()
