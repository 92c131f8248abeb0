"""Durable alarms a second through the agent's outbox, beside bare SQLite with the same table and the same pragmas."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sos_agent.core import effects, events
from sos_agent.edge import tables
from sos_agent.edge.outbox import Outbox
from sos_agent.edge.reserve import Reserve
from sos_contract.errors import SafezoneError
from sos_contract.payloads import Identity
from sos_edge.log import Log
from sos_edge.sqlite import AUTOCHECKPOINT_PAGES
from sos_sim.bench.figures import Tell, figure, spread

GROUPS = (1, 8, 64)
ROUNDS = 10  # of ours and of the floor, in turns
SYNCS = 200
PAGE = bytes(4096)
POLE, INCARNATION = "clock-tower-1", "0123456789abcdef"
_TIMEBASE = "bench"


class Ours:
    """The outbox as the agent has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        loop = asyncio.get_running_loop()
        self._left = 0
        self._all = asyncio.Event()
        self._failed = ""
        self._number = 0
        # No room kept back: the reserve is another matter, and 36 MB of a test's disk.
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

    async def store(self, group: int) -> None:
        """So many alarms that wait together."""
        self._left = group
        self._all.clear()
        for _ in range(group):
            self._number += 1
            identity = Identity(POLE, INCARNATION, 1, self._number)
            at_ms = self._number * 1000
            self.outbox.carry_out(effects.StoreAlarm(identity, "press", at_ms, 0, _TIMEBASE, at_ms))
        await self._all.wait()
        if self._failed:
            raise SafezoneError(f"the outbox did not store an alarm: {self._failed}")


class Bare:
    """The same rows in the same table, and nothing else."""

    _INSERT = (
        "INSERT INTO alarm (pole, incarnation, boot, press, clash, kind, pressed_at_ms, repeats, timebase, pressed_ms, "
        "stage) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
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
            row = (POLE, INCARNATION, 1, self._number, 0, "press", at_ms, 0, 1, at_ms, 1)
            self.connection.execute(self._INSERT, row)
        self.connection.execute("COMMIT")


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
    ours, bare = Ours(folder / "ours"), Bare(folder / "bare")
    try:
        for one in spread("outbox", "this disk: write and sync 4 KiB", sync_ms(folder)):
            tell(one)
        for group in GROUPS:
            await _compare(ours, bare, group, count, tell)
    finally:
        bare.connection.close()
        ours.outbox.close()


async def _compare(ours: Ours, bare: Bare, group: int, count: int, tell: Tell) -> None:
    """In turns, so that both meet the same disk."""
    rounds = min(ROUNDS, max(1, count // group))
    commits = max(1, count // group // rounds)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    ways: dict[str, Callable[[int], Awaitable[None]]] = {"bare": bare.store, "ours": ours.store}
    for _ in range(rounds):
        for name, store in ways.items():
            for _ in range(commits):
                began = time.perf_counter()
                await store(group)
                times[name].append((time.perf_counter() - began) * 1000)
    alarms = rounds * commits * group
    what = "one by one" if group == 1 else f"{group} waiting together"
    rates = {name: alarms / sum(values) * 1000 for name, values in times.items()}
    tell(figure("outbox", what, "alarms/s", rates["ours"], count=alarms, floor=rates["bare"], more=True))
    for one in spread("outbox", f"{what}: until all are stored", times["ours"], times["bare"]):
        tell(one)
