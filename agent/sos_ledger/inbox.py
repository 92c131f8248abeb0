"""The station's tables beside its ledger: each alarm, change, fault and command must be what the records tell of it.

What a column says by itself (an alarm's place in the officers' list) is worked out again from what the records tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sos_contract.ledger import ALARM, COMMAND, COMMAND_ENDED, FAULT, FAULT_ENDED, STAGE, Record
from sos_contract.stages import RECEIVED
from sos_ledger.book import Book
from sos_ledger.findings import ROW, Finding
from sos_station.core import incidents

# Columns of an alarm that never change, as the record of its receipt names them.
FIXED = (
    "incident", "pole", "incarnation", "boot", "press", "point", "kind", "pressed_at_ms", "repeats", "age_ms", "late",
    "clock", "received_wall_ms", "received_quality", "received_timebase", "received_mono_ms", "remark",
)  # fmt: skip
MOVING = ("stage", "officer", "disposition")
DERIVED = ("family", "queue", "changed_wall_ms")  # the officers' list is made by these
_COLUMNS = (*FIXED, *MOVING, "clash", *DERIVED)
_ALARM = f"SELECT number, {', '.join(_COLUMNS)} FROM alarm ORDER BY number"
_CHANGE = "SELECT alarm, wall_ms, officer, stage, note, request, quality, record FROM change WHERE record > 0"
_UNRECORDED = "SELECT alarm, stage FROM change WHERE record = 0 AND alarm > ?"
_ASKED = ("id", "pole", "point", "command", "officer", "terminal")
_COMMANDS = (
    f"SELECT {', '.join(_ASKED)}, asked_wall_ms, record, outcome, words, answered_wall_ms, end_record FROM command"
)
_FORGOTTEN = "SELECT number, pole, press FROM forgotten ORDER BY number"
_FAULTS = "SELECT id, point, pole, kind, since_wall_ms, last_good_wall_ms, until_wall_ms, record, end_record FROM fault"


@dataclass(slots=True)
class Told:
    """What the records tell of one alarm. ``fixed`` is empty where it is older than the ledger."""

    record: int = 0
    fixed: dict[str, Any] = field(default_factory=dict)
    moving: dict[str, Any] = field(default_factory=dict)
    history: list[tuple[Record, dict[str, Any]]] = field(default_factory=list)


class Inbox:
    """Replays the records of an inbox. ``alarms``: by number at this station."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.chain = book.chain
        self.alarms: dict[int, Told] = {}
        self._changes: set[tuple[Any, ...]] = set()
        self._faults: dict[int, tuple[Any, ...]] = {}
        self._commands: dict[str, tuple[Any, ...]] = {}
        replay = {
            ALARM: self._received, STAGE: self._moved, FAULT: self._fault, FAULT_ENDED: self._fault,
            COMMAND: self._asked, COMMAND_ENDED: self._answered,
        }  # fmt: skip
        for record, body in self.chain.content(*replay):
            replay[record.kind](record, body)

    def _received(self, record: Record, body: dict[str, Any]) -> None:
        fixed = {name: body.get(name) for name in FIXED}
        fixed["clash"] = body.get("verdict") == "clash"
        moving = dict(zip(MOVING, (RECEIVED, "", ""), strict=True))
        number = _number(body, "alarm")
        self.alarms[number] = Told(record.number, fixed, moving, [(record, body)])
        said = (_plain(body.get("remark")), "", _plain(body.get("received_quality")))
        self._changes.add((number, record.wall_ms, "", RECEIVED, *said, record.number))

    def _moved(self, record: Record, body: dict[str, Any]) -> None:
        moving = {"stage": body.get("to"), "officer": body.get("officer"), "disposition": body.get("disposition")}
        said = tuple(_plain(body.get(name)) for name in ("officer", "to", "note", "request", "quality"))
        alarms = body.get("alarms")
        for number in alarms if isinstance(alarms, list) else ():
            if isinstance(number, int):
                told = self.alarms.setdefault(number, Told())
                told.moving = moving
                told.history.append((record, body))
                self._changes.add((number, record.wall_ms, *said, record.number))

    def _fault(self, record: Record, body: dict[str, Any]) -> None:
        number = _number(body, "fault")
        if record.kind == FAULT:
            names = ("point", "pole", "kind", "since_wall_ms", "last_good_wall_ms", "until_wall_ms")
            at_once = record.number if body.get("until_wall_ms") is not None else 0
            self._faults[number] = (*(body.get(name) for name in names), record.number, at_once)
        elif number in self._faults:
            told = self._faults[number]
            self._faults[number] = (*told[:5], body.get("until_wall_ms"), told[6], record.number)

    def _asked(self, record: Record, body: dict[str, Any]) -> None:
        asked = (*(_plain(body.get(name)) for name in _ASKED), record.wall_ms, record.number)
        self._commands[str(body.get("id"))] = (*asked, "", "", 0, 0)

    def _answered(self, record: Record, body: dict[str, Any]) -> None:
        told = self._commands.get(str(body.get("id")))
        if told is not None:
            answer = (_plain(body.get("outcome")), _plain(body.get("words")), record.wall_ms, record.number)
            self._commands[told[0]] = (*told[:8], *answer)

    def findings(self) -> Iterator[Finding]:
        """Where the tables and the records disagree."""
        yield from self._alarm_findings()
        yield from self._change_findings()
        yield from self._fault_findings()
        yield from self._command_findings()
        yield from self._forgotten_findings()

    def older(self) -> tuple[int, int]:
        """Numbers of the last alarm and the last fault that are older than the ledger, as far as it can tell."""
        if older := self.chain.older:
            return older.get("older_alarms", 0), older.get("older_faults", 0)
        # No record says so any more. Numbers count up: what is older has a lower one than all that is told of.
        alarms = [number for number, told in self.alarms.items() if told.fixed]
        return min(alarms, default=1) - 1, min(self._faults, default=1) - 1

    def _alarm_findings(self) -> Iterator[Finding]:
        older, seen = self.older()[0], set()
        for number, *values in self._book.numbered(_ALARM):
            seen.add(number)
            told = self.alarms.get(number, Told())
            if not told.fixed and number > older:
                yield self._finding(0, f"alarm {number} stands in the table, but no record tells of its receipt")
            row = dict(zip(_COLUMNS, values, strict=True))
            for name, said in (*told.fixed.items(), *told.moving.items()):
                if row[name] != said:
                    at = told.history[-1][0].number if name in MOVING else told.record
                    words = f"says of alarm {number} that its {name} is {said!r}; the table says {row[name]!r}"
                    yield self._finding(at, words)
            yield from self._derived_findings(number, row, told)
        for number in sorted(set(self.alarms) - seen):
            told = self.alarms[number]
            words = f"tells of alarm {number}, which is missing from the table"
            yield self._finding(told.history[0][0].number, words)

    def _derived_findings(self, number: int, row: dict[str, Any], told: Told) -> Iterator[Finding]:
        """What follows from the alarm's other columns, each of which is held against the records by itself."""
        queue = incidents.queue(row["stage"], row["kind"], row["late"])
        means: dict[str, Any] = {"family": incidents.family(row["kind"]), "queue": queue}
        if told.history:
            means["changed_wall_ms"] = told.history[-1][0].wall_ms
        wrong = [f"{name} {said!r} (the table says {row[name]!r})" for name, said in means.items() if row[name] != said]
        if wrong:
            at = told.history[-1][0].number if told.history else 0
            words = f"puts alarm {number} in its place in the officers' list by {', '.join(wrong)}"
            yield self._finding(at, words)

    def _change_findings(self) -> Iterator[Finding]:
        for number, stage in self._book.rows(_UNRECORDED, (self.older()[0],)):
            yield self._finding(0, f"no record tells of a change in the table: alarm {number}, {stage}")
        rows = self._book.rows(_CHANGE)
        for row in sorted(set(rows) - self._changes, key=repr):
            words = f"does not tell of this change in the table: alarm {row[0]}, {row[3]} by {row[2] or 'the station'}"
            yield self._finding(row[-1], words)
        for row in sorted(self._changes - set(rows), key=repr):
            words = (
                f"tells of a change that is not in the table so: alarm {row[0]}, {row[3]} by {row[2] or 'the station'}"
            )
            yield self._finding(row[-1], words)
        if len(rows) != len(set(rows)):
            yield self._finding(0, "a change stands in the table twice")

    def _fault_findings(self) -> Iterator[Finding]:
        older, seen = self.older()[1], set()
        for number, *values in self._book.numbered(_FAULTS):
            seen.add(number)
            row, told = tuple(values), self._faults.get(number)
            if told is None and number > older:
                yield self._finding(0, f"fault {number} ({row[2]}) stands in the table, but no record tells of it")
            elif told is not None and told != row:
                yield self._finding(told[7] or told[6], f"says otherwise of fault {number} ({told[2]}) than the table")
        for number in sorted(set(self._faults) - seen):
            told = self._faults[number]
            yield self._finding(told[6], f"tells of fault {number} ({told[2]}), which is missing from the table")

    def _command_findings(self) -> Iterator[Finding]:
        rows = {str(row[0]): row for row in self._book.rows_if_any("command", _COMMANDS)}
        for name in sorted(self._commands.keys() | rows.keys()):
            row, told = rows.get(name), self._commands.get(name)
            if told is None:
                yield self._finding(0, f"command {name} stands in the table, but no record tells of it")
            elif row is None:
                yield self._finding(told[7], f"tells of command {name}, which is missing from the table")
            elif row != told:
                yield self._finding(told[11] or told[7], f"says otherwise of command {name} ({told[3]}) than the table")

    def _forgotten_findings(self) -> Iterator[Finding]:
        """A press that is known as forgotten is no alarm when it comes. Each was one, under a number of its own."""
        taken = {number for (number,) in self._book.rows("SELECT number FROM alarm")} | self.alarms.keys()
        newest = max(taken, default=0)
        for number, pole, press in self._book.rows_if_any("forgotten", _FORGOTTEN):
            if number in taken or not (isinstance(number, int) and 0 < number < newest):
                words = f"press {press} of {pole} is called forgotten as alarm {number}, which is another, or none"
                yield self._finding(0, words)
            taken.add(number)

    def _finding(self, record: int, words: str) -> Finding:
        return Finding(ROW, self.chain.where, record, words)


def _plain(value: object) -> str | int | None:
    """What a column can hold, as it is; anything else in words that no column holds."""
    return value if value is None or isinstance(value, str | int) else f"?{value!r}"


def _number(body: dict[str, Any], name: str) -> int:
    found = body.get(name)
    return found if isinstance(found, int) else 0
