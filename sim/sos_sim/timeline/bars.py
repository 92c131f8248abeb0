"""Spans that the rows of a trace tell of: what a lamp showed, faults, times in which a part was down or lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sos_sim.timeline.lanes import Lanes
from sos_sim.trace import Row

LOOK, FAULT, DOWN, BAD, LOST = "look", "fault", "down", "bad", "lost"
LOSSES = ("pole_lost", "point_lost")  # kinds of row: who, and on or off


@dataclass(frozen=True, slots=True)
class Bar:
    """A span in a lane. ``kind``: look (of a lamp), fault (of the scenario), down, bad (a button's wires) or lost."""

    lane: str
    kind: str
    from_us: int
    until_us: int
    name: str
    words: str


class _Spans:
    """Open and ended bars; of a lane and kind one is open a ``key``."""

    def __init__(self, lanes: Lanes, end_us: int) -> None:
        self._lanes = lanes
        self._end_us = end_us
        self._open: dict[tuple[str, str, str], Bar] = {}
        self._ended: list[Bar] = []

    def begin(self, row: Row, kind: str, name: str, words: str, key: str = "") -> None:
        self.end(row, kind, key)
        lane = self._lanes.of(row)
        self._open[lane, kind, key] = Bar(lane, kind, row.at_us, self._end_us, name, words)

    def end(self, row: Row, kind: str, key: str = "") -> None:
        bar = self._open.pop((self._lanes.of(row), kind, key), None)
        if bar is not None and row.at_us > bar.from_us:
            self._ended.append(replace(bar, until_us=row.at_us))

    def all(self) -> list[Bar]:
        return sorted([*self._ended, *self._open.values()], key=lambda bar: (bar.from_us, bar.lane, bar.kind))


def _look(spans: _Spans, row: Row) -> None:
    spans.begin(row, LOOK, str(row.fields[0]), f"lamp: {row.fields[0]}")


def _down(spans: _Spans, row: Row) -> None:
    cause = str(row.fields[0]) if row.fields else "down"
    spans.end(row, LOOK)  # a lamp without power is dark
    spans.begin(row, DOWN, cause, f"does not run ({cause})")


def _up(spans: _Spans, row: Row) -> None:
    spans.end(row, DOWN)


def _fault(spans: _Spans, row: Row) -> None:
    name = str(row.fields[0])
    if row.fields[1] == "on":
        details = " ".join(map(str, row.fields[2:]))
        spans.begin(row, FAULT, name, f"fault {name}" + (f": {details}" if details else ""), name)
    else:
        spans.end(row, FAULT, name)


def _loop(spans: _Spans, row: Row) -> None:
    button, level = str(row.fields[0]), str(row.fields[1])
    if level in ("open", "short"):
        spans.begin(row, BAD, f"loop {level}", f"the wires of button {button} are {level}", button)
    else:
        spans.end(row, BAD, button)


def _lost(spans: _Spans, row: Row) -> None:
    who = str(row.fields[0])
    if row.fields[1] == "on":
        spans.begin(row, LOST, f"{who} lost", f"it holds {who} for lost", who)
    else:
        spans.end(row, LOST, who)


_TAKE: dict[str, Callable[[_Spans, Row], None]] = {
    "look": _look,
    "down": _down,
    "up": _up,
    "fault": _fault,
    "loop": _loop,
    **dict.fromkeys(LOSSES, _lost),
}


def bars_of(rows: Iterable[Row], lanes: Lanes, begin_us: int, end_us: int) -> list[Bar]:
    """Every span of ``rows`` (in order, from the run's beginning) that lasts into the time between the two."""
    spans = _Spans(lanes, end_us)
    for row in rows:
        if row.at_us > end_us:
            break
        take = _TAKE.get(row.kind)
        if take is not None:
            take(spans, row)
    return [bar for bar in spans.all() if bar.until_us > begin_us]
