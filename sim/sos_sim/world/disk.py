"""A machine's disk with one database on it, and the writer that commits to it on virtual time.

Twin of ``sos_edge.sqlite`` and ``sos_edge.lock``. The grouping, savepoints and failures are the real ones
(``Commits``); the database is real SQLite in memory. What is modelled is time: a commit is *written* (a kill no longer
takes it away) and later *synced* (nor does a power cut); only then its completions are delivered.
That all survive which were synced, commits whole and in their order, ``tests/agent/test_outbox_power.py`` holds against
real files.
"""

from __future__ import annotations

import random
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from sos_contract.errors import SafezoneError
from sos_edge.lock import LockedError
from sos_edge.sqlite import MAX_GROUP, MAX_WAITING, SQLITE_CORRUPT, SQLITE_FULL, Commits, Failure, Job
from sos_sim.world.loop import Loop

# The writer's thread wakes up; the bytes lie in the page cache; the card has them. Usually 1 to 8 ms in all.
WAKE_US = (20, 200)
WRITE_US = (200, 2_000)
SYNC_US = (800, 6_000)
# A card now and then moves its own blocks about.
SLOW_SYNC_US = (20_000, 120_000)
SLOW_SYNC_CHANCE = 0.01
# How often a disk that hangs is looked at again.
HANG_LOOK_US = 50_000


class FullError(sqlite3.OperationalError):
    """There is no room."""

    sqlite_errorcode = SQLITE_FULL


class DamagedError(sqlite3.DatabaseError):
    """The file is no database any more."""

    sqlite_errorcode = SQLITE_CORRUPT


class Disk:
    """Faults are attributes: ``slow_us`` (added to each commit), ``full``, ``failing``, ``hang``, ``damaged`` (until
    the file is moved aside). ``holder`` is whoever holds the lock; ``tell`` hears in a word what has become of it."""

    def __init__(self, rng: random.Random, tell: Callable[[str], object] = lambda what: None) -> None:
        self.rng = rng
        self.holder: object | None = None
        self.file: sqlite3.Connection | None = None
        self.inode = 0
        self.keys: dict[str, tuple[bytes, bytes]] = {}  # poles' keys that came over the wire, and those on trial
        self.aside: list[sqlite3.Connection] = []
        self._tell = tell
        self._inodes = 0
        self._faults: dict[str, int] = {}

    # --- faults

    def _set(self, name: str, value: int) -> None:
        if self._faults.get(name, 0) != value:
            self._faults[name] = value
            self._tell(name if value else "ok")

    @property
    def slow_us(self) -> int:
        return self._faults.get("slow", 0)

    @slow_us.setter
    def slow_us(self, value: int) -> None:
        self._set("slow", value)

    @property
    def full(self) -> bool:
        return bool(self._faults.get("full"))

    @full.setter
    def full(self, value: bool) -> None:
        self._set("full", value)

    @property
    def failing(self) -> bool:
        return bool(self._faults.get("failing"))

    @failing.setter
    def failing(self, value: bool) -> None:
        self._set("failing", value)

    @property
    def hang(self) -> bool:
        return bool(self._faults.get("hang"))

    @hang.setter
    def hang(self, value: bool) -> None:
        self._set("hang", value)

    @property
    def damaged(self) -> bool:
        return bool(self._faults.get("damaged"))

    @damaged.setter
    def damaged(self, value: bool) -> None:
        self._set("damaged", value)

    def lose(self) -> None:
        """A new, empty disk is in its place, even under a running program."""
        self.file = None
        self.keys.clear()
        self._faults.pop("damaged", None)
        self._tell("lost")

    def copy(self) -> bytes:
        """What is on it now, for ``restore``."""
        assert self.file is not None, "nothing to copy"
        return self.file.serialize()

    def restore(self, copy: bytes, *, over: bool = False) -> None:
        """Put a copy in place of the file; ``over``: write it over the old one, which keeps the inode.

        A program that has the file open would go on with the old one, or with neither: it must not run.
        """
        assert self.holder is None, "stop the program first"
        self.file = _connect()
        self.file.deserialize(copy)
        if not over or not self.inode:
            self._new_inode()
        self._faults.pop("damaged", None)
        self._tell("restored")

    # --- as a program sees it

    def lock(self, holder: object, what: str) -> None:
        """Raises LockedError if somebody has it."""
        if self.holder is not None:
            raise LockedError(f"another {what} uses this folder; stop it, or name another one")
        self.holder = holder

    def unlock(self) -> None:
        self.holder = None

    def open(self, schema: str, version: int) -> tuple[sqlite3.Connection, str]:
        """The database, created if there is none; where a damaged one was moved, or an empty string.

        Raises SafezoneError while the disk cannot be used.
        """
        if self.failing or (self.full and self.file is None):
            raise SafezoneError("the folder cannot be used; check the disk")
        aside = ""
        if self.damaged and self.file is not None:
            self.aside.append(self.file)
            self.file = None
            aside = f"damaged-{len(self.aside)}"
            self.damaged = False
        if self.file is None:
            self.file = _connect()
            self.file.executescript(f"BEGIN IMMEDIATE;\n{schema}\n;PRAGMA user_version={version};\nCOMMIT;")
            self._new_inode()
        self.file.execute("PRAGMA foreign_keys=ON")
        return self.file, aside

    def check(self) -> None:
        """Raises what an access to the file would; a full disk is the writer's matter."""
        if self.damaged:
            raise DamagedError("database disk image is malformed")
        if self.failing:
            raise sqlite3.OperationalError("disk I/O error")

    def _new_inode(self) -> None:
        self._inodes += 1
        self.inode = self._inodes


def _connect() -> sqlite3.Connection:
    # One connection writes and reads here, with statements for lists of any length: all of them are kept.
    return sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)


class DiskWriter:
    """Twin of ``sos_edge.sqlite.Writer``: jobs that wait share one commit. One loop call a commit.

    ``room`` says whether one more row finds room on a full disk; ``make_room`` and ``tight`` are those of ``Commits``,
    ``told`` that of ``Writer``.
    """

    def __init__(
        self,
        loop: Loop,
        disk: Disk,
        connection: sqlite3.Connection,
        on_disk: Callable[[list[Job]], object],
        *,
        room: Callable[[], bool] = lambda: False,
        make_room: Callable[[], bool] = lambda: False,
        tight: Callable[[], bool] = lambda: False,
        told: Callable[[], object] = lambda: None,
    ) -> None:
        """``on_disk`` sees the jobs of a commit, with results, before anybody is told (after a kill nobody is)."""
        self._loop = loop
        self._disk = disk
        self._connection = connection
        self._on_disk = on_disk
        self._room = room
        self._told = told
        self._commits = Commits(connection, begin=self._begin, gone=self._gone, make_room=make_room, tight=tight)
        self._waiting: deque[tuple[int, Job]] = deque()  # since when
        self._begun_us = 0  # the commit under way: what waits since then or longer is in it
        self._written_us = 0
        self._entry: list[object] | None = None
        self._stopped_us: int | None = None  # the process is stopped since then
        self._late = False  # the commit ended while the process was stopped

    @property
    def commits(self) -> int:
        return self._commits.commits

    def submit(self, work: Callable[[sqlite3.Connection], Any], done: Callable[[Any], None], vital: bool) -> None:
        """As ``Writer.submit``."""
        job = Job(work, done, vital)
        if len(self._waiting) >= MAX_WAITING:
            job.result = Failure(f"{MAX_WAITING} stores wait already")
            self._loop.after(0, lambda: self._tell([job]))
            return
        self._waiting.append((self._loop.now_us, job))
        if self._entry is None:
            self._begin_commit(self._disk.rng.randint(*WAKE_US))

    def waited_us(self) -> int:
        """How long the commit that is under way has lasted; 0 if none is."""
        return max(0, self._loop.now_us - self._begun_us) if self._entry is not None else 0

    def freeze(self) -> None:
        """The process is stopped; what is with the kernel goes on."""
        self._stopped_us = self._loop.now_us

    def thaw(self) -> None:
        stopped_us, self._stopped_us = self._stopped_us, None
        if self._late:
            self._late = False
            if stopped_us is not None and stopped_us < self._written_us:
                self._begin_commit(0)  # it had not come to write
            else:
                self._end_commit()

    def kill(self) -> None:
        """The process is gone: what was written stays."""
        self._leave(stays=self._is_written())

    def power_cut(self) -> None:
        """What was written may stay, whole commits only."""
        self._leave(stays=self._is_written() and self._disk.rng.random() < 0.5)

    def close(self) -> None:
        """Commit what waits; nobody is told. What a disk does not take in time is given up."""
        if self._disk.hang:
            self._leave(stays=self._is_written())
            return
        while self._waiting:
            self._begun_us = self._loop.now_us
            self._leave_one(self._take_group())
        self._leave(stays=False)

    # --- the commit under way

    def _begin_commit(self, wake_us: int) -> None:
        rng, disk = self._disk.rng, self._disk
        self._begun_us = self._loop.now_us + wake_us
        self._written_us = self._begun_us + rng.randint(*WRITE_US)
        sync_us = rng.randint(*(SLOW_SYNC_US if rng.random() < SLOW_SYNC_CHANCE else SYNC_US))
        self._entry = self._loop.at(self._written_us + sync_us + disk.slow_us, self._synced)

    def _synced(self) -> None:
        if self._stopped_us is not None:
            self._late = True
        elif self._disk.hang:
            self._entry = self._loop.after(HANG_LOOK_US, self._synced)
        else:
            self._end_commit()

    def _end_commit(self) -> None:
        group = self._take_group()
        self._commits.carry_out(group)
        self._entry = None
        if self._waiting:
            self._begin_commit(0)
        self._on_disk(group)
        self._tell(group)

    def _tell(self, group: list[Job]) -> None:
        for job in group:
            job.done(job.result)
        self._told()

    def _take_group(self) -> list[Job]:
        group: list[Job] = []
        waiting = self._waiting
        while waiting and waiting[0][0] <= self._begun_us and len(group) < MAX_GROUP:
            group.append(waiting.popleft()[1])
        return group

    def _is_written(self) -> bool:
        # A disk that hangs has taken nothing for sure; the page cache has.
        now_us = self._loop.now_us if self._stopped_us is None else self._stopped_us
        return self._entry is not None and now_us >= self._written_us

    def _leave(self, *, stays: bool) -> None:
        if self._entry is not None:
            self._loop.cancel(self._entry)
        if stays:
            self._leave_one(self._take_group())
        self._waiting.clear()
        self._entry = None

    def _leave_one(self, group: list[Job]) -> None:
        self._commits.carry_out(group)
        self._on_disk(group)

    def _begin(self, connection: sqlite3.Connection) -> None:
        self._disk.check()
        if self._disk.full and not self._room():
            raise FullError("database or disk is full")
        connection.execute("BEGIN IMMEDIATE")

    def _gone(self) -> str:
        return "" if self._disk.file is self._connection else "the file has been removed"
