"""The stores' twins: the same answers as the real edges on a real file, and what a crash at any moment leaves."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.agent.outbox_kit import Bench, notice
from tests.agent.test_outbox_twin import BASES, steps
from tests.sim.stores import SECOND_US, WALL_MS, Stores, press, results, store

from sos_agent.core import effects as fx
from sos_agent.core import events as ev
from sos_agent.edge.reserve import PIECE_BYTES, Reserve
from sos_contract.payloads import DeskRequest, Detail, Identity, Notice
from sos_edge.lock import LockedError
from sos_station.core import effects as sfx
from sos_station.core import events as sev
from sos_station.core.records import AlarmPage, Stamp
from sos_station.edge.inbox import Inbox

POISON = fx.StoreNotice("merlin-1", "press_detail", True, 2**70, "boot-a", 1, None)
purges = st.builds(fx.PurgeReceipted, st.integers(0, 5000))


def _ordered(contents: ev.Contents) -> ev.Contents:
    return replace(
        contents,
        outbox="",
        newest=tuple(sorted(contents.newest, key=lambda row: row.id.pole)),
        boots=tuple(sorted(contents.boots, key=lambda boot: (boot.pole, boot.incarnation, boot.boot))),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(steps, steps, purges, st.just(POISON)), max_size=25))
def test_the_outbox_answers_as_the_real_one_and_holds_the_same(todo: list[fx.StoreEffect]) -> None:
    todo = [*(fx.StoreTimebase(name, 1000 * n, "synced") for n, name in enumerate(BASES, 1)), *todo]
    with tempfile.TemporaryDirectory() as folder:
        stores, bench = Stores(), Bench(Path(folder))
        stores.open_outbox()
        answers = stores.do(*todo)
        for effect in todo:
            bench.outbox.carry_out(effect)
        assert bench.wait(len(answers)) == answers
        assert bench.outbox.close()
        stores.outbox.kill()
        again = Bench(Path(folder))
        assert _ordered(again.outbox.contents) == _ordered(stores.open_outbox().contents)
        again.outbox.close()


# --- the inbox

AT = Stamp(WALL_MS, "synced", "boot-1", 5)
few = st.integers(1, 3)
kinds = st.sampled_from(["loop_open", "mains_back", "press_detail", "pole_restarted"])


def _request(action: Any, number: int, **more: Any) -> DeskRequest:
    return DeskRequest(number=f"r{number}", officer="Malee", action=action, **more)


def _change(number: int, incident: int, upto: int, stages: tuple[str, str]) -> sfx.ChangeStage:
    request = _request("accept", number, alarm=str(incident))
    return sfx.ChangeStage("b", "t", request, incident, incident, upto, *stages, "", AT)


def _notice(number: int, kind: str, on: bool, press_number: int) -> sfx.StoreNotice:
    detail = Detail(id=Identity("merlin-1", "aa", 1, press_number), held_ms=900) if kind == "press_detail" else None
    told = Notice(
        number=number, outbox="o", pole="merlin-1", kind=kind, on=on, wall_ms=5, clock="synced", detail=detail
    )
    return sfx.StoreNotice("b", "merlin", told, AT, 0)


kept = st.one_of(
    st.builds(lambda n, ms: store(n, pressed_at_ms=ms), few, few),
    st.builds(lambda n: store(n, kind="silent_press", incarnation="bb"), few),
    st.builds(_notice, few, kinds, st.booleans(), few),
    st.builds(sfx.ProveInbox, st.just("b"), st.just("merlin"), st.just("s"), few),
    st.builds(sfx.SetFault, st.just("merlin"), st.just(""), st.just("point_lost"), st.booleans(), st.just(AT)),
    st.builds(_change, few, few, few, st.sampled_from([("received", "accepted"), ("accepted", "closed")])),
    st.just(store(9, repeats=2**70)),
    st.just(sfx.Prune(WALL_MS)),
)  # fmt: skip
READS: tuple[sfx.ReadEffect, ...] = (
    sfx.ReadAlarms("b", "t", _request("list", 0, everything=True), 50),
    sfx.ReadFaults("b", "t", _request("notices", 0, everything=True), 50),
    sfx.ReadCase("b", "t", _request("accept", 1), None),
    sfx.ReadAlarm("b", "t", _request("show", 0), 1, 50),
)


async def _really(folder: Path, todo: list[sfx.StoreEffect]) -> tuple[list[Any], list[Any], int]:
    told: list[Any] = []
    heard = asyncio.Event()

    def take(event: Any) -> None:
        told.append(event)
        heard.set()

    async def until(done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                heard.clear()
                await heard.wait()

    inbox = Inbox(folder, deliver=take, wall_ms=WALL_MS)
    for effect in todo:
        inbox.store(effect)
    await until(lambda: len(results(told)) == len(todo))
    for read in READS:
        inbox.read(read)
    await until(lambda: sum(isinstance(event, sev.Read) for event in told) == len(READS))
    assert inbox.close()
    high_water = max((event.high_water for event in told if isinstance(event, sev.Committed)), default=0)
    return results(told), [event.result for event in told if isinstance(event, sev.Read)], high_water


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(kept, max_size=20))
def test_the_inbox_answers_as_the_real_one_and_reads_the_same(todo: list[sfx.StoreEffect]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        real, read, high_water = asyncio.run(_really(Path(folder), todo))
    stores = Stores()
    stores.open_inbox()
    for effect in todo:
        stores.inbox.store(effect)
    told = stores.pass_us()
    # The real one tells the failures of a commit before its results; which jobs share a commit is nobody's promise.
    by_kind = [
        [one for one in found if isinstance(one[1], str) is failed]
        for found in (real, results(told))
        for failed in (0, 1)
    ]
    assert by_kind[:2] == by_kind[2:]
    for one in READS:
        stores.inbox.read(one)
    assert [event.result for event in stores.pass_us()] == read
    assert max((event.high_water for event in told if isinstance(event, sev.Committed)), default=0) == high_water


# --- crashes

MOMENTS_US = (0, 50, 300, 800, 1500, 2500, 4000, 6000, 9000, 12_000)


@pytest.mark.parametrize("end", ["kill", "power_cut"])
@pytest.mark.parametrize("frozen_us", [None, 0, 900])
def test_what_was_told_as_stored_is_there_after_a_crash_at_any_moment_and_nothing_twice(
    end: str, frozen_us: int | None
) -> None:
    outcomes = set()
    for moment_us in MOMENTS_US:
        for seed in range(8):
            stores = Stores(seed)
            outbox = stores.open_outbox()
            for number in (1, 2, 3):
                outbox.carry_out(press(number))
                stores.loop.run(stores.loop.now_us + 40 * seed)
            if frozen_us is not None:
                stores.loop.run(stores.loop.now_us + frozen_us)
                outbox.freeze()
            told = {event.row.id.press for event in stores.pass_us(moment_us)}
            getattr(outbox, end)()
            assert stores.pass_us() == []
            there = stores.presses()
            rows = [row.fields for row in stores.trace.rows]
            assert told <= set(there), "a promise was broken"
            assert there == sorted(set(there))
            assert len(rows) == len(there), "the trace tells of each row, told or not"
            stores.open_outbox()
            answers = stores.do(press(1), press(2), press(3))
            assert [one.outcome for one in answers] == ["duplicate" if n in there else "new" for n in (1, 2, 3)]
            assert stores.presses() == sorted(stores.presses()) or set(stores.presses()) == {1, 2, 3}
            outcomes.add((len(told), len(there)))
    if frozen_us is None:
        assert {(0, 0), (0, 3), (3, 3)} <= outcomes, "before written, between written and told, and after"


@pytest.mark.parametrize("end", ["kill", "power_cut"])
def test_what_the_inbox_has_committed_is_there_after_a_crash_at_any_moment(end: str) -> None:
    for moment_us in MOMENTS_US:
        stores = Stores(moment_us)
        stores.open_inbox()
        stores.inbox.store(store(1))
        stores.inbox.store(store(2))
        told = [outcome.verdict for _, outcome in results(stores.pass_us(moment_us))]
        getattr(stores.inbox, end)()
        assert stores.pass_us() == []
        incarnation = stores.inbox.incarnation
        assert stores.open_inbox().incarnation == incarnation
        again = [outcome.verdict for _, outcome in stores.keep(store(1), store(2))]
        assert again.count("duplicate") >= len(told)
        assert len([row for row in stores.trace.rows if row.fields[1] == "new"]) == 2


def test_a_commit_takes_between_one_and_eight_milliseconds_and_those_that_wait_share_the_next() -> None:
    stores = Stores()
    stores.open_outbox()
    for number in range(300):
        stores.outbox.carry_out(press(number))
        stores.loop.run(stores.loop.now_us + 50)
    stores.pass_us()
    assert 1 < stores.outbox.commits < 25
    times = []
    for number in range(300, 500):
        began_us = stores.loop.now_us
        stores.outbox.carry_out(press(number))
        assert stores.loop.run(began_us + SECOND_US, lambda: bool(stores.told))
        stores.told.clear()
        times.append(stores.loop.now_us - began_us)
    times.sort()
    assert times[0] >= 1000 and times[190] <= 9000 and times[-1] > 20_000, "a card is slow now and then"


# --- faults of the disk


def test_a_slow_disk_and_one_that_hangs_tell_late_and_lose_nothing() -> None:
    stores = Stores()
    stores.open_outbox()
    stores.disk.slow_us = 500_000
    stores.outbox.carry_out(press(1))
    assert stores.pass_us(400_000) == []
    stores.disk.hang = True
    assert stores.pass_us(30 * SECOND_US) == []
    assert stores.outbox.waited_s() > 29
    stores.disk.hang = False
    stores.disk.slow_us = 0
    assert [event.outcome for event in stores.pass_us()] == ["new"]
    assert stores.outbox.waited_s() == 0
    assert stores.said == ["slow", "hang", "ok", "ok"]


def test_on_a_full_disk_alarms_live_on_the_reserve_and_notices_are_refused_until_it_is_whole() -> None:
    stores = Stores()
    stores.open_outbox()
    stores.disk.full = True
    stored, refused = stores.do(press(1), notice())
    assert (stored.outcome, refused.full) == ("new", True)
    assert not stores.outbox.disk_ok
    stores.disk.full = False
    (refused,) = stores.do(notice())
    assert (refused.reason, refused.full) == ("no room left on the disk", True)
    assert stores.outbox.refill()
    assert isinstance(stores.do(notice())[0], ev.NoticeStored)


class _Quota(Reserve):
    """A real disk that is full: SQLite's page limit, which each piece of the reserve raises."""

    limit: Callable[[], object] = staticmethod(lambda: None)

    def give(self) -> bool:
        given = super().give()
        if given:
            self.limit()
        return given


def test_a_full_disk_is_answered_as_by_the_real_outbox(tmp_path: Path) -> None:
    stores, quotas = Stores(), list[_Quota]()

    def reserve(folder: Path) -> Reserve:
        quotas.append(_Quota(folder, 4 * PIECE_BYTES, margin=0))
        return quotas[0]

    bench = Bench(tmp_path, reserve)
    stores.open_outbox()
    connection = bench.outbox._writer._connection
    pages: list[Any] = []  # SQLite sets the limit no lower than what there is
    bench.outbox._writer.submit(lambda db: db.execute("PRAGMA max_page_count=1").fetchone()[0], pages.append)
    bench.calls.get(timeout=10)()
    quotas[0].limit = lambda: connection.execute(f"PRAGMA max_page_count={pages[0] + 50}")
    number = 0
    while not quotas[0].held() < 4 * PIECE_BYTES:  # until a page is wanted that is not there
        number += 1
        bench.do(press(number), ev.Stored)
        stores.do(press(number))
    stores.disk.full = True
    for fresh in range(number + 1, number + 20):
        for effect in (press(fresh), notice(), press(fresh, at_ms=7), fx.FetchNotices(0, 5)):
            bench.outbox.carry_out(effect)
            (real,), (twin,) = bench.wait(), stores.do(effect)
            assert real == twin or (isinstance(real, ev.StoreFailed) and isinstance(twin, ev.StoreFailed))
    assert stores.outbox.disk_ok == bench.outbox.disk_ok is False
    bench.outbox.close()


def test_a_full_inbox_commits_nothing_and_everything_once_there_is_room() -> None:
    stores = Stores()
    stores.open_inbox()
    stores.disk.full = True
    assert [reason for _, reason in stores.keep(store(1), store(2))] == ["database or disk is full"] * 2
    stores.disk.full = False
    assert [outcome.verdict for _, outcome in stores.keep(store(1), store(2))] == ["new", "new"]


def test_a_failing_disk_fails_each_store_and_read_and_says_so() -> None:
    stores = Stores()
    stores.open_inbox()
    stores.disk.failing = True
    assert [reason for _, reason in stores.keep(store(1))] == ["disk I/O error"]
    stores.inbox.read(READS[0])
    assert stores.pass_us() == [sev.ReadFailed(READS[0], "disk I/O error")]
    stores.inbox.kill()
    with pytest.raises(Exception, match="check the disk"):
        stores.open_inbox()
    stores.disk.failing = False
    assert [outcome.verdict for _, outcome in (stores.open_inbox(), stores.keep(store(1)))[1]] == ["new"]


def _end_for_good(bench: Bench, stores: Stores) -> tuple[Any, Any]:
    real = bench.do(press(2), ev.StoreFailed)
    (twin,) = stores.do(press(2))
    return real, twin


def test_an_outbox_whose_file_has_gone_fails_and_ends_its_owner_as_the_real_one_does(tmp_path: Path) -> None:
    bench, stores = Bench(tmp_path), Stores()
    stores.open_outbox()
    (tmp_path / "outbox.db").unlink()
    stores.disk.lose()
    real, twin = _end_for_good(bench, stores)
    assert (real.full, type(real)) == (twin.full, type(twin))
    assert real.reason.endswith("has been removed") and twin.reason.endswith("has been removed")
    assert len(bench.broken) == len(stores.broken) == 1
    before = stores.outbox.incarnation
    stores.outbox.kill()
    assert stores.open_outbox().incarnation != before
    assert stores.presses() == [] and stores.outbox.contents.damaged == ""


def test_a_damaged_file_is_moved_aside_at_the_next_start_and_a_new_one_begun() -> None:
    stores = Stores()
    before = stores.open_outbox().incarnation
    stores.do(press(1))
    stores.disk.damaged = True
    (failed,) = stores.do(press(2))
    assert failed.reason == "database disk image is malformed" and stores.broken == [failed.reason]
    stores.outbox.kill()
    again = stores.open_outbox()
    assert again.incarnation != before and again.contents.damaged and len(stores.disk.aside) == 1
    assert stores.do(press(1))[0].outcome == "new"
    stores.outbox.kill()
    assert stores.open_outbox().contents.damaged == ""


def test_yesterdays_copy_of_the_inbox_is_noticed_both_ways() -> None:
    stores = Stores()
    first = stores.open_inbox().incarnation
    stores.keep(store(1))
    copy = stores.disk.copy()
    stores.inbox.kill()
    stores.open_inbox()
    for number in (2, 3):
        stores.inbox.store(store(number))
    (last,) = [event.high_water for event in stores.pass_us() if isinstance(event, sev.Committed)]
    stores.inbox.kill()
    stores.disk.restore(copy, over=True)
    assert stores.open_inbox().incarnation == first
    stores.inbox.store(store(4))
    (after,) = [event.high_water for event in stores.pass_us() if isinstance(event, sev.Committed)]
    assert after < last, "written over: only the high water tells"
    stores.inbox.kill()
    stores.disk.restore(copy)
    assert stores.open_inbox().incarnation != first, "put in place: another incarnation"
    assert [outcome.verdict for _, outcome in stores.keep(store(1), store(2))] == ["duplicate", "new"]


def test_the_second_program_on_one_disk_is_refused_until_the_first_is_gone() -> None:
    stores = Stores()
    first = stores.open_outbox()
    with pytest.raises(LockedError, match="another agent uses this folder"):
        stores.open_outbox()
    first.kill()
    stores.open_outbox()


def test_reads_see_what_is_synced_and_come_in_order() -> None:
    stores = Stores()
    stores.open_inbox()
    stores.keep(store(1))
    stores.inbox.store(store(2))
    for _ in range(5):
        stores.inbox.read(READS[0])
    told = stores.pass_us()
    pages = [event.result for event in told if isinstance(event, sev.Read)]
    totals = [page.total for page in pages if isinstance(page, AlarmPage)]
    assert len(totals) == 5 and totals == sorted(totals) and totals[-1] in (1, 2)
    assert isinstance(told[0], sev.Read) and totals[0] == 1, "a commit under way is not seen"
