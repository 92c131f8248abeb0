"""An agent's tables beside its ledger: each press in the outbox must be what the records tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sos_contract.ledger import PRESS, RECEIPTED, STAGES, WAITING, Record
from sos_contract.stages import HELD, RECEIVED, later
from sos_ledger.book import Book
from sos_ledger.findings import ROW, Finding
from sos_wire import messages

_ROWS = (
    "SELECT row, pole, incarnation, boot, press, clash, kind, pressed_at_ms, repeats, timebase, pressed_ms, stage,"
    " receipted_ms IS NOT NULL, record FROM alarm ORDER BY row"
)
FIXED = ("press", "kind", "pressed_at_ms", "repeats", "timebase", "pressed_ms")


@dataclass(slots=True)
class Held:
    """What the records tell of one press."""

    record: Record
    body: dict[str, Any]
    stage: str = HELD
    receipted: bool = False
    history: list[tuple[Record, dict[str, Any], str]] = field(default_factory=list)  # with the stage that it brought

    @property
    def press(self) -> str:
        """Its identity, without the number of a clash."""
        return str(self.body.get("press")).partition("!")[0]


class Outbox:
    """Replays the records of an outbox. ``presses``: by the outbox's row numbers."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.chain = book.chain
        self.presses: dict[int, Held] = {}
        for record, body in self.chain.content(PRESS, RECEIPTED, WAITING, STAGES):
            if record.kind == PRESS:
                self.presses[_whole(body.get("row"))] = Held(record, body)
            elif record.kind == STAGES:
                for row, stage in _pairs(body.get("stages")):
                    self._move(record, body, row, stage)
            else:
                for row in _list(body.get("rows")):
                    self._move(record, body, _whole(row), RECEIVED if record.kind == RECEIPTED else HELD)

    def _move(self, record: Record, body: dict[str, Any], row: int, stage: str) -> None:
        held = self.presses.get(row)
        if held is None or stage not in messages.STAGES:
            return  # a press that is older than the ledger, or forgotten
        held.stage = later(held.stage, stage)
        held.receipted = record.kind == RECEIPTED or (held.receipted and record.kind == STAGES)
        held.history.append((record, body, stage))

    def findings(self) -> Iterator[Finding]:
        """Where the table and the records disagree."""
        seen = set()
        for row, *identity, kind, at_ms, repeats, timebase, pressed_ms, stage, receipted, record in self._book.numbered(
            _ROWS
        ):
            seen.add(row)
            held = self.presses.get(row)
            if held is None:
                if row > self._older():
                    yield self._finding(0, f"row {row} stands in the table, but no record tells of that press")
                continue
            press = "/".join(map(str, identity[:4])) + (f"!{identity[4]}" if identity[4] else "")
            says: dict[str, Any] = {name: held.body.get(name) for name in FIXED}
            says |= {"stage": held.stage, "receipted": held.receipted, "record": held.record.number}
            stages = messages.STAGES
            name = stages[stage] if isinstance(stage, int) and 0 <= stage < len(stages) else stage
            row_says = (press, kind, at_ms, repeats, timebase, pressed_ms, name, bool(receipted), record)
            for (what, said), found in zip(says.items(), row_says, strict=True):
                if said != found:
                    at = held.history[-1][0].number if what in ("stage", "receipted") and held.history else 0
                    words = f"says of row {row} that its {what} is {said!r}; the table says {found!r}"
                    yield self._finding(at or held.record.number, words)
        for row in sorted(set(self.presses) - seen):
            held = self.presses[row]
            yield self._finding(held.record.number, f"tells of press {held.press}, which is missing from the table")

    def _older(self) -> int:
        """Number of the last row that is older than the ledger, as far as it can tell."""
        return self.chain.older.get("older_rows", min(self.presses, default=1) - 1)

    def _finding(self, record: int, words: str) -> Finding:
        return Finding(ROW, self.chain.where, record, words)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _pairs(value: object) -> Iterator[tuple[int, str]]:
    for one in _list(value):
        if isinstance(one, list) and len(one) == 2 and isinstance(one[1], str):
            yield _whole(one[0]), one[1]
