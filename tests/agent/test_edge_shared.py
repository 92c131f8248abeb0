"""What agent and station share: the writer, locks, log lines, the clock's quality, systemd; and the units."""

from __future__ import annotations

import configparser
import contextlib
import logging
import queue
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sos_contract.errors import SafezoneError
from sos_contract.payloads import RELEASED_MS
from sos_edge import clock, log, sqlite, systemd
from sos_edge.lock import FolderLock, LockedError, holder_of
from sos_edge.sqlite import Failure, Writer, check_database, open_database

ROOT = Path(__file__).parents[2]
SCHEMA = "CREATE TABLE t (n INTEGER PRIMARY KEY CHECK (n < 1000));"


class Owner:
    """A writer whose results come into a list, in order."""

    def __init__(self, folder: Path, tight: Callable[[], bool] = lambda: False) -> None:
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.results: list[object] = []
        self.database = open_database(folder / "t.db", SCHEMA)
        self.writer = Writer(self.database, self.calls.put, tight=tight)

    def insert(self, number: int, *, vital: bool = True) -> None:
        def work(db: sqlite3.Connection) -> int:
            db.execute("INSERT INTO t VALUES (?)", (number,))
            return number

        self.writer.submit(work, self.results.append, vital=vital)

    def wait(self, count: int) -> list[object]:
        while len(self.results) < count:
            self.calls.get(timeout=30)()
        return self.results

    def rows(self) -> list[int]:
        with sqlite3.connect(self.database.path) as other:
            found = [row[0] for row in other.execute("SELECT n FROM t ORDER BY n")]
        other.close()
        return found


def test_a_database_is_power_cut_durable(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "t.db", SCHEMA).connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    connection.close()


def test_a_job_that_fails_costs_only_itself(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    for number in (1, 2, 2, 1000, 3):
        owner.insert(number)
    results = owner.wait(5)
    assert [one for one in results if isinstance(one, int)] == [1, 2, 3]
    reasons = [one.reason for one in results if isinstance(one, Failure)]
    assert ["UNIQUE" in reasons[0], "CHECK" in reasons[1]] == [True, True]
    assert owner.rows() == [1, 2, 3]


def test_a_result_is_told_only_when_another_process_would_see_it(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    for number in range(50):
        owner.insert(number)
        owner.wait(number + 1)
        assert owner.rows() == list(range(number + 1))


def test_while_room_is_short_only_vital_jobs_are_done(tmp_path: Path) -> None:
    owner = Owner(tmp_path, tight=lambda: True)
    owner.insert(1, vital=False)
    owner.insert(2)
    first, second = owner.wait(2)
    assert isinstance(first, Failure)
    assert first.full
    assert second == 2


def test_too_many_waiting_jobs_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MAX_WAITING", 3)
    owner = Owner(tmp_path)
    gate, begun = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> str:
        begun.set()
        gate.wait(10)
        return "held"

    owner.writer.submit(hold, owner.results.append)
    begun.wait(10)
    assert owner.writer.waited_s() > 0
    for number in range(4):
        owner.insert(number)
    assert owner.wait(1) == [Failure("3 stores wait already")]
    gate.set()
    assert owner.wait(5)[1:] == ["held", 0, 1, 2]


class _HungInCheckpoint(sqlite3.Connection):
    gate = threading.Event()

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if "wal_checkpoint" in sql:
            self.gate.wait(30)
        return super().execute(sql, *more)


def test_a_disk_that_hangs_in_a_checkpoint_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores waited behind it, nobody counted that: the watchdog was fed, and the poles heard *in service*."""
    monkeypatch.setattr(sqlite, "QUIET_S", 0.01)
    path = tmp_path / "t.db"
    open_database(path, SCHEMA).connection.close()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_HungInCheckpoint)
    calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    writer = Writer(sqlite.Database(path, connection), calls.put)
    writer.submit(lambda db: db.execute("INSERT INTO t VALUES (1)").rowcount, lambda _: None)
    calls.get(timeout=30)()
    assert eventually(lambda: writer.waited_s() > 0.05)
    _HungInCheckpoint.gate.set()
    assert eventually(lambda: writer.waited_s() == 0)
    assert writer.close()


class _NoRoomForItsIndex(sqlite3.Connection):
    short = True

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.short:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = 4874  # SQLITE_IOERR_SHMSIZE
            raise error
        return super().execute(sql, *more)


@pytest.mark.parametrize("full", [True, False])
def test_a_full_disk_that_sqlite_calls_an_error_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """Where the write-ahead log's index found no room, alarms were refused, and their reserve was not touched."""

    def make_room() -> bool:
        connection.short = False
        return True

    path = tmp_path / "t.db"
    open_database(path, SCHEMA).connection.close()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_NoRoomForItsIndex)
    monkeypatch.setattr(sqlite, "_full", lambda folder: full and folder == tmp_path)
    calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    writer = Writer(sqlite.Database(path, connection), calls.put, make_room=make_room)
    results: list[object] = []
    writer.submit(lambda db: db.execute("INSERT INTO t VALUES (1)").rowcount, results.append)
    calls.get(timeout=30)()
    assert results == [1 if full else Failure("disk I/O error")]
    connection.short = False
    assert writer.close()


def eventually(true: Callable[[], bool]) -> bool:
    for _ in range(1_000):
        if true():
            return True
        threading.Event().wait(0.01)
    return False


def test_closing_commits_what_waits_and_refuses_the_rest(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    for number in range(20):
        owner.insert(number)
    assert owner.writer.close()
    owner.insert(99)
    assert owner.wait(21)[20] == Failure("closing")
    assert owner.rows() == list(range(20))
    assert not (tmp_path / "t.db-wal").exists()


def test_a_technicians_sqlite3_may_read_meanwhile(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.insert(1)
    owner.wait(1)
    with sqlite3.connect(tmp_path / "t.db") as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM t").fetchone() == (1,)
        owner.insert(2)
        assert owner.wait(2) == [1, 2]
    other.close()


def test_a_lock_is_the_holders_until_it_lets_go(tmp_path: Path) -> None:
    assert holder_of(tmp_path) == ""
    lock = FolderLock(tmp_path / "new" / "folder", what="station")
    assert int(holder_of(tmp_path / "new" / "folder")) > 1
    with pytest.raises(LockedError, match=r"another station \(process \d+\) uses this folder; stop it"):
        FolderLock(tmp_path / "new" / "folder", what="station")
    lock.close()
    assert holder_of(tmp_path / "new" / "folder") == ""


def test_a_folder_in_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(SafezoneError, match=r"cannot be used \(.+\); check the folder, its owner and the disk"):
        open_database(tmp_path / "f" / "t.db", SCHEMA)
    with monkeypatch.context() as full:
        full.setattr(sqlite, "ROOM_TO_OPEN_BYTES", 1 << 62)  # SQLite says "disk I/O error" where an open one finds none
        with pytest.raises(SafezoneError, match=r"cannot be used \(the disk is full\); make room"):
            open_database(tmp_path / "f" / "t.db", SCHEMA)
    assert check_database(tmp_path / "absent.db") == ""
    open_database(tmp_path / "later.db", SCHEMA, version=2).connection.close()
    assert "made by a newer release" in check_database(tmp_path / "later.db", 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain-1/2", "plain-1/2"), (7, "7"), ("", '""'), ("two words", '"two words"'), ('say "hi"', '"say \\"hi\\""'),
        ("a=b", '"a=b"'), ("line\nbreak\x1b[31m", '"line\\x0abreak\\x1b[31m"'), ("ตลาด", '"ตลาด"'),
    ],
)  # fmt: skip
def test_a_value_in_the_log_is_one_word(value: object, text: str) -> None:
    assert log.fields({"key": value}) == f" key={text}"


def test_an_outage_is_one_line_and_its_end_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    mine = log.Log("x", point="market")
    mine.outage_over("a", "back")  # never was out
    for _ in range(3):
        mine.outage("a", "gone", port="p")
    mine.outage_over("a", "back", port="p")
    mine.outage_over("a", "back", port="p")
    assert [record.getMessage() for record in caplog.records] == [
        "gone port=p point=market",
        "back port=p out_s=0.0 tries=3 point=market",
    ]


def test_a_mistake_in_a_callback_is_one_line_too() -> None:
    lines: list[str] = []
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        log.set_up("info", write=lines.append)
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("x").exception("it\nbroke")
    finally:
        root.handlers[:] = before
    (line,) = lines
    assert line.endswith("""error it | broke error="ValueError('two\\\\nlines')\"""")


def test_the_clocks_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_kernel_status", lambda: 0x2001)  # as with an NTP daemon: PLL, nanoseconds
    assert clock.quality() == "synced"
    monkeypatch.setattr(clock, "_kernel_status", lambda: 0x2041)
    assert clock.quality() == "holdover"
    monkeypatch.setattr(clock, "_kernel_status", lambda: None)
    assert clock.quality() == "holdover"
    monkeypatch.setattr(clock, "wall_ms", lambda: RELEASED_MS - 1)
    assert clock.quality() == "unset"


def test_the_kernel_is_really_asked() -> None:
    status = clock._kernel_status()
    assert status is None or 0 <= status < 0x10000


def test_systemd_is_told_in_its_own_words(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(tmp_path / "notify"))
    server.settimeout(30)
    notifier = systemd.Notifier(str(tmp_path / "notify"))
    notifier.ready()
    notifier.status("in\nservice")
    notifier.status("in\nservice")
    notifier.watchdog()
    notifier.stopping()
    assert [server.recv(99) for _ in range(4)] == [b"READY=1", b"STATUS=in service", b"WATCHDOG=1", b"STOPPING=1"]
    server.close()
    (tmp_path / "notify").unlink()
    notifier.watchdog()  # systemd has gone: no harm
    notifier.close()
    systemd.Notifier("").ready()


def test_what_finds_systemd_busy_is_told_with_the_next_word(tmp_path: Path) -> None:
    """A start that systemd did not hear of is ended by it after a minute and a half, again and again."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(tmp_path / "notify"))
    server.setblocking(False)
    other = systemd.Notifier(str(tmp_path / "notify"))
    notifier = systemd.Notifier(str(tmp_path / "notify"))
    for _ in range(5000):
        other.stopping()  # until its queue is full
    notifier.ready()
    notifier.status("starting")
    notifier.watchdog()
    notifier.status("in service")
    with contextlib.suppress(BlockingIOError):
        while True:
            assert server.recv(99) == b"STOPPING=1"
    notifier.watchdog()
    assert server.recv(99) == b"READY=1\nSTATUS=in service\nWATCHDOG=1"
    notifier.watchdog()
    assert server.recv(99) == b"WATCHDOG=1"
    for one in (notifier, other, server):
        one.close()


def test_the_watchdog_is_fed_twice_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert systemd.watchdog_interval_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert systemd.watchdog_interval_s() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_interval_s() is None
    monkeypatch.setenv("WATCHDOG_PID", "nonsense")
    assert systemd.watchdog_interval_s() is None


@pytest.mark.parametrize("name", ["safezone-agent@.service", "safezone-station.service"])
def test_units_start_what_there_is_and_never_give_up(name: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "agent" / "systemd" / name)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    service = unit["Service"]
    assert (service["Type"], service["Restart"], service["WatchdogSec"]) == ("notify", "always", "30")
    command = service["ExecStart"].split()
    assert command[:2] == ["/opt/safezone/bin/safezone", "agent" if "agent" in name else "station"]
    assert service["WorkingDirectory"] == "/var/lib/" + service["StateDirectory"]
