"""A pole's core on virtual time with an agent's link at the other end of a perfect cable, and a journal in memory."""

from __future__ import annotations

from collections.abc import Callable

from sos_pole.journal import Journal
from sos_pole.pole import Outputs, Pole
from sos_pole.runs import IDLE, PRESSED, Sampler
from sos_pole.senses import Readings
from sos_sim.nor_flash import NorFlash
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE
from sos_wire.messages import Command, Detail, Notice, Press, Progress, Service, Status, unpack
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.ticks import TICKS_MASK

KEY = bytes(range(32))
MOST_STEPS = 2_000_000


class Agent:
    """The agent's end: keeps what comes, and answers as ``answer`` says."""

    def __init__(self, seed: bytes) -> None:
        self.link = AgentLink(1, KEY, seed)
        self.line = AgentLine(False, 115200)
        self.heard: list[tuple[int, int, object]] = []  # at, lane, message
        self.service = "in_service"
        self.stages: tuple[str, ...] = ("held", "received")
        self._session = 0
        self._untold: list[bytes] = []

    def hear(self, data: bytes, now: int) -> None:
        for frame in self.line.feed(data, now):
            self.link.receive(frame, now)
        for lane, payload, _ in self.link.take():
            message = unpack(payload)
            self.heard.append((now, lane, message))
            if isinstance(message, Press):
                for stage in self.stages:
                    self.tell(Progress(message.incarnation, message.boot, message.press, stage))

    def tell(self, message: Progress | Service | Command) -> None:
        self._untold.append(message.pack())

    def speak(self, now: int) -> bytes:
        if self.link.opened != self._session and self.link.up:
            self._session = self.link.opened
            self._untold.insert(0, Service(self.service).pack())
        while self._untold and self.link.send(LIVE, self._untold[0]):
            self._untold.pop(0)
        out = b""
        while (wire := self.link.poll(now, now)) is not None:
            out += wire
        return out

    def presses(self) -> list[Press]:
        return [message for _, _, message in self.heard if isinstance(message, Press)]

    def notices(self) -> list[Notice]:
        return [message for _, _, message in self.heard if isinstance(message, Notice)]

    def details(self) -> list[Detail]:
        return [message for _, _, message in self.heard if isinstance(message, Detail)]

    @property
    def status(self) -> Status:
        message = unpack(self.link.peer_status or b"")
        assert isinstance(message, Status)
        return message


class Rig:
    """Time goes on in milliseconds by ``run``. ``cable`` says whether bytes pass, ``wire_up`` whether the pole's do."""

    def __init__(self, *, buttons: int = 1, flash: NorFlash | None = None, start: int = 0, agent: bool = True) -> None:
        self.flash = flash or NorFlash()
        self.agent = Agent(b"a" * 32) if agent else None
        self.readings = Readings()
        self.buttons = buttons
        self.levels = [IDLE] * buttons
        self.cable = self.wire_up = True
        self.looks: list[tuple[int, str]] = []
        self.outs: list[tuple[int, tuple[int, int, int], int, bool]] = []
        self.starts = 0
        self.now = 0
        self._tick = start  # of the board's clock at 0
        self.power_on()

    def power_on(self, cause: str = "power_on") -> None:
        self.starts += 1
        seed = bytes([self.starts]) * 32
        journal = Journal(self.flash, bytes((self.starts + index * 7) & 0xFF for index in range(16)))
        self.pole = Pole(
            journal, PoleLink(1, KEY, seed), PoleLine(False, 115200, 1), buttons=self.buttons, reset_cause=cause
        )
        self.pole.start(self.ticks)
        self.samplers = [Sampler() for _ in range(self.buttons)]
        self.out: Outputs = self.pole.out
        self.steps = 0
        self._up: bytes = b""
        self._down = b""
        self._stepped_at = self.now
        self._wake_ms = 0
        self._before = (self.readings.tamper, self.readings.mains_lost)

    def new_agent(self, seed: bytes = b"b" * 32) -> Agent:
        """The agent starts again: another process, with nothing in its memory."""
        self.agent = Agent(seed)
        return self.agent

    @property
    def ticks(self) -> int:
        return (self.now + self._tick) & TICKS_MASK

    def run(self, ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as ``until`` holds."""
        assert ms < MOST_STEPS
        end = self.now + ms
        while self.now < end:
            if until is not None and until():
                return True
            self._millisecond()
            jump_ms = 1 if until else self._idle_ms()
            self.now = max(self.now + 1, min(end - 2, self.now + jump_ms))
        return until is not None and until()

    def _idle_ms(self) -> int:
        """How long nothing can happen: then time may jump, ending on an even millisecond, when samples are taken."""
        if self._up or self._down or any(sampler.changed for sampler in self.samplers):
            return 1
        idle_ms = self._wake_ms - (self.now - self._stepped_at)
        if self.agent is not None:
            idle_ms = min(idle_ms, self.agent.link.wake(self.now))
        return (idle_ms - 2) & ~1 if idle_ms > 4 and self.now % 2 == 0 else 1

    def _millisecond(self) -> None:
        if self.now % 2 == 0:
            for sampler, level in zip(self.samplers, self.levels, strict=True):
                sampler.sample(level, self.ticks)
        agent = self.agent
        if agent is not None:
            if self._up:
                agent.hear(self._up, self.now)
                self._up = b""
            data = agent.speak(self.now)
            if self.cable:
                self._down += data
        facts = (self.readings.tamper, self.readings.mains_lost)
        due = self.now - self._stepped_at >= self._wake_ms or facts != self._before
        if due or self._down or any(sampler.changed for sampler in self.samplers):
            if facts != self._before:
                self._before = facts
                self.readings.changes += 1
            self._step()

    def _step(self) -> None:
        received, self._down = self._down, b""
        self.out = self.pole.step(self.ticks, [s.take() for s in self.samplers], received, self.readings)
        self.steps += 1
        self._stepped_at = self.now
        self._wake_ms = self.out.wake_ms
        if self.cable and self.wire_up and self.agent is not None:
            self._up += self.out.send
        if not self.looks or self.looks[-1][1] != self.pole.look:
            self.looks.append((self.now, self.pole.look))
        shown = (self.out.lamp, self.out.hertz, self.out.beacon)
        if not self.outs or self.outs[-1][1:] != shown:
            self.outs.append((self.now, *shown))

    def hear(self, noise: bytes) -> None:
        """Bytes that nobody of ours sent come to the pole with its next step."""
        self._down += noise

    def press(self, ms: int = 200, button: int = 0, rest_ms: int = 260) -> int:
        """Press for so long, then let go; returns when. A button counts only once it was seen released for 250 ms."""
        self.run(300)
        at = self.now
        self.levels[button] = PRESSED
        self.run(ms)
        self.levels[button] = IDLE
        self.run(rest_ms)
        return at

    def names(self) -> list[str]:
        """The looks so far, in order."""
        return [look for _, look in self.looks]

    def when(self, look: str) -> int:
        """When it was last begun to be shown."""
        return max(at for at, name in self.looks if name == look)


def in_service(**options: object) -> Rig:
    """A rig whose pole is in service."""
    rig = Rig(**options)  # type: ignore[arg-type]
    assert rig.run(3000, until=lambda: rig.pole.look == "in_service"), rig.looks
    return rig
