"""The outbox when the world fails: killed, damaged, full, removed, wanted twice."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tests.agent.outbox_kit import Bench, notice, press, small_reserve

from sos_agent.core import effects, events
from sos_agent.edge.outbox import Outbox
from sos_agent.edge.reserve import PIECE_BYTES, Reserve
from sos_agent.edge.tables import VERSION
from sos_contract.errors import SafezoneError
from sos_edge.lock import LockedError

ROOT = Path(__file__).parents[2]
CHILD = [sys.executable, "-m", "tests.agent.outbox_child"]


def _presses(bench: Bench) -> list[int]:
    rows = bench.do(effects.FetchWaiting(0, 1_000_000), events.WaitingFetched).rows
    return [row.id.press for row in rows]


@pytest.mark.parametrize("seed", range(4))
def test_what_was_said_to_be_stored_survives_kill_9_and_nothing_is_there_twice(tmp_path: Path, seed: int) -> None:
    child = subprocess.Popen([*CHILD, "store", str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "1\n"
    time.sleep(random.Random(seed).uniform(0, 0.1))  # where in a commit the kill falls is the point of this test
    child.send_signal(signal.SIGKILL)
    said = [1, *(int(line) for line in child.stdout if line.endswith("\n"))]
    child.wait(10)
    there = _presses(Bench(tmp_path))
    assert there[: len(said)] == said == list(range(1, len(said) + 1))
    assert len(there) == len(set(there))


@pytest.mark.parametrize("damage", ["header", "middle", "short", "text", "empty table"])
def test_a_damaged_outbox_is_moved_aside_and_a_new_one_begun(tmp_path: Path, damage: str) -> None:
    bench = Bench(tmp_path)
    for number in range(1, 500):
        bench.outbox.carry_out(press(number))
    bench.wait(499)
    old = bench.outbox.contents.outbox
    bench.outbox.close()
    path = tmp_path / "outbox.db"
    size = path.stat().st_size
    if damage == "empty table":
        with sqlite3.connect(path) as database:
            database.executescript("DROP TABLE notice")
        database.close()
    elif damage == "text":
        path.write_text("not a database\n" * 999)
    elif damage == "short":
        os.truncate(path, size // 2)
    else:
        with path.open("r+b") as file:
            file.seek(0 if damage == "header" else 8192)
            file.write(bytes(range(256)) * 32)
    after = Bench(tmp_path)
    where, _, why = after.outbox.contents.damaged.partition(" (")
    assert why.endswith(")")
    aside = Path(where)
    assert aside.parent == tmp_path
    assert aside.name.startswith("outbox.db.damaged-")
    assert aside.exists()
    assert (after.outbox.contents.waiting_alarms, after.outbox.contents.outbox != old) == (0, True)
    assert after.do(press(), events.Stored).outcome == "new"


def test_an_outbox_of_a_newer_release_is_moved_aside_not_misread(tmp_path: Path) -> None:
    Bench(tmp_path).outbox.close()
    with sqlite3.connect(tmp_path / "outbox.db") as database:
        database.execute(f"PRAGMA user_version={VERSION + 1}")
    database.close()
    assert Bench(tmp_path).outbox.contents.damaged


def test_a_second_agent_on_the_same_outbox_is_refused_in_one_line(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    with pytest.raises(LockedError) as refusal:
        Bench(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path}: another agent (process {os.getpid()}) uses this folder; stop it, or name another one"
    )
    first.outbox.close()
    Bench(tmp_path).outbox.close()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SafezoneError, match=r"file/data: cannot be used \(.*\); check the folder"):
        Bench(tmp_path / "file" / "data")


def test_a_removed_outbox_is_noticed_at_the_next_commit(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.do(press(1), events.Stored)
    (tmp_path / "outbox.db").unlink()
    assert bench.do(press(2), events.StoreFailed).reason.endswith("outbox.db has been removed")
    assert bench.broken == [f"{tmp_path / 'outbox.db'} has been removed"]


class _Quota(Reserve):
    """A reserve whose pieces let SQLite's own page limit grow: a full disk where none may be mounted."""

    outbox: Outbox | None = None
    pages = 0

    def give(self) -> bool:
        if self.outbox is None or not super().give():
            return False
        self.pages += 20
        self.outbox._writer._connection.execute(f"PRAGMA max_page_count={self.pages}")
        return True


def test_on_a_full_disk_alarms_live_on_the_reserve_until_that_is_gone(tmp_path: Path) -> None:
    quota: list[_Quota] = []

    def reserve(folder: Path) -> Reserve:
        quota.append(_Quota(folder, 3 * PIECE_BYTES, margin=0))
        return quota[0]

    bench = Bench(tmp_path, reserve)
    quota[0].outbox = bench.outbox
    bench.outbox._writer.submit(
        lambda db: db.execute("PRAGMA max_page_count=1").fetchone()[0], lambda pages: setattr(quota[0], "pages", pages)
    )
    refused: list[str] = []
    bench.do(notice(), events.NoticeStored)
    stored = 0
    for number in range(1, 100_000):
        bench.outbox.carry_out(press(number))
        bench.outbox.carry_out(notice())
        alarm, told = bench.wait(2)
        if isinstance(told, events.StoreFailed):
            refused.append(told.reason)
        if not isinstance(alarm, events.Stored):
            break
        stored += 1
    assert isinstance(alarm, events.StoreFailed)
    assert alarm.reason == "database or disk is full"
    assert len(refused) > stored * 0.7  # once the first piece was lent, no notice came in
    assert not bench.outbox.disk_ok
    assert len(_presses(bench)) == stored > 300
    assert quota[0].held() == 0


def test_on_a_real_full_disk_alarms_are_stored_notices_refused_and_room_is_taken_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=24m tmpfs {disk} && exec "$@"'
    wrapped = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *CHILD, "fill", str(disk)]
    if subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], check=False).returncode:
        return  # no mounting here; the test above does the same with SQLite's own limit
    done = subprocess.run(wrapped, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "refused": 1,
        "stored": 5000,
        "ok": False,
        "while_full": ["StoreFailed", "StoreFailed"],
        "mended": True,
        "waiting": 5001,
    }
    assert done.stderr.count("disk full") == 1
    assert "Traceback" not in done.stderr


def test_the_reserve_is_really_allocated_and_whole(tmp_path: Path) -> None:
    reserve = small_reserve(tmp_path)
    assert reserve.fill()
    state = (tmp_path / "reserve").stat()
    assert state.st_size == 8 * 1024 * 1024 <= state.st_blocks * 512
    assert reserve.give()
    assert (reserve.whole, reserve.held()) == (False, 6 * 1024 * 1024)
    assert reserve.fill()
    assert reserve.whole


def test_a_reserve_that_was_copied_without_its_blocks_is_made_anew(tmp_path: Path) -> None:
    """`cp` and `tar --sparse` bring a file of zeros as a hole: it was called whole, and kept no room for one alarm."""
    with (tmp_path / "reserve").open("wb") as copy:
        copy.truncate(8 * 1024 * 1024)
    reserve = small_reserve(tmp_path)
    assert not reserve.whole
    assert reserve.fill()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 8 * 1024 * 1024
    reserve.close()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_a_full_disk_that_then_dies_refuses_and_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What the reserve could not give or take ended the agent, as a mistake of its own, and the poles lost theirs."""

    def dead(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    bench = Bench(tmp_path)
    assert bench.outbox.disk_ok
    assert bench.outbox._reserve.give()
    bench.outbox._writer.submit(lambda db: db.execute("PRAGMA max_page_count=1").fetchone(), lambda _: None)
    for name in ("posix_fallocate", "ftruncate", "fsync"):
        monkeypatch.setattr(os, name, dead)
    refused = 0
    for press_number in range(1, 500):
        bench.outbox.carry_out(press(press_number))
        (told,) = bench.wait()
        refused += isinstance(told, events.StoreFailed)
    assert refused and not bench.outbox.disk_ok
    assert not bench.outbox.refill()
    monkeypatch.undo()
    bench.outbox._writer.submit(lambda db: db.execute("PRAGMA max_page_count=100000").fetchone(), lambda _: None)
    assert bench.outbox.refill()
    assert isinstance(bench.do(press(1000), events.Stored), events.Stored)


def test_a_hundred_thousand_alarms_fit_into_the_room_reserved_for_them(tmp_path: Path) -> None:
    from sos_agent.edge.reserve import ALARMS, BYTES_AN_ALARM

    count = 20_000  # a fifth, for the test's time; the tree's depth is the same
    bench = Bench(tmp_path)
    for start in range(0, count, 5000):
        for number in range(start, start + 5000):
            alarm = press(2**31 + number, pole="chantharothai-north-1", at_ms=2**44 + number)
            # As they come from a pole: a frame of a press has 65 bytes, a session's nonces 32.
            bench.outbox.carry_out(
                msgspec.structs.replace(alarm, sealed=effects.Sealed(bytes(32), bytes(65)), wall_ms=2**41)
            )
        bench.wait(5000)
    bench.outbox.close()
    assert (tmp_path / "outbox.db").stat().st_size / count <= BYTES_AN_ALARM
    assert ALARMS == 100_000
