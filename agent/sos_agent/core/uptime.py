"""Ages: when a press was, reckoned from the pole's uptime, across restarts of pole, program and machine.

Each boot of a pole that was heard has a zero: the time, in the agent's time base, at which its uptime was 0. A press is
stored with the time base of its boot and its time in it. Which wall time the zero of a time base was is remembered
apart, so that a clock that is set late mends every age of that time base at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from sos_agent.core.context import Context
from sos_agent.core.effects import StoreBoot, StoreEffect, StoreTimebase
from sos_agent.core.events import AlarmRow, BootRow
from sos_contract.payloads import Quality

BOOTS_A_POLE = 64  # as many as a full journal can name, each press of it from another boot
# A stall of reader or wire makes a frame seem late and the boot too young. Zeros therefore fall at once and rise only
# this slowly, which still follows any crystal (some 100 ppm) and most RC oscillators.
RISE_PER_MS = 0.01
STORE_MOVE_MS = 2_000  # ages are shown in seconds: a stored zero may be that far off
STORE_PAUSE_MS = 600_000  # a bad oscillator must not wear out the card
NEVER_STORED_MS = 1 << 50  # further off than any zero can be
# A wall clock that says that a press was later than now, by more than slewing explains, knows nothing.
FUTURE_MOST_MS = 5_000

_ORDER: dict[Quality, int] = {"unset": 0, "holdover": 1, "synced": 2}


def worst(one: Quality, other: Quality) -> Quality:
    """The worse of two clock qualities."""
    return one if _ORDER[one] <= _ORDER[other] else other


@dataclass(slots=True)
class _Boot:
    timebase: str
    zero_ms: float
    heard_ms: int
    stored_zero_ms: int
    stored_ms: int


class Uptime:
    """Keeps the boots heard and the wall clock; answers with times and ages."""

    def __init__(self, context: Context, boots: tuple[BootRow, ...]) -> None:
        self._context = context
        self._boots: dict[str, dict[tuple[str, int], _Boot]] = {}
        self.quality: Quality = "unset"
        self._wall_at_zero_ms = 0
        self._stored: StoreTimebase | None = None
        for row in boots[-BOOTS_A_POLE * 64 :]:
            boot = _Boot(row.timebase, row.zero_ms, context.now_ms, row.zero_ms, context.now_ms - STORE_PAUSE_MS)
            self._keep(row.pole, (row.incarnation, row.boot), boot)
            if row.timebase == context.timebase and row.wall_zero_ms is not None:  # stored before our start
                self._stored = StoreTimebase(row.timebase, row.wall_zero_ms - row.zero_ms, row.quality)

    def clock(self, wall_ms: int, quality: Quality) -> None:
        """The wall clock now. A better quality, or a move of the same, is stored; a worse one never overwrites."""
        self.quality = quality
        self._wall_at_zero_ms = wall_ms - self._context.now_ms
        if quality == "unset":
            return
        stored = self._stored
        if stored is not None:
            if _ORDER[quality] < _ORDER[stored.quality]:
                return
            moved = abs(self._wall_at_zero_ms - stored.wall_at_zero_ms) > STORE_MOVE_MS
            if quality == stored.quality and not moved:
                return
        self._stored = StoreTimebase(self._context.timebase, self._wall_at_zero_ms, quality)
        self._context.emit(self._stored)

    def store_failed(self, effect: StoreEffect) -> None:
        """Forget that it was stored, so that the next frame or clock event stores it again."""
        if isinstance(effect, StoreTimebase) and effect == self._stored:
            self._stored = None
        elif isinstance(effect, StoreBoot):
            boot = self._boots.get(effect.pole, {}).get((effect.incarnation, effect.boot))
            if boot is not None:
                boot.stored_zero_ms -= NEVER_STORED_MS
                # the disk gets a minute to recover
                boot.stored_ms = self._context.now_ms - STORE_PAUSE_MS + 60_000

    def heard(self, pole: str, incarnation: str, boot: int, uptime_ms: int) -> None:
        """A valid frame of that boot was sent at ``uptime_ms`` and came just now."""
        now = self._context.now_ms
        zero = now - uptime_ms
        known = self._boots.get(pole, {}).get((incarnation, boot))
        if known is None or known.timebase != self._context.timebase:
            self._keep(pole, (incarnation, boot), _Boot(self._context.timebase, zero, now, zero, now))
            self._context.emit(StoreBoot(pole, incarnation, boot, self._context.timebase, zero))
            return
        known.zero_ms = min(float(zero), known.zero_ms + (now - known.heard_ms) * RISE_PER_MS)
        known.heard_ms = now
        far = abs(known.zero_ms - known.stored_zero_ms) > STORE_MOVE_MS
        if far and now - known.stored_ms >= STORE_PAUSE_MS:
            known.stored_zero_ms, known.stored_ms = int(known.zero_ms), now
            self._context.emit(StoreBoot(pole, incarnation, boot, known.timebase, known.stored_zero_ms))

    def time_of(self, pole: str, incarnation: str, boot: int, at_ms: int) -> tuple[str, int | None]:
        """Time base and time of what happened at uptime ``at_ms`` of that boot; None where it was never heard."""
        known = self._boots.get(pole, {}).get((incarnation, boot))
        if known is None:
            return self._context.timebase, None
        return known.timebase, int(known.zero_ms) + at_ms

    def wall_ms(self) -> int:
        """Wall time now, as far as the clock can be trusted; 0 before it was ever told."""
        return self._context.now_ms + self._wall_at_zero_ms if self._wall_at_zero_ms else 0

    def age_ms(self, row: AlarmRow) -> tuple[int | None, Quality]:
        """How long ago that press was, and the quality of our clock (of the worse one where two machine starts had to
        be compared by the wall); None: not known (yet)."""
        if row.pressed_ms is None:
            return None, self.quality
        if row.timebase == self._context.timebase:
            return max(0, self._context.now_ms - row.pressed_ms), self.quality
        boot = self._boots.get(row.id.pole, {}).get((row.id.incarnation, row.id.boot))
        if boot is not None and boot.timebase == self._context.timebase:  # it outlived our machine's restart
            return max(0, self._context.now_ms - int(boot.zero_ms) - row.pressed_at_ms), self.quality
        quality = worst(row.quality, self.quality)
        if row.pressed_wall_ms is None or quality == "unset":
            return None, self.quality
        age = self.wall_ms() - row.pressed_wall_ms
        if age < -FUTURE_MOST_MS:
            return None, self.quality
        return max(0, age), quality

    def _keep(self, pole: str, key: tuple[str, int], boot: _Boot) -> None:
        boots = self._boots.setdefault(pole, {})
        boots.pop(key, None)
        boots[key] = boot
        while len(boots) > BOOTS_A_POLE:
            del boots[next(iter(boots))]
