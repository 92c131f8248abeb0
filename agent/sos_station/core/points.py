"""Who is there: each point is heard, or it is a fault. Silence is measured; a last will only shortens the patience.

A will is bound to the session of its connection: a will of an old connection, delivered late, says nothing about the
present one.
"""

from __future__ import annotations

from dataclasses import dataclass

from sos_station.core.effects import Effect, Log, SetFault
from sos_station.core.records import Stamp

# A point probes every 5 s. Three probes missed, and the design's 20 s are kept with the commit of the fault included.
POINT_LOST_MS = 18_000
# After the present session's will one more probe is due: an agent that changes brokers is heard again within 8 s.
POINT_SUSPECT_MS = 8_000

UNKNOWN, PRESENT, SUSPECT, LOST = "unknown", "present", "suspect", "lost"
HEARD, WILL, SILENCE, BLIND = "heard", "will", "silence", "blind"

# (state, happening) -> state. ``blind``: no broker is connected, so that silence says nothing about a point.
TABLE: dict[tuple[str, str], str] = {
    (UNKNOWN, HEARD): PRESENT,
    (UNKNOWN, WILL): UNKNOWN,
    (UNKNOWN, SILENCE): LOST,
    (UNKNOWN, BLIND): UNKNOWN,
    (PRESENT, HEARD): PRESENT,
    (PRESENT, WILL): SUSPECT,
    (PRESENT, SILENCE): LOST,
    (PRESENT, BLIND): UNKNOWN,
    (SUSPECT, HEARD): PRESENT,
    (SUSPECT, WILL): SUSPECT,
    (SUSPECT, SILENCE): LOST,
    (SUSPECT, BLIND): UNKNOWN,
    (LOST, HEARD): PRESENT,
    (LOST, WILL): LOST,
    (LOST, BLIND): LOST,
}


@dataclass(slots=True)
class _Point:
    state: str = UNKNOWN
    session: str = ""
    since_ms: int = 0  # heard, suspected or sighted: from when silence counts
    heard_wall_ms: int = 0


class Points:
    """Supervision of the site's points. Points that are not of the site are not supervised."""

    def __init__(self, points: list[str]) -> None:
        self._points = {point: _Point() for point in points}
        self._sighted = False
        self._look_ms: int | None = None  # no point has been silent for too long before then; None: all are lost

    def state(self, point: str) -> str:
        return self._points[point].state

    def heard(self, point: str, session: str, at: Stamp) -> list[Effect]:
        """A message that the point's program has just sent; ``session`` is empty where it does not tell."""
        found = self._points.get(point)
        if found is None:
            return []
        before = self._move(found, HEARD)
        found.session = session or found.session
        found.since_ms = at.mono_ms
        found.heard_wall_ms = at.wall_ms
        if before in (PRESENT, SUSPECT):
            return []
        self._look_by(found)
        # From unknown too: the fault may stand open from before a restart of the station.
        effects: list[Effect] = [SetFault(point, "", "point_lost", False, at)]
        if before == LOST:
            effects.append(Log("info", "point_back", (("point", point),)))
        return effects

    def will(self, point: str, session: str, at: Stamp) -> list[Effect]:
        """The broker says that this session has ended."""
        found = self._points.get(point)
        if found is None or session != found.session:
            return []
        if self._move(found, WILL) == PRESENT:
            # Patience gets shorter, never longer: the will of a frozen agent comes when its silence is nearly over.
            found.since_ms = min(at.mono_ms, found.since_ms + POINT_LOST_MS - POINT_SUSPECT_MS)
            self._look_by(found)
        return []

    def sight(self, sighted: bool, at: Stamp) -> None:
        """A first broker came, or the last one went: silence counts from now, or not at all."""
        if sighted == self._sighted:
            return
        self._sighted = sighted
        for point in self._points.values():
            if sighted:
                point.since_ms = at.mono_ms
            else:
                self._move(point, BLIND)
        self._look_anew()

    def away(self, span_ms: int) -> None:
        """We did not run for so long: who spoke meanwhile is yet to be heard, so that time is no silence."""
        for point in self._points.values():
            point.since_ms += span_ms
        self._look_anew()

    def next_ms(self) -> int | None:
        """When to look whether a point has been silent for too long. Not looked for among all at each message: who
        speaks has only more time, so that a look may find nothing yet."""
        return self._look_ms if self._sighted else None

    def tick(self, at: Stamp) -> list[Effect]:
        """Points that have been silent for too long become faults."""
        effects: list[Effect] = []
        if not self._sighted or self._look_ms is None or at.mono_ms < self._look_ms:
            return effects
        for name, point in self._points.items():
            if point.state != LOST and at.mono_ms >= _deadline_ms(point):
                self._move(point, SILENCE)
                effects.append(SetFault(name, "", "point_lost", True, at, point.heard_wall_ms))
                effects.append(Log("warning", "point_lost", (("point", name),)))
        self._look_anew()
        return effects

    def _look_anew(self) -> None:
        self._look_ms = None
        for point in self._points.values():
            if point.state != LOST:
                self._look_by(point)

    def _look_by(self, point: _Point) -> None:
        deadline_ms = _deadline_ms(point)
        if self._look_ms is None or deadline_ms < self._look_ms:
            self._look_ms = deadline_ms

    @staticmethod
    def _move(point: _Point, happening: str) -> str:
        """The state before; raises KeyError, changing nothing, for what the table does not list."""
        before = point.state
        point.state = TABLE[before, happening]
        return before


def _deadline_ms(point: _Point) -> int:
    return point.since_ms + (POINT_SUSPECT_MS if point.state == SUSPECT else POINT_LOST_MS)
