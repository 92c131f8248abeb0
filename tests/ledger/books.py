"""Ledgers on disk for tests: a station that lived a little, and what somebody with a pencil does to its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

from tests.station.world import WALL_MS, World, alarm

from sos_contract.site import find_site, read_site
from sos_ledger.book import open_book
from sos_ledger.findings import Finding
from sos_ledger.verify import Ledgers
from sos_station.edge import writes
from sos_station.edge.schema import SCHEMA, VERSION

SITE = read_site(find_site("betong"))
DAY_MS = 24 * 3_600_000


def station_disk(folder: Path) -> sqlite3.Connection:
    """A new inbox, as the station makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = sqlite3.connect(folder / "inbox.sqlite", isolation_level=None)
    disk.executescript(f"{SCHEMA};PRAGMA user_version={VERSION}")
    disk.execute("INSERT INTO meta VALUES ('high_water', 0)")
    writes.begin_ledger(disk, "inbox-1", "", WALL_MS)
    return disk


def lived_station(folder: Path) -> World:
    """Three alarms: the first closed by two officers, the second accepted, the third waits; and a fault that ended."""
    world = World(disk=station_disk(folder))
    for press, kind in ((1, "press"), (2, "test_press")):
        world.send("alarm", alarm(press, kind=kind))
        world.ask("accept", press, officer="Somchai")
    world.ask("dispatch", 1, officer="Malee", note="two cars")
    world.ask("close", 1, officer="Malee", disposition="genuine")
    world.send("alarm", alarm(3, pole="market-1"), point="market")
    world.pass_ms(60_000)  # nobody speaks any more
    world.probe()
    return world


def verify(
    *folders: Path, heads: tuple[str, ...] = (), keys: Mapping[str, Sequence[bytes]] = MappingProxyType({})
) -> list[Finding]:
    with ExitStack() as opened:
        files = [
            path for folder in folders for path in (folder / "inbox.sqlite", folder / "outbox.db") if path.exists()
        ]
        books = [opened.enter_context(open_book(path)) for path in files]
        return list(Ledgers(books, SITE, keys).findings(heads))


def words(
    *folders: Path, heads: tuple[str, ...] = (), keys: Mapping[str, Sequence[bytes]] = MappingProxyType({})
) -> list[str]:
    """Each finding as fault, record and words."""
    return [f"{one.fault} {one.record} {one.words}" for one in verify(*folders, heads=heads, keys=keys)]


def rehash(disk: sqlite3.Connection, first: int) -> None:
    """What a forger does who knows the form: every hash from ``first`` on made to fit again."""
    from sos_contract.ledger import FIRST, digest_of, hash_of

    previous = (disk.execute("SELECT hash FROM ledger WHERE number = ?", (first - 1,)).fetchone() or (FIRST,))[0]
    for number, wall_ms, kind, body, digest in disk.execute(
        "SELECT number, wall_ms, kind, body, digest FROM ledger WHERE number >= ? ORDER BY number", (first,)
    ).fetchall():
        hashed = hash_of(number, wall_ms, kind, previous, digest if body is None else digest_of(body))
        disk.execute("UPDATE ledger SET previous = ?, hash = ? WHERE number = ?", (previous, hashed, number))
        previous = hashed


def edit(folder: Path, *statements: str, then: Callable[[sqlite3.Connection], object] = lambda disk: None) -> None:
    """Somebody opens the file with sqlite3."""
    path = next(path for path in (folder / "inbox.sqlite", folder / "outbox.db") if path.exists())
    disk = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        disk.execute(statement)
    then(disk)
    disk.close()
