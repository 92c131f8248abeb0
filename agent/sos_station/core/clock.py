"""Wall time as told by the edge, carried on by monotonic time in between."""

from __future__ import annotations

from sos_contract.payloads import Quality
from sos_station.core.records import Stamp


class WallClock:
    """Stamps moments; before the first ``set`` the quality is ``unset``."""

    def __init__(self) -> None:
        self.timebase = ""
        self._wall_ms = 0
        self._at_ms = 0
        self._quality: Quality = "unset"

    def set(self, wall_ms: int, quality: Quality, now_ms: int) -> None:
        self._wall_ms, self._quality, self._at_ms = wall_ms, quality, now_ms

    def stamp(self, now_ms: int) -> Stamp:
        return Stamp(self._wall_ms + now_ms - self._at_ms, self._quality, self.timebase, now_ms)
