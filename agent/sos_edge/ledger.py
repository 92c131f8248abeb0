"""The ledger's table, and what is done to it inside a commit. What its records mean: ``sos_contract.ledger``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sos_contract.ledger import (
    FIRST,
    FORGOTTEN,
    OF_ITSELF,
    body_of,
    content_of,
    digest_of,
    hash_of,
    spans,
    told_of_itself,
)
from sos_contract.payloads import Entry

SCHEMA = """
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, kind TEXT NOT NULL,
    body BLOB, digest BLOB, previous BLOB NOT NULL, hash BLOB NOT NULL
);
"""
# Heads dropped in one commit, so that no press waits behind a long one; the rest goes the next time.
MAX_DROPPED = 20_000

_HEAD = "SELECT number, hash FROM ledger ORDER BY number DESC LIMIT 1"


def append(connection: sqlite3.Connection, wall_ms: int, kind: str, content: Mapping[str, Any]) -> Entry:
    """Write the next record. Raises sqlite3.Error only."""
    last, previous = connection.execute(_HEAD).fetchone() or (0, FIRST)
    number, body = last + 1, body_of(content)
    hashed = hash_of(number, wall_ms, kind, previous, digest_of(body))
    connection.execute(
        "INSERT INTO ledger VALUES (?, ?, ?, ?, NULL, ?, ?)", (number, wall_ms, kind, body, previous, hashed)
    )
    return Entry(number=number, hash=hashed.hex())


def head(connection: sqlite3.Connection) -> Entry | None:
    """The last record; None in an empty ledger."""
    found = connection.execute(_HEAD).fetchone()
    return None if found is None else Entry(number=found[0], hash=found[1].hex())


def forget(connection: sqlite3.Connection, wall_ms: int, numbers: Iterable[int], reason: Mapping[str, Any]) -> None:
    """Put digests in the place of these records' bodies, drop what then lies before the oldest body that is kept, and
    write that down with ``reason``; nothing at all where there is nothing to forget.

    What a ledger says of itself holds no record before it: it is dropped with those around it, and said again.
    """
    gone = []
    for number in sorted(set(numbers)):
        found = connection.execute(
            "SELECT body FROM ledger WHERE number = ? AND body IS NOT NULL", (number,)
        ).fetchone()
        if found is not None:
            connection.execute(
                "UPDATE ledger SET body = NULL, digest = ? WHERE number = ?", (digest_of(found[0]), number)
            )
            gone.append(number)
    if not gone:
        return
    content = {**reason, "records": spans(gone)}
    dropped = _dropped(connection)
    if dropped is not None:
        content |= {"dropped": [dropped.number, dropped.hash], **_of_itself(connection, dropped.number)}
    append(connection, wall_ms, FORGOTTEN, content)
    if dropped is not None:
        connection.execute("DELETE FROM ledger WHERE number <= ?", (dropped.number,))


def _of_itself(connection: sqlite3.Connection, upto: int) -> dict[str, Any]:
    """What would go with the records up to this one: the names by which peers know the ledger, each with the record
    from which on it bore it, and how much of the database is older than the ledger."""
    names: dict[str, int] = {}
    older: dict[str, int] = {}
    marks = ", ".join("?" * len(OF_ITSELF))
    of_itself = f"SELECT number, body FROM ledger WHERE number <= ? AND kind IN ({marks}) ORDER BY number"
    for number, body in connection.execute(of_itself, (upto, *OF_ITSELF)).fetchall():
        told_names, told_older = told_of_itself(number, content_of(body) or {})
        names, older = told_names | names, told_older | older
    return {"names": names, **older}


def _dropped(connection: sqlite3.Connection) -> Entry | None:
    """The last record that may go: all up to it have no body, or say something of the ledger alone."""
    marks = ", ".join("?" * len(OF_ITSELF))
    kept = connection.execute(
        f"SELECT number FROM ledger WHERE body IS NOT NULL AND kind NOT IN ({marks}) ORDER BY number LIMIT 1", OF_ITSELF
    ).fetchone()
    below = "number < ?" if kept else "number <= (SELECT max(number) FROM ledger)"
    found = connection.execute(
        f"SELECT number, hash FROM (SELECT number, hash FROM ledger WHERE {below} ORDER BY number LIMIT ?)"
        " ORDER BY number DESC LIMIT 1",
        (*((kept[0],) if kept else ()), MAX_DROPPED),
    ).fetchone()
    return None if found is None else Entry(number=found[0], hash=found[1].hex())
