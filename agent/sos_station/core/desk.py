"""Step 9, desk: an officer accepts, dispatches, arrives, closes; the table of what may follow what.

An officer's request that is impossible or rests on a stale screen is refused in words and changes nothing. Acting
twice is harmless: a request of the same number gets the same answer. Requests that change something are decided one
after the other, each on what the inbox holds after the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

from sos_contract.payloads import RELEASED_MS, AlarmView, DeskRequest
from sos_contract.stages import ACCEPTED, CLOSED, DISPATCHED, DISPOSITIONS, ON_SCENE, RECEIVED, rank
from sos_station.core.records import Case, Stamp

# (stage of the alarm, action) -> stage
STAGE_TABLE: dict[tuple[str, str], str] = {
    (RECEIVED, "accept"): ACCEPTED,
    (ACCEPTED, "dispatch"): DISPATCHED,
    (DISPATCHED, "arrive"): ON_SCENE,
    (RECEIVED, "close"): CLOSED,
    (ACCEPTED, "close"): CLOSED,
    (DISPATCHED, "close"): CLOSED,
    (ON_SCENE, "close"): CLOSED,
}
ACTIONS = ("accept", "dispatch", "arrive", "close")
_TARGETS = {"accept": ACCEPTED, "dispatch": DISPATCHED, "arrive": ON_SCENE, "close": CLOSED}
_NEXT = {RECEIVED: "accept", ACCEPTED: "dispatch", DISPATCHED: "arrive"}
_IN_WORDS = {ACCEPTED: "accepted", DISPATCHED: "dispatched", ON_SCENE: "on scene", CLOSED: "closed"}

# A call that nobody accepted can be closed with one key as false, test or duplicate; a genuine one is accepted first.
UNSEEN_DISPOSITIONS = ("false", "test", "duplicate")

MAX_OFFICER, MAX_NOTE = 64, 500


def advance(stage: str, action: str) -> str:
    """The stage after ``action``; raises KeyError for what the table does not list."""
    return STAGE_TABLE[stage, action]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not carried out, for the officer's screen."""

    words: str


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The same officer has done just this already."""


@dataclass(frozen=True, slots=True)
class Move:
    """The incident's alarms up to number ``upto`` that stand at ``from_stage`` go to ``to_stage``."""

    upto: int
    from_stage: str
    to_stage: str
    note: str


def complaint(request: DeskRequest) -> str:
    """What is wrong with a request whatever the alarm, in words; empty if nothing."""
    if not 0 < len(request.number) <= MAX_OFFICER:
        return f"the request's number must have 1 to {MAX_OFFICER} characters"
    if request.action not in (*ACTIONS, "command"):
        return ""
    if not 0 < len(request.officer.strip()) <= MAX_OFFICER or not request.officer.isprintable():
        return f"who acts? Give the officer's name, {MAX_OFFICER} characters at most"
    if len(request.note) > MAX_NOTE:
        return f"the note has {len(request.note)} characters; {MAX_NOTE} at most"
    if request.action == "close" and request.disposition not in DISPOSITIONS:
        return f"close needs a disposition: {', '.join(DISPOSITIONS)}"
    if request.action != "close" and request.disposition:
        return "only close takes a disposition"
    return ""


def number_of(text: str) -> int | None:
    """The alarm number that ``text`` says; None if it is none."""
    plain = text.strip().removeprefix("#")
    number = int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 16 else 0
    return number or None


def decide(case: Case, request: DeskRequest, now: Stamp) -> Move | NothingToDo | Refusal:
    """What becomes of ``request``, whose ``complaint`` is empty. Pure: the same case gives the same decision."""
    row, action = case.row, request.action
    if request.seen_stage and request.seen_stage != row.stage:
        told = _stands(case, now)
        return Refusal(f"your screen showed alarm {row.number} as {request.seen_stage}, but it {told}; look again")
    if (row.stage, action) not in STAGE_TABLE:
        mine = row.stage == _TARGETS[action] and row.officer == request.officer
        if mine and (action != "close" or row.disposition == request.disposition):
            return NothingToDo()
        return Refusal(_impossible(case, action, now))
    if row.stage == RECEIVED and action == "close" and request.disposition not in UNSEEN_DISPOSITIONS:
        return Refusal(
            f"alarm {row.number} was accepted by nobody; accept it before closing it as {request.disposition}"
        )
    target = advance(row.stage, action)
    note = request.note
    if action == "accept" and rank(case.furthest) > rank(target):
        # Help for this incident is further than the press: what is true of the incident becomes true of the press.
        target = case.furthest
        note = f"joins incident {row.incident}, {target}" + (f"; {note}" if note else "")
    upto = max(request.seen or case.newest, row.number)
    return Move(upto, row.stage, target, note)


def _impossible(case: Case, action: str, now: Stamp) -> str:
    row = case.row
    if row.stage == CLOSED:
        return f"alarm {row.number} {_stands(case, now)}; a closed alarm stays closed"
    if rank(row.stage) >= rank(_TARGETS[action]):
        return f"alarm {row.number} {_stands(case, now)} already"
    first = _NEXT[row.stage]
    return f"alarm {row.number} {_stands(case, now)}; first: safezone alarms {first} {row.number}"


def _stands(case: Case, now: Stamp) -> str:
    """``is accepted (Somchai, 3 min ago)``."""
    row = case.row
    if row.stage not in _IN_WORDS:
        return "waits for an officer"
    words = _IN_WORDS[row.stage] + (f" as {row.disposition}" if row.disposition else "")
    if row.changed_wall_ms < RELEASED_MS <= now.wall_ms:
        return f"is {words} ({row.officer}, before our clock was set)"
    return f"is {words} ({row.officer}, {in_words(now.wall_ms - row.changed_wall_ms)} ago)"


def in_words(span_ms: int) -> str:
    """``5 s``, ``3 min``, ``2 h``, ``4 days``: the largest unit that fits."""
    seconds = max(0, span_ms) // 1000
    for unit, length in (("days", 172_800), ("h", 7_200), ("min", 120)):
        if seconds >= length:
            return f"{seconds // (length // 2)} {unit}"
    return f"{seconds} s"


def changed_hint(moved: int, still_waiting: int, shown: tuple[AlarmView, ...]) -> str:
    """What the officer should know beyond the rows: how many were covered, what came in meanwhile."""
    hints = []
    if moved > len(shown):  # more than one answer holds
        hints.append(f"{moved} presses covered")
    if still_waiting:
        presses = "1 press" if still_waiting == 1 else f"{still_waiting} presses"
        hints.append(f"{presses} of this incident still {'waits' if still_waiting == 1 else 'wait'} for an officer")
    return "; ".join(hints)
