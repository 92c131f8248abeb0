"""What the tests run on MicroPython, and on CPython beside it: a pole, its agent's end, and time."""

import gc

from sos_pole.debounce import Debounce
from sos_pole.journal import Flash, Journal
from sos_pole.pole import Pole
from sos_pole.runs import Runs, Sampler
from sos_pole.senses import Readings
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE
from sos_wire.messages import Press, Progress, Service, unpack
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.seal import Stream

KEY = bytes(range(32))


class Nor(Flash):
    """NOR flash in RAM."""

    def __init__(self) -> None:
        self.size = 16384
        self.bytes = bytearray(b"\xff" * self.size)

    def read(self, address: int, count: int) -> bytes:
        return bytes(self.bytes[address : address + count])

    def program(self, address: int, data: bytes) -> None:
        for index in range(len(data)):
            self.bytes[address + index] &= data[index]

    def erase(self, address: int) -> None:
        self.bytes[address : address + 4096] = b"\xff" * 4096


class World:
    """A pole with two buttons on a shared line, an agent that holds presses, milliseconds."""

    def __init__(self, flash: Nor) -> None:
        journal = Journal(flash, bytes(range(16)))
        link, line = PoleLink(1, KEY, b"p" * 32), PoleLine(True, 115200, 1)
        self.pole = Pole(journal, link, line, 2, "power_on")
        self.samplers = [Sampler(), Sampler()]
        self.runs = [Runs(), Runs()]
        self.readings = Readings()
        self.now = 0x3FFFFFFF - 20_000  # the board's clock wraps on the way
        self.pole.start(self.now)
        self.agent = AgentLink(1, KEY, b"a" * 32)
        self.line = AgentLine(False, 115200)
        self.served = False
        self.stages = ("held",)
        self.looks: list[str] = []
        self._up = b""
        self._wake_ms = 0
        self._stepped = 0

    def go(self, ms: int, level: int = 0, silent: int = 0) -> None:
        """Let time pass."""
        for _ in range(ms):
            now = self.now
            if now % 2 == 0:
                self.samplers[0].sample(level, now)
                self.samplers[1].sample(silent, now)
            down = self._answer(now)
            self._wake_ms -= 1
            if down or self._wake_ms <= 0 or self.samplers[0].changed or self.samplers[1].changed:
                self._up = self.step(now, down)
                if not self.looks or self.looks[-1] != self.pole.look:
                    self.looks.append(self.pole.look)
            self.now = (now + 1) & 0x3FFFFFFF

    def step(self, now: int, down: bytes) -> bytes:
        """One step of the pole; the bytes that it sends."""
        self.runs[0] = self.samplers[0].take()
        self.runs[1] = self.samplers[1].take()
        out = self.pole.step(now, self.runs, down, self.readings)
        self._wake_ms = out.wake_ms
        return out.send

    def _answer(self, now: int) -> bytes:
        if self._up:
            for frame in self.line.feed(self._up, now):
                self.agent.receive(frame, now)
            self._up = b""
            for _lane, payload, _uptime_ms in self.agent.take():
                message = unpack(payload)
                if isinstance(message, Press):
                    for stage in self.stages:
                        self.agent.send(LIVE, Progress(message.incarnation, message.boot, message.press, stage).pack())
        if self.agent.up and not self.served:
            self.served = self.agent.send(LIVE, Service("in_service").pack())
        down = b""
        while True:
            wire = self.agent.poll(now, now)
            if wire is None:
                return down
            down += wire

    def quiet_steps(self, count: int, apart_ms: int) -> int:
        """Steps in which nothing is due at the link; returns how many were made, from the time on the clock."""
        now = self.now
        made = 0
        while made < count and self.pole.link.wake(now) > 0:
            self.samplers[0].sample(0, now)
            self.samplers[1].sample(0, now)
            self.step(now, b"")
            now += apart_ms
            made += 1
        return made


def waves(seed: int, count: int) -> "list[str]":
    """What a button makes of a random wave."""
    stream = Stream(bytes((seed,)) * 32)
    button = Debounce()
    happened: list[str] = []
    for _ in range(count):
        level = (0, 0, 0, 1, 1, 1, 2, 3)[stream.below(8)]
        happened.extend(button.feed(level, 2 * (1 + stream.below(60))))
    return happened


def allocated(world: World, count: int) -> "tuple[int, int]":
    """Bytes that quiet steps allocate, and how many were made (MicroPython)."""
    world.quiet_steps(1, 1)
    before = gc.mem_alloc()  # type: ignore[attr-defined]
    made = world.quiet_steps(count, 1)
    return gc.mem_alloc() - before, made  # type: ignore[attr-defined]
