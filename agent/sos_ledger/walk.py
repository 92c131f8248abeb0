"""The walk of one press: every record of it that is at hand, in the order of the press's life, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sos_contract.ledger import ALARM, Record
from sos_ledger.inbox import Inbox, Told
from sos_ledger.verify import Ledgers

# A pole named without more may have any number of presses; the newest are shown.
MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Step:
    """``what``: one word; ``ledger`` and ``record``: where it stands."""

    what: str
    words: str
    ledger: str
    record: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Walk:
    """``press``: POLE/INCARNATION/BOOT/PRESS."""

    press: str
    alarm: int | None
    steps: tuple[Step, ...]


def walks(ledgers: Ledgers, wanted: str) -> list[Walk]:
    """Presses that ``wanted`` names, oldest first: the number of an alarm, or the beginning of an identity."""
    found: dict[str, Walk] = {}
    for inbox in ledgers.inboxes:
        for number, told in inbox.alarms.items():
            press = press_of(told.fixed) if told.fixed else ""
            if wanted == str(number) or _begins(press, wanted):
                found[press or f"alarm {number}"] = Walk(press, number, tuple(_at_station(inbox, number, told)))
    return list(found.values())


def press_of(facts: dict[str, Any]) -> str:
    """The identity that a record tells of."""
    return "/".join(str(facts.get(name)) for name in ("pole", "incarnation", "boot", "press"))


def _begins(press: str, wanted: str) -> bool:
    return press == wanted or (wanted != "" and press.startswith(wanted.rstrip("/") + "/"))


def _at_station(inbox: Inbox, number: int, told: Told) -> Iterator[Step]:
    for record, body in told.history:
        if record.kind == ALARM:
            age = body.get("age_ms")
            old = "its age unknown" if not isinstance(age, int) else f"{age / 1000:.1f} s after it"
            clash = ", under an identity that another press has too" if body.get("verdict") == "clash" else ""
            words = f"received at the station from point {body.get('point')} as alarm {number}, {old}{clash}"
            yield _step("received", words, inbox, record)
        else:
            as_what = f" as {body.get('disposition')}" if body.get("disposition") else ""
            note = f", noting {body.get('note')!r}" if body.get("note") else ""
            words = (
                f"{body.get('to')} by officer {body.get('officer')}{as_what} at terminal {body.get('terminal')}{note}"
            )
            yield _step(str(body.get("to")), words, inbox, record)


def _step(what: str, words: str, inbox: Inbox, record: Record) -> Step:
    return Step(what, words, inbox.chain.where, record.number, record.wall_ms)


def when(wall_ms: int) -> str:
    """A moment for people, UTC; a clock that was never set says nothing."""
    try:
        return (
            datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            if wall_ms > 0
            else "time unknown"
        )
    except (OverflowError, ValueError, OSError):
        return "time unknown"
