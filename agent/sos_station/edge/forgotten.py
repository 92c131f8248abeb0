"""Which presses the inbox once held: no name, no place, no time of day, so that it may be known for ever.

A point may offer a press again long after the station forgot it: one whose clock was never set, or that was away. It
would be another alarm, years old, and an officer would be sent.
"""

from __future__ import annotations

import sqlite3

from sos_contract.payloads import Identity

SCHEMA = """
CREATE TABLE IF NOT EXISTS forgotten (
    pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL, press INTEGER NOT NULL,
    kind TEXT NOT NULL, pressed_at_ms INTEGER NOT NULL, repeats INTEGER NOT NULL,
    number INTEGER NOT NULL, incident INTEGER NOT NULL,
    PRIMARY KEY (pole, incarnation, boot, press, kind, pressed_at_ms, repeats)
) WITHOUT ROWID;
"""
_COLUMNS = "kind, pressed_at_ms, repeats"


def prepare(connection: sqlite3.Connection) -> None:
    """For inboxes that were made before this was kept."""
    connection.execute(SCHEMA)


def keep(connection: sqlite3.Connection, incident: int) -> None:
    """The alarms of ``incident`` are about to be forgotten."""
    connection.execute(
        f"INSERT OR IGNORE INTO forgotten SELECT pole, incarnation, boot, press, {_COLUMNS}, number, incident"
        " FROM alarm WHERE incident = ?",
        (incident,),
    )


def known(connection: sqlite3.Connection, identity: Identity) -> list[tuple[int, int, str, int, int]]:
    """Number, incident and content of each alarm of that press that was forgotten; all of them were closed."""
    return connection.execute(
        f"SELECT number, incident, {_COLUMNS} FROM forgotten"
        " WHERE pole = ? AND incarnation = ? AND boot = ? AND press = ? ORDER BY number",
        (identity.pole, identity.incarnation, identity.boot, identity.press),
    ).fetchall()
