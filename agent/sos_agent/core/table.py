"""State machines as tables: (state, event) -> (next state, action)."""

from __future__ import annotations

from collections.abc import Mapping


class ImpossibleError(AssertionError):
    """An event of our own that the table does not list: a mistake of this program. Nothing was changed."""


class Table:
    """A state machine's rows. Actions are words that the owner carries out; the empty word is none."""

    def __init__(self, name: str, first: str, rows: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        self.name = name
        self.first = first
        self.rows = dict(rows)

    def step(self, state: str, event: str) -> tuple[str, str]:
        """Next state and action; raises ImpossibleError for a pair that is not listed."""
        try:
            return self.rows[state, event]
        except KeyError:
            raise ImpossibleError(f"{self.name}: '{event}' cannot happen while '{state}'") from None
