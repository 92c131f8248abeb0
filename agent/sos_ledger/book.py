"""A database with a ledger, read as of one moment and never written: in use, at rest, or a copy from elsewhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sos_contract.errors import UserError
from sos_contract.ledger import Record
from sos_ledger.chain import Chain

# The writer holds the database for moments only.
BUSY_TIMEOUT_S = 5.0


class Book:
    """One database: its chain, and its tables while it is open."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self.chain = Chain(str(path), [record_of(row) for row in self.numbered(RECORDS)])

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What the database holds at the moment at which it was opened."""
        return self._connection.execute(query, values).fetchall()

    def rows_if_any(self, table: str, query: str) -> list[tuple[Any, ...]]:
        """As ``rows``, of a table that a database of the release before lacks."""
        known = self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return self.rows(query) if known else []

    def numbered(self, query: str) -> list[tuple[Any, ...]]:
        """As ``rows``, of a table with a number in each; raises UserError where another was put in its place."""
        found = self.rows(query)
        if not all(isinstance(row[0], int) for row in found):
            raise UserError(f"{self.path}: cannot be read: a table in it has no numbers, as our programs would make it")
        return found


RECORDS = "SELECT number, wall_ms, kind, body, digest, previous, hash FROM ledger ORDER BY number"


@contextmanager
def open_book(path: Path) -> Iterator[Book]:
    """Raises UserError, one line, for a file that cannot be read or has no ledger."""
    try:
        connection = _connect(path)
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")
            yield Book(path, connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "no such table: ledger" in str(error):
            words = "it has no ledger; the program that owns it makes one at its next start"
        else:
            words = f"cannot be read as a database of ours ({error}); is it a whole copy, -wal file included?"
        raise UserError(f"{path}: {words}") from None


def _connect(path: Path) -> sqlite3.Connection:
    # Without a -wal file nobody has it open: then SQLite is told so, and makes no files beside it.
    try:
        at_rest = not path.with_name(path.name + "-wal").exists()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); run this as the user whose program it is"
        ) from None
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def record_of(row: tuple[Any, ...]) -> Record:
    """SQLite keeps what it is given, whatever the column says: what is no text or blob is made one, as it was not."""
    number, wall_ms, kind, body, digest, previous, hashed = row
    return Record(
        number=number,
        wall_ms=wall_ms if isinstance(wall_ms, int) else -1,
        kind=str(kind),
        body=None if body is None else _bytes(body),
        digest=None if digest is None else _bytes(digest),
        previous=_bytes(previous),
        hash=_bytes(hashed),
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
