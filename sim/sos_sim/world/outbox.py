"""The agent's outbox on a virtual disk: twin of ``sos_agent.edge.outbox``, with its very tables."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from sos_agent.core import effects, events
from sos_agent.edge import tables
from sos_agent.edge.reserve import BYTES_AN_ALARM, PIECE_BYTES, RESERVE_BYTES
from sos_contract.payloads import Identity
from sos_edge.sqlite import Failure, Job
from sos_sim.trace import Trace
from sos_sim.world.disk import Disk, DiskWriter
from sos_sim.world.loop import Loop

ALARMS_A_PIECE = PIECE_BYTES // BYTES_AN_ALARM
PIECES = RESERVE_BYTES // PIECE_BYTES


def in_words(identity: Identity) -> str:
    """An identity as rows of the trace write it."""
    clash = f".{identity.clash}" if identity.clash else ""
    return f"{identity.pole}/{identity.incarnation}/{identity.boot}/{identity.press}{clash}"


class Outbox:
    """Opens at once: ``contents`` is what it holds. Says ``held`` and ``pole_lost`` at the instant of *synced*.

    ``broken`` is called when the file is damaged or gone while in use: the owner must end.
    """

    def __init__(
        self,
        loop: Loop,
        rng: random.Random,
        disk: Disk,
        deliver: Callable[[events.Event], None],
        *,
        trace: Trace,
        point: str,
        broken: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Raises LockedError if another agent uses the disk, SafezoneError if it cannot be used."""
        self._loop = loop
        self._disk = disk
        self._deliver = deliver
        self._trace = trace
        self._point = point
        self._broken = broken
        disk.lock(self, "agent")
        with ExitStack() as undo:
            undo.callback(disk.unlock)
            connection, aside = disk.open(tables.SCHEMA, tables.VERSION)
            undo.pop_all()
        self.contents = tables.load(connection, f"{rng.getrandbits(64):016x}", aside)
        self.incarnation = self.contents.outbox
        self._pieces = PIECES  # of the reserve
        self._room = 0  # alarms for which a piece was given
        self._full = False
        self._writer = DiskWriter(
            loop,
            disk,
            connection,
            self._on_disk,
            room=lambda: self._room > 0,
            make_room=self._give,
            tight=lambda: self._pieces < PIECES,
        )
        self.refill()

    @property
    def disk_ok(self) -> bool:
        """False while alarms live on the reserve and notices are refused."""
        return self._pieces == PIECES and not self._full

    @property
    def commits(self) -> int:
        return self._writer.commits

    def waited_s(self) -> float:
        """How long the commit that is under way has lasted."""
        return self._writer.waited_us() / 1e6

    def refill(self) -> bool:
        """Fill the reserve again if the disk has room; the owner calls it now and then."""
        self._full = self._disk.full
        if not self._full:
            self._pieces, self._room = PIECES, 0
        return self.disk_ok

    def carry_out(self, effect: effects.StoreEffect) -> None:
        """Do ``effect`` in the next commit. Its completion, or StoreFailed, is delivered after that commit."""
        work: Callable[[sqlite3.Connection], tables.Completion] = partial(_work, effect)
        self._writer.submit(work, partial(self._done, effect), not isinstance(effect, effects.StoreNotice))

    def freeze(self) -> None:
        """The process is stopped."""
        self._writer.freeze()

    def thaw(self) -> None:
        self._writer.thaw()

    def kill(self) -> None:
        """The process is gone, and its lock with it."""
        self._writer.kill()
        self._disk.unlock()

    def close(self) -> None:
        """Commit what waits and close."""
        self._writer.close()
        self._disk.unlock()

    def power_cut(self) -> None:
        self._writer.power_cut()
        self._disk.unlock()

    def _give(self) -> bool:
        if self._pieces == 0:
            return False
        self._pieces -= 1
        self._room += ALARMS_A_PIECE
        return True

    def _done(self, effect: effects.StoreEffect, result: tables.Completion | Failure) -> None:
        if isinstance(result, Failure):
            if result.broken:
                self._broken(result.reason)
            self._full = self._full or result.full
            self._deliver(events.StoreFailed(effect, result.reason, result.full))
        elif result is not None:
            self._deliver(result)

    def _on_disk(self, group: list[Job]) -> None:
        now_us, say = self._loop.now_us, self._trace.say
        for job in group:
            result = job.result
            if isinstance(result, events.Stored):
                self._room -= self._disk.full
                say(now_us, "held", self._point, in_words(result.row.id), result.outcome)
            elif isinstance(result, events.NoticeStored) and result.effect.kind == "link_lost":
                say(now_us, "pole_lost", self._point, result.effect.pole, "on" if result.effect.on else "off")


def _work(effect: effects.StoreEffect, connection: sqlite3.Connection) -> tables.Completion:
    return tables.WORK[type(effect)](connection, effect)
