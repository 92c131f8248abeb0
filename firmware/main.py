"""Builds board and pole from ``settings.json`` and hands the loop to the board."""

import json
import os
import time

from sos_pole.board import Board
from sos_pole.journal import Journal
from sos_pole.pole import Pole
from sos_pole.settings import Settings, SettingsError
from sos_wire.pole_end import PoleLine, PoleLink

SETTINGS = "settings.json"


def build() -> "tuple[Board, Pole]":
    """Everything, ready for ``board.run(pole)``. Raises SettingsError in words for the technician."""
    try:
        with open(SETTINGS) as file:
            given = json.load(file)
    except (OSError, ValueError):
        raise SettingsError("no readable " + SETTINGS + " on the board; provision the pole") from None
    settings = Settings(given)
    board = Board(settings)
    journal = Journal(board.flash(), os.urandom(16))
    link = PoleLink(settings.address, settings.key, os.urandom(32))
    line = PoleLine(settings.link == "rs485", settings.baud, settings.address)
    pole = Pole(journal, link, line, 2 if settings.silent_button else 1, board.reset_cause())
    pole.start(time.ticks_ms())
    if journal.marked or board.asks_for_repl():
        board.give_to_repl()
    return board, pole


def main() -> None:
    """The pole's life."""
    board, pole = build()
    board.run(pole)


if __name__ == "__main__":
    main()
