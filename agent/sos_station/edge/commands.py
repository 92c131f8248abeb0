"""The record of commands in the inbox and its ledger: who asked for what, when, and what came of it. Of keys only the
fingerprints are in it."""

from __future__ import annotations

import sqlite3

from sos_contract.ledger import COMMAND, COMMAND_ENDED
from sos_contract.payloads import RELEASED_MS, CommandView
from sos_edge import ledger
from sos_station.core.effects import CommandSettled, CommandStored, ReadCommands, SettleCommand, StoreCommand

SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pole TEXT NOT NULL, point TEXT NOT NULL,
    command TEXT NOT NULL, officer TEXT NOT NULL, terminal TEXT NOT NULL,
    asked_wall_ms INTEGER NOT NULL, asked_quality TEXT NOT NULL,
    outcome TEXT NOT NULL, words TEXT NOT NULL, answered_wall_ms INTEGER NOT NULL,
    record INTEGER NOT NULL, end_record INTEGER NOT NULL
);
"""
_SHOWN = "id, pole, point, command, officer, terminal, asked_wall_ms, outcome, words, answered_wall_ms"


def prepare(connection: sqlite3.Connection) -> None:
    """For inboxes that were made before there were commands."""
    connection.execute(SCHEMA)


def store(connection: sqlite3.Connection, effect: StoreCommand) -> CommandStored:
    """Once under its id, with a record in the ledger; what stands under it."""
    command, at = effect.command, effect.at
    known = _rows(connection, "WHERE id = ?", (command.id,))
    if known:
        return CommandStored(known[0], new=False)
    asked = (command.id, command.pole, effect.point, command.command, command.officer, command.terminal)
    names = ("id", "pole", "point", "command", "officer", "terminal")
    content = dict(zip(names, asked, strict=True), check=command.check)
    entry = ledger.append(connection, at.wall_ms, COMMAND, content)
    connection.execute(
        "INSERT INTO command VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0, ?, 0)",
        (*asked, at.wall_ms, at.quality, entry.number),
    )
    return CommandStored(_rows(connection, "WHERE id = ?", (command.id,))[0], new=True)


def settle(connection: sqlite3.Connection, effect: SettleCommand) -> CommandSettled:
    """The first answer counts, and only of the point that it was for."""
    answer, at = effect.answer, effect.at
    open_one = "WHERE id = ? AND point = ? AND outcome = ''"
    if not _rows(connection, open_one, (answer.id, effect.point)):
        return CommandSettled(None)
    content = {"id": answer.id, "outcome": answer.outcome, "words": answer.words}
    entry = ledger.append(connection, at.wall_ms, COMMAND_ENDED, content)
    connection.execute(
        f"UPDATE command SET outcome = ?, words = ?, answered_wall_ms = ?, end_record = ? {open_one}",
        (answer.outcome, answer.words, at.wall_ms, entry.number, answer.id, effect.point),
    )
    return CommandSettled(_rows(connection, "WHERE id = ?", (answer.id,))[0])


def prune(connection: sqlite3.Connection, before_wall_ms: int) -> set[int]:
    """As long as fault records; the numbers of their records in the ledger."""
    old = "DELETE FROM command WHERE asked_wall_ms BETWEEN ? AND ? - 1 RETURNING record, end_record"
    return {number for row in connection.execute(old, (RELEASED_MS, before_wall_ms)).fetchall() for number in row}


def read(connection: sqlite3.Connection, effect: ReadCommands) -> tuple[CommandView, ...]:
    """That of an id, or the newest."""
    if effect.request.id:
        return _rows(connection, "WHERE id = ?", (effect.request.id,))
    return _rows(connection, "ORDER BY number DESC LIMIT ?", (effect.limit,))


def _rows(connection: sqlite3.Connection, where: str, values: tuple[str | int, ...]) -> tuple[CommandView, ...]:
    found = connection.execute(f"SELECT {_SHOWN} FROM command {where}", values).fetchall()
    return tuple(CommandView(**dict(zip(_SHOWN.split(", "), row, strict=True))) for row in found)
