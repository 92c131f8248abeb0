"""Exact values of the counter: whom it answers what, in which words, and how much it holds."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.station.world import A, B

from sos_contract import topics
from sos_contract.payloads import (
    ChangeView,
    DeskAnswer,
    DeskRequest,
    Entry,
    FaultView,
    Identity,
    Progress,
    decode,
    encode,
)
from sos_station.core.commands import Commands
from sos_station.core.counter import MAX_LISTS, MAX_QUEUE, MAX_ROWS, Counter
from sos_station.core.effects import ChangeStage, Publish, ReadAlarm, ReadAlarms, ReadCase, ReadFaults, StagesChanged
from sos_station.core.inbox import MAX_IDENTITIES
from sos_station.core.records import AlarmFile, AlarmPage, AlarmRow, Case, CaseFile, FaultPage, StageOf, Stamp, view

NOW = Stamp(1_800_000_000_000, "synced", "boot-1", 5_000)
ENTRY = Entry(7, "ab" * 32)


def row(number: int = 7, **more: Any) -> AlarmRow:
    fields: dict[str, Any] = {
        "number": number, "incident": 5, "id": Identity("merlin-1", "aa", 1, number), "point": "merlin",
        "kind": "press", "repeats": 0, "clash": False, "age_ms": 40, "late": False, "clock": "synced",
        "received": NOW, "stage": "received", "officer": "", "changed_wall_ms": 0, "disposition": "", "remark": "",
    }  # fmt: skip
    return AlarmRow(**{**fields, **more})


def counter() -> Counter:
    made = Counter("betong", {}, Commands("betong", {"merlin-1": "merlin"}))
    made.incarnation = "inbox-1"
    return made


def asked(made: Counter, action: Any, alarm: str = "7", **more: Any) -> list[Any]:
    return made.request(A, "t1", encode(request(action, alarm, **more)), NOW)


def request(action: Any, alarm: str = "7", **more: Any) -> DeskRequest:
    return DeskRequest(**{"number": "r1", "officer": "Somchai", "action": action, "alarm": alarm, **more})


def answers(effects: list[Any], terminal: str = "t1") -> list[DeskAnswer]:
    """What that terminal is told through A."""
    said: list[Any] = [
        decode(effect.payload, DeskAnswer)
        for effect in effects
        if isinstance(effect, Publish) and effect.topic == topics.desk_answer("betong", terminal)
    ]
    assert all(effect.broker == A and not effect.retain for effect in effects if isinstance(effect, Publish))
    return said


@pytest.mark.parametrize(("limit", "read"), [(-3, 1), (0, 1), (1, 1), (MAX_ROWS, MAX_ROWS), (MAX_ROWS + 1, MAX_ROWS)])
def test_a_page_has_one_row_to_a_hundred(limit: int, read: int) -> None:
    wish = request("list", "", limit=limit)
    assert counter().request(A, "t1", encode(wish), NOW) == [ReadAlarms(A, "t1", wish, read)]
    wish = request("notices", "", limit=limit)
    assert counter().request(A, "t1", encode(wish), NOW) == [ReadFaults(A, "t1", wish, read)]
    wish = request("show", "7", limit=limit)
    assert counter().request(A, "t1", encode(wish), NOW) == [ReadAlarm(A, "t1", wish, 7, read)]


@pytest.mark.parametrize(("offset", "error"), [(0, ""), (2**53 - 1, ""), (2**53, "no such page"), (-1, "no such page")])
def test_a_page_beyond_all_numbers_is_none(offset: int, error: str) -> None:
    said = asked(counter(), "list", "", offset=offset)
    assert (isinstance(said[0], ReadAlarms), [one.error for one in answers(said)]) == (
        not error,
        [error] if error else [],
    )


def test_64_lists_are_read_at_a_time() -> None:
    made = counter()
    reads = [asked(made, "list", "")[0] for _ in range(MAX_LISTS)]
    (busy,) = answers(asked(made, "list", ""))
    assert (busy.number, busy.error) == ("r1", "the station is busy")
    made.read(reads[0], AlarmPage((), 0), NOW)
    assert isinstance(asked(made, "list", "")[0], ReadAlarms)
    assert answers(asked(made, "list", ""))[0].error
    made.read_failed(reads[1], "why")
    assert isinstance(asked(made, "list", "")[0], ReadAlarms)


def test_256_changes_wait_and_each_has_its_turn() -> None:
    made = counter()
    (read,) = asked(made, "accept")
    for number in range(MAX_QUEUE):
        assert asked(made, "accept", number=f"q{number}") == []
    (full,) = answers(asked(made, "accept", number="q"))
    assert (full.number, full.error) == ("q", "too many requests wait")
    effects = made.read_failed(read, "why")
    assert [one.error for one in answers(effects)] == ["the station cannot read its inbox: why"]
    assert isinstance(effects[-1], ReadCase) and effects[-1].request.number == "q0"


def test_pages_say_what_is_left_out() -> None:
    made = counter()
    wish = request("list", "", offset=3)
    read = made.request(A, "t1", encode(wish), NOW)[0]
    assert isinstance(read, ReadAlarms)
    (said,) = answers(made.read(read, AlarmPage((row(), row(8)), 10), NOW))
    assert said == DeskAnswer(number="r1", alarms=(view(row(), NOW), view(row(8), NOW)), more=5)
    fault = FaultView(
        point="merlin", pole="", kind="disk_full", since_wall_ms=1, last_good_wall_ms=0, until_wall_ms=None, value=0,
        count=1,
    )  # fmt: skip
    faults = made.request(A, "t1", encode(request("notices", "", offset=2)), NOW)[0]
    assert isinstance(faults, ReadFaults)
    assert answers(made.read(faults, FaultPage((fault,), 3), NOW)) == [DeskAnswer(number="r1", faults=(fault,), more=0)]
    assert answers(made.read(faults, FaultPage((fault,), 4), NOW))[0].more == 1


def test_one_alarm_is_shown_with_its_history_and_one_that_is_none_is_named() -> None:
    made = counter()
    read = asked(made, "show", " #7 ")[0]
    assert isinstance(read, ReadAlarm) and read.number == 7
    change = ChangeView(wall_ms=1, officer="x", stage="accepted", note="")
    (said,) = answers(made.read(read, AlarmFile(row(), (change,), (row(8),)), NOW))
    assert said == DeskAnswer(number="r1", alarms=(view(row(), NOW), view(row(8), NOW)), changes=(change,))
    (none,) = answers(made.read(read, None, NOW))
    assert none.error == "no alarm #7; 'safezone alarms list --all' shows all there are"


@pytest.mark.parametrize(
    ("action", "alarm", "error"),
    [
        ("show", "x" * 30, f"'{'x' * 20}' is no alarm number"),
        ("show", "", "which alarm? 'safezone alarms show NUMBER'"),
        ("dispatch", "", "which alarm? 'safezone alarms dispatch NUMBER'"),
        ("accept", "x", "'x' is no alarm number"),
    ],
)
def test_what_is_no_number_is_said_in_words(action: str, alarm: str, error: str) -> None:
    made = counter()
    said = answers(asked(made, action, alarm))
    assert [(one.number, one.error) for one in said] == [("r1", error)]
    assert isinstance(asked(made, "accept", "7", number="r2")[0], ReadCase), "nothing stands in the way of the next"


def test_accept_without_a_number_reads_the_first_that_waits() -> None:
    made = counter()
    (read,) = asked(made, "accept", "")
    assert isinstance(read, ReadCase) and read.number is None
    (said,) = answers(made.read(read, CaseFile(None), NOW))
    assert said.error == "no alarm waits for an officer"


def change(made: Counter, *, stages: int = 1) -> tuple[ChangeStage, StagesChanged]:
    """A change under way, and what came of it."""
    (read,) = asked(made, "accept", note="n", seen=9)
    (wanted,) = made.read(read, CaseFile(Case(row(), "received", 8)), NOW)
    assert isinstance(wanted, ChangeStage)
    told = tuple(StageOf(Identity("merlin-1", "aa", 1, n), "merlin", "accepted") for n in range(stages))
    other = StageOf(Identity("market-1", "aa", 1, 1), "market", "accepted")
    return wanted, StagesChanged((row(stage="accepted"),), 3, 1, (*told, other), ENTRY)


def test_a_change_is_what_the_desk_decided() -> None:
    wanted, _ = change(counter())
    assert wanted == ChangeStage(
        A, "t1", request("accept", note="n", seen=9), 7, 5, 9, "received", "accepted", "n", at=NOW
    )  # fmt: skip


def test_a_change_on_disk_is_told_to_the_officer_and_to_each_point_through_each_broker() -> None:
    made = counter()
    wanted, outcome = change(made, stages=MAX_IDENTITIES + 1)
    effects = made.changed(wanted, outcome, [A, B], NOW)
    progress: list[Any] = [
        (effect.broker, effect.topic, decode(effect.payload, Progress))
        for effect in effects
        if isinstance(effect, Publish) and effect.topic.endswith("/progress")
    ]
    said_to = [
        (broker, topic.split("/")[-2], len(one.stages), one.inbox, one.record) for broker, topic, one in progress
    ]
    assert said_to == [
        (A, "merlin", MAX_IDENTITIES, "inbox-1", ENTRY), (B, "merlin", MAX_IDENTITIES, "inbox-1", ENTRY),
        (A, "market", 1, "inbox-1", ENTRY), (B, "market", 1, "inbox-1", ENTRY),
    ]  # fmt: skip
    (said,) = answers([effects[0]])
    assert said == DeskAnswer(
        number="r1", alarms=(view(row(stage="accepted"), NOW),),
        hint="3 presses covered; 1 press of this incident still waits for an officer",
    )  # fmt: skip
    assert answers(asked(made, "accept", note="n", seen=9)) == [said], "asked again, it is told the same"
    reused = answers(asked(made, "accept", note="other"))
    assert [one.error for one in reused] == ["another request had this number; nothing has changed"]


def test_a_change_that_the_disk_did_not_take_has_changed_nothing() -> None:
    made = counter()
    wanted, _ = change(made)
    assert asked(made, "accept", number="r2") == []
    refusal, following = made.change_failed(wanted, "full")
    (said,) = answers([refusal])
    assert said.error == "nothing has changed, the station's inbox does not take it: full"
    assert isinstance(following, ReadCase) and following.request.number == "r2"


def test_a_request_of_before_a_restart_gets_its_answer_again() -> None:
    made = counter()
    (read,) = asked(made, "accept")
    done = replace(row(), stage="accepted", officer="Somchai")
    (said,) = answers(made.read(read, CaseFile(Case(row(), "received", 7), (done,)), NOW))
    assert said == DeskAnswer(number="r1", alarms=(view(done, NOW),))


def test_what_was_done_already_is_said_so_and_what_cannot_be_is_refused_with_the_alarm() -> None:
    made = counter()
    mine = row(stage="accepted", officer="Somchai")
    (read,) = asked(made, "accept")
    (said,) = answers(made.read(read, CaseFile(Case(mine, "accepted", 7)), NOW))
    assert said == DeskAnswer(number="r1", hint="nothing to do", alarms=(view(mine, NOW),))
    (read,) = asked(made, "arrive", number="r2")
    (said,) = answers(made.read(read, CaseFile(Case(row(), "received", 7)), NOW))
    assert said.error.startswith("alarm 7 waits for an officer; first:") and said.alarms == (view(row(), NOW),)
