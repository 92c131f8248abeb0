"""What the inbox keeps and what the core reasons with: rows, cases, stamps. Plain values, no behaviour but views."""

from __future__ import annotations

from msgspec import Struct

from sos_contract.payloads import AlarmView, ChangeView, Entry, FaultView, Identity, Quality


class Stamp(Struct, frozen=True):
    """A moment at the station: wall time with its quality, and monotonic time within one start of the machine."""

    wall_ms: int
    quality: Quality
    timebase: str  # the machine's start (Linux: the kernel's boot id) within which mono_ms counts
    mono_ms: int


class AlarmRow(Struct, frozen=True):
    """One alarm as the inbox holds it. ``presses``, ``waiting`` and ``newest`` tell of its incident's open alarms."""

    number: int
    incident: int
    id: Identity
    point: str
    kind: str
    repeats: int
    clash: bool
    age_ms: int | None  # at receipt; None: unknown
    late: bool
    clock: Quality  # of the agent that told the age
    received: Stamp
    stage: str
    officer: str  # of the last change; empty while nobody acted
    changed_wall_ms: int
    disposition: str
    remark: str
    held_ms: int | None = None
    presses: int = 1
    waiting: int = 0
    newest: int = 0


class Case(Struct, frozen=True):
    """All that one decision of the desk rests on: the alarm named, and how far its incident is."""

    row: AlarmRow
    furthest: str  # furthest stage among the incident's open alarms; the alarm's own where none is open
    newest: int  # newest open alarm of the incident; the alarm's own number where none is open


class CaseFile(Struct, frozen=True):
    """Answer to ``ReadCase``: the case, or None for no such alarm; and what this request did before, if it did."""

    case: Case | None
    done: tuple[AlarmRow, ...] = ()


class AlarmPage(Struct, frozen=True):
    """One page of a list; ``total`` counts the rows of all pages."""

    rows: tuple[AlarmRow, ...]
    total: int


class AlarmFile(Struct, frozen=True):
    """One alarm with its history and the others of its incident, newest first, bounded."""

    row: AlarmRow
    changes: tuple[ChangeView, ...]
    others: tuple[AlarmRow, ...]


class FaultPage(Struct, frozen=True):
    """One page of the fault table."""

    faults: tuple[FaultView, ...]
    total: int


class StageOf(Struct, frozen=True):
    """The stage that may be told of an identity. Of clashing alarms it is the least: a lamp must not promise more."""

    id: Identity
    point: str
    stage: str


class Stages(Struct, frozen=True):
    """Answer to ``ReadStages``, and the ledger's last record at that moment."""

    stages: tuple[StageOf, ...]
    record: Entry | None


def age_now_ms(row: AlarmRow, now: Stamp) -> int | None:
    """Age of the press at ``now``; None where no clock of the station connects its receipt with now."""
    if row.age_ms is None:
        return None
    if row.received.timebase == now.timebase:
        return row.age_ms + now.mono_ms - row.received.mono_ms
    since_ms = now.wall_ms - row.received.wall_ms
    trusted = "unset" not in (row.received.quality, now.quality) and since_ms >= 0
    return row.age_ms + since_ms if trusted else None


def view(row: AlarmRow, now: Stamp) -> AlarmView:
    """The alarm as an officer's screen gets it."""
    return AlarmView(
        number=row.number,
        incident=row.incident,
        id=row.id,
        point=row.point,
        kind=row.kind,
        stage=row.stage,
        age_ms=age_now_ms(row, now),
        late=row.late,
        clock=row.clock,
        repeats=row.repeats,
        clash=row.clash,
        received_wall_ms=row.received.wall_ms,
        officer=row.officer,
        disposition=row.disposition,
        held_ms=row.held_ms,
        changed_wall_ms=row.changed_wall_ms,
        remark=row.remark,
        presses=row.presses,
        waiting=row.waiting,
        newest=row.newest or row.number,
    )
