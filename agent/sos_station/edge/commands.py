"""The record of commands in the inbox: who asked for what, when, and what came of it. Keys are not in it."""

from __future__ import annotations

import sqlite3

from sos_contract.payloads import CommandView
from sos_station.core.effects import CommandSettled, CommandStored, ReadCommands, SettleCommand, StoreCommand

SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pole TEXT NOT NULL, point TEXT NOT NULL,
    command TEXT NOT NULL, officer TEXT NOT NULL, terminal TEXT NOT NULL,
    asked_wall_ms INTEGER NOT NULL, asked_quality TEXT NOT NULL,
    outcome TEXT NOT NULL, words TEXT NOT NULL, answered_wall_ms INTEGER NOT NULL
);
"""
_SHOWN = "id, pole, point, command, officer, terminal, asked_wall_ms, outcome, words, answered_wall_ms"


def prepare(connection: sqlite3.Connection) -> None:
    """For inboxes that were made before there were commands."""
    connection.execute(SCHEMA)


def store(connection: sqlite3.Connection, effect: StoreCommand) -> CommandStored:
    """Once under its id; what stands under it."""
    command, at = effect.command, effect.at
    asked = (command.id, command.pole, effect.point, command.command, command.officer, command.terminal)
    added = connection.execute(
        "INSERT OR IGNORE INTO command VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0)",
        (*asked, at.wall_ms, at.quality),
    )
    return CommandStored(_rows(connection, "WHERE id = ?", (command.id,))[0], new=added.rowcount > 0)


def settle(connection: sqlite3.Connection, effect: SettleCommand) -> CommandSettled:
    """The first answer counts, and only of the point that it was for."""
    answer = effect.answer
    moved = connection.execute(
        "UPDATE command SET outcome = ?, words = ?, answered_wall_ms = ? WHERE id = ? AND point = ? AND outcome = ''",
        (answer.outcome, answer.words, effect.at.wall_ms, answer.id, effect.point),
    )
    return CommandSettled(_rows(connection, "WHERE id = ?", (answer.id,))[0] if moved.rowcount else None)


def prune(connection: sqlite3.Connection, before_wall_ms: int) -> None:
    """As long as fault records."""
    connection.execute("DELETE FROM command WHERE asked_wall_ms < ?", (before_wall_ms,))


def read(connection: sqlite3.Connection, effect: ReadCommands) -> tuple[CommandView, ...]:
    """That of an id, or the newest."""
    if effect.request.id:
        return _rows(connection, "WHERE id = ?", (effect.request.id,))
    return _rows(connection, "ORDER BY number DESC LIMIT ?", (effect.limit,))


def _rows(connection: sqlite3.Connection, where: str, values: tuple[str | int, ...]) -> tuple[CommandView, ...]:
    found = connection.execute(f"SELECT {_SHOWN} FROM command {where}", values).fetchall()
    return tuple(CommandView(**dict(zip(_SHOWN.split(", "), row, strict=True))) for row in found)
