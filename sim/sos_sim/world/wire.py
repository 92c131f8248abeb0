"""The cable of one line, a transmission at a time: it takes its time, meets others on a shared pair, is spoilt and cut.

No event per byte: what was said is handed on when it has passed, in one piece. Whoever must know earlier that the line
is busy either asks with ``pull`` before it acts, or is ``eager`` and hears the first byte at once and the rest at a
grain. Point to point each direction has wires of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from sos_sim.world.loop import Loop

AGENT = "agent"  # the name of the agent's end; every other end is a pole's
GRAIN_US = 5000  # eager ends hear at least so often: after 6 ms of silence a Line gives a frame up
_BITS_US = 10_000_000  # ten bits a byte, in microseconds a second
MOST_NOISE = 8  # bytes of one burst

Hear = Callable[[bytes], None]


class _Talk:
    """One transmission: ``data[taken:]`` is still under way."""

    __slots__ = ("data", "end", "start_us", "taken", "until_us")

    def __init__(self, end: End, data: bytes, start_us: int, until_us: int) -> None:
        self.end = end
        self.data = data
        self.start_us = start_us
        self.until_us = until_us
        self.taken = 0


class End:
    """One end of the cable. ``free_us``: when all that it said has passed."""

    def __init__(self, wire: Wire, name: str, hear: Hear, eager: bool) -> None:
        self.name = name
        self.hear = hear
        self.eager = eager
        self.free_us = 0
        self.pending = b""  # passed, and not yet told of
        self._deaf = False
        self.late_us = 0  # when the last delayed piece comes
        self._wire = wire

    def send(self, data: bytes) -> None:
        """Say that, behind what is still being said."""
        self._wire.send(self, data)

    def pull(self) -> bytes:
        """What has passed until now and was not heard yet, for who looks before it acts."""
        self._wire.settle()
        if self._wire.delay_us:
            return b""
        pending, self.pending = self.pending, b""
        return pending

    @property
    def deaf(self) -> bool:
        """What passes is lost to this end: its processor looks away."""
        return self._deaf

    @deaf.setter
    def deaf(self, deaf: bool) -> None:
        self._wire.settle()
        self._deaf = deaf

    def hush(self) -> None:
        """It lost its power: what it has not said yet stays unsaid, what it has not heard yet is lost."""
        self._wire.hush(self)


class Wire:
    """The physical cable of one line.

    Faults are attributes. ``loss``, ``flip``, ``duplicate``: probability a frame. ``delay_us``: the most that a piece
    comes late; order is kept. ``noise_per_s``: bursts of random bytes. ``cut``, ``cut_up``, ``cut_down``: between the
    agent and the poles, in both directions, towards the agent, towards the poles; poles on a pair hear each other
    still. ``echo``: talkers hear themselves. ``record`` hears (time, name of the talker, bytes) as they are said.
    """

    def __init__(self, loop: Loop, rng: random.Random, name: str, baud: int, shared: bool) -> None:
        assert baud > 0
        self.name = name
        self.baud = baud
        self.shared = shared
        self.loss = self.flip = self.duplicate = 0.0
        self.delay_us = 0
        self.echo = False
        self.record: Callable[[int, str, bytes], None] | None = None
        self.frames = 0  # transmissions
        self.collisions = 0  # pieces that met others
        self._loop = loop
        self._rng = rng
        self._ends: list[End] = []
        self._talks: list[_Talk] = []
        self._cut = self._cut_up = self._cut_down = False
        self._noise_per_s = 0.0
        self._noise: list[object] | None = None

    def attach(self, name: str, hear: Hear, *, eager: bool = False) -> End:
        """A new end; ``hear`` gets what the others say."""
        end = End(self, name, hear, eager)
        self._ends.append(end)
        return end

    def inject(self, data: bytes, towards: str) -> None:
        """A stranger on the cable says that to the end of that name, whoever else speaks."""
        for end in self._ends:
            if end.name == towards:
                self._loop.after(len(data) * _BITS_US // self.baud, partial(self._hand_on, end, data))

    # -- faults that take hold in the middle of a transmission

    @property
    def cut(self) -> bool:
        """Nothing passes between the agent and the poles."""
        return self._cut

    @cut.setter
    def cut(self, cut: bool) -> None:
        self.settle()
        self._cut = cut

    @property
    def cut_up(self) -> bool:
        """The agent hears no pole."""
        return self._cut_up

    @cut_up.setter
    def cut_up(self, cut: bool) -> None:
        self.settle()
        self._cut_up = cut

    @property
    def cut_down(self) -> bool:
        """No pole hears the agent."""
        return self._cut_down

    @cut_down.setter
    def cut_down(self, cut: bool) -> None:
        self.settle()
        self._cut_down = cut

    @property
    def noise_per_s(self) -> float:
        """How many bursts of noise a second, on average."""
        return self._noise_per_s

    @noise_per_s.setter
    def noise_per_s(self, rate: float) -> None:
        self._noise_per_s = rate
        if self._noise is not None:
            self._loop.cancel(self._noise)
        self._plan_noise()

    def _plan_noise(self) -> None:
        self._noise = None
        if self._noise_per_s > 0:
            wait_us = int(self._rng.expovariate(self._noise_per_s) * 1e6) + 1
            self._noise = self._loop.after(wait_us, self._make_noise)

    def _make_noise(self) -> None:
        """Noise turns the bytes that are passing into others; on a quiet line it is bytes of its own."""
        self.settle()
        noise = self._rng.randbytes(self._rng.randint(1, MOST_NOISE))
        now_us = self._loop.now_us
        passing = [talk for talk in self._talks if talk.start_us <= now_us < talk.until_us]
        for talk in passing:
            spoilt = talk.data[: talk.taken] + noise + talk.data[talk.taken + len(noise) :]
            talk.data = spoilt[: len(talk.data)]
        if not passing:
            for end in self._ends:
                end.pending += noise
        self._ring(whole=True)
        self._plan_noise()

    # -- what the ends call

    def send(self, end: End, data: bytes) -> None:
        """``end`` says that as soon as it has said all before."""
        if not data:
            return
        if self._talks:
            self.settle()
        loop = self._loop
        now_us = loop.now_us
        self.frames += 1
        if self.record is not None:
            self.record(now_us, end.name, data)
        start_us = end.free_us if end.free_us > now_us else now_us
        if self.loss or self.flip or self.duplicate:
            data = self._spoil(data)
        end.free_us = until_us = start_us + len(data) * _BITS_US // self.baud
        talk = _Talk(end, data, start_us, until_us)
        self._talks.append(talk)
        loop.at(until_us, partial(self._passed, talk))
        if self.shared and any(other.eager and other is not end for other in self._ends):
            loop.at(start_us + _BITS_US // self.baud + 1, partial(self._tell, talk))

    def hush(self, end: End) -> None:
        """That end says nothing more of what it began."""
        self.settle()
        self._talks = [talk for talk in self._talks if talk.end is not end]
        end.free_us = 0
        end.pending = b""
        self._ring(whole=True)

    def settle(self) -> None:
        """Hand what has passed until now to the ends' ``pending``, under the faults of until now."""
        if not self._talks:
            return
        now_us = self._loop.now_us
        said: dict[End, bytes] = {}
        for talk in self._talks:
            upto = len(talk.data) if now_us >= talk.until_us else (now_us - talk.start_us) * self.baud // _BITS_US
            if upto > talk.taken:
                piece = talk.data[talk.taken : upto]
                said[talk.end] = said[talk.end] + piece if talk.end in said else piece
                talk.taken = upto
        if said:
            self.collisions += self.shared and len(said) > 1
            for end in self._ends:
                self._reach(end, said)

    def _reach(self, end: End, said: dict[End, bytes]) -> None:
        """What of ``said`` comes to that end: one talker's bytes, or, where several meet, garbage."""
        if end in said and not self.echo and (self.shared or len(said) == 1):
            return  # who talks on a pair has its receiver off
        heard = [piece for talker, piece in said.items() if self._passes(talker, end)]
        if end.deaf or not heard:
            return
        piece = heard[0]
        if len(heard) > 1:
            piece = self._rng.randbytes(max(map(len, heard))) if self.shared else b"".join(heard)
        end.pending += piece

    def _passes(self, talker: End, end: End) -> bool:
        if talker is end:
            return self.echo
        if end.name == AGENT:
            return not (self._cut or self._cut_up)
        return talker.name != AGENT or not (self._cut or self._cut_down)

    # -- passing

    def _passed(self, talk: _Talk) -> None:
        if talk not in self._talks:
            return  # hushed
        if len(self._talks) == 1 and not talk.taken:
            self._pass_alone(talk)
        else:
            self.settle()
            self._talks.remove(talk)
        self._ring(whole=True)

    def _pass_alone(self, talk: _Talk) -> None:
        """As ``settle``, for the usual one that met nobody."""
        self._talks.clear()
        for end in self._ends:
            if not end.deaf and self._passes(talk.end, end):
                end.pending += talk.data

    def _tell(self, talk: _Talk) -> None:
        """Eager ends hear that it goes on."""
        if talk not in self._talks:
            return
        self.settle()
        self._ring(whole=False)
        next_us = self._loop.now_us + GRAIN_US
        if next_us < talk.until_us:
            self._loop.at(next_us, partial(self._tell, talk))

    def _ring(self, *, whole: bool) -> None:
        """Tell ends what came; with ``whole`` those to which nothing more is on its way, else the eager ones."""
        for end in self._ends:
            if end.pending and (end.eager or (whole and not (self._talks and self._goes_on(end)))):
                piece, end.pending = end.pending, b""
                if self.delay_us or end.late_us > self._loop.now_us:
                    wait_us = self._rng.randint(0, self.delay_us)
                    end.late_us = max(end.late_us, self._loop.now_us + wait_us)
                    self._loop.at(end.late_us, partial(self._hand_on, end, piece))
                else:
                    end.hear(piece)

    def _goes_on(self, end: End) -> bool:
        return any(talk.end is not end and talk.start_us < self._loop.now_us for talk in self._talks)

    @staticmethod
    def _hand_on(end: End, data: bytes) -> None:
        if not end.deaf:
            end.hear(data)

    def _spoil(self, data: bytes) -> bytes:
        """Each frame may be lost (the line is silent meanwhile), said twice, or have a bit turned over."""
        rng = self._rng
        out = b""
        for part in data.split(b"\x00"):
            if not part or rng.random() < self.loss:
                continue
            frame = b"\x00" + part + b"\x00"
            if rng.random() < self.flip:
                at = rng.randrange(len(frame))
                frame = frame[:at] + bytes((frame[at] ^ 1 << rng.randrange(8),)) + frame[at + 1 :]
            out += frame * 2 if rng.random() < self.duplicate else frame
        return out
