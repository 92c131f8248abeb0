"""Messages of peers that were not taken: each is counted, the log hears of the 1st, 2nd, 4th, 8th, ... of a kind."""

from __future__ import annotations

from collections import Counter

from sos_station.core.effects import Effect, Log


class Refusals:
    """Counts by kind of message. Whoever sends nonsense does not fill the disk with what is said of it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def told(self, what: str, why: str, **where: str) -> list[Effect]:
        """``what`` was refused, and ``why``; ``where`` it came from, by name."""
        self.counts[what] += 1
        count = self.counts[what]
        if count & (count - 1):
            return []
        return [Log("warning", f"{what}_refused", (*where.items(), ("why", why), ("count", count)))]
