"""A machine's clocks: the monotonic one of its time base, and the wall clock with how far it can be believed.

Twin of ``sos_edge.clock`` and of CLOCK_BOOTTIME with the kernel's boot id.
"""

from __future__ import annotations

import random

from sos_contract.payloads import RELEASED_MS, Quality

# The world begins on 15 January 2027, 08:00 UTC.
WALL_AT_ZERO_MS = 1_800_000_000_000
# A computer's crystal is off by some ten millionths; a bad one in the heat by a hundred.
DRIFT_MOST_PPM = 50
# Linux is up for so long when the first service starts.
BOOT_US = (8_000_000, 25_000_000)
# What a time source leaves over.
SYNC_ERROR_MS = 20


def true_wall_ms(now_us: int) -> int:
    """What every clock would say if it were right."""
    return WALL_AT_ZERO_MS + now_us // 1000


class MachineClock:
    """``disciplined``: a time source is at work. ``at_boot`` is what the machine knows when it starts: ``kept`` (a
    clock with a battery), ``stale`` (the time of its last shutdown, from a file) or ``unset`` (1970)."""

    def __init__(self, rng: random.Random, drift_ppm: int | None = None) -> None:
        """``drift_ppm``: how much too fast it goes; drawn if not given."""
        self._rng = rng
        self.drift_ppm = rng.randint(-DRIFT_MOST_PPM, DRIFT_MOST_PPM) if drift_ppm is None else drift_ppm
        self.at_boot = "kept"
        self.disciplined = True
        self._error_ms = 0  # of the wall clock at ``_free_us``
        self._free_us = 0  # since when nobody disciplines it
        self._off_us = 0  # when the machine last lost its power
        self.power_on(0)

    def power_cut(self, now_us: int) -> None:
        """The machine has no power from now on."""
        self._off_us = now_us

    def power_on(self, now_us: int) -> None:
        """The machine starts: a new time base, and a wall clock as ``at_boot`` says."""
        before_ms = self.wall_ms(self._off_us)
        self.timebase = f"{self._rng.getrandbits(128):032x}"
        self._base_us = now_us
        self._base_ms = self._rng.randint(*BOOT_US) // 1000
        self._rate = 1_000_000 + self.drift_ppm
        if self.at_boot != "kept":
            starts_ms = self._base_ms if self.at_boot == "unset" else before_ms
            self._let_go(now_us, starts_ms)

    # --- the monotonic clock

    def ms(self, now_us: int) -> int:
        """Milliseconds since the machine started, sleep included."""
        return self._base_ms + (now_us - self._base_us) * self._rate // 1_000_000_000

    def due_us(self, due_ms: int) -> int:
        """The world's time at which ``ms`` first says ``due_ms``."""
        return self._base_us - (self._base_ms - due_ms) * 1_000_000_000 // self._rate

    def drift(self, now_us: int, ppm: int) -> None:
        """From now on it goes that much too fast (heat, cold)."""
        wall_ms = self.wall_ms(now_us)
        self._base_ms, self._base_us = self.ms(now_us), now_us
        self.drift_ppm, self._rate = ppm, 1_000_000 + ppm
        if not self.disciplined:
            self._let_go(now_us, wall_ms)

    # --- the wall clock

    def wall_ms(self, now_us: int) -> int:
        """Unix time, as this machine believes it to be."""
        free_us = 0 if self.disciplined else now_us - self._free_us
        return true_wall_ms(now_us) + self._error_ms + free_us * self.drift_ppm // 1_000_000_000

    def quality(self, now_us: int) -> Quality:
        """As the real one: ``unset`` where the time cannot be, else whether the kernel is disciplined."""
        if self.wall_ms(now_us) < RELEASED_MS:
            return "unset"
        return "synced" if self.disciplined else "holdover"

    def synchronise(self) -> None:
        """A time source has been found."""
        self.disciplined, self._error_ms = True, self._rng.randint(-SYNC_ERROR_MS, SYNC_ERROR_MS)

    def lose_sync(self, now_us: int) -> None:
        """Nobody disciplines it any more; it runs on by itself."""
        self._let_go(now_us, self.wall_ms(now_us))

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock, by so much; the monotonic one goes on."""
        self._error_ms += by_ms

    def _let_go(self, now_us: int, wall_ms: int) -> None:
        self.disciplined, self._free_us, self._error_ms = False, now_us, wall_ms - true_wall_ms(now_us)
