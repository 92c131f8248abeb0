"""Outboxes and inbox of a live town, read beside the programs that write them: only what is committed is seen."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sos_agent.edge.outbox import FILE_NAME as OUTBOX
from sos_contract.payloads import Identity
from sos_contract.site import Site, read_keys
from sos_ledger.book import open_book
from sos_ledger.verify import FILES, Ledgers, books_in
from sos_sim.live.layout import KEYS
from sos_station.edge.inbox import FILE_NAME as INBOX

# A program that starts holds its database for a moment; longer than that we do not wait, for the town waits with us.
_BUSY_S = 0.5


@dataclass(frozen=True)
class Row:
    """An alarm in the inbox."""

    number: int
    identity: Identity
    kind: str
    stage: str
    clash: bool
    received_wall_s: float
    age_s: float | None


_INBOX = (
    "SELECT number, pole, incarnation, boot, press, kind, stage, clash, received_wall_ms, age_ms FROM alarm "
    "ORDER BY number"
)
_STAGE = "SELECT stage FROM alarm WHERE pole = ? AND incarnation = ? AND boot = ? AND press = ?"
_HELD = "SELECT 1 FROM alarm WHERE pole = ? AND incarnation = ? AND boot = ? AND press = ?"
_ALL_HELD = "SELECT pole, incarnation, boot, press FROM alarm"


class Stores:
    """``folder``: the live zone's. Raises ``sqlite3.OperationalError`` where a database cannot be read just now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _ask(self, path: Path, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_S)) as database:
            return database.execute(query, values).fetchall()

    def _inbox(self) -> Path:
        return self._folder / "station" / INBOX

    def inbox(self) -> list[Row]:
        """All of it, in the order in which it came."""
        rows = self._ask(self._inbox(), _INBOX)
        return [
            Row(
                number=number,
                identity=Identity(pole, incarnation, boot, press),
                kind=kind,
                stage=stage,
                clash=bool(clash),
                received_wall_s=wall_ms / 1000,
                age_s=None if age_ms is None else age_ms / 1000,
            )
            for number, pole, incarnation, boot, press, kind, stage, clash, wall_ms, age_ms in rows
        ]

    def stage(self, identity: Identity) -> str:
        """That alarm's stage in the inbox; empty if it is not there."""
        found = self._ask(self._inbox(), _STAGE, _key(identity))
        return str(found[0][0]) if found else ""

    def _outbox(self, point: str) -> Path:
        return self._folder / point / OUTBOX

    def holds(self, point: str, identity: Identity) -> bool:
        """Whether that point's outbox has it."""
        return bool(self._ask(self._outbox(point), _HELD, _key(identity)))

    def held(self, point: str) -> set[Identity]:
        """All that it has."""
        return {Identity(*row) for row in self._ask(self._outbox(point), _ALL_HELD)}

    def unsound(self, site: Site) -> list[tuple[str, str]]:
        """What does not hold in the ledgers, by themselves, against their tables, the poles' seals and each other: the
        part, and in words. For a time at which nothing goes on."""
        folders = {self._folder / "station": "station"}
        folders |= {self._folder / point.id: f"agent:{point.id}" for point in site.point}
        keys = {pole: [key] for pole, key in read_keys(self._folder / KEYS, site.pole_ids()).items()}
        with ExitStack() as opened:
            paths = [path for folder in folders for path in books_in(folder, FILES)]
            ledgers = Ledgers([opened.enter_context(open_book(path)) for path in paths], site, keys)
            return [(folders.get(Path(one.ledger).parent, "station"), str(one)) for one in ledgers.findings()]

    def waiting(self, point: str) -> int:
        """Alarms of that outbox that the station has not receipted."""
        found = self._ask(self._outbox(point), "SELECT count(*) FROM alarm WHERE receipted_ms IS NULL")
        return int(found[0][0]) if found else 0


def _key(identity: Identity) -> tuple[object, ...]:
    return identity.pole, identity.incarnation, identity.boot, identity.press
