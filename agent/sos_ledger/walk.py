"""The walk of one press: every record of it that is at hand, in the order of the press's life, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sos_contract.ledger import ALARM, RECEIPTED, WAITING, Record
from sos_contract.payloads import RELEASED_MS
from sos_contract.stages import HELD, RECEIVED, rank
from sos_ledger import seal
from sos_ledger.chain import Chain
from sos_ledger.inbox import Inbox, Told
from sos_ledger.outbox import Held, Outbox
from sos_ledger.press import begins, press_of
from sos_ledger.verify import Ledgers
from sos_ledger.witness import counterparts
from sos_wire.messages import STAGES

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
    """``press``: POLE/INCARNATION/BOOT/PRESS, or empty for an alarm older than the ledger."""

    press: str
    alarms: tuple[int, ...]
    steps: tuple[Step, ...]


def walks(ledgers: Ledgers, wanted: str) -> list[Walk]:
    """Presses that ``wanted`` names: the number of an alarm, or an identity or its first parts."""
    alarms: dict[str, list[tuple[Inbox, int, Told]]] = {}
    for inbox in ledgers.inboxes:
        for number, told in inbox.alarms.items():
            press = press_of(told.fixed) if told.fixed else f"alarm {number}"
            if wanted == str(number) or begins(press, wanted):
                alarms.setdefault(press, []).append((inbox, number, told))
    held = {one.press for outbox in ledgers.outboxes for one in outbox.presses.values()}
    presses = dict.fromkeys([*alarms, *sorted(press for press in held if begins(press, wanted))])
    return [_walk(ledgers, press, alarms.get(press, [])) for press in presses]


def _walk(ledgers: Ledgers, press: str, alarms: list[tuple[Inbox, int, Told]]) -> Walk:
    steps = [step for inbox, number, told in alarms for step in _at_station(inbox, number, told)]
    for outbox, held in counterparts(ledgers.outboxes, press):
        steps += _at_agent(ledgers, outbox, held)
    # Stages in their order; within one, the station before who heard of it. Clocks of two machines say little.
    order = sorted(steps, key=lambda one: one[0])
    return Walk("" if press.startswith("alarm ") else press, tuple(number for _, number, _ in alarms),
                tuple(step for _, step in order))  # fmt: skip


def _at_agent(ledgers: Ledgers, outbox: Outbox, held: Held) -> Iterator[tuple[int, Step]]:
    pole = held.press.partition("/")[0]
    state, why = seal.check(held.body, ledgers.keys)
    words = {
        seal.GOOD: f"sealed by pole {pole}: the seal is good, {why}",
        seal.BAD: f"the seal of pole {pole} is BAD: {why}",
        seal.UNKNOWN: f"sealed by pole {pole}: not checked, {why}",
        seal.NONE: f"not sealed: {why}",
    }[state]
    if pole in ledgers.own_buttons:
        words = "pressed at the point's own button, which has no key that outlives its agent"
    yield 0, _step("sealed", words, outbox.chain, held.record)
    yield rank(HELD), _step("held", f"held at its point {ledgers.point_of(pole)}", outbox.chain, held.record)
    for record, body, stage in held.history:
        if record.kind == RECEIPTED:
            yield rank(RECEIVED), _step("receipted", f"receipted by inbox {body.get('inbox')}", outbox.chain, record)
        elif record.kind == WAITING:
            yield (
                rank(RECEIVED),
                _step("waiting", f"inbox {body.get('inbox')} lacked it: offered again", outbox.chain, record),
            )
        else:
            yield rank(stage), _step(f"told_{stage}", f"the point was told: {stage}", outbox.chain, record)


def _at_station(inbox: Inbox, number: int, told: Told) -> Iterator[tuple[int, Step]]:
    for record, body in told.history:
        if record.kind == ALARM:
            yield rank(RECEIVED), _step("received", _received(body, number), inbox.chain, record)
        else:
            stage = str(body.get("to"))
            place = rank(stage) if stage in STAGES else len(STAGES)
            yield place, _step(stage, _moved(body, stage), inbox.chain, record)


def _received(body: dict[str, Any], number: int) -> str:
    age = body.get("age_ms")
    old = f"{age / 1000:.1f} s after it" if isinstance(age, int) and 0 <= age < 2**53 else "its age unknown"
    clash = ", under an identity that another press has too" if body.get("verdict") == "clash" else ""
    return f"received at the station from point {body.get('point')} as alarm {number}, {old}{clash}"


def _moved(body: dict[str, Any], stage: str) -> str:
    as_what = f" as {body.get('disposition')}" if body.get("disposition") else ""
    note = f", noting {body.get('note')!r}" if body.get("note") else ""
    return f"{stage} by officer {body.get('officer')}{as_what} at terminal {body.get('terminal')}{note}"


def _step(what: str, words: str, chain: Chain, record: Record) -> Step:
    return Step(what, words, chain.where, record.number, record.wall_ms)


def when(wall_ms: int) -> str:
    """A moment for people, UTC; a clock that was never set says nothing."""
    try:
        moment = datetime.fromtimestamp(wall_ms / 1000, UTC) if wall_ms >= RELEASED_MS else None
    except (OverflowError, ValueError, OSError):
        moment = None
    return moment.strftime("%Y-%m-%d %H:%M:%SZ") if moment else "time unknown"
