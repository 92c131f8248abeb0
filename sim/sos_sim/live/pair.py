"""A pair of wires: bytes take their time on it, meet one another, are spoilt and are cut off."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sos_sim.live.spoil import Delay, Spoil, Talker, noise
from sos_sim.live.timing import Alarm

BITS_A_BYTE = 10  # start, eight, stop
# Bytes are handed on at this grain, the first of a burst at once, so that all hear that the line is busy. Each time it
# wakes all listeners; after 6 ms of silence they give a frame up.
_GRAIN_S = 0.005
_REMEMBER_S = 1.0  # longer than a whole buffer of either side takes at the slowest baud rate that is used with others

Hear = Callable[[bytes], None]


@dataclass
class _Burst:
    """Bytes without a gap between them: ``data[taken:]`` is still under way."""

    start: float
    data: bytearray
    taken: int = 0


@dataclass
class _End:
    """One end of a pair."""

    hear: Hear
    frames: Talker
    talks: deque[_Burst] = field(default_factory=deque)
    deaf: bool = False
    mute: bool = False


class Pair:
    """A pair of wires. Bytes of two talkers that overlap are spoilt for everybody; a talker does not hear meanwhile.

    ``echo``: it hears itself, as many RS-485 adapters do. ``noise``: the chance of each byte to be spoilt; ``spoil``
    has what else can happen to them.
    """

    def __init__(self, baud: int, *, echo: bool = False, noise: float = 0.0, seed: int = 0) -> None:
        self.echo = echo
        self.spoil = Spoil(noise=noise)
        self.collisions = 0
        self._byte_s = BITS_A_BYTE / baud
        self._random = random.Random(seed)
        self._ends: dict[str, _End] = {}
        self._alarm = Alarm(self._ring)
        self._due = 0.0
        self._loop = asyncio.get_running_loop()
        self._late = Delay(self._loop.call_later, time.monotonic)
        self._burst: asyncio.TimerHandle | None = None

    def join(self, name: str, hear: Hear) -> None:
        """An end of the pair; ``hear`` gets what the others say. Joining again replaces it."""
        self._ends[name] = _End(hear, Talker(self._random))

    def weather(self, spoil: Spoil) -> None:
        """From now on that happens to what is said; noise from nowhere comes by itself."""
        self.spoil = spoil
        self._next_burst()

    def _next_burst(self) -> None:
        if self._burst is not None:
            self._burst.cancel()
            self._burst = None
        if self.spoil.bursts_per_s > 0:
            wait_s = self._random.expovariate(self.spoil.bursts_per_s)
            self._burst = self._loop.call_later(wait_s, self._make_noise)

    def _make_noise(self) -> None:
        data = noise(self._random)
        for end in list(self._ends.values()):
            if not end.deaf:
                end.hear(data)
        self._next_burst()

    def cut(self, name: str, *, deaf: bool = True, mute: bool = True) -> None:
        """That end's wire is cut: nothing in, nothing out."""
        self._ends[name].deaf |= deaf
        self._ends[name].mute |= mute

    def mend(self, name: str) -> None:
        self._ends[name].deaf = self._ends[name].mute = False

    def close(self) -> None:
        """Stop; what is under way is lost."""
        self.weather(Spoil())
        self._alarm.close()
        self._ends.clear()

    @property
    def busy(self) -> bool:
        """Whether somebody is still sending."""
        return any(burst.taken < len(burst.data) for end in self._ends.values() for burst in end.talks)

    def talk(self, name: str, data: bytes, at: float | None = None) -> None:
        """``name`` begins to send at ``at``, behind what it is still sending."""
        end = self._ends.get(name)
        if end is None or not data:
            return
        at = time.monotonic() if at is None else at
        last = end.talks[-1] if end.talks else None
        free = last.start + len(last.data) * self._byte_s if last else 0.0
        if last is not None and at <= free and last.taken < len(last.data):
            last.data += data
        else:
            end.talks.append(_Burst(max(at, free), bytearray(data)))
        self._arrange()

    def hush(self, name: str) -> None:
        """That end lost its power, or its driver was switched off: what it has not sent yet stays unsaid."""
        end = self._ends.get(name)
        if end is None:
            return
        self._ring()
        for burst in end.talks:
            del burst.data[burst.taken :]
        self._arrange()

    def _ring(self) -> None:
        self._due = 0.0
        now = time.monotonic()
        arrived: list[tuple[float, str, bytes]] = []
        for name, end in self._ends.items():
            for burst in end.talks:
                while burst.taken < len(burst.data):
                    until = burst.start + (burst.taken + 1) * self._byte_s
                    if until > now:
                        break
                    if not end.mute:
                        value = self._value(name, burst, until)
                        arrived.append((until, name, end.frames.through(value, self.spoil)))
                    burst.taken += 1
        arrived.sort(key=lambda byte: byte[0])
        self._hand_on(arrived)
        for end in self._ends.values():
            while end.talks and end.talks[0].taken == len(end.talks[0].data) and self._end_of(end) < now - _REMEMBER_S:
                end.talks.popleft()
        self._arrange()

    def _end_of(self, end: _End) -> float:
        return end.talks[0].start + len(end.talks[0].data) * self._byte_s

    def _value(self, name: str, burst: _Burst, until: float) -> int:
        """The byte as it arrives."""
        value = burst.data[burst.taken]
        met = self._others_talk(name, until - self._byte_s, until)
        self.collisions += met
        if met or (self.spoil.noise and self._random.random() < self.spoil.noise):
            return self._random.randrange(256)
        return value

    def _others_talk(self, name: str, start: float, until: float) -> bool:
        return any(
            burst.start < until and burst.start + len(burst.data) * self._byte_s > start
            for other, end in self._ends.items()
            if other != name and not end.mute
            for burst in end.talks
        )

    def _hand_on(self, arrived: list[tuple[float, str, bytes]]) -> None:
        if not arrived:
            return
        for name, end in list(self._ends.items()):
            if end.deaf:
                continue
            heard = b"".join(
                value
                for until, talker, value in arrived
                if (talker != name and not self._talks(end, until)) or (talker == name and self.echo)
            )
            if heard:
                self._late.hand(self.spoil.delay_s, partial(self._hear, end, heard))

    def _hear(self, end: _End, heard: bytes) -> None:
        if not end.deaf:
            end.hear(heard)

    def _talks(self, end: _End, until: float) -> bool:
        start = until - self._byte_s
        return any(b.start < until and b.start + len(b.data) * self._byte_s > start for b in end.talks)

    def _arrange(self) -> None:
        """Set the alarm for the next byte, or for the last of what comes within a grain."""
        due = 0.0
        for end in self._ends.values():
            for burst in end.talks:
                left = len(burst.data) - burst.taken
                if left:
                    first = burst.start + (burst.taken + 1) * self._byte_s
                    whole = burst.start + len(burst.data) * self._byte_s
                    at = first if burst.taken == 0 else min(whole, first + _GRAIN_S)
                    due = min(due, at) if due else at
        if due and due != self._due:
            self._due = due
            self._alarm.set(due)
