"""What a bad cable does to bytes on their way: frames vanish or come twice, bits turn over, bytes come late."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

END = 0  # the byte that ends a frame on the wire
# Kept of a frame that may be said again; a longer one is no frame of ours.
_MOST_FRAME_BYTES = 512


@dataclass
class Spoil:
    """Chances between 0 and 1: ``loss`` and ``duplicate`` of each frame, ``flip`` of a bit in each byte, ``noise`` of
    each byte to become another. ``bursts_per_s``: up to eight random bytes out of nowhere. ``delay_s``: all of it
    late by so much, in order."""

    loss: float = 0.0
    duplicate: float = 0.0
    flip: float = 0.0
    noise: float = 0.0
    bursts_per_s: float = 0.0
    delay_s: float = 0.0


class Talker:
    """The frames of one end, byte by byte; what is left of them is handed on."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._frame = bytearray()
        self._lost: bool | None = None  # None: the next byte begins a frame

    def through(self, value: int, spoil: Spoil) -> bytes:
        """What arrives for one byte that was sent: usually that byte, perhaps none, perhaps a whole frame again."""
        if self._lost is None:
            self._lost = self._hit(spoil.loss)
            self._frame.clear()
        lost, ends = self._lost, value == END
        if ends:
            self._lost = None
        if self._hit(spoil.flip):
            value ^= 1 << self._chance.randrange(8)
        if lost:
            return b""
        if len(self._frame) < _MOST_FRAME_BYTES:
            self._frame.append(value)
        again = bytes(self._frame) if ends and self._hit(spoil.duplicate) else b""
        return bytes((value,)) + again

    def _hit(self, chance: float) -> bool:
        return chance > 0 and self._chance.random() < chance


def noise(chance: random.Random) -> bytes:
    """Noise from nowhere."""
    return chance.randbytes(chance.randint(1, 8))


Later = Callable[[float, Callable[[], None]], object]


class Delay:
    """Hands things on late, in the order in which they came. ``later(seconds, call)`` is the loop's."""

    def __init__(self, later: Later, now: Callable[[], float]) -> None:
        self._later = later
        self._now = now
        self._free_at = 0.0
        self._waiting: deque[Callable[[], None]] = deque()

    def hand(self, delay_s: float, call: Callable[[], None]) -> None:
        """``call`` after so long, at once if that is nothing and nothing is before it."""
        now = self._now()
        self._free_at = max(now + delay_s, self._free_at)
        if not self._waiting and self._free_at <= now:
            call()
            return
        self._waiting.append(call)
        self._later(self._free_at - now, self._next)

    def _next(self) -> None:
        """A timer is over: whichever it is, the first in the row is due."""
        self._waiting.popleft()()
