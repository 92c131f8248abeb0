"""The inbox on a real disk: commits shared, damage moved aside, copies noticed, one station a folder."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.station.world import A, alarm

from sos_contract.errors import SafezoneError
from sos_contract.payloads import DeskRequest
from sos_edge.lock import LockedError
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.core.inbox import age_at_receipt_ms
from sos_station.core.records import AlarmPage, Stamp
from sos_station.edge.inbox import Inbox

AT = Stamp(1_800_000_000_000, "synced", "boot-1", 5)


def store(press: int, **more: Any) -> fx.StoreAlarm:
    made = alarm(press, **more)
    return fx.StoreAlarm(A, "merlin", made, AT, age_at_receipt_ms(made, AT), False, "")


class Desk:
    """Collects completions; ``until`` waits for them."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Any] = []
        self._heard = asyncio.Event()
        self.inbox = Inbox(folder, deliver=self._take, wall_ms=AT.wall_ms)

    def _take(self, event: Any) -> None:
        self.events.append(event)
        self._heard.set()

    async def until(self, done: Callable[[list[Any]], bool]) -> None:
        async with asyncio.timeout(30):
            while not done(self.events):
                self._heard.clear()
                await self._heard.wait()

    def failed(self) -> int:
        return sum(len(event.effects) for event in self.events if isinstance(event, ev.CommitFailed))

    def stored(self) -> int:
        return sum(len(event.results) for event in self.events if isinstance(event, ev.Committed))


def _run(folder: Path, work: Callable[[Desk], Any]) -> Any:
    async def main() -> Any:
        desk = Desk(folder)
        try:
            return await work(desk)
        finally:
            assert desk.inbox.close()

    return asyncio.run(main())


async def _page(desk: Desk, **more: Any) -> AlarmPage:
    desk.events.clear()
    desk.inbox.read(fx.ReadAlarms(A, "t", DeskRequest(number="n", officer="", action="list", **more), 100))
    await desk.until(bool)
    page = desk.events[-1].result
    assert isinstance(page, AlarmPage)
    return page


async def _all(desk: Desk) -> list[int]:
    return [row.id.press for row in (await _page(desk)).rows]


def test_what_comes_together_shares_few_commits_and_one_completion_each(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        for press in range(500):
            desk.inbox.store(store(press))
        await desk.until(lambda _: desk.stored() == 500)
        assert desk.inbox.commits <= 5
        assert len(desk.events) <= 5
        marks = [event.high_water for event in desk.events]
        assert marks == sorted(marks) and marks[-1] == 500

    _run(tmp_path, work)


def test_what_was_committed_is_there_after_a_restart_under_the_same_incarnation(tmp_path: Path) -> None:
    async def first(desk: Desk) -> str:
        desk.inbox.store(store(1))
        await desk.until(lambda _: desk.stored() == 1)
        return desk.inbox.incarnation

    async def second(desk: Desk) -> tuple[str, list[int]]:
        return desk.inbox.incarnation, await _all(desk)

    incarnation = _run(tmp_path, first)
    assert _run(tmp_path, second) == (incarnation, [1])


def test_a_copy_put_in_place_of_the_inbox_is_a_new_incarnation(tmp_path: Path) -> None:
    async def work(desk: Desk) -> str:
        desk.inbox.store(store(1))
        await desk.until(lambda _: desk.stored() == 1)
        return desk.inbox.incarnation

    incarnation = _run(tmp_path / "a", work)
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    async def look(desk: Desk) -> tuple[str, list[int]]:
        return desk.inbox.incarnation, await _all(desk)

    copied, presses = _run(tmp_path / "b", look)
    assert copied != incarnation and presses == [1]
    assert _run(tmp_path / "b", look)[0] == copied


@pytest.mark.parametrize("damage", [b"this is no database at all, whatever it says", b"\0" * 9000])
def test_a_damaged_inbox_is_moved_aside_and_a_new_one_begun(tmp_path: Path, damage: bytes) -> None:
    async def first(desk: Desk) -> str:
        return desk.inbox.incarnation

    incarnation = _run(tmp_path, first)
    (tmp_path / "inbox.sqlite").write_bytes(damage)

    async def second(desk: Desk) -> None:
        assert desk.inbox.aside is not None and desk.inbox.aside.exists() and desk.inbox.why
        assert desk.inbox.incarnation != incarnation
        desk.inbox.store(store(1))
        await desk.until(lambda _: desk.stored() == 1)

    _run(tmp_path, second)
    kinds = sqlite3.connect(tmp_path / "inbox.sqlite").execute("SELECT kind FROM fault").fetchall()
    assert kinds == [("inbox_damaged",)]


def test_a_second_station_on_the_same_inbox_is_refused(tmp_path: Path) -> None:
    async def work(_desk: Desk) -> None:
        with pytest.raises(LockedError, match=r"another station \(process \d+\) uses this folder"):
            Inbox(tmp_path, deliver=lambda _: None, wall_ms=0)

    _run(tmp_path, work)


def test_one_store_that_cannot_be_does_not_fail_the_others(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        poison = store(2, repeats=2**70)
        for effect in (store(1), poison, store(3)):
            desk.inbox.store(effect)
        await desk.until(lambda _: desk.stored() == 2)
        failed = [event.effects for event in desk.events if isinstance(event, ev.CommitFailed)]
        assert failed == [(poison,)]
        assert await _all(desk) == [1, 3]

    _run(tmp_path, work)


def test_an_inbox_that_is_removed_fails_and_says_why(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.inbox.store(store(1))
        await desk.until(lambda _: desk.stored() == 1)
        for name in ("inbox.sqlite", "inbox.sqlite-wal", "inbox.sqlite-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        desk.inbox.store(store(2))
        await desk.until(lambda events: isinstance(events[-1], ev.CommitFailed))
        assert "removed" in desk.events[-1].reason

    _run(tmp_path, work)


def test_a_disk_that_hangs_at_a_read_keeps_no_station_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end waited on the loop for an officer's list, as long as the disk hung, and what waited was not committed."""
    free, begun = threading.Event(), threading.Event()

    def hang(*_: object) -> object:
        begun.set()
        return free.wait(20)

    async def main() -> None:
        monkeypatch.setattr("sos_station.edge.inbox.reads.carry_out", hang)
        desk = Desk(tmp_path)
        desk.inbox.read(fx.ReadAlarms(A, "t", DeskRequest(number="n", officer="", action="list"), 100))
        desk.inbox.store(store(1))
        assert begun.wait(10)
        began = time.monotonic()
        assert not desk.inbox.close()
        assert time.monotonic() - began < 10
        free.set()

    asyncio.run(main())
    monkeypatch.undo()

    async def kept(desk: Desk) -> None:
        assert await _all(desk) == [1]

    _run(tmp_path, kept)


def test_a_full_disk_fails_the_store_and_the_next_one_with_room_succeeds(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        limit = partial(desk.inbox._writer.submit, done=lambda _: None)
        limit(lambda connection: connection.execute("PRAGMA max_page_count = 24").fetchone())
        for press in range(2_000):
            desk.inbox.store(store(press))
        await desk.until(lambda _: desk.stored() + desk.failed() == 2_000)
        assert desk.failed() > 0
        assert "full" in next(event.reason for event in desk.events if isinstance(event, ev.CommitFailed))
        limit(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        before = desk.stored()
        desk.inbox.store(store(9_999))
        await desk.until(lambda _: desk.stored() == before + 1)

    _run(tmp_path, work)


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    async def main() -> None:
        Inbox(tmp_path / "file", deliver=lambda _: None, wall_ms=0)

    with pytest.raises(SafezoneError, match=r"cannot keep the inbox here .*station\.data"):
        asyncio.run(main())


_KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.station.test_edge_inbox import Desk, store

async def main():
    desk = Desk(Path(sys.argv[1]))
    press = 0
    while True:
        press += 1
        desk.inbox.store(store(press))
        await desk.until(lambda _: desk.stored() == press)
        print(press, flush=True)

asyncio.run(main())
"""


def test_a_kill_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path), root], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert process.stdout is not None
    promised = 0
    for line in process.stdout:
        promised = int(line)
        if promised >= 60:
            process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL

    async def work(desk: Desk) -> list[int]:
        return await _all(desk)

    presses = _run(tmp_path, work)
    assert presses[:promised] == list(range(1, promised + 1)) and len(presses) <= promised + 1


# One stored alarm, made into a hundred thousand at 5,000 poles.
_MANY = """
WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO alarm SELECT i, i % 5000 + 1, 'p-' || (i % 5000), incarnation, boot, i, clash_number, point, kind, family,
 pressed_at_ms, repeats, clash, age_ms, late, clock, received_wall_ms, received_quality, received_timebase,
 received_mono_ms, stage, queue, officer, changed_wall_ms, disposition, remark FROM alarm JOIN n WHERE number = 1
"""


def test_lists_come_in_pages_with_a_hundred_thousand_alarms(tmp_path: Path) -> None:
    async def first(desk: Desk) -> None:
        desk.inbox.store(store(1))
        await desk.until(lambda _: desk.stored() == 1)

    _run(tmp_path, first)
    with sqlite3.connect(tmp_path / "inbox.sqlite") as connection:
        connection.execute(_MANY)
    connection.close()

    async def look(desk: Desk) -> None:
        for more in ({}, {"by_incident": True}, {"everything": True, "by_incident": True}, {"offset": 99_950}):
            page = await _page(desk, **more)
            assert len(page.rows) == (50 if more.get("offset") else 100)
            assert page.total == (5_000 if more.get("by_incident") else 100_000)

    _run(tmp_path, look)


def test_an_inbox_of_before_there_were_commands_gets_their_record(tmp_path: Path) -> None:
    async def nothing(desk: Desk) -> None:
        del desk

    _run(tmp_path, nothing)
    with sqlite3.connect(tmp_path / "inbox.sqlite") as disk:
        disk.execute("DROP TABLE command")
    disk.close()

    async def ask(desk: Desk) -> None:
        assert desk.inbox.aside is None
        desk.inbox.read(fx.ReadCommands(A, "t", DeskRequest(number="n", officer="", action="commands"), 10))
        await desk.until(bool)
        assert desk.events[-1].result == fx.CommandPage(())

    _run(tmp_path, ask)
