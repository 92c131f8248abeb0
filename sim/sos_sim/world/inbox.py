"""The station's inbox on a virtual disk: twin of ``sos_station.edge.inbox``, with its very SQL."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from sos_edge.sqlite import Failure, Job
from sos_sim.trace import Trace
from sos_sim.world.disk import HANG_LOOK_US, Disk, DiskWriter
from sos_sim.world.loop import Loop
from sos_sim.world.outbox import in_words
from sos_station.core.effects import (
    AlarmStored,
    ChangeStage,
    Outcome,
    ReadEffect,
    SetFault,
    StagesChanged,
    StoreAlarm,
    StoreEffect,
)
from sos_station.core.events import CommitFailed, Committed, Read, ReadFailed
from sos_station.edge import reads, writes
from sos_station.edge.inbox import Completion, identify
from sos_station.edge.schema import SCHEMA, VERSION

# A read in the reader's thread: some index look-ups.
READ_US = (100, 1_500)


class Inbox:
    """Stores and reads complete through ``deliver``. Says ``received``, ``stage`` and ``point_lost`` when *synced*."""

    def __init__(
        self,
        loop: Loop,
        rng: random.Random,
        disk: Disk,
        deliver: Callable[[Completion], None],
        *,
        trace: Trace,
        wall_ms: int,
        broken: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Raises LockedError if another station uses the disk, SafezoneError if it cannot be used."""
        self._loop = loop
        self._rng = rng
        self._disk = disk
        self._deliver = deliver
        self._broken = broken
        self._trace = trace
        disk.lock(self, "station")
        with ExitStack() as undo:
            undo.callback(disk.unlock)
            connection, self.aside = disk.open(SCHEMA, VERSION)
            undo.pop_all()
        fresh = f"{rng.getrandbits(64):016x}"
        self.incarnation = identify(connection, disk.inode, fresh=fresh, damaged=bool(self.aside), wall_ms=wall_ms)
        self._connection = connection
        self._writer = DiskWriter(loop, disk, connection, self._on_disk, told=self._tell)
        self._results: list[tuple[StoreEffect, Outcome]] = []
        self._failures: list[StoreEffect] = []
        self._failure = ""
        self._high_water = 0
        self._read_until_us = 0  # the reader is one thread: one read after the other
        self._reads: dict[int, list[object]] = {}
        self._read_number = 0
        self._stopped = False

    @property
    def commits(self) -> int:
        return self._writer.commits

    def store(self, effect: StoreEffect) -> None:
        """Completes as ``Committed`` or ``CommitFailed``."""
        self._writer.submit(partial(_write, effect), partial(self._stored, effect), True)

    def read(self, effect: ReadEffect) -> None:
        """Completes as ``Read`` or ``ReadFailed``; sees what is *synced* by then."""
        self._read_until_us = max(self._read_until_us, self._loop.now_us) + self._rng.randint(*READ_US)
        self._read_number += 1
        work = partial(self._read, self._read_number, effect)
        self._reads[self._read_number] = self._loop.at(self._read_until_us, work)

    def freeze(self) -> None:
        """The process is stopped."""
        self._stopped = True
        self._writer.freeze()

    def thaw(self) -> None:
        self._stopped = False
        self._writer.thaw()

    def kill(self) -> None:
        """The process is gone, and its lock with it."""
        self._end()
        self._writer.kill()

    def close(self) -> None:
        """Commit what waits and close."""
        self._end()
        self._writer.close()

    def power_cut(self) -> None:
        self._end()
        self._writer.power_cut()

    def _end(self) -> None:
        for entry in self._reads.values():
            self._loop.cancel(entry)
        self._disk.unlock()

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

    def _read(self, number: int, effect: ReadEffect) -> None:
        if self._stopped or self._disk.hang:
            self._reads[number] = self._loop.after(HANG_LOOK_US, partial(self._read, number, effect))
            return
        del self._reads[number]
        try:
            self._disk.check()
            result = reads.carry_out(self._connection, effect)
        except sqlite3.Error as error:
            self._deliver(ReadFailed(effect, str(error)))
            return
        self._deliver(Read(effect, result))

    def _on_disk(self, group: list[Job]) -> None:
        for job in group:
            if not isinstance(job.result, Failure):
                self._say(job.work.args[0], job.result[0])  # type: ignore[attr-defined]

    def _say(self, effect: StoreEffect, outcome: Outcome) -> None:
        now_us, say = self._loop.now_us, self._trace.say
        if isinstance(outcome, AlarmStored):
            assert isinstance(effect, StoreAlarm)
            alarm = effect.alarm
            say(
                now_us, "received", "station", in_words(alarm.id), outcome.verdict, outcome.number, alarm.kind,
                alarm.pressed_at_ms, effect.age_ms, effect.late, outcome.incident, alarm.repeats,
            )  # fmt: skip
        elif isinstance(outcome, StagesChanged):
            rows = outcome.rows if outcome.moved else ()
            if outcome.moved > len(rows):
                assert isinstance(effect, ChangeStage)
                rows = tuple(reads.rows_of_request(self._connection, effect.request.number, outcome.moved))
            for row in rows:
                say(now_us, "stage", "station", in_words(row.id), row.stage, row.officer)
        elif isinstance(effect, SetFault) and effect.kind == "point_lost":
            say(now_us, "point_lost", "station", effect.point, "on" if effect.on else "off")


def _write(effect: StoreEffect, connection: sqlite3.Connection) -> tuple[Outcome, int]:
    return writes.carry_out(connection, effect)
