"""A cable on virtual time: real Lines and Links at its ends, bytes paced at the baud rate, faults drawn from one seed.

One turn a millisecond where somebody speaks, listens or waits; time jumps over the rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.wire.ends import LINKS, line_of

from sos_wire.handshake import AGENT, POLE
from sos_wire.link import BACKLOG, LIVE, Link
from sos_wire.messages import Detail, Press, Progress, Status, unpack
from sos_wire.pole_end import PoleLink
from sos_wire.ticks import TICKS_MASK

INCARNATION = 0x1122334455667788
DETAIL_MS = 150  # a button is held about so long
RECEIVED_MS = 25  # two hops of MQTT and a commit
STEPS_MOST = 2_000_000  # a test that needs more has lost its way


def key_of(address: int) -> bytes:
    """The key of the pole with that address."""
    return bytes([address]) * 32


@dataclass(frozen=True)
class Faults:
    """What the cable does to a transmission. Chances are per transmission, from 0 to 1."""

    loss: float = 0.0
    corruption: float = 0.0
    duplication: float = 0.0
    delay_ms: int = 0  # the most; order is kept
    echo: bool = False  # speakers hear themselves
    single_bytes: bool = False

    def apply(self, data: bytes, rng: random.Random) -> bytes:
        """What is left of ``data``."""
        if rng.random() < self.loss:
            return b""
        if rng.random() < self.duplication:
            data += data
        if rng.random() < self.corruption:
            at = rng.randrange(len(data))
            data = rng.choice(
                [
                    data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],  # a bit turned over
                    data[:at] + data[at + 1 :],  # a byte lost
                    data[:at] + rng.randbytes(3) + data[at:],  # noise heard
                    data[:at],  # the end lost
                ]
            )
        return data


class End:
    """A pole or the agent: its Line, its Links, what it hears after ``latency_ms``, and what it does with messages."""

    def __init__(
        self, role: int, addresses: list[int], shared: bool, baud: int, rng: random.Random, jitter_ms: int = 0
    ) -> None:
        self.role = role
        self.latency_ms = rng.randint(1, 3 if role == AGENT else 2)  # the loop's turn; the agent's USB adapter too
        self.jitter_ms = jitter_ms  # and up to so much more, each time anew
        self.line = line_of(role, shared, baud, addresses[0])
        self.links = {address: LINKS[role](address, key_of(address), rng.randbytes(32)) for address in addresses}
        self.incoming: list[tuple[int, bytes]] = []
        self.on_message: Callable[[int, int, bytes, int], None] = lambda address, lane, payload, now: None
        self.origin_ms = 0  # of this end's ticks
        self._turn = 0

    @property
    def link(self) -> PoleLink:
        """The only link of a pole."""
        link = next(iter(self.links.values()))
        assert isinstance(link, PoleLink)
        return link

    def ticks(self, now: int) -> int:
        """This end's own wrapping clock."""
        return (now + self.origin_ms) & TICKS_MASK

    def hear(self, now: int) -> None:
        """Take what has arrived by now."""
        ticks = self.ticks(now)
        while self.incoming and self.incoming[0][0] <= now:
            for frame in self.line.feed(self.incoming.pop(0)[1], ticks):
                link = self.links.get(frame.address)
                for target in [link] if link else list(self.links.values()):
                    target.receive(frame, ticks)
        for address, link in self.links.items():
            for lane, payload, _uptime in link.take():
                self.on_message(address, lane, payload, now)

    def speak(self, now: int) -> list[bytes]:
        """What goes out now; links take turns."""
        ticks = self.ticks(now)
        said: list[bytes] = []
        links = list(self.links.values())
        self._turn += 1
        for place in range(len(links)):
            link = links[(place + self._turn) % len(links)]
            while link.wake(ticks) == 0 and self.line.quiet(ticks):
                wire = link.poll(ticks, now)
                if wire is None:
                    break
                self.line.sent(len(wire), ticks)
                said.append(wire)
        return said

    def next_ms(self, now: int) -> int:
        """When there is something to do here."""
        ticks = self.ticks(now)
        wake = min(link.wake(ticks) for link in self.links.values())
        at = now + (max(1, self.line.wait(ticks)) if wake == 0 else wake)
        return min(at, self.incoming[0][0]) if self.incoming else at


@dataclass
class Cable:
    """Ends on one cable. ``shared``: one pair on which all hear all and two at once are heard as garbage; otherwise
    one agent, one pole and a wire for each direction."""

    ends: list[End]
    shared: bool
    baud: int
    rng: random.Random
    faults: Faults = field(default_factory=Faults)
    now: int = 0
    collisions: int = 0
    spoken: int = 0  # transmissions
    cut: bool = False
    cut_toward: int | None = None  # role that hears nothing
    log: list[tuple[int, int, bytes]] = field(default_factory=list)
    keep_log: bool = False
    _air: dict[int, list[tuple[End, bytes]]] = field(default_factory=dict)
    _free_at: dict[int, float] = field(default_factory=dict)

    def step(self) -> None:
        """One turn now, then on to the next moment at which anything happens."""
        for end in self.ends:
            end.hear(self.now)
        for end in self.ends:
            for wire in end.speak(self.now):
                self.spoken += 1
                if self.keep_log:
                    self.log.append((self.now, end.role, wire))
                self._transmit(end, wire)
        if self.shared:
            self._mix()
        after = min(end.next_ms(self.now) for end in self.ends)
        if self._air:
            after = min(after, *self._air)
        self.now = max(self.now + 1, after)

    def run(self, until: Callable[[], bool] | int) -> bool:
        """Step until a time or a condition; False if that takes more than STEPS_MOST turns or ten virtual minutes."""
        deadline = until if isinstance(until, int) else self.now + 600_000
        for _ in range(STEPS_MOST):
            if self.now >= deadline:
                return isinstance(until, int)
            if not isinstance(until, int) and until():
                return True
            self.step()
        return False

    def inject(self, target: End, data: bytes) -> None:
        """Bytes that a stranger puts on the cable, heard by ``target`` at once."""
        target.incoming.insert(0, (self.now, data))

    def _transmit(self, end: End, wire: bytes) -> None:
        data = self.faults.apply(wire, self.rng)
        late_ms = self.rng.randint(0, self.faults.delay_ms) if self.faults.delay_ms else 0
        start = max(float(self.now), self._free_at.get(id(end), 0.0))
        per_ms = self.baud / 10000
        self._free_at[id(end)] = start + len(wire) / per_ms
        size = 1 if self.faults.single_bytes else max(1, int(per_ms))
        for at in range(0, len(data), size):
            chunk = data[at : at + size]
            moment = int(start + (at + len(chunk)) / per_ms)
            if self.shared:
                self._air.setdefault(moment, []).append((end, chunk))
            else:
                self._arrive(end, chunk, moment + late_ms)

    def _mix(self) -> None:
        """The pair, millisecond by millisecond: who speaks alone is heard, several at once are garbage."""
        for moment in sorted(self._air):
            if moment > self.now:
                break
            talking = self._air.pop(moment)
            if len({id(end) for end, _ in talking}) > 1:
                self.collisions += 1
                garbage = self.rng.randbytes(max(len(chunk) for _, chunk in talking))
                for end in self.ends:
                    if self.faults.echo or all(end is not speaker for speaker, _ in talking):
                        self._deliver(end, garbage, moment)
            else:
                for speaker, chunk in talking:
                    self._arrive(speaker, chunk, moment)

    def _arrive(self, speaker: End, chunk: bytes, moment: int) -> None:
        for end in self.ends:
            if end is not speaker or self.faults.echo:
                self._deliver(end, chunk, moment)

    def _deliver(self, end: End, chunk: bytes, moment: int) -> None:
        if self.cut or self.cut_toward == end.role:
            return
        late_ms = end.latency_ms + (self.rng.randint(0, end.jitter_ms) if end.jitter_ms else 0)
        at = max(moment + late_ms, end.incoming[-1][0] if end.incoming else 0)
        end.incoming.append((at, chunk))


class Zone:
    """An agent and its poles on one cable. A press is answered with *held* ``store_ms`` later, as after a commit.

    ``whole``: all that goes with a press is said, too: the pole's status as its lamp changes, the detail once the
    button is let go, *received* a little after *held*. ``jitter_ms``: how late bytes may be heard, each time anew.
    """

    def __init__(
        self,
        seed: int,
        poles: int = 1,
        shared: bool = False,
        faults: Faults | None = None,
        baud: int = 115200,
        jitter_ms: int = 0,
        whole: bool = False,
    ) -> None:
        self.rng = random.Random(seed)
        addresses = list(range(1, poles + 1))
        self.agent = End(AGENT, addresses, shared, baud, self.rng, jitter_ms)
        self.poles = [End(POLE, [address], shared, baud, self.rng, jitter_ms) for address in addresses]
        self.cable = Cable([self.agent, *self.poles], shared, baud, self.rng, faults or Faults())
        self.whole = whole
        self.store_ms = 2
        self.pressed: dict[tuple[int, int], int] = {}
        self.heard: dict[int, list[tuple[int, int]]] = {address: [] for address in addresses}  # (lane, press)
        self.held: dict[tuple[int, int], int] = {}
        self._later: list[tuple[int, Link, int, bytes]] = []
        self.agent.on_message = self._at_agent
        for pole in self.poles:
            pole.on_message = self._at_pole
            pole.link.begin(INCARNATION, 1)

    @property
    def now(self) -> int:
        return self.cable.now

    def run(self, until: Callable[[], bool] | int) -> bool:
        """As Cable.run, with the agent's store beside it."""
        deadline = until if isinstance(until, int) else self.now + 600_000
        for _ in range(STEPS_MOST):
            self._say_later()
            if self.now >= deadline:
                return isinstance(until, int)
            if not isinstance(until, int) and until():
                return True
            before = self.now
            self.cable.step()
            if self._later and before < self._later[0][0] < self.cable.now:
                self.cable.now = self._later[0][0]
        return False

    def open(self) -> None:
        """Until all sessions stand at both ends."""
        assert self.run(lambda: all(end.up for end in self.agent.links.values()) and all(p.link.up for p in self.poles))

    def press(self, pole: End, number: int, lane: int = LIVE) -> bool:
        """Offer a press; False if the window is full."""
        if not pole.link.send(lane, Press("press", INCARNATION, 1, number, self.now).pack()):
            return False
        self.pressed[(pole.link.address, number)] = self.now
        if self.whole:
            pole.link.set_status(Status("pressed").pack(), True)
            self._later.append((self.now + DETAIL_MS, pole.link, BACKLOG, Detail(INCARNATION, 1, number, 150).pack()))
        return True

    def _at_agent(self, address: int, lane: int, payload: bytes, now: int) -> None:
        message = unpack(payload)
        if self.whole and isinstance(message, Detail):
            return
        assert isinstance(message, Press)
        self.heard[address].append((lane, message.press))
        link = self.agent.links[address]
        for stage, after_ms in (("held", self.store_ms), ("received", self.store_ms + RECEIVED_MS)):
            if stage == "held" or self.whole:
                answer = Progress(message.incarnation, message.boot, message.press, stage).pack()
                self._later.append((now + after_ms, link, lane, answer))

    def _say_later(self) -> None:
        waiting = []
        for at, link, lane, payload in self._later:
            if at > self.now or not link.send(lane, payload):
                waiting.append((max(at, self.now + 1), link, lane, payload))
        self._later = sorted(waiting, key=lambda item: item[0])

    def _at_pole(self, address: int, lane: int, payload: bytes, now: int) -> None:
        message = unpack(payload)
        assert isinstance(message, Progress)
        key = (address, message.press)
        if self.whole:
            self.poles[address - 1].link.set_status(Status(message.stage).pack(), True)
        if message.stage == "received":
            return
        assert key not in self.held, "said twice"
        self.held[key] = now
