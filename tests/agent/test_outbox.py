"""The outbox: what each effect does to real SQLite files, and what an agent finds after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.outbox_kit import Bench, identity, notice, press

from sos_agent.core import effects, events
from sos_agent.edge import tables
from sos_contract.payloads import Detail
from sos_edge.sqlite import Failure


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_press_is_new_once_and_a_duplicate_ever_after(bench: Bench) -> None:
    first = bench.do(press(), events.Stored)
    again = bench.do(press(), events.Stored)
    assert (first.outcome, again.outcome) == ("new", "duplicate")
    assert again.row == first.row
    assert (first.row.stage, first.row.pressed_wall_ms, first.row.quality) == ("held", None, "unset")


def test_other_content_under_the_same_identity_is_a_clash_and_each_is_found_again(bench: Bench) -> None:
    bench.do(press(), events.Stored)
    second = bench.do(press(at_ms=6000), events.Stored)
    third = bench.do(press(repeats=3), events.Stored)
    assert [(one.outcome, one.row.id.clash) for one in (second, third)] == [("clash", 1), ("clash", 2)]
    found = bench.do(press(at_ms=6000), events.Stored)
    assert (found.outcome, found.row) == ("duplicate", second.row)


def test_a_receipted_alarm_waits_no_more_until_the_station_lacks_it(bench: Bench) -> None:
    for number in (1, 2, 3):
        bench.do(press(number), events.Stored)
    ids = (identity(1), identity(3), identity(9))
    assert bench.do(effects.MarkReceipted(ids, "boot-a", 90_000), events.Receipted).changed == (
        identity(1),
        identity(3),
    )
    assert bench.do(effects.MarkReceipted(ids, "boot-a", 99_000), events.Receipted).changed == ()
    waiting = bench.do(effects.FetchWaiting(0, 10), events.WaitingFetched)
    assert ([row.id.press for row in waiting.rows], waiting.end) == ([2], True)
    assert bench.do(
        effects.MarkWaiting(
            (identity(1), identity(2)),
        ),
        events.MadeWaiting,
    ).changed == (identity(1),)
    waiting = bench.do(effects.FetchWaiting(0, 10), events.WaitingFetched)
    assert [(row.id.press, row.stage) for row in waiting.rows] == [(1, "received"), (2, "held")]


def test_stages_only_go_forward_and_only_for_what_is_receipted(bench: Bench) -> None:
    for number in (1, 2):
        bench.do(press(number), events.Stored)
    bench.do(effects.MarkReceipted((identity(1),), "boot-a", 90_000), events.Receipted)
    moved = bench.do(
        effects.StoreProgress(((identity(1), "dispatched"), (identity(2), "accepted"))), events.ProgressStored
    )
    assert moved.changed == ((identity(1), "dispatched"),)
    assert moved.unknown == ()
    back = bench.do(
        effects.StoreProgress(((identity(1), "accepted"), (identity(3), "accepted"))), events.ProgressStored
    )
    assert (back.changed, back.unknown) == ((), ((identity(3), "accepted"),))
    assert bench.do(press(1), events.Stored).row.stage == "dispatched"


def test_waiting_alarms_come_in_pages_in_the_order_of_commits(bench: Bench) -> None:
    for number in range(1, 6):
        bench.do(press(number), events.Stored)
    page = bench.do(effects.FetchWaiting(0, 3), events.WaitingFetched)
    assert ([row.id.press for row in page.rows], page.end) == ([1, 2, 3], False)
    page = bench.do(effects.FetchWaiting(page.rows[-1].row, 3), events.WaitingFetched)
    assert ([row.id.press for row in page.rows], page.end) == ([4, 5], True)


def test_receipted_alarms_are_named_open_or_all(bench: Bench) -> None:
    for number in (1, 2, 3):
        bench.do(press(number), events.Stored)
    bench.do(effects.MarkReceipted((identity(1), identity(2)), "boot-a", 90_000), events.Receipted)
    bench.do(effects.StoreProgress(((identity(1), "closed"),)), events.ProgressStored)
    all_of_them = bench.do(effects.FetchReceipted(0, 10, False), events.ReceiptedFetched)
    assert [one.press for _, one in all_of_them.rows] == [1, 2]
    still_open = bench.do(effects.FetchReceipted(0, 10, True), events.ReceiptedFetched)
    assert [one.press for _, one in still_open.rows] == [2]


def test_wall_time_comes_to_old_rows_when_their_time_base_gets_one(bench: Bench) -> None:
    bench.do(press(), events.Stored)
    bench.outbox.carry_out(effects.StoreTimebase("boot-a", 1_000_000, "synced"))
    (row,) = bench.do(effects.FetchWaiting(0, 1), events.WaitingFetched).rows
    assert (row.pressed_wall_ms, row.quality) == (1_070_001, "synced")


def test_old_receipted_alarms_go_but_row_numbers_never_come_back(bench: Bench) -> None:
    for number in (1, 2, 3):
        bench.do(press(number), events.Stored)
    bench.do(effects.MarkReceipted(tuple(identity(n) for n in (1, 2, 3)), "boot-a", 90_000), events.Receipted)
    assert bench.do(effects.PurgeReceipted(10**15), events.Purged).count == 0  # no wall time: how old is unknown
    bench.outbox.carry_out(effects.StoreTimebase("boot-a", 1_000_000, "holdover"))
    assert bench.do(effects.PurgeReceipted(1_090_000), events.Purged).count == 0
    assert bench.do(effects.PurgeReceipted(1_090_001), events.Purged).count == 2
    assert bench.do(press(4), events.Stored).row.row == 4


def test_notices_merge_keep_their_newest_number_and_tell_open_faults(bench: Bench, tmp_path: Path) -> None:
    first = bench.do(notice(), events.NoticeStored)
    second = bench.do(notice(merge=True), events.NoticeStored)
    bench.do(notice("mains_lost"), events.NoticeStored)
    bench.do(notice("mains_lost", on=False, merge=True), events.NoticeStored)
    assert (second.replaced, second.number) == (first.number, first.number + 1)
    rows = bench.do(effects.FetchNotices(0, 10), events.NoticesFetched).rows
    assert [(row.kind, row.on, row.merged) for row in rows] == [
        ("loop_open", True, 1), ("mains_lost", True, 0), ("mains_lost", False, 0),
    ]  # fmt: skip
    numbers = tuple(row.number for row in rows)
    assert bench.do(effects.DropNotices((*numbers, 77)), events.NoticesDropped).dropped == 3
    bench.outbox.close()
    contents = Bench(tmp_path).outbox.contents
    assert (contents.open_faults, contents.waiting_notices) == ((("merlin-1", "loop_open"),), 0)


def test_a_detail_is_never_merged(bench: Bench) -> None:
    for held_ms in (10, 20):
        detail = Detail(id=identity(), held_ms=held_ms)
        effect = effects.StoreNotice("merlin-1", "press_detail", True, 0, "boot-a", 1, detail, merge=True)
        assert bench.do(effect, events.NoticeStored).replaced is None
    rows = bench.do(effects.FetchNotices(0, 10), events.NoticesFetched).rows
    assert [row.detail.held_ms for row in rows if row.detail] == [10, 20]


def test_notices_have_a_bound_and_alarms_pass_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_NOTICES", 2)
    for _ in range(2):
        bench.do(notice(), events.NoticeStored)
    assert bench.do(notice(), events.StoreFailed).reason == "2 notices wait already"
    assert bench.do(notice(merge=True), events.NoticeStored).replaced == 1
    assert bench.do(press(), events.Stored).outcome == "new"


def test_a_restart_finds_everything(bench: Bench, tmp_path: Path) -> None:
    for number, pole in ((1, "merlin-1"), (7, "merlin-1"), (3, "merlin-1"), (1, "other-1")):
        bench.do(press(number, pole=pole), events.Stored)
    clash = bench.do(press(1, pole="other-1", at_ms=6000), events.Stored).row
    bench.outbox.carry_out(effects.StoreTimebase("boot-a", 1_000_000, "synced"))
    for boot in range(1, tables.BOOTS_A_POLE + 3):
        bench.outbox.carry_out(effects.StoreBoot("merlin-1", "00000000000000aa", boot, "boot-a", boot * 10))
    bench.do(effects.MarkReceipted((identity(7),), "boot-b", 5), events.Receipted)
    before = bench.outbox.contents
    assert bench.outbox.close()
    after = Bench(tmp_path).outbox.contents
    assert after.outbox == before.outbox != ""
    assert (after.waiting_alarms, after.damaged) == (4, "")
    # The lamp belongs to the newest press, though an older one was committed after it.
    assert [(row.id.pole, row.id.press, row.stage) for row in after.newest] == [
        ("merlin-1", 7, "received"), ("other-1", 1, "held"),
    ]  # fmt: skip
    assert after.newest[1].id == clash.id, "of one press the content that came last"
    assert len(after.boots) == tables.BOOTS_A_POLE
    assert after.boots[-1] == events.BootRow("merlin-1", "00000000000000aa", 66, "boot-a", 660, 1_000_660, "synced")


def test_a_boot_heard_again_replaces_what_was_known_of_it(bench: Bench, tmp_path: Path) -> None:
    for zero_ms in (10, 20):
        bench.outbox.carry_out(effects.StoreBoot("merlin-1", "00000000000000aa", 1, "boot-a", zero_ms))
    bench.outbox.close()
    assert [boot.zero_ms for boot in Bench(tmp_path).outbox.contents.boots] == [20]


def test_presses_that_come_together_share_a_commit(bench: Bench) -> None:
    import threading

    gate, begun = threading.Event(), threading.Event()
    outcomes: list[int | Failure] = []

    def hold(_: object) -> int:
        begun.set()
        gate.wait(10)
        return 0

    bench.outbox._writer.submit(hold, outcomes.append)
    begun.wait(10)
    before = bench.outbox.commits
    for number in range(1, 201):
        bench.outbox.carry_out(press(number))
    gate.set()
    stored = bench.wait(200)
    assert all(isinstance(one, events.Stored) and one.outcome == "new" for one in stored)
    assert [one.row.id.press for one in stored if isinstance(one, events.Stored)] == list(range(1, 201))
    assert bench.outbox.commits - before == 2  # the one that was held, and one for all 200


def test_a_number_that_no_disk_can_hold_fails_alone(bench: Bench) -> None:
    bench.outbox.carry_out(press(1))
    bench.outbox.carry_out(press(2, at_ms=2**63))
    bench.outbox.carry_out(press(3))
    assert [type(one) for one in bench.wait(3)] == [events.Stored, events.StoreFailed, events.Stored]
