"""Poles of the virtual zone on one cable, with an agent of a few lines at its end."""

from __future__ import annotations

import random

from sos_sim.trace import Row, Trace
from sos_sim.world.loop import Loop
from sos_sim.world.pole import PoleNode, PoleSpec
from sos_sim.world.wire import AGENT, Wire
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE
from sos_wire.messages import Press, Progress, Service, unpack
from sos_wire.ticks import TICKS_MASK

TICK_MS = 0x3FFFFFFF - 5000  # of the agent's clock at the beginning: it wraps early
Identity = tuple[int, int, int, int]  # address, incarnation, boot, press


def key_of(address: int) -> bytes:
    """The key of the pole with that address."""
    return bytes([address]) * 32


class AgentNode:
    """Says *in service*, answers each press with ``stages``, and keeps what it heard."""

    def __init__(self, loop: Loop, wire: Wire, poles: int, seed: int) -> None:
        rng = random.Random(f"{seed}/agent")
        self.stages: tuple[str, ...] = ("held", "received")
        self.line = AgentLine(wire.shared, wire.baud)
        self.links = {
            address: AgentLink(address, key_of(address), rng.randbytes(32)) for address in range(1, poles + 1)
        }
        self.presses: list[Identity] = []
        self._loop = loop
        self._end = wire.attach(AGENT, self._hear, eager=wire.shared)
        self._opened = dict.fromkeys(self.links, 0)
        self._untold: dict[int, list[bytes]] = {address: [] for address in self.links}
        self._timer = loop.at(0, self._turn)

    def _hear(self, data: bytes) -> None:
        ticks = (self._loop.now_ms + TICK_MS) & TICKS_MASK
        for frame in self.line.feed(data, ticks):
            link = self.links.get(frame.address)
            if link is not None:
                link.receive(frame, ticks)
        for address, link in self.links.items():
            for _, payload, _ in link.take():
                message = unpack(payload)
                if isinstance(message, Press):
                    identity = (message.incarnation, message.boot, message.press)
                    self.presses.append((address, *identity))
                    self._untold[address] += [Progress(*identity, stage).pack() for stage in self.stages]
        self._turn()

    def _turn(self) -> None:
        self._loop.cancel(self._timer)
        ticks = (self._loop.now_ms + TICK_MS) & TICKS_MASK
        wait_ms = 1000
        for address, link in self.links.items():
            untold = self._untold[address]
            if link.opened != self._opened[address] and link.up:
                self._opened[address] = link.opened
                untold.insert(0, Service("in_service").pack())
            while untold and link.send(LIVE, untold[0]):
                untold.pop(0)
            while self.line.quiet(ticks):
                data = link.poll(ticks, self._loop.now_ms)
                if data is None:
                    break
                self.line.sent(len(data), ticks)
                self._end.send(data)
            wait_ms = min(wait_ms, link.wake(ticks) or self.line.wait(ticks))
        self._timer = self._loop.after(max(1, wait_ms) * 1000, self._turn)


class Street:
    """``poles`` poles and their agent on one cable. Poles are named pole-1, pole-2, ..."""

    def __init__(self, seed: int = 1, poles: int = 1, *, baud: int = 115200, supervised: bool = True) -> None:
        self.loop = Loop()
        self.trace = Trace(keep=True)
        shared = poles > 1
        self.wire = Wire(self.loop, random.Random(f"{seed}/wire"), "line", baud, shared)
        self.agent = AgentNode(self.loop, self.wire, poles, seed)
        link = "rs485" if shared else "uart"
        self.poles = []
        for address in range(1, poles + 1):
            spec = PoleSpec(f"pole-{address}", address, key_of(address), link, 1, baud, supervised)
            rng = random.Random(f"{seed}/{spec.id}")
            self.poles.append(PoleNode(self.loop, self.trace, rng, spec, self.wire))

    @property
    def pole(self) -> PoleNode:
        """The first one."""
        return self.poles[0]

    def serve(self) -> Street:
        """Start all poles, and wait until they are in service."""
        for pole in self.poles:
            if not pole.running:
                pole.start()
        self.until("in_service")
        return self

    def serve_again(self) -> None:
        """Power is back: wait until no pole has anything left to tell."""
        for pole in self.poles:
            pole.start()
        done = self.loop.run(self.loop.now_us + 20_000_000, self._told)
        assert done, [pole.look for pole in self.poles]

    def _told(self) -> bool:
        return all(pole.look in ("in_service", "received") for pole in self.poles)

    def run_ms(self, ms: int) -> None:
        """Let time pass."""
        self.loop.run(self.loop.now_us + ms * 1000)

    def until(self, look: str, most_ms: int = 12_000) -> None:
        """Wait until all poles show that."""
        shown = self.loop.run(self.loop.now_us + most_ms * 1000, lambda: all(pole.look == look for pole in self.poles))
        assert shown, [pole.look for pole in self.poles]

    def press(self, pole: PoleNode | None = None, ms: int = 200) -> None:
        """A finger with bounce; it is let go ``ms`` later."""
        pole = pole or self.pole
        pole.finger(0, True, (400, 1900, 2100, 2300))
        self.loop.after(ms * 1000, lambda: pole.finger(0, False, (700, 900)))

    def rows(self, kind: str) -> list[Row]:
        """All rows of that kind."""
        return [row for row in self.trace.rows if row.kind == kind]
