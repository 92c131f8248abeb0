"""SQLite as a durable store: what was committed here survives a power cut.

WAL with ``synchronous=FULL`` (with NORMAL the last commits roll back after a power cut). One thread writes; whatever
waits when it comes round shares one commit, and each caller hears of it only after that commit.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from sos_contract.errors import SafezoneError

T = TypeVar("T")

# Jobs in one commit: enough that 10,000 alarms need few, small enough that a press waits a few milliseconds only.
MAX_GROUP = 512
# Jobs waiting; beyond it the caller hears Failure at once and offers again.
MAX_WAITING = 20_000
# WAL pages (4 KiB) after which SQLite checkpoints inside a commit. Large: we checkpoint ourselves when nothing waits.
AUTOCHECKPOINT_PAGES = 4000
# Quiet time after which the WAL is copied into the database, so that no press waits for it.
QUIET_S = 2.0
# SQLite needs some pages to open at all, and does not always say that they are lacking.
ROOM_TO_OPEN_BYTES = 64 * 1024
# Another process (a technician's sqlite3) may hold the database this long before a commit fails.
BUSY_TIMEOUT_MS = 2000

_NO_UPGRADES: Mapping[int, str] = MappingProxyType({})

SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_NOTADB = 10, 11, 13, 26


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that is not on disk, and why. ``full``: no room; ``broken``: the file is damaged or gone."""

    reason: str
    full: bool = False
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. ``aside`` says where a damaged one went, ``why`` what was wrong with it."""

    path: Path
    connection: sqlite3.Connection
    aside: Path | None = None
    why: str = ""


def open_database(
    path: Path,
    schema: str,
    *,
    version: int = 1,
    upgrades: Mapping[int, str] = _NO_UPGRADES,
    verify: Callable[[sqlite3.Connection], object] = lambda _connection: None,
) -> Database:
    """Open or create ``path`` with ``schema`` (of ``version``, kept in ``user_version``).

    ``upgrades``: what brings a database of an older version one version on.

    A damaged file, or one of a newer release, is moved aside with its WAL and a new one begun: nobody is left without
    a store. ``verify`` may read (and write) what the owner needs: an OperationalError for a missing table or column
    counts as damage. Raises SafezoneError if the folder cannot be used at all.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        try:
            return Database(path, _open(path, schema, version, upgrades, verify))
        except sqlite3.DatabaseError as error:
            if not _damaged(error):
                raise
            aside = _move_aside(path)
            return Database(path, _open(path, schema, version, upgrades, verify), aside, str(error))
    except (OSError, sqlite3.Error) as error:
        if _full(path.parent):
            raise SafezoneError(f"{path}: cannot be used (the disk is full); make room") from None
        raise SafezoneError(
            f"{path}: cannot be used ({_words(error)}); check the folder, its owner and the disk"
        ) from None


def check_database(path: Path, version: int = 1) -> str:
    """Why ``open_database`` would move ``path`` aside, in words; empty if it would not. Raises SafezoneError where
    nobody can tell, as on a full disk. Changes nothing."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            stands = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        if _damaged(error):
            return str(error)
        why = "the disk is full); make room" if _full(path.parent) else f"{error}); check its owner and the disk"
        raise SafezoneError(f"{path}: cannot be looked into ({why}") from None
    return _too_new(stands, version) if found == "ok" else str(found)


def _too_new(stands: int, version: int) -> str:
    return f"made by a newer release (version {stands}, ours is {version})" if stands > version else ""


class _DamagedError(sqlite3.DatabaseError):
    sqlite_errorcode = SQLITE_CORRUPT


def _open(
    path: Path,
    schema: str,
    version: int,
    upgrades: Mapping[int, str],
    verify: Callable[[sqlite3.Connection], object],
) -> sqlite3.Connection:
    new = not path.exists()
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    with ExitStack() as undo:
        undo.callback(connection.close)
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise _DamagedError(str(found))
        stands = connection.execute("PRAGMA user_version").fetchone()[0]
        if too_new := _too_new(stands, version):
            raise _DamagedError(too_new)
        if stands < version:
            steps = [upgrades[old] for old in range(stands, version)] if stands else [schema]
            # One transaction: a power cut leaves either no table or all of them, each version whole.
            todo = "\n;".join([*steps, f"PRAGMA user_version={version}"])
            connection.executescript(f"BEGIN IMMEDIATE;\n{todo};\nCOMMIT;")
        verify(connection)
        undo.pop_all()
    if new:
        _sync_folder(path.parent)
    return connection


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _move_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(100):
        aside = path.with_name(f"{path.name}.damaged-{stamp}" + (f"-{attempt}" if attempt else ""))
        if not aside.exists():
            break
    # The WAL first: a new database must never find the old one's WAL beside it.
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    _sync_folder(path.parent)
    return aside


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _damaged(error: Exception) -> bool:
    # An OperationalError that names a missing table or column is a file that holds something else.
    return _code(error) in (SQLITE_CORRUPT, SQLITE_NOTADB) or "already exists" in str(error) or "no such" in str(error)


def _full(folder: Path) -> bool:
    """Whether SQLite lacks the room to open a database, or for its WAL's index; it may call that "disk I/O error"."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < ROOM_TO_OPEN_BYTES


def _lacks_room(connection: sqlite3.Connection) -> bool:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    return bool(path) and _full(Path(path).parent)


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


@dataclass(slots=True)
class Job:
    """A piece of work for the next commit; ``result`` is what it returned, or a Failure, once that has been tried."""

    work: Callable[[sqlite3.Connection], Any]
    done: Callable[[Any], None]
    vital: bool = True
    result: Any = None


class Commits:
    """Groups of jobs, a commit each; ``commits`` counts them.

    ``begin`` begins a transaction. ``gone`` says, after a commit, in words, that the file is no longer where a restart
    would look for it. ``make_room`` is asked when the disk is full: True means that some room was made and vital jobs
    are tried again. While ``tight()`` is True, jobs that are not vital fail at once with ``full``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        begin: Callable[[sqlite3.Connection], object] = lambda connection: connection.execute("BEGIN IMMEDIATE"),
        gone: Callable[[], str] = lambda: "",
        make_room: Callable[[], bool] = lambda: False,
        tight: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection = connection
        self._begin = begin
        self._gone = gone
        self._make_room = make_room
        self._tight = tight
        self.commits = 0

    def carry_out(self, group: list[Job]) -> None:
        """Commit what can be of ``group``; afterwards each job has its result."""
        failure = self._commit([job for job in group if job.vital or not self._tight()], group)
        if failure is not None and failure.full:
            vital = [job for job in group if job.vital]
            # Each round either makes room or ends the loop.
            while failure is not None and failure.full and vital and self._make_room():
                failure = self._commit(vital, group)
            if failure is None:
                for job in group:
                    if not job.vital:
                        job.result = Failure("no room left on the disk", full=True)
        if failure is not None:
            for job in group:
                job.result = failure

    def _commit(self, jobs: list[Job], group: list[Job]) -> Failure | None:
        """One transaction of ``jobs``; the rest of ``group`` has no room. None if it is on disk."""
        for job in group:
            job.result = Failure("no room left on the disk", full=True)
        connection = self._connection
        try:
            self._begin(connection)
            for job in jobs:
                self._run_one(job)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            code = _code(error)
            full = code == SQLITE_FULL or (code == SQLITE_IOERR and _lacks_room(connection))
            return Failure(str(error), full=full, broken=code in (SQLITE_CORRUPT, SQLITE_NOTADB))
        gone = self._gone()
        if gone:
            return Failure(gone, broken=True)
        self.commits += 1
        return None

    def _run_one(self, job: Job) -> None:
        """Run one job in a savepoint, so that its mistake costs only itself."""
        connection = self._connection
        connection.execute("SAVEPOINT job")
        try:
            job.result = job.work(connection)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError) as error:
            connection.execute("ROLLBACK TO job")
            job.result = Failure(str(error))
        connection.execute("RELEASE job")


class Writer:
    """The thread that writes.

    ``call_soon`` brings a call to the owner's thread (``loop.call_soon_threadsafe``). ``make_room`` and ``tight`` are
    those of ``Commits``, asked in the writer's thread. ``told`` follows when all jobs of a commit have been told.
    """

    def __init__(
        self,
        database: Database,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        make_room: Callable[[], bool] = lambda: False,
        tight: Callable[[], bool] = lambda: False,
        told: Callable[[], object] = lambda: None,
    ) -> None:
        self._told = told
        self._database = database
        self._connection = database.connection
        self._inode = database.path.stat().st_ino
        self._call_soon = call_soon
        self._commits = Commits(self._connection, gone=self._gone, make_room=make_room, tight=tight)
        self._waiting: deque[Job] = deque()
        self._condition = threading.Condition()
        self._closing = False
        self._begun = 0.0
        self._thread = threading.Thread(target=self._run, name=f"writer-{database.path.name}", daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[sqlite3.Connection], T], done: Callable[[T | Failure], None], *, vital: bool = True
    ) -> None:
        """Run ``work`` inside the next commit; ``done`` gets its result after that commit, or a Failure.

        ``work`` may be run again if the first commit found no room, and must raise only sqlite3.Error
        (or OverflowError, for a number that SQLite cannot hold).
        """
        job = Job(work, done, vital)
        with self._condition:
            refused = self._closing or len(self._waiting) >= MAX_WAITING
            if not refused:
                self._waiting.append(job)
                self._condition.notify()
        if refused:
            job.result = Failure("closing" if self._closing else f"{MAX_WAITING} stores wait already")
            self._finish([job])

    @property
    def commits(self) -> int:
        """Commits so far."""
        return self._commits.commits

    def waiting(self) -> int:
        """Jobs that wait for a commit that has not begun."""
        return len(self._waiting)

    def waited_s(self) -> float:
        """How long the commit or checkpoint that is under way has lasted; 0 if none is."""
        begun = self._begun
        return time.monotonic() - begun if begun else 0.0

    def close(self, timeout_s: float = 10.0) -> bool:
        """Commit what waits, checkpoint, close the database. False if the disk did not let it end in time."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- in the writer's thread

    def _run(self) -> None:
        dirty = False
        while True:
            with self._condition:
                if not self._waiting and not self._closing:
                    self._condition.wait(QUIET_S if dirty else None)
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
                closing = self._closing
            if group:
                self._begun = time.monotonic()
                self._commits.carry_out(group)
                self._begun = 0.0
                self._finish(group)
                dirty = True
            elif dirty:
                # Nothing waits: copy the WAL back now rather than in some press's commit.
                self._begun = time.monotonic()  # what is stored meanwhile waits for it
                with suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self._begun, dirty = 0.0, False
            elif closing:
                break
        self._connection.close()

    def _gone(self) -> str:
        # Unlinked under us: SQLite would go on committing into a file that no restart will find.
        try:
            same = self._database.path.stat().st_ino == self._inode
        except OSError:
            same = False
        return "" if same else f"{self._database.path} has been removed"

    def _finish(self, group: list[Job]) -> None:
        def tell() -> None:
            for job in group:
                job.done(job.result)
            self._told()

        with suppress(RuntimeError):  # the loop has been closed: nobody is left to hear it
            self._call_soon(tell)
