"""Step 8: commit, then receipt; duplicates, clashes, ages, restarts, crashes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.station.test_core_faults import notice
from tests.station.world import A, B, CrashedError, World, alarm

from sos_contract.payloads import (
    Alarm,
    DeskRequest,
    Identity,
    Probe,
    ProbeAnswer,
    Progress,
    ProgressQuery,
    Receipt,
    encode,
)
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.core.inbox import MAX_BACKLOG_STORES, MAX_STORES, classify, content


def test_nothing_is_receipted_before_its_commit() -> None:
    world = World(slow_disk=True)
    world.send("alarm", alarm(1))
    assert world.receipts() == []
    world.commit()
    assert world.receipts() == [alarm(1).id]


def test_alarms_of_one_commit_share_a_receipt_a_point() -> None:
    world = World(slow_disk=True)
    for press in (1, 2, 3):
        world.send("alarm", alarm(press))
    world.send("alarm", alarm(1, pole="market-1"), point="market")
    commits = world.commits
    world.commit()
    assert world.commits == commits + 1
    assert [len(receipt.alarms) for receipt in world.told("receipt", Receipt)] == [3]
    assert [len(receipt.alarms) for receipt in world.told("receipt", Receipt, point="market")] == [1]


def test_a_duplicate_gets_the_same_receipt_and_adds_nothing() -> None:
    world = World()
    world.send("alarm", alarm(1))
    world.send("alarm", alarm(1, lane="backlog", age_ms=90_000))
    first, again = world.told("receipt", Receipt)
    assert first == again
    assert len(world.alarms()) == 1
    assert not world.alarms()[0].late


def test_the_same_identity_with_other_content_is_a_second_alarm_marked_clash() -> None:
    world = World()
    world.send("alarm", alarm(1))
    world.send("alarm", alarm(1, pressed_at_ms=77))
    world.send("alarm", alarm(1, pressed_at_ms=77, clash=1))  # the same press, as another outbox numbers it
    first, second = world.alarms()
    assert (first.clash, second.clash) == (False, True)
    assert len(world.receipts()) == 3


def test_a_clash_that_a_new_outbox_numbers_otherwise_is_known_by_its_new_number() -> None:
    """Else its agent was told each 30 s that the station lacks it, and offered it again for ever."""
    world = World()
    world.send("alarm", alarm(1, pressed_at_ms=77))
    world.send("alarm", alarm(1))
    world.send("alarm", alarm(1, pressed_at_ms=77, clash=1))  # the outbox was lost; it heard of the other one first
    world.send("progress_query", ProgressQuery(session="s1", alarms=(alarm(1).id, alarm(1, clash=1).id)))
    told = world.told("progress", Progress)[-1]
    assert told.missing == ()
    assert dict(told.stages) == {alarm(1).id: "received", alarm(1, clash=1).id: "received"}
    assert len(world.alarms()) == 2


def test_a_point_that_lost_its_disk_is_told_the_newest_press_of_each_pole() -> None:
    world = World()
    for press, more in (
        (9, {"incarnation": "ff" * 8}),
        (2, {"boot": 3}),
        (7, {"boot": 2, "lane": "backlog"}),
        (3, {"boot": 3, "kind": "silent_press"}),
    ):
        world.send("alarm", alarm(press, **more))
    world.ask("accept", 2)
    world.send("progress_query", ProgressQuery(session="s1", alarms=(), poles=("merlin-1", "market-1")))
    told = world.told("progress", Progress)[-1]
    assert dict(told.stages) == {alarm(2, boot=3).id: "accepted"}
    assert told.missing == ()
    world.send("progress_query", ProgressQuery(session="s1", alarms=(alarm(2, boot=3).id,), poles=("merlin-1",)))
    assert world.told("progress", Progress)[-1].stages == told.stages
    world.send("progress_query", ProgressQuery(session="s1", alarms=(), poles=("market-1",)))
    assert world.told("progress", Progress)[-1] == Progress(inbox="inbox-1", run=world.station.inbox.run)


def test_of_clashing_alarms_the_lamp_is_told_the_least_stage() -> None:
    world = World()
    world.send("alarm", alarm(1))
    world.ask("accept", 1)
    assert world.lamp(alarm(1).id) == "accepted"
    world.send("alarm", alarm(1, pressed_at_ms=77, clash=1))
    world.send("progress_query", ProgressQuery(session="s1", alarms=(alarm(1).id, alarm(1, clash=1).id)))
    told = world.told("progress", Progress)[-1]
    assert dict(told.stages) == {alarm(1).id: "received", alarm(1, clash=1).id: "received"}


@pytest.mark.parametrize(
    ("known", "offered", "verdict"),
    [
        ([], alarm(1), "new"),
        ([], alarm(1, clash=2), "clash"),
        ([content(alarm(1))], alarm(1), "duplicate"),
        ([content(alarm(1))], alarm(1, repeats=3), "clash"),
        ([content(alarm(1))], alarm(1, kind="silent_press"), "clash"),
        ([content(alarm(1)), content(alarm(1, repeats=3))], alarm(1, repeats=3), "duplicate"),
    ],
)
def test_what_an_alarm_is(known: list[tuple[str, int, int]], offered: Alarm, verdict: str) -> None:
    assert classify(known, offered)[0] == verdict


@pytest.mark.parametrize(
    ("age_ms", "sent_ago_ms", "clock", "late", "age_then_ms"),
    [
        (40, 10, "synced", False, 50),
        (40, 10, "holdover", False, 40),
        (40, 30_000, "synced", False, 30_040),  # an hour in a broker's queue would show
        (61_000, 0, "synced", True, 61_000),
        (50_000, 20_000, "synced", True, 70_000),
        (40, -5_000, "synced", False, 40),  # our clock is behind: never younger than the agent says
        (40, 9_999_999_999, "synced", False, 40),  # a clock gone wrong
        (None, 10, "unset", True, None),
    ],
)
def test_late_alarms_say_so(
    age_ms: int | None, sent_ago_ms: int, clock: Any, late: bool, age_then_ms: int | None
) -> None:
    world = World()
    world.send("alarm", alarm(1, age_ms=age_ms, clock=clock, sent_wall_ms=world.wall_ms - sent_ago_ms))
    (found,) = world.alarms()
    assert (found.late, found.age_ms, found.clock) == (late, age_then_ms, clock)
    world.pass_ms(5_000)
    later = world.alarms()[0].age_ms
    assert later == (None if age_then_ms is None else age_then_ms + 5_000)


def test_an_age_survives_a_restart_of_the_program_and_a_clock_that_jumps() -> None:
    world = World()
    world.send("alarm", alarm(1))
    world.wall_ms += 50 * 365 * 24 * 3_600_000  # the clock is set at last
    world.start()
    assert world.alarms()[0].age_ms == 40


def test_an_age_across_a_restart_of_the_machine_needs_a_clock() -> None:
    world = World()
    world.send("alarm", alarm(1))
    world.timebase, world.now_ms = "boot-2", 5_000
    world.wall_ms += 60_000
    world.start()
    assert world.alarms()[0].age_ms == 60_040
    world.quality = "unset"
    world.start()
    assert world.alarms()[0].age_ms is None


def test_a_long_query_is_answered_in_parts() -> None:
    world = World()
    world.send("alarm", alarm(3))
    asked = tuple(alarm(press).id for press in range(1, 451))
    world.send("progress_query", ProgressQuery(session="s1", alarms=asked))
    told = world.told("progress", Progress)
    assert [len(part.stages) + len(part.missing) for part in told] == [200, 200, 50]
    assert sum(len(part.stages) for part in told) == 1


def test_a_full_disk_receipts_nothing_answers_no_probe_and_is_told_once() -> None:
    world = World()
    world.full_disk = True
    for press in range(1, 4):
        world.send("alarm", alarm(press))
        world.probe()
    assert world.receipts() == [] and world.told("probe_answer", ProbeAnswer) == []
    assert [log.text for log in world.logs].count("inbox_failed") == 1
    world.full_disk = False
    world.send("alarm", alarm(1))
    assert world.receipts() == [alarm(1).id]
    assert [log.text for log in world.logs].count("inbox_back") == 1


def test_a_hanging_disk_bounds_what_waits() -> None:
    world = World(slow_disk=True)
    for press in range(1, MAX_STORES + 50):
        world.send("alarm", alarm(press))
    assert sum(isinstance(store, fx.StoreAlarm) for store in world.stores) == MAX_STORES
    world.commit()
    world.send("alarm", alarm(MAX_STORES + 10))
    world.commit()
    assert alarm(MAX_STORES + 10).id in world.receipts()


@pytest.mark.parametrize("full_disk", [False, True])
@pytest.mark.parametrize(("lane", "most"), [("live", MAX_STORES), ("backlog", MAX_BACKLOG_STORES)])
def test_what_came_to_an_end_leaves_its_room_and_no_more(full_disk: bool, lane: str, most: int) -> None:
    world = World(slow_disk=True, full_disk=full_disk)
    world.send("notice", notice(1, "tamper"))
    world.probe()
    for press, one in enumerate(("live", "live", "backlog", "backlog", "backlog")):
        world.send("alarm", alarm(press, lane=one))
    world.commit()
    for press in range(10, MAX_STORES + 50):
        world.send("alarm", alarm(press, lane=lane))
    assert sum(isinstance(store, fx.StoreAlarm) for store in world.stores) == most


@pytest.mark.parametrize("full_disk", [False, True])
def test_a_backlog_goes_to_disk_in_small_parts_and_a_live_press_at_once(full_disk: bool) -> None:
    world = World(slow_disk=True)
    for press in range(100):
        world.send("alarm", alarm(press, lane="backlog"))
    world.send("alarm", alarm(500))
    under_way = [store.alarm.id.press for store in world.stores if isinstance(store, fx.StoreAlarm)]
    assert under_way == [*range(MAX_BACKLOG_STORES), 500]
    world.full_disk = full_disk
    world.commit()
    world.full_disk = False
    assert (alarm(500).id in world.receipts()) != full_disk
    for _ in range(10):
        world.commit()
    assert len(world.receipts()) == (101 if not full_disk else 100 - MAX_BACKLOG_STORES)
    for press in range(100):
        world.send("alarm", alarm(press, lane="backlog"))
        world.commit()
    assert {identity.press for identity in world.receipts()} >= set(range(100))


def test_a_receipt_goes_back_where_the_alarm_came_from() -> None:
    world = World(brokers=(A, B))
    world.send("alarm", alarm(1), broker=B)
    assert [sent.broker for sent in world.sent if sent.topic.leaf == "receipt"] == [B]


def test_a_retained_alarm_is_refused_and_makes_nobody_present() -> None:
    world = World()
    world.send("alarm", alarm(1), retained=True)
    assert world.receipts() == [] and world.alarms() == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "loop_open"},
        {"kind": ""},
        {"kind": "a\nb"},
        {"pole": ""},
        {"pole": "x" * 65},
        {"incarnation": "xyz"},
        {"boot": -1},
        {"press": 2**32},
        {"repeats": -1},
        {"pressed_at_ms": 2**63},
        {"age_ms": -1},
    ],
)
def test_an_alarm_that_cannot_be_is_refused_in_words(bad: dict[str, Any]) -> None:
    world = World()
    world.send("alarm", alarm(**{"press": 1, **bad}))
    assert world.receipts() == [] and world.alarms() == ()
    told = world.told("receipt", Receipt)
    assert [len(receipt.refused) for receipt in told] in ([], [1])
    world.send("alarm", alarm(1))
    assert world.receipts() == [alarm(1).id]


def test_presses_that_the_site_file_does_not_know_are_kept_and_marked() -> None:
    world = World()
    world.send("alarm", alarm(1, pole="new-1"), point="new-point")
    world.send("alarm", alarm(1, pole="market-1"), point="merlin")
    world.send("alarm", alarm(1, kind="fall_press"))
    assert [found.remark for found in world.alarms()] == [
        "pole is not in the station's site file",
        "pole belongs to point market",
        "",
    ]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{}", b"[1]", b'{"v":9}', b'{"v":1}', b"{" * 1000, b"x" * 70_000])
@pytest.mark.parametrize("leaf", ["alarm", "notice", "probe", "progress_query", "health", "state", "desk"])
def test_nonsense_is_counted_and_changes_nothing(leaf: str, payload: bytes) -> None:
    world = World()
    if leaf == "desk":
        world.handle(ev.Message(A, "sos/v1/betong/desk/t1/request", payload, False))
    else:
        world.send(leaf, payload)
    world.handle(ev.Message(A, "sos/v1/betong/state", payload, False))
    assert world.alarms() == ()
    assert any(log.level == "warning" for log in world.logs)


_texts = st.text(max_size=80)
_numbers = st.integers(-(2**70), 2**70)
_identities = st.builds(
    Identity, _texts, st.sampled_from(["00000000000000aa", "", "zz"]) | _texts, _numbers, _numbers, _numbers
)
_alarms = st.builds(
    Alarm, id=_identities, kind=st.sampled_from(["press", "tamper"]) | _texts, pressed_at_ms=_numbers,
    repeats=_numbers, age_ms=st.none() | _numbers, sent_wall_ms=_numbers,
)  # fmt: skip
_requests = st.builds(
    DeskRequest, number=_texts, officer=_texts, alarm=_texts | st.integers(0, 3).map(str), seen=_numbers, note=_texts,
    action=st.sampled_from(["list", "show", "notices", "accept", "dispatch", "arrive", "close"]), limit=_numbers,
    offset=_numbers, disposition=_texts, seen_stage=_texts, everything=st.booleans(), by_incident=st.booleans(),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(_alarms | _requests | st.builds(Probe, session=_texts, number=_numbers), max_size=6))
def test_no_peer_can_stop_the_station(messages: list[Any]) -> None:
    world = World()
    for message in messages:
        if isinstance(message, DeskRequest):
            world.handle(ev.Message(A, "sos/v1/betong/desk/t1/request", encode(message), False))
        else:
            world.send("alarm" if isinstance(message, Alarm) else "probe", message)
    world.send("alarm", alarm(1))
    assert world.receipts()[-1] == alarm(1).id


def test_the_power_may_go_between_any_two_effects() -> None:
    """Agents and officers repeat what was not answered: each press is there once, each change was made once."""
    for crash_after in range(200):
        world = World(brokers=(A, B))
        world.crash_after = crash_after
        crashed = _one_shift(world)
        world.crash_after = None
        world.start()
        assert not _one_shift(world)
        shown = world.ask("show", 1)
        assert [found.id.press for found in world.alarms(everything=True)] == [2, 1]
        assert [change.stage for change in shown.changes] == ["received", "accepted", "dispatched", "closed"]
        assert world.lamp(alarm(1).id) in ("closed", "dispatched", "accepted", "received")
        if not crashed:
            return
    raise AssertionError("the shift never ended")


def _one_shift(world: World) -> bool:
    """Two presses and an officer's three changes; True if the power went."""
    changes: list[tuple[Any, str]] = [("accept", ""), ("dispatch", ""), ("close", "genuine")]
    requests = [
        DeskRequest(number=f"n{action}", officer="Somchai", action=action, alarm="1", disposition=disposition)
        for action, disposition in changes
    ]
    try:
        world.send("alarm", alarm(1))
        world.send("alarm", alarm(2))
        for request in requests:
            world.put(request)
    except CrashedError:
        return True
    committed = {row[0] for row in world.disk.execute("SELECT press FROM alarm")}
    assert {identity.press for identity in world.receipts()} <= committed
    return False
