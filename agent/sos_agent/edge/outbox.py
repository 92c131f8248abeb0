"""The outbox: alarms and notices on disk until the station has them; what it commits survives a power cut.

``<data folder>/outbox.db`` (SQLite), ``lock`` (one agent a folder) and ``reserve`` (room for 100,000 alarms when the
disk is full). Alarms are never evicted. Where a pole's press cannot be stored nothing is promised, and the pole, which
keeps it in its own flash until *received*, offers it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sos_agent.core import effects, events
from sos_agent.edge import tables
from sos_agent.edge.reserve import PIECE_BYTES, Reserve
from sos_contract.errors import SafezoneError
from sos_edge.lock import FolderLock
from sos_edge.log import Log
from sos_edge.sqlite import Failure, Writer, open_database

FILE_NAME = "outbox.db"


class Outbox:
    """Opens at once: ``contents`` is what it holds. Completions go to ``deliver`` on the loop's thread.

    ``broken`` is called, there too, when the file is damaged or gone while in use: nothing more can be stored, and the
    owner must end so that the next start moves it aside.
    """

    def __init__(
        self,
        folder: Path,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        deliver: Callable[[events.Event], None],
        broken: Callable[[str], None],
        log: Log,
        reserve: Callable[[Path], Reserve] = Reserve,
    ) -> None:
        """Raises LockedError if another agent uses ``folder``, SafezoneError if it cannot be used."""
        try:
            self._lock = FolderLock(folder, what="agent")
            self._reserve = reserve(folder)
            if self._reserve.free() < PIECE_BYTES:
                # SQLite needs a little room to open at all.
                self._reserve.give()
        except OSError as error:
            hint = "check the folder, its owner and the disk"
            raise SafezoneError(f"{folder}: cannot be used ({error.strerror}); {hint}") from None
        self.path = folder / FILE_NAME
        incarnation = secrets.token_hex(8)
        verify = partial(tables.load, fresh_incarnation=incarnation, damaged="")
        database = open_database(
            self.path, tables.SCHEMA, version=tables.VERSION, upgrades=tables.UPGRADES, verify=verify
        )
        self._log = log
        self._deliver = deliver
        self._broken = broken
        self._full = False
        # The core says it, in the log and to the station.
        damaged = f"{database.aside} ({database.why})" if database.aside else ""
        self.contents = tables.load(database.connection, incarnation, damaged)
        self._writer = Writer(database, call_soon, make_room=self._reserve.give, tight=lambda: not self._reserve.whole)
        self.refill()

    @property
    def disk_ok(self) -> bool:
        """False while alarms live on the reserve and notices are refused."""
        return self._reserve.whole and not self._full

    @property
    def commits(self) -> int:
        """Commits so far: those that waited together shared one."""
        return self._writer.commits

    def waited_s(self) -> float:
        """How long the store that waits longest has waited; far more than a second means that the disk hangs."""
        return self._writer.waited_s()

    def refill(self) -> bool:
        """Fill the reserve again if the disk has room; the owner calls it now and then. True if all is well."""
        if self._reserve.fill() and self._reserve.free() >= PIECE_BYTES:
            self._full = False
            self._log.outage_over("disk", "disk has room again", path=self.path.parent)
        else:
            self._full = True
            self._log.outage("disk", "disk full: alarms only; make room", level="error", path=self.path.parent)
        return self.disk_ok

    def carry_out(self, effect: effects.StoreEffect) -> None:
        """Do ``effect`` in the next commit. Its completion, or StoreFailed, is delivered after that commit."""
        work = tables.WORK[type(effect)]
        # No notice may use the reserve, not even the one that says that the disk is full: `health` says that.
        vital = not isinstance(effect, effects.StoreNotice)
        self._writer.submit(lambda db: work(db, effect), partial(self._done, effect), vital=vital)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Commit what waits and close. False if the disk did not let it end in time."""
        ended = self._writer.close(timeout_s)
        self._reserve.close()
        self._lock.close()
        return ended

    def _done(self, effect: effects.StoreEffect, result: tables.Completion | Failure) -> None:
        if isinstance(result, Failure):
            if result.broken:
                self._broken(result.reason)
            elif result.full:
                self._full = True
                self._log.outage("disk", "disk full: alarms only; make room", level="error", path=self.path.parent)
            self._deliver(events.StoreFailed(effect, result.reason, result.full))
            return
        if result is not None:
            self._deliver(result)
