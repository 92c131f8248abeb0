"""Rows of a trace in words, each with its lane and the press that it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sos_sim.timeline.lanes import OFFICERS, Lanes
from sos_sim.trace import Row


@dataclass(frozen=True, slots=True)
class Happening:
    """One row as a developer reads it. ``identity`` is that of a press, ``about`` a pole or point, or ''."""

    at_us: int
    kind: str
    lane: str
    identity: str
    words: str
    about: str = ""


def seconds(us: int) -> str:
    """``12.345 s``, ``3 min 12.3 s``, ``2 h 03 min 04 s``: as exact as is of use."""
    if us < 60_000_000:
        return f"{us / 1e6:.3f} s"
    minutes, rest_us = divmod(us, 60_000_000)
    if minutes < 60:
        return f"{minutes} min {rest_us / 1e6:04.1f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min {rest_us // 1_000_000:02d} s"


def plain(identity: str) -> str:
    """The press that an identity is of: a clash is the same press with another content."""
    return identity.partition(".")[0]


def short(identity: str) -> str:
    """``clock-tower-1 press 3 (boot 2)`` of ``clock-tower-1/<incarnation>/2/3``."""
    pole, _, boot, press = identity.split("/")
    return f"{pole} press {press} (boot {boot})"


def age(age_ms: object) -> str:
    """An age as an officer's screen says it."""
    return f"{age_ms / 1000:.1f} s old" if isinstance(age_ms, int | float) else "age unknown"


def _finger(row: Row) -> str:
    button, way, number = row.fields[:3]
    return f"finger {way}, touch {number}" + (f" of button {button}" if button else "")


def _minted(row: Row) -> str:
    _, kind, durable, repeats = row.fields[:4]
    kept = "in the journal" if durable else "NOT in the journal"
    return f"{kind} minted, {kept}" + (f", {repeats} repeats" if repeats else "")


def _received(row: Row) -> str:
    verdict, number, kind, age_ms, late = row.fields[1], row.fields[2], row.fields[3], row.fields[5], row.fields[6]
    return f"inbox has it: {verdict}, number {number}, {kind}, {age(age_ms)}" + (", late" if late else "")


def _stage(row: Row) -> str:
    officer = row.fields[2]
    return f"inbox: {row.fields[1]}" + (f" by {officer}" if officer else "")


def _fault(row: Row) -> str:
    began = "begins" if row.fields[1] == "on" else "ends"
    details = " ".join(map(str, row.fields[2:]))
    return f"fault {row.fields[0]} {began}" + (f": {details}" if details else "")


def _lost(row: Row) -> str:
    return f"{row.fields[0]} is {'lost' if row.fields[1] == 'on' else 'back'}"


def _joined(row: Row) -> str:
    return " ".join(map(str, row.fields))


# kind -> (the field with a press's identity or -1, the words); what does not stand here is not shown
WORDS: dict[str, tuple[int, Callable[[Row], str]]] = {
    "finger": (-1, _finger),
    "loop": (-1, lambda row: f"button {row.fields[0]} reads {row.fields[1]}"),
    "minted": (0, _minted),
    "look": (1, lambda row: f"lamp: {row.fields[0]}"),
    "forgot": (0, lambda _row: "its flash is gone: the pole has forgotten it"),
    "held": (0, lambda row: f"outbox has it: {row.fields[1]}"),
    "received": (0, _received),
    "stage": (0, _stage),
    "up": (-1, lambda row: f"runs ({_joined(row)})"),
    "down": (-1, lambda row: f"does not run ({_joined(row)})"),
    "boundary": (-1, lambda row: f"program dies before {_joined(row)}"),
    "disk": (-1, lambda row: f"disk {_joined(row)}"),
    "fault": (-1, _fault),
    "asked": (-1, lambda row: f"{row.fields[0]} asks: {row.fields[1]} {row.fields[2]}"),
    "point_lost": (-1, _lost),
    "pole_lost": (-1, _lost),
    "attack": (-1, lambda row: f"attack: {_joined(row)}"),
    "phase": (-1, lambda row: f"phase: {_joined(row)}"),
}


def happenings_of(row: Row, lanes: Lanes) -> list[Happening]:
    """What a row says: nothing, one thing, or for an officer's screen one thing a line of it."""
    if row.kind == "screen":
        lines = row.fields[0]
        assert isinstance(lines, tuple)
        return [_on_screen(row, line) for line in lines]
    if row.kind not in WORDS or (row.kind == "loop" and row.fields[1] in ("idle", "pressed")):
        return []
    index, words = WORDS[row.kind]
    identity = str(row.fields[index]) if 0 <= index < len(row.fields) else ""
    clash = identity.partition(".")[2]
    said = words(row) + (f" (clash {clash})" if clash else "")
    about = str(row.fields[0]) if row.kind in ("pole_lost", "point_lost") else ""
    return [Happening(row.at_us, row.kind, lanes.of(row), plain(identity), said, about)]


def _on_screen(row: Row, line: tuple[object, ...]) -> Happening:
    identity, stage, age_ms, late = line[:4]
    words = f"screen shows: {stage}, {age(age_ms)}" + (", late" if late else "")
    return Happening(row.at_us, row.kind, OFFICERS, plain(str(identity)), words)
