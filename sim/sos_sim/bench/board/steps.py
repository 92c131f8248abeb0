"""What steps.mjs runs on MicroPython: a pole's core on virtual time, with an agent's link on a cable of memory."""

# mypy: ignore-errors
# Runs on MicroPython only.
import gc

from sos_pole.journal import Journal
from sos_pole.pole import Pole
from sos_pole.runs import IDLE, PRESSED, SAMPLE_MS, Sampler
from sos_pole.senses import Readings
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE
from sos_wire.messages import Press, Progress, Service, unpack
from sos_wire.pole_end import PoleLine, PoleLink

KEY = b"0123456789abcdef0123456789abcdef"
MASK = 0x3FFFFFFF
PRESS_EVERY = 500  # framed steps: a second
PRESS_STEPS = 40  # 80 ms
STAGES = ("held", "received", "accepted", "dispatched", "on_scene", "closed")


class Flash:
    """Raw flash in memory."""

    size = 4 * 4096

    def __init__(self) -> None:
        self._bytes = bytearray(b"\xff" * self.size)

    def read(self, address: int, count: int) -> bytes:
        return bytes(self._bytes[address : address + count])

    def program(self, address: int, data: bytes) -> None:
        for at in range(len(data)):
            self._bytes[address + at] &= data[at]

    def erase(self, address: int) -> None:
        for at in range(4096):
            self._bytes[address + at] = 0xFF


class World:
    """Pole, agent, and the cable between them."""

    def __init__(self) -> None:
        self.now = 0
        self.uptime_ms = 0
        self.pole = Pole(Journal(Flash(), KEY[:16]), PoleLink(1, KEY, KEY), PoleLine(False, 115200, 1))
        self.pole.start(0)
        self.sampler = Sampler()
        self.runs = [self.sampler.take()]
        self.readings = Readings()
        self.link = AgentLink(1, KEY, KEY)
        self.line = AgentLine(False, 115200)
        self.down = b""
        self.due = 0  # milliseconds until the agent's link wants to speak
        self.opened = 0
        self.presses = 0
        self.framed = 0
        self.answers = []

    def sense(self, level: int) -> None:
        """Two milliseconds pass, and the sampling timer comes round."""
        self.now = (self.now + SAMPLE_MS) & MASK
        self.uptime_ms += SAMPLE_MS
        self.due -= SAMPLE_MS
        self.sampler.sample(level, self.now)
        self.runs[0] = self.sampler.take()

    def step(self) -> None:
        """The pole's turn, then the agent's if there is anything for it to do."""
        down = self.down
        self.down = b""
        out = self.pole.step(self.now, self.runs, down, self.readings)
        if out.send or self.due <= 0:
            self.agent(out.send)

    def agent(self, up: bytes) -> None:
        """The agent hears, answers each press with the stages, and speaks."""
        for frame in self.line.feed(up, self.now) if up else ():
            self.link.receive(frame, self.now)
        for _lane, payload, _uptime in self.link.take():
            message = unpack(payload)
            if isinstance(message, Press):
                self.presses += 1
                for stage in STAGES:
                    self.answers.append(Progress(message.incarnation, message.boot, message.press, stage).pack())
        if self.link.opened != self.opened:
            self.opened = self.link.opened
            self.answers.append(Service("in_service").pack())
        while self.answers and self.link.send(LIVE, self.answers[0]):
            self.answers.pop(0)
        while True:
            wire = self.link.poll(self.now, self.uptime_ms)
            if wire is None:
                break
            self.down = self.down + wire
        self.due = self.link.wake(self.now)


world = World()


def idle(steps: int) -> None:
    """Nobody presses; the beats go to and fro, every two seconds."""
    for _ in range(steps):
        world.sense(IDLE)
        world.step()


def framed(steps: int) -> None:
    """A message from the agent in each step, and a press a second, from its stages to its end."""
    service = Service("in_service").pack()
    for _ in range(steps):
        world.framed += 1
        if world.link.up and not world.answers:
            world.link.send(LIVE, service)
            world.due = 0
        world.sense(PRESSED if world.framed % PRESS_EVERY < PRESS_STEPS else IDLE)
        world.step()


def watched(steps: int) -> int:
    """Bytes that the pole's idle steps left behind, steps with frames not counted."""
    total = 0
    pole = world.pole
    while steps:
        world.sense(IDLE)
        if world.down or world.due <= 0 or pole.link.wake(world.now) <= 0:
            world.step()
            continue
        steps -= 1
        before = gc.mem_alloc()
        pole.step(world.now, world.runs, b"", world.readings)
        total += gc.mem_alloc() - before
    return total


def presses() -> int:
    """That the agent got."""
    return world.presses


def collect() -> None:
    """Free memory; it happens when this call is over, at top level."""
    gc.collect()


def used() -> int:
    """Bytes in use."""
    return gc.mem_alloc()
