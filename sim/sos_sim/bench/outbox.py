"""Durable alarms a second through the agent's outbox, beside bare SQLite with the same table and the same pragmas, and
beside persist-queue, which is what one would take who looks for a queue on a disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from persistqueue import SQLiteQueue

from sos_agent.core import effects, events
from sos_agent.edge import tables
from sos_agent.edge.outbox import Outbox
from sos_agent.edge.reserve import Reserve
from sos_contract.errors import SafezoneError
from sos_contract.payloads import Alarm, Identity, encode
from sos_edge.log import Log
from sos_edge.sqlite import AUTOCHECKPOINT_PAGES
from sos_sim.bench.figures import Tell, figure, spread

GROUPS = (1, 8, 64)
ROUNDS = 10  # of ours and of the floor, in turns
SYNCS = 200
PAGE = bytes(4096)
POLE, INCARNATION = "clock-tower-1", "0123456789abcdef"
_TIMEBASE = "bench"
SEALED = effects.Sealed(bytes(32), bytes(65))  # as a press comes from a pole: the ledger's record of it holds both


class Ours:
    """The outbox as the agent has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        loop = asyncio.get_running_loop()
        self._left = 0
        self._all = asyncio.Event()
        self._failed = ""
        self._number = 0
        # No room kept back: the reserve is another matter, and 88 MB of a test's disk.
        self.outbox = Outbox(
            folder,
            call_soon=loop.call_soon_threadsafe,
            deliver=self._deliver,
            broken=self._fail,
            log=Log("bench"),
            reserve=lambda place: Reserve(place, 0, margin=0),
        )

    def _deliver(self, event: events.Event) -> None:
        if not isinstance(event, events.Stored) or event.outcome != "new":
            self._fail(repr(event))
        self._left -= 1
        if self._left == 0:
            self._all.set()

    def _fail(self, reason: str) -> None:
        self._failed = self._failed or reason
        self._all.set()

    async def store(self, group: int) -> None:
        """So many alarms that wait together."""
        await self.carry_out([self._alarm() for _ in range(group)])

    def _alarm(self) -> effects.StoreAlarm:
        self._number += 1
        identity = Identity(POLE, INCARNATION, 1, self._number)
        at_ms = self._number * 1000
        return effects.StoreAlarm(identity, "press", at_ms, 0, _TIMEBASE, at_ms, SEALED, at_ms)

    async def carry_out(self, alarms: Sequence[effects.StoreAlarm]) -> None:
        """These, waiting together; all are new."""
        self._left = len(alarms)
        self._all.clear()
        for alarm in alarms:
            self.outbox.carry_out(alarm)
        await self._all.wait()
        if self._failed:
            raise SafezoneError(f"the outbox did not store an alarm: {self._failed}")


class Bare:
    """The same rows in the same table, and nothing else."""

    _INSERT = (
        "INSERT INTO alarm (pole, incarnation, boot, press, clash, kind, pressed_at_ms, repeats, timebase, pressed_ms, "
        "stage, record) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
    )

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.connection.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        self.connection.executescript(tables.SCHEMA)
        self.connection.execute("INSERT INTO timebase (name) VALUES (?)", (_TIMEBASE,))
        self._number = 0

    async def store(self, group: int) -> None:
        """So many alarms in one commit."""
        self.connection.execute("BEGIN IMMEDIATE")
        for _ in range(group):
            self._number += 1
            at_ms = self._number * 1000
            row = (POLE, INCARNATION, 1, self._number, 0, "press", at_ms, 0, 1, at_ms, 1, 0)
            self.connection.execute(self._INSERT, row)
        self.connection.execute("COMMIT")


class PersistQueue:
    """Its queue in SQLite, in the one durable way that it has: WAL, each put a commit of its own."""

    def __init__(self, folder: Path) -> None:
        self._queue = SQLiteQueue(str(folder), auto_commit=True)
        connection: Any = self._queue._putter
        connection.execute("PRAGMA synchronous=FULL")
        identity = Identity(POLE, INCARNATION, 1, 1)
        self._alarm = encode(Alarm(id=identity, kind="press", pressed_at_ms=1 << 40))

    async def store(self, group: int) -> None:
        """So many alarms one after the other: there is no other way to put several."""
        for _ in range(group):
            self._queue.put(self._alarm)

    def close(self) -> None:
        """Let go of the file."""
        self._queue.close()


def sync_ms(folder: Path) -> list[float]:
    """What this disk takes for 4 KiB behind the end of a file, as a commit writes it: write and fdatasync."""
    found = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(PAGE)
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - began) * 1000)
    return found


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` alarms in each way."""
    ours, bare, peer = Ours(folder / "ours"), Bare(folder / "bare"), PersistQueue(folder / "peer")
    try:
        for one in spread("outbox", "this disk: write and sync 4 KiB", sync_ms(folder)):
            tell(one)
        for group in GROUPS:
            await _compare({"bare": bare.store, "ours": ours.store, "persist-queue": peer.store}, group, count, tell)
    finally:
        peer.close()
        bare.connection.close()
        ours.outbox.close()


async def _compare(ways: dict[str, Callable[[int], Awaitable[None]]], group: int, count: int, tell: Tell) -> None:
    """In turns, so that all meet the same disk."""
    rounds = min(ROUNDS, max(1, count // group))
    commits = max(1, count // group // rounds)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, store in ways.items():
            for _ in range(commits):
                began = time.perf_counter()
                await store(group)
                times[name].append((time.perf_counter() - began) * 1000)
    alarms = rounds * commits * group
    what = "one by one" if group == 1 else f"{group} waiting together"
    rates = {name: alarms / sum(values) * 1000 for name, values in times.items()}
    for name, whose in (("ours", what), ("persist-queue", f"persist-queue, {what}")):
        tell(figure("outbox", whose, "alarms/s", rates[name], count=alarms, floor=rates["bare"], more=True))
        for one in spread("outbox", f"{whose}: until all are stored", times[name], times["bare"]):
            tell(one)
