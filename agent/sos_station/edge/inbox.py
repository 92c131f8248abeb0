"""Step 8, inbox: the SQLite file in which alarms are safe, its writer's thread and its reader's."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from sos_contract.errors import SafezoneError
from sos_edge import ledger
from sos_edge.lock import FolderLock
from sos_edge.sqlite import Failure, Writer, open_database
from sos_station.core.effects import Outcome, ReadEffect, StoreEffect
from sos_station.core.events import CommitFailed, Committed, Read, ReadFailed
from sos_station.edge import reads, writes
from sos_station.edge.schema import SCHEMA, UPGRADES, VERSION, prepare

FILE_NAME = "inbox.sqlite"
READ_S = 1.0  # what the read that is under way at the end is given; longer than any, but on a disk that hangs
Completion = Committed | CommitFailed | Read | ReadFailed


class Inbox:
    """Stores and reads complete through ``deliver``, on the loop's thread. What shares a commit is told at once."""

    def __init__(
        self,
        folder: Path,
        *,
        deliver: Callable[[Completion], None],
        wall_ms: int,
        broken: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Opens ``<folder>/inbox.sqlite``; a damaged one is moved aside, see ``aside`` and ``why``.

        ``broken`` is called when the file is damaged or gone while in use: nothing more can be stored, and the owner
        must end so that the next start begins a new one.
        Raises LockedError if another station uses the folder, SafezoneError if it cannot be used.
        """
        self._deliver = deliver
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        try:
            self._lock = FolderLock(folder, what="station")
        except OSError as error:
            why = f"{folder}: cannot keep the inbox here ({error.strerror})"
            raise SafezoneError(f"{why}; check station.data in the site file, its owner and the disk") from None
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            database = open_database(folder / FILE_NAME, SCHEMA, version=VERSION, upgrades=UPGRADES, verify=prepare)
            self.aside, self.why = database.aside, database.why
            self.incarnation = identify(
                database.connection,
                database.path.stat().st_ino,
                fresh=secrets.token_hex(8),
                damaged=self.aside is not None,
                wall_ms=wall_ms,
            )
            self._reader = _open_reader(database.path)
            undo.pop_all()
        self._writer = Writer(database, self._loop.call_soon_threadsafe, told=self._tell)
        self._reads: SimpleQueue[ReadEffect | None] = SimpleQueue()
        self._read_thread = threading.Thread(target=self._read_on, name="inbox-reader", daemon=True)
        self._read_thread.start()
        self._results: list[tuple[StoreEffect, Outcome]] = []
        self._failures: list[StoreEffect] = []
        self._failure = ""
        self._high_water = 0

    @property
    def commits(self) -> int:
        """Commits so far, of this run: fewer than stores where they shared one."""
        return self._writer.commits

    def store(self, effect: StoreEffect) -> None:
        """Completes as ``Committed`` or ``CommitFailed``."""
        self._writer.submit(partial(_write, effect), partial(self._stored, effect))

    def read(self, effect: ReadEffect) -> None:
        """Completes as ``Read`` or ``ReadFailed``."""
        self._reads.put(effect)

    def close(self) -> bool:
        """Commit what waits and close. False if the disk did not let it end in time."""
        with suppress(Empty):
            while True:
                self._reads.get_nowait()  # nobody is left to hear the answers
        self._reads.put(None)
        self._read_thread.join(READ_S)
        ended = self._writer.close()
        self._lock.close()
        return ended and not self._read_thread.is_alive()

    def _stored(self, effect: StoreEffect, result: tuple[Outcome, int] | Failure) -> None:
        # Called for each job of one commit in a row; the core hears of all of them together.
        if isinstance(result, Failure):
            if result.broken:
                self._broken(result.reason)
            self._failures.append(effect)
            self._failure = result.reason
        else:
            self._results.append((effect, result[0]))
            self._high_water = result[1]

    def _tell(self) -> None:
        results, failures = self._results, self._failures
        self._results, self._failures = [], []
        if failures:
            self._deliver(CommitFailed(tuple(failures), self._failure))
        if results:
            self._deliver(Committed(tuple(results), self._high_water))

    def _read_on(self) -> None:
        """The reader's thread."""
        while (effect := self._reads.get()) is not None:
            done: Read | ReadFailed
            try:
                done = Read(effect, reads.carry_out(self._reader, effect))
            except sqlite3.Error as error:
                done = ReadFailed(effect, str(error))
            with suppress(RuntimeError):  # the loop has been closed: nobody is left to hear it
                self._loop.call_soon_threadsafe(self._deliver, done)
        self._reader.close()


def _write(effect: StoreEffect, connection: sqlite3.Connection) -> tuple[Outcome, int]:
    return writes.carry_out(connection, effect)


def _open_reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=ON")
    return connection


def identify(connection: sqlite3.Connection, inode: int, *, fresh: str, damaged: bool, wall_ms: int) -> str:
    """The inbox's incarnation: ``fresh`` for a new file and for a copy put in its place, so that agents offer what it
    lacks. ``damaged``: the one before was moved aside, which is a fault to record. Begins the ledger where there is
    none yet.

    A copy written over the old file keeps the inode: agents then see that the high water has gone back.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    same = meta.get("inode") == str(inode)
    incarnation = str(meta["incarnation"]) if same else fresh
    if same and ledger.head(connection) is not None:
        return incarnation
    rows = {"incarnation": incarnation, "inode": str(inode), "high_water": meta.get("high_water", 0)}
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(rows.items()))
    writes.begin_ledger(connection, incarnation, str(meta.get("incarnation", "")), wall_ms)
    if damaged:
        writes.note_damage(connection, wall_ms)
    connection.execute("COMMIT")
    return incarnation
