"""The virtual disk: what a store on it tells while it is slow, full, failing, lost, damaged, restored or frozen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.agent.outbox_kit import Bench, notice
from tests.agent.test_outbox_twin import unrecorded
from tests.sim.stores import SECOND_US, Stores, press, store
from tests.sim.test_world_stores import READS

from sos_agent.core import effects as fx
from sos_agent.core import events as ev
from sos_agent.edge.reserve import PIECE_BYTES, Reserve
from sos_edge.lock import LockedError
from sos_station.core import events as sev
from sos_station.core.records import AlarmPage


@pytest.mark.parametrize(("stopped_us", "at_once"), [(0, False), (5_000, True)])
def test_a_stopped_process_is_told_when_it_goes_on_of_what_the_kernel_has_done_meanwhile(
    stopped_us: int, at_once: bool
) -> None:
    stores = Stores()
    outbox = stores.open_outbox()
    stores.disk.slow_us = 20_000  # between written, after 2 ms at most, and synced
    outbox.carry_out(press(1))
    stores.pass_us(stopped_us)
    outbox.freeze()
    assert stores.pass_us(60 * SECOND_US) == []
    outbox.thaw()
    assert bool(stores.told) == at_once, "what it had not come to write, it writes now"
    assert [event.outcome for event in stores.pass_us()] == ["new"]


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
            same = unrecorded(real) == unrecorded(twin)
            assert same or (isinstance(real, ev.StoreFailed) and isinstance(twin, ev.StoreFailed))
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


def test_a_disk_that_was_lost_is_damaged_no_more() -> None:
    """The new one was, so that each start of its program ended at once (seed 317, one hour)."""
    stores = Stores()
    stores.open_outbox()
    stores.outbox.kill()
    stores.disk.damaged = True
    stores.disk.lose()
    assert not stores.open_outbox().contents.damaged
    stores.disk.check()


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
