"""The fault table: notices and health open and end faults; records are kept for two years."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.station.world import WALL_MS, A, B, World, alarm

from sos_contract.payloads import Detail, Health, Notice, PoleHealth, Progress, ProgressQuery, Quality, Receipt
from sos_station.core import events as ev
from sos_station.core import faults
from sos_station.core.brokers import shown
from sos_station.core.effects import Prune
from sos_station.core.points import POINT_LOST_MS
from sos_wire.messages import KINDS


def notice(number: int, kind: str, on: bool = True, **more: Any) -> Notice:
    usual: dict[str, Any] = {"outbox": "o1", "pole": "merlin-1", "wall_ms": 1_799_999_999_000, "clock": "synced"}
    return Notice(number=number, kind=kind, on=on, **{**usual, **more})


def health(session: str = "s1", *, link: bool = True, disk_ok: bool = True, poles: tuple[str, ...] = ()) -> Health:
    pole = PoleHealth(pole="merlin-1", link=link, lamp="in_service", faults=poles)
    return Health(session=session, uptime_ms=1, clock="synced", outbox_waiting=0, disk_ok=disk_ok, poles=(pole,))


def _open(world: World) -> set[tuple[str, str, str]]:
    return set(world.faults())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_notice_has_a_meaning(kind: str) -> None:
    fault, does = faults.meaning(kind, True)
    assert does in (faults.OPENS, faults.ENDS, faults.HAPPENS, faults.DETAIL)
    assert fault or does == faults.DETAIL


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (("tamper", True), ("tamper", False)),
        (("mains_lost", True), ("mains_back", True)),
        (("link_lost", True), ("link_back", True)),
        (("loop_open", True), ("loop_open", False)),
        (("of_a_later_release", True), ("of_a_later_release", False)),
    ],
)
def test_notices_open_and_end_faults(begins: tuple[str, bool], ends: tuple[str, bool]) -> None:
    world = World()
    world.send("notice", notice(1, *begins, value=7))
    fault = world.faults()["merlin", "merlin-1", begins[0]]
    assert (fault.since_wall_ms, fault.value, fault.count) == (1_799_999_999_000, 7, 1)
    world.send("notice", notice(2, *ends))
    assert _open(world) == set()
    assert world.alarms() == ()


def test_a_notice_is_receipted_after_its_commit_and_counted_once() -> None:
    world = World(slow_disk=True)
    for _ in range(2):
        world.send("notice", notice(1, "tamper", merged=4))
    assert world.told("receipt", Receipt) == []
    world.commit()
    world.slow_disk = False
    world.send("notice", notice(1, "tamper", merged=4))
    told = world.told("receipt", Receipt)
    assert [(receipt.outbox, receipt.notices) for receipt in told] == [("o1", (1,)), ("o1", (1,))]
    assert world.faults()["merlin", "merlin-1", "tamper"].count == 5


def test_another_notice_under_a_number_that_was_used_is_not_taken_for_a_repeat() -> None:
    """The image of an agent's disk, put onto a new one, gives its numbers once more: until they had passed the last
    one of before, weeks later, every notice was receipted and thrown away."""
    world = World()
    world.send("notice", notice(7, "pole_restarted", value=1))
    world.send("notice", notice(8, "press_detail", detail=Detail(id=alarm(1).id, held_ms=400)))
    world.send("notice", notice(7, "tamper"))
    world.send("notice", notice(8, "press_detail", detail=Detail(id=alarm(2).id, held_ms=900)))
    world.send("notice", notice(7, "tamper"))
    assert _open(world) == {("merlin", "merlin-1", "tamper")}
    assert world.faults()["merlin", "merlin-1", "tamper"].count == 1
    world.send("alarm", alarm(2))
    assert [one.held_ms for one in world.alarms()] == [900]


def test_a_repeated_fault_is_one_fault_counted() -> None:
    world = World()
    for number in range(3):
        world.send("notice", notice(number, "chatter"))
    assert world.faults()["merlin", "merlin-1", "chatter"].count == 3


def test_a_fault_was_not_good_after_it_began() -> None:
    """A notice that was overtaken by a health from before the pole's next beat: last good, said the record, was a
    moment after the fault."""
    world = World()
    world.send("health", health())
    world.send("notice", notice(1, "tamper", wall_ms=WALL_MS - 250))
    fault = world.faults()["merlin", "merlin-1", "tamper"]
    assert (fault.since_wall_ms, fault.last_good_wall_ms) == (WALL_MS - 250, WALL_MS - 250)


def test_what_only_happens_is_recorded_as_ended() -> None:
    world = World()
    world.send("notice", notice(1, "pole_restarted", value=2))
    assert _open(world) == set()
    assert world.faults(everything=True)["merlin", "merlin-1", "pole_restarted"].until_wall_ms


def test_how_long_it_was_held_reaches_the_alarm_whichever_comes_first() -> None:
    world = World()
    for press in (1, 2):
        detail = notice(press, "press_detail", detail=Detail(id=alarm(press).id, held_ms=3_000 + press))
        order: list[tuple[str, Any]] = [("alarm", alarm(press)), ("notice", detail)]
        for leaf, payload in order if press == 1 else reversed(order):
            world.send(leaf, payload)
    assert [row.held_ms for row in world.alarms()] == [3_001, 3_002]


def test_health_opens_and_ends_what_notices_missed() -> None:
    world = World()
    world.send("health", health())
    good_wall_ms = world.wall_ms
    world.pass_ms(2_000)
    world.send("health", health(poles=("lamp_fault",), disk_ok=False))
    assert _open(world) == {("merlin", "merlin-1", "lamp_fault"), ("merlin", "", "disk_full")}
    assert world.faults()["merlin", "merlin-1", "lamp_fault"].last_good_wall_ms == good_wall_ms
    world.send("health", health(link=False, poles=()))
    assert _open(world) == {("merlin", "merlin-1", "lamp_fault"), ("merlin", "merlin-1", "link_lost")}
    world.send("health", health())
    assert _open(world) == set()


def test_health_after_a_lost_end_notice_ends_the_fault() -> None:
    world = World()
    world.send("health", health())
    world.send("notice", notice(1, "tamper"))
    world.send("health", health())
    assert _open(world) == set()


def test_a_pole_that_has_not_said_how_it_is_ends_no_fault() -> None:
    """An agent that was started anew heard a press before the pole's first beat; its health said nothing of the open
    enclosure yet, and the tamper was recorded as over and as begun anew a second later."""
    world = World()
    world.send("notice", notice(1, "tamper"))
    world.send("health", health(poles=("tamper",)))
    untold = health("s2")
    poles = tuple(msgspec.structs.replace(pole, lamp="") for pole in untold.poles)
    world.send("health", msgspec.structs.replace(untold, poles=poles))
    world.send("health", health("s2", poles=("tamper",)))
    assert _open(world) == {("merlin", "merlin-1", "tamper")}
    assert len(world.ask("notices", everything=True).faults) == 1
    world.send("health", health("s2"))
    assert _open(world) == set()


def test_health_that_changes_nothing_writes_nothing() -> None:
    world = World()
    world.send("health", health())
    commits = world.commits
    for _ in range(50):
        world.send("health", health())
    assert world.commits == commits


def test_retained_health_counts_once_its_session_is_heard_alive() -> None:
    world = World()
    world.send("health", health("s1", poles=("tamper",)), retained=True)
    world.send("health", health("old", poles=("tamper",)), point="market", retained=True)
    assert _open(world) == set()
    world.probe(session="s1")
    world.probe(point="market", session="new")
    assert _open(world) == {("merlin", "merlin-1", "tamper")}


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_health_that_the_broker_before_kept_hides_nothing_that_the_present_one_kept(order: tuple[str, str]) -> None:
    world = World(brokers=(A, B))
    kept = {A: health("run.1"), B: health("run.2", poles=("tamper",))}
    for broker in order:
        world.send("health", kept[broker], broker=broker, retained=True)
    world.probe(session="run.2")
    assert _open(world) == {("merlin", "merlin-1", "tamper")}
    world.send("health", health("run.2"), broker=B)
    world.probe(session="run.1")
    assert _open(world) == set() and not world.station._kept


def without_poles(session: str) -> Health:
    return msgspec.structs.replace(health(session), poles=())


def test_faults_of_a_pole_that_its_point_has_no_more_end() -> None:
    """A board that was moved to another point, or taken down, was silent at its old one when that agent's site file
    changed: its fault stood open for ever, for nobody spoke of it again."""
    world = World()
    world.send("notice", notice(1, "link_lost"))
    world.send("health", health("run1.1", link=False))
    assert _open(world) == {("merlin", "merlin-1", "link_lost")}
    world.send("health", without_poles("run2.1"))
    assert _open(world) == set()
    world.send("notice", notice(2, "tamper"))  # it waited while the station was away
    world.send("health", without_poles("run2.1"))
    assert _open(world) == set()
    world.send("health", health("run3.1", link=False))
    assert _open(world) == {("merlin", "merlin-1", "link_lost")}, "it is back, and silent"


def test_the_end_of_faults_that_the_disk_did_not_take_comes_with_the_next_health() -> None:
    world = World()
    world.send("health", health(poles=("tamper",)))
    world.full_disk = True
    world.send("health", without_poles("run2.1"))
    world.full_disk = False
    world.send("health", without_poles("run2.1"))
    assert _open(world) == set()


def test_poles_of_another_point_are_not_believed() -> None:
    world = World()
    world.send("health", health(poles=("tamper",)), point="market")
    assert _open(world) == set()


def test_points_of_no_site_open_no_fault() -> None:
    world = World()
    world.send("health", health(disk_ok=False), point="elsewhere")
    assert _open(world) == set()


def test_faults_that_the_disk_did_not_take_are_written_when_it_does() -> None:
    world = World()
    world.probe()
    world.full_disk = True
    world.pass_ms(20_000)
    world.full_disk = False
    world.probe(point="market")
    assert ("merlin", "", "point_lost") in _open(world)


@pytest.mark.parametrize("times", [1, 2])
def test_a_fault_that_came_and_went_while_the_disk_took_nothing_is_recorded(times: int) -> None:
    """The last time that it did: of each fault one is kept in mind."""
    world = World()
    world.probe()
    world.full_disk = True
    for _ in range(times):
        since_ms = world.wall_ms + POINT_LOST_MS
        world.pass_ms(POINT_LOST_MS + 7_000)
        world.probe()
        until_ms = world.wall_ms
    world.full_disk = False
    for _ in range(2):
        world.probe(point="market")
        found = [one for one in world.ask("notices", everything=True).faults if one.point == "merlin"]
        assert [(one.kind, one.since_wall_ms, one.until_wall_ms) for one in found] == [
            ("point_lost", since_ms, until_ms)
        ]
    assert not world.stores


def test_old_fault_records_go_after_two_years_and_open_ones_stay() -> None:
    world = World()
    world.send("notice", notice(1, "tamper", clock="unset"))
    world.send("notice", notice(2, "pole_restarted", clock="unset"))
    world.now_ms += faults.KEEP_MS + 10
    world.wall_ms += faults.KEEP_MS + 10
    world.start()
    world.pass_ms(1_000)
    assert set(world.faults(everything=True)) >= {("merlin", "merlin-1", "tamper")}
    assert ("merlin", "merlin-1", "pole_restarted") not in world.faults(everything=True)


@pytest.mark.parametrize("quality", ["unset", "holdover"])
def test_a_clock_that_nobody_sets_right_forgets_nothing(quality: Quality) -> None:
    world = World()
    world.send("notice", notice(2, "pole_restarted", clock="unset"))
    world.quality = quality
    world.wall_ms += faults.KEEP_MS + 10
    world.start()
    world.pass_ms(1_000)
    assert ("merlin", "merlin-1", "pole_restarted") in world.faults(everything=True)


def test_a_press_that_was_closed_and_forgotten_is_no_new_alarm_when_its_point_offers_it_again() -> None:
    """A point whose clock is never set keeps it for ever, and asks for it at each start."""
    world = World()
    for press in (1, 2):
        world.send("alarm", alarm(press))
        assert not world.ask("close", press, disposition="test").error
    world.now_ms += faults.KEEP_MS + 10
    world.wall_ms += faults.KEEP_MS + 10
    world.start()
    world.pass_ms(1_000)
    assert [row.number for row in world.alarms(everything=True)] == [2], "the newest stays"
    for identity in (alarm(1).id, alarm(1, clash=3).id):
        world.send("progress_query", ProgressQuery(session="s", alarms=(identity, alarm(9).id)))
        told = world.told("progress", Progress)[-1]
        assert told.stages == ((identity, "closed"),) and told.missing == (alarm(9).id,)
    before = len(world.receipts())
    world.send("alarm", alarm(1, lane="backlog"))
    assert world.receipts()[before:] == [alarm(1).id], "it need not be offered any more"
    assert [row.number for row in world.alarms(everything=True)] == [2]
    world.send("alarm", alarm(1, repeats=7))
    assert [(row.number, row.clash) for row in world.alarms()] == [(3, True)], "another press under its identity"
    assert world.told("progress", Progress) and world.lamp(alarm(1).id) == "closed"
    world.send("progress_query", ProgressQuery(session="s", alarms=(alarm(1).id,)))
    assert world.lamp(alarm(1).id) == "received", "of clashing ones the least"


def test_a_machine_that_is_switched_on_by_day_only_forgets_what_is_old() -> None:
    """Its clock is set some seconds after the station began, and it never runs for a whole day."""
    world = World()
    world.send("notice", notice(2, "pole_restarted", clock="unset"))
    world.now_ms += faults.KEEP_MS + 10
    world.wall_ms += faults.KEEP_MS + 10
    world.quality = "unset"
    world.start()
    world.pass_ms(5_000)
    world.handle(ev.Clock(world.wall_ms, "synced"))
    world.pass_ms(8 * 3_600_000)
    assert ("merlin", "merlin-1", "pole_restarted") not in world.faults(everything=True)
    assert sum(isinstance(one, Prune) for one in world.effects) == 1, "and does so once"


def test_what_was_closed_before_the_clock_was_set_is_not_forgotten_as_fifty_years_old() -> None:
    """Its point would offer it again, and it would be another alarm (seed 20, one hour)."""
    world = World(wall_ms=10_000, quality="unset")
    world.send("alarm", alarm(1))
    world.send("alarm", alarm(1, pole="market-1"), point="market")
    world.send("notice", notice(2, "pole_restarted"))
    assert not world.ask("close", 1, disposition="test").error
    world.wall_ms, world.quality = WALL_MS, "synced"
    world.start()
    world.pass_ms(1_000)
    assert {row.number for row in world.alarms(everything=True)} == {1, 2}
    assert ("merlin", "merlin-1", "pole_restarted") in world.faults(everything=True)


WEEK_MS = 7 * 24 * 3_600_000


def test_a_certificate_is_a_fault_for_weeks_before_it_ends() -> None:
    """The point tells the end of its own; the broker's is seen at the door, and watched while the connection stands."""
    world = World(hanging=True)
    ends_ms = world.wall_ms + 9 * WEEK_MS
    world.handle(ev.BrokerUp(A, ends_ms))
    world.send("health", msgspec.structs.replace(health(), certificate_until_ms=ends_ms))

    def ending() -> set[tuple[str, str]]:
        return {(place, part) for place, part, kind in _open(world) if kind == "certificate_ends"}

    assert ending() == set()
    world.handle(ev.Clock(world.wall_ms + WEEK_MS + 1, "synced"))
    world.send("health", msgspec.structs.replace(health(), certificate_until_ms=ends_ms))
    world.pass_ms(10_000)
    assert ending() == {("merlin", ""), ("betong", shown(A))}
    world.send("health", msgspec.structs.replace(health(), certificate_until_ms=ends_ms + 52 * WEEK_MS))
    assert ending() == {("betong", shown(A))}
    world.handle(ev.BrokerDown(A, "renewed"))
    world.pass_ms(1_000)
    world.handle(ev.BrokerUp(A, ends_ms + 52 * WEEK_MS))
    assert ending() == set()


def test_a_clock_that_was_never_set_finds_no_certificate_near_its_end() -> None:
    world = World(quality="unset")
    world.send("health", msgspec.structs.replace(health(), certificate_until_ms=0))
    assert _open(world) == set()
