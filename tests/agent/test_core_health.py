"""Health is told whole, at its pace and soon after a change; an outage of the disk is noted once, its end once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent.core_world import config

from sos_agent.core import effects
from sos_agent.core.context import Context
from sos_agent.core.events import Contents, Started
from sos_agent.core.health import CHANGE_GAP_MS, HEALTH_MS, HealthReport
from sos_agent.core.lines import Lines
from sos_agent.core.notices import Notices
from sos_agent.core.uptime import Uptime
from sos_contract import payloads
from sos_contract.payloads import Health, PoleHealth
from sos_wire.messages import FAULTS, Status

STATUS = Status("held", 12_100, -35, "watchdog", 7, 40, 2, 1 << FAULTS.index("tamper"), b"\1\2\3")


def report(connection: str = "s.1") -> tuple[HealthReport, Context]:
    shared = Context(config(), Started(bytes(32), "linux", Contents("aa", 0, 0)), 5_000)
    shared.connection = connection
    uptime = Uptime(shared, ())
    return HealthReport(shared, uptime, Lines(shared, uptime), Notices(shared, Contents("aa", 0, 0))), shared


def told(part: HealthReport, shared: Context, at_ms: int, *, waiting: int = 3, known: bool = True) -> list[Health]:
    """The health that is published at that time."""
    shared.now_ms = at_ms
    shared.effects = []
    part.pump("in_service", waiting, known=known)
    published = [effect for effect in shared.effects if isinstance(effect, effects.Publish)]
    assert all(effect.retain and effect.topic.endswith("/health") for effect in published)
    said: list[Any] = [payloads.decode(effect.payload, Health) for effect in published]
    return said


def test_a_pole_that_was_not_heard_yet_is_told_without_a_status() -> None:
    part, shared = report()
    assert told(part, shared, 6_000) == [
        Health(
            session="s.1", uptime_ms=1_000, clock="unset", outbox_waiting=3, disk_ok=True,
            poles=(PoleHealth(pole="p1", link=False, supervised=True),), certificate_until_ms=None,
        )
    ]  # fmt: skip


def test_a_status_is_told_field_by_field() -> None:
    part, shared = report()
    assert part.beat("p1", STATUS.pack()) and not part.beat("p1", STATUS.pack())
    (health,) = told(part, shared, 6_000)
    assert health.poles == (
        PoleHealth(
            pole="p1", link=False, supervised=True, lamp="held", supply_mv=12_100, temperature_dc=-35,
            reset_cause="watchdog", bad_frames=7, blind_ms=40, pending=2, firmware="1.2.3", faults=("tamper",),
        ),
    )  # fmt: skip


def test_a_pole_that_starts_does_not_end_a_fault_before_it_has_looked() -> None:
    """An opened pole that lost its power for a moment said nothing of its enclosure in its first second: the tamper was
    recorded as over, and as begun anew."""
    shared = Context(config(), Started(bytes(32), "linux", Contents("aa", 0, 0)), 5_000)
    shared.connection = "s.1"
    uptime, notices = Uptime(shared, ()), Notices(shared, Contents("aa", 0, 0))
    part = HealthReport(shared, uptime, Lines(shared, uptime), notices)
    notices.add("p1", "tamper", on=True)
    part.beat("p1", STATUS.pack())
    assert told(part, shared, 6_000)[0].poles[0].faults == ("tamper",)
    part.beat("p1", Status("in_service").pack())
    assert told(part, shared, 8_000)[0].poles[0].faults == ("tamper",)
    notices.add("p1", "tamper", on=False)
    assert told(part, shared, 10_000)[0].poles[0].faults == (), "told at once, should the notice be late"


def test_what_is_no_status_is_counted_and_tells_nothing() -> None:
    part, shared = report()
    assert not part.beat("p1", b"\xff") and shared.counts["status_unknown"] == 1


def test_health_comes_each_minute_and_a_second_after_a_change_that_shows() -> None:
    part, shared = report()
    assert len(told(part, shared, 5_000)) == 1 and part.next_due_ms() == 5_000 + HEALTH_MS
    part.beat("p1", STATUS.pack())
    assert part.next_due_ms() == 5_000 + CHANGE_GAP_MS
    assert told(part, shared, 4_999 + CHANGE_GAP_MS) == [] and len(told(part, shared, 5_000 + CHANGE_GAP_MS)) == 1
    warmer = Status("held", 12_100, 99, "watchdog", 7, 40, 2, 1 << FAULTS.index("tamper"), b"\1\2\3")
    part.beat("p1", warmer.pack())
    assert told(part, shared, 9_000) == [], "nobody waits for a temperature"
    assert told(part, shared, 5_999 + HEALTH_MS) == [] and len(told(part, shared, 6_000 + HEALTH_MS)) == 1


def test_a_new_connection_hears_all_and_before_all_poles_are_known_nobody_does() -> None:
    part, shared = report()
    assert told(part, shared, 5_000, known=False) == [] and len(told(part, shared, 5_001)) == 1
    shared.connection = ""
    assert told(part, shared, 7_000) == [] and part.next_due_ms() is None
    shared.connection = "s.2"
    (health,) = told(part, shared, 7_001)
    assert health.session == "s.2"


def disk(part: HealthReport, shared: Context, event: str, at_ms: int) -> list[tuple[bool, int]]:
    """(on, value) of what is noted of the disk when that happens."""
    shared.now_ms, shared.effects = at_ms, []
    part.disk_event(event, "why")
    noted = [effect for effect in shared.effects if isinstance(effect, effects.StoreNotice)]
    assert all((effect.pole, effect.kind) == ("", "disk_full") for effect in noted)
    return [(effect.on, effect.value) for effect in noted]


@pytest.mark.parametrize("way", [("crowded", "noted"), ("failed", "noted"), ("failed", "written", "noted")])
def test_an_outage_of_the_disk_is_noted_once_and_its_end_with_its_length(way: tuple[str, ...]) -> None:
    part, shared = report()
    assert disk(part, shared, "written", 5_100) == [] and part.disk == "good"
    assert disk(part, shared, way[0], 6_000) == [(True, 0)]
    for turn, event in enumerate((way[0], *way[1:-1]), 1):
        assert disk(part, shared, event, 7_000 + turn * 2 * HEALTH_MS) == [] and part.disk != "good"
        (health,) = told(part, shared, shared.now_ms + CHANGE_GAP_MS)
        assert not health.disk_ok
    assert disk(part, shared, way[-1], 9_000 + 9 * HEALTH_MS) == [(False, 3_000 + 9 * HEALTH_MS)]
    assert part.disk == "good" and disk(part, shared, "noted", 99_000_000) == []


def test_the_summary_changes_at_most_once_a_second() -> None:
    part, shared = report()
    said = []
    for at_ms, waiting in ((5_000, 0), (5_500, 1), (5_999, 2), (6_000, 2), (7_500, 2)):
        told(part, shared, at_ms, waiting=waiting)
        said.append([effect.text for effect in shared.effects if isinstance(effect, effects.Summary)])
    first, last = "in_service, 0 of 1 poles, 0 alarms waiting", "in_service, 0 of 1 poles, 2 alarms waiting"
    assert said == [[first], [], [], [last], []]
