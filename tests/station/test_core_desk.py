"""Step 9: who may do what when; incidents; stale screens; acting twice; what points are told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.station.world import A, B, World, alarm

from sos_contract.payloads import AlarmView, Identity, Progress, Quality
from sos_contract.stages import ACCEPTED, CLOSED, DISPATCHED, HELD, ON_SCENE, PRESSED, RECEIVED
from sos_station.core import desk
from sos_station.core.commands import Commands
from sos_station.core.counter import FLOW, MAX_ANSWERS, MAX_LISTS, Counter
from sos_station.core.effects import ChangeStage, ReadCase
from sos_station.core.events import Message, Read
from sos_station.core.records import AlarmRow, Case, Stamp, age_now_ms

STAGES = (RECEIVED, ACCEPTED, DISPATCHED, ON_SCENE, CLOSED)
# What must be done to an alarm to bring it to a stage.
_WAY: dict[str, tuple[Any, ...]] = {
    RECEIVED: (),
    ACCEPTED: ("accept",),
    DISPATCHED: ("accept", "dispatch"),
    ON_SCENE: ("accept", "dispatch", "arrive"),
    CLOSED: ("accept", "dispatch", "arrive", "close"),
}


def _at(stage: str, **more: Any) -> World:
    world = World(**more)
    world.send("alarm", alarm(1))
    for action in _WAY[stage]:
        assert not world.ask(action, 1, disposition="genuine" if action == "close" else "").error
    return world


@pytest.mark.parametrize("action", desk.ACTIONS)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_and_action(stage: str, action: Any) -> None:
    """Listed: the alarm moves, and its point is told. Not listed: refused in words, and nothing changes."""
    world = _at(stage)
    before = world.ask("show", 1)
    told = len(world.told("progress", Progress))
    disposition = "false" if action == "close" else ""
    answer = world.ask(action, 1, officer="Anong", disposition=disposition)
    after = world.ask("show", 1)
    if (stage, action) in desk.STAGE_TABLE:
        target = desk.STAGE_TABLE[stage, action]
        assert not answer.error
        assert after.alarms[0].stage == target == world.lamp(alarm(1).id)
        change = after.changes[-1]
        assert (change.stage, change.officer, change.wall_ms) == (target, "Anong", world.wall_ms)
        assert len(after.changes) == len(before.changes) + 1
    else:
        assert answer.error.startswith("alarm 1 ")
        assert after.alarms == before.alarms and after.changes == before.changes
        assert len(world.told("progress", Progress)) == told


@pytest.mark.parametrize("action", [*desk.ACTIONS, "reopen"])
@pytest.mark.parametrize("stage", [PRESSED, HELD, *STAGES])
def test_the_table_raises_for_what_it_does_not_list(stage: str, action: str) -> None:
    if (stage, action) in desk.STAGE_TABLE:
        assert STAGES.index(desk.advance(stage, action)) > STAGES.index(stage)
    else:
        with pytest.raises(KeyError):
            desk.advance(stage, action)


@pytest.mark.parametrize("happening", ["begin", "refuse", "change", "changed", "failed"])
@pytest.mark.parametrize("state", ["idle", "reading", "changing"])
def test_the_flow_of_decisions_raises_and_changes_nothing(state: str, happening: str) -> None:
    counter = Counter("betong", {}, Commands("betong", {}))
    counter._state = state
    if (state, happening) in FLOW:
        counter._move(happening)
        assert counter._state == FLOW[state, happening]
    else:
        with pytest.raises(KeyError):
            counter._move(happening)
        assert counter._state == state


def test_a_completion_that_nobody_waits_for_raises_and_changes_nothing() -> None:
    world = _at(ACCEPTED)
    effect = next(effect for effect in reversed(world.effects) if isinstance(effect, ReadCase))
    result = next(Read(effect, found) for found in [_case_file(world)])
    before = copy.copy(world.station._counter.__dict__)
    with pytest.raises(KeyError):
        world.station.handle(result, world.now_ms)
    assert world.station._counter.__dict__ == before


def _case_file(world: World) -> Any:
    from sos_station.edge import reads

    return reads.carry_out(world.disk, ReadCase(A, "t1", world.request("dispatch", 1), 1))


def test_one_accept_covers_all_presses_of_the_incident() -> None:
    world = World()
    for press in (1, 2, 3):
        world.send("alarm", alarm(press))
    world.send("alarm", alarm(1, pole="market-1"), point="market")
    answer = world.ask("accept", 1)
    assert [row.number for row in answer.alarms] == [3, 2, 1]
    assert {world.lamp(alarm(press).id) for press in (1, 2, 3)} == {"accepted"}
    assert world.lamp(alarm(1, pole="market-1").id, "market") == "received"
    assert {row.incident for row in answer.alarms} == {1}


def test_a_press_that_joins_an_accepted_incident_waits_for_an_officer() -> None:
    world = _at(DISPATCHED)
    world.send("alarm", alarm(2))
    assert world.lamp(alarm(2).id) == "received"
    (row,) = world.alarms(by_incident=True)
    assert (row.number, row.incident, row.presses, row.waiting, row.stage) == (2, 1, 2, 1, "received")
    answer = world.ask("accept", 2)
    assert answer.alarms[0].stage == "dispatched"  # help for this pole is on its way already
    assert world.lamp(alarm(2).id) == "dispatched"
    assert world.ask("show", 2).changes[-1].note == "joins incident 1, dispatched"


def test_acting_on_the_accepted_ones_leaves_the_new_press_waiting_and_says_so() -> None:
    world = _at(ACCEPTED)
    world.send("alarm", alarm(2))
    answer = world.ask("dispatch", 1)
    assert [row.number for row in answer.alarms] == [1]
    assert answer.hint == "1 press of this incident still waits for an officer"
    world.ask("close", 1, disposition="genuine")
    assert world.lamp(alarm(2).id) == "received"
    assert [row.number for row in world.alarms()] == [2]


def test_a_change_covers_only_what_the_screen_showed() -> None:
    world = World()
    for press in (1, 2):
        world.send("alarm", alarm(press))
    seen = world.ask("show", 1).alarms[0].newest
    world.send("alarm", alarm(3))
    answer = world.ask("accept", 1, seen=seen)
    assert [row.number for row in answer.alarms] == [2, 1]
    assert world.lamp(alarm(3).id) == "received"
    assert "1 press" in answer.hint


def test_after_closing_a_press_begins_an_incident_of_its_own() -> None:
    world = _at(CLOSED)
    world.send("alarm", alarm(2))
    assert world.alarms()[0].incident == 2


def test_a_test_and_a_call_at_one_pole_stay_apart() -> None:
    world = World()
    world.send("alarm", alarm(1, kind="test_press"))
    world.send("alarm", alarm(2))
    world.send("alarm", alarm(3, kind="silent_press"))
    world.send("alarm", alarm(4, kind="test_press"))
    world.ask("close", 1, disposition="test")
    assert [(row.number, row.incident, row.stage) for row in world.alarms()] == [(2, 2, "received"), (3, 2, "received")]


def test_a_genuine_call_is_not_closed_unaccepted() -> None:
    world = _at(RECEIVED)
    assert "accepted by nobody" in world.ask("close", 1, disposition="genuine").error
    assert world.lamp(alarm(1).id) == "received"
    assert not world.ask("close", 1, disposition="false").error


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"officer": " "}, "who acts?"),
        ({"officer": "x" * 65}, "who acts?"),
        ({"officer": "a\nb"}, "who acts?"),
        ({"note": "x" * 501}, "501 characters"),
        ({"disposition": "false"}, "only close takes a disposition"),
        ({"alarm": "12a"}, "no alarm number"),
        ({"alarm": "9"}, "no alarm 9"),
        ({"alarm": "99999999999999999999"}, "no alarm number"),
        ({"number": ""}, "number"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_in_words(more: dict[str, Any], words: str) -> None:
    world = _at(RECEIVED)
    assert words in world.put(world.request("accept", **{"alarm": "1", **more})).error
    assert world.lamp(alarm(1).id) == "received"


@pytest.mark.parametrize("disposition", ["", "genuin", "GENUINE"])
def test_close_needs_a_disposition(disposition: str) -> None:
    assert "disposition" in _at(ACCEPTED).ask("close", 1, disposition=disposition).error


def test_a_stale_screen_is_refused_and_told_how_it_stands() -> None:
    world = _at(ACCEPTED)
    world.pass_ms(180_000)
    error = world.ask("close", 1, officer="Anong", disposition="false", seen_stage="received").error
    assert error == "your screen showed alarm 1 as received, but it is accepted (Somchai, 3 min ago); look again"
    assert world.lamp(alarm(1).id) == "accepted"


def test_the_second_officer_is_told_who_was_first_and_the_first_may_repeat() -> None:
    world = _at(ACCEPTED)
    assert world.ask("accept", 1, officer="Anong").error == "alarm 1 is accepted (Somchai, 0 s ago) already"
    again = world.ask("accept", 1)
    assert (again.error, again.hint) == ("", "nothing to do")
    assert len(world.ask("show", 1).changes) == 2


def test_a_request_that_comes_twice_is_carried_out_once_and_answered_the_same() -> None:
    world = World(brokers=(A, B))
    world.send("alarm", alarm(1))
    request = world.request("accept", 1)
    first, second = world.put(request), world.put(request, broker=B)
    assert first == second and not first.error
    assert len(world.ask("show", 1).changes) == 2


def test_a_refusal_that_comes_twice_stays_a_refusal() -> None:
    """Else the copy through a second broker would act after the officer was told no."""
    world = World()
    world.send("alarm", alarm(1))
    request = world.request("dispatch", 1)
    assert world.put(request).error
    world.ask("accept", 1)
    assert world.put(request).error
    assert world.lamp(alarm(1).id) == "accepted"


def test_a_request_repeated_after_a_restart_is_not_carried_out_again() -> None:
    world = World()
    world.send("alarm", alarm(1))
    request = world.request("accept", 1)
    world.put(request)
    world.ask("dispatch", 1)
    world.start()
    answer = world.put(request)
    assert not answer.error and [row.stage for row in answer.alarms] == ["dispatched"]
    assert len(world.ask("show", 1).changes) == 3


def test_a_screen_of_a_run_before_is_not_acted_on() -> None:
    """Restored from an older copy, a station gave the number on an old screen to a press that nobody had seen, and an
    accept that was under way took it (seed 7, one hour)."""
    world = _at(RECEIVED)
    run = world.ask("list").run
    world.entropy = bytes(range(1, 33))
    world.start()
    assert world.ask("accept", 1, run=run).error.endswith("look again")
    assert world.lamp(alarm(1).id) == "received"
    assert world.ask("list").run != run
    assert not world.ask("accept", 1, run=world.ask("list").run).error


def test_a_number_used_for_something_else_is_refused() -> None:
    world = _at(RECEIVED)
    world.put(world.request("accept", 1, number="x"))
    assert "another request" in world.put(world.request("dispatch", 1, number="x")).error


def test_accept_without_a_number_takes_the_live_call_that_waited_longest() -> None:
    world = World()
    world.send("alarm", alarm(1, pole="market-1", age_ms=9_000_000), point="market")
    world.send("alarm", alarm(1, kind="test_press"))
    world.send("alarm", alarm(2))
    assert [world.ask("accept").alarms[0].number for _ in range(3)] == [3, 1, 2]
    assert world.ask("accept").error == "no alarm waits for an officer"


def test_the_list_puts_live_calls_first_then_late_ones_tests_and_those_in_hand() -> None:
    world = World()
    for number in range(1, 6):
        world.send("alarm", alarm(1, pole=f"p-{number}", age_ms=None if number < 3 else 10))
    world.send("alarm", alarm(1, pole="p-6", kind="test_press"))
    world.ask("accept", 3)
    assert [row.number for row in world.alarms()] == [4, 5, 1, 2, 6, 3]
    world.ask("close", 4, disposition="false")
    assert [row.number for row in world.alarms()] == [5, 1, 2, 6, 3]
    assert [row.number for row in world.alarms(everything=True)] == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("by_incident", [False, True])
@pytest.mark.parametrize("everything", [False, True])
def test_lists_come_in_pages(by_incident: bool, everything: bool) -> None:
    world = World()
    for number in range(250):
        world.send("alarm", alarm(number, pole=f"p-{number % 125}"))
    rows: list[int] = []
    for _ in range(10):
        answer = world.ask("list", offset=len(rows), limit=60, by_incident=by_incident, everything=everything)
        rows += [row.number for row in answer.alarms]
        assert len(rows) + answer.more == (125 if by_incident else 250)
        if not answer.more:
            break
    assert len(rows) == len(set(rows)) == (125 if by_incident else 250)
    assert len(world.ask("list", limit=100_000).alarms) == 100


def test_a_change_is_said_only_after_its_commit_and_a_disk_that_fails_is_told() -> None:
    world = _at(RECEIVED)
    world.full_disk = True
    answer = world.ask("accept", 1)
    assert "nothing has changed" in answer.error
    assert world.lamp(alarm(1).id) == "received"
    world.full_disk = False
    assert not world.ask("accept", 1).error


def test_decisions_wait_for_one_another() -> None:
    world = _at(RECEIVED, slow_disk=False)
    world.slow_disk = True
    for officer in ("Somchai", "Anong"):
        request = world.request("accept", 1, officer=officer)
        world.handle(Message(A, "sos/v1/betong/desk/t1/request", _bytes(request), False))
    assert len([store for store in world.stores if isinstance(store, ChangeStage)]) == 1
    world.slow_disk = False
    world.handle(Message(A, "sos/v1/other/state", b"", False))
    world.pass_ms(1)
    shown = world.ask("show", 1)
    assert [change.officer for change in shown.changes] == ["", "Somchai"]


def _bytes(request: Any) -> bytes:
    from sos_contract.payloads import encode

    return encode(request)


def test_progress_goes_out_through_every_broker() -> None:
    world = _at(ACCEPTED, brokers=(A, B))
    assert [sent.broker for sent in world.sent if sent.topic.leaf == "progress"] == [A, B]


def test_the_lamp_of_a_pole_that_was_moved_to_another_point_is_told_at_once() -> None:
    """Its first point told of the press; the one where it stands now asked only up to 30 s later."""
    world = World()
    old = alarm()
    world.send("alarm", old, point="market")  # where merlin-1 stood then
    world.send("alarm", old, point="merlin")
    world.ask("accept", 1)
    assert [world.lamp(old.id, point) for point in ("market", "merlin")] == ["accepted", "accepted"]
    stranger = alarm(pole="gone-1")
    world.send("alarm", stranger, point="market")
    world.ask("accept", 2)
    assert [world.lamp(stranger.id, point) for point in ("market", "merlin")] == ["accepted", ""]


def test_a_big_incident_is_changed_whole_and_told_bounded() -> None:
    world = World()
    for press in range(450):
        world.send("alarm", alarm(press))
    answer = world.ask("accept", 1)
    assert (len(answer.alarms), answer.hint) == (100, "450 presses covered")
    assert answer.alarms[0].number == 450
    assert {row.stage for row in world.alarms(limit=100)} == {"accepted"}
    (told,) = world.told("progress", Progress)
    assert len(told.stages) == 200 and told.stages[0][0].press == 449  # the newest, whose the lamp is


def test_the_core_forgets_old_answers() -> None:
    world = World()
    for _ in range(MAX_ANSWERS + 20):
        world.ask("dispatch", 1)
    assert len(world.station._counter._answers) == MAX_ANSWERS
    for _ in range(MAX_LISTS * 2):
        assert not world.ask("list").error


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [(-5, "0 s"), (999, "0 s"), (119_000, "119 s"), (180_000, "3 min"), (7_200_000, "2 h"), (400_000_000, "4 days")],
)
def test_spans_in_words(span_ms: int, words: str) -> None:
    assert desk.in_words(span_ms) == words


@pytest.mark.parametrize(("then", "now"), [("unset", "synced"), ("synced", "unset")])
def test_no_age_from_a_clock_that_was_not_set(then: Quality, now: Quality) -> None:
    row = AlarmRow(
        1, 1, Identity("p", "aa", 1, 1), "merlin", "press", 0, False, 5, False, "synced", Stamp(0, then, "x", 9),
        "received", "", 0, "", "",
    )  # fmt: skip
    assert age_now_ms(row, Stamp(1000, now, "y", 5)) is None
    assert age_now_ms(row, Stamp(1000, now, "x", 19)) == 15


def test_deciding_is_pure() -> None:
    world = _at(RECEIVED)
    found = _case_file(world)
    request, now = world.request("accept", 1), Stamp(0, "synced", "x", 0)
    assert isinstance(found.case, Case)
    assert desk.decide(found.case, request, now) == desk.decide(found.case, request, now)
    assert isinstance(world.alarms()[0], AlarmView)
