"""A whole site on virtual time: the real cores of pole, agent and station, and the twins of all that lies between.

One seed decides everything: each part draws from a stream of its own, named after it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import msgspec

from sos_agent.core.effects import WriteBytes
from sos_agent.edge.setup import client_id_of, config_of, local_port
from sos_contract.site import KEY_BYTES, Line, Point, Site
from sos_sim.trace import Trace
from sos_sim.world.agent import AgentNode
from sos_sim.world.broker import Broker
from sos_sim.world.clock import MachineClock
from sos_sim.world.disk import Disk
from sos_sim.world.gpio import local_wire, own_button
from sos_sim.world.loop import Loop
from sos_sim.world.network import Host, Network, Path
from sos_sim.world.pole import PoleNode, PoleSpec
from sos_sim.world.serial import Serial
from sos_sim.world.station import StationNode
from sos_sim.world.terminal import TerminalNode
from sos_sim.world.wire import Wire

SECOND_US = 1_000_000
# Power comes to everybody within this.
START_MOST_US = 2 * SECOND_US

Node = Broker | StationNode | AgentNode | PoleNode


class Zone:
    """``poles`` by id, ``wires`` by line, ``agents`` by point, ``brokers`` by name ("1", ...), ``paths`` by host and
    broker's address; hosts are named after the part that runs there."""

    def __init__(self, site: Site, seed: int, trace: Trace, *, brokers: int = 1) -> None:
        """``brokers``: at least so many; those that the site file lacks are added to it."""
        urls = list(site.station.brokers)
        urls += [f"mqtt://broker-{number}:1883" for number in range(len(urls) + 1, brokers + 1)]
        station = msgspec.structs.replace(site.station, brokers=tuple(urls))
        self.site = site = msgspec.structs.replace(site, station=station)
        self.seed = seed
        self.trace = trace
        self.loop = Loop()
        self.network = Network(self.loop, self.rng("network"))
        self.brokers = {
            str(number): Broker(self.loop, trace, self.rng(f"broker:{number}"), str(number))
            for number in range(1, len(urls) + 1)
        }
        for url, broker in zip(urls, self.brokers.values(), strict=True):
            self.network.add(url, broker)
        self.poles: dict[str, PoleNode] = {}
        self.wires: dict[str, Wire] = {}
        self.serials: dict[str, Serial] = {}
        self.terminals: dict[str, TerminalNode] = {}
        self.agents = {point.id: self._agent(point) for point in site.point}
        self.station = self._station()

    @property
    def paths(self) -> dict[tuple[str, str], Path]:
        """All that lies between programs and brokers: (host, broker's address)."""
        return self.network.paths

    def rng(self, name: str) -> random.Random:
        """The stream of chance of that name, from its beginning."""
        return random.Random(f"{self.seed}/{name}")

    # --- building

    def _agent(self, point: Point) -> AgentNode:
        part = f"agent:{point.id}"
        keys = {pole.id: self.rng(f"key:{pole.id}").randbytes(KEY_BYTES) for pole in point.poles()}
        local_key = self.rng(f"key:{part}").randbytes(KEY_BYTES)
        wires = {line.port: self._line(line, keys) for line in point.line}
        own: PoleNode | None = None
        if point.button is not None:
            line = local_port(point.button)
            wires[line] = local_wire(self.loop, self.rng(f"wire:{line}"), line)
            rng = self.rng(f"pole:{point.button.id}")
            own = own_button(self.loop, self.trace, rng, point.button.id, local_key, wires[line])
            self.poles[point.button.id] = own
        self.wires |= wires
        search = [line.port for line in point.line if line.search]
        serial = Serial(self.loop, self.rng(f"serial:{part}"), wires, lambda event: None, search)
        self.serials[point.id] = serial
        disk = self._disk(part, lost=(lambda: None) if own is None else partial(_lose_flash, own))
        return AgentNode(
            self.loop, self.trace, self.rng(part), config_of(self.site, point, keys, local_key),
            client_id_of(self.site, point), clock=self._clock(part), disk=disk, host=self._host(part),
            ports=serial, own=own,
        )  # fmt: skip

    def _line(self, line: Line, keys: dict[str, bytes]) -> Wire:
        wire = Wire(self.loop, self.rng(f"wire:{line.port}"), line.port, line.baud, line.shared)
        for pole in line.pole:
            link = "rs485" if line.shared else "uart"
            spec = PoleSpec(pole.id, pole.address, keys[pole.id], link, 1 + pole.silent_button, line.baud)
            self.poles[pole.id] = PoleNode(self.loop, self.trace, self.rng(f"pole:{pole.id}"), spec, wire)
        return wire

    def _station(self) -> StationNode:
        part = "station"
        return StationNode(
            self.loop, self.trace, self.rng(part), self.site, clock=self._clock(part), disk=self._disk(part),
            host=self._host(part),
        )  # fmt: skip

    def _clock(self, part: str) -> MachineClock:
        return MachineClock(self.rng(f"clock:{part}"))

    def _disk(self, part: str, lost: Callable[[], None] = lambda: None) -> Disk:
        def tell(what: str) -> None:
            self.trace.say(self.loop.now_us, "disk", part, what)
            if what == "lost":
                lost()

        return Disk(self.rng(f"disk:{part}"), tell)

    def _host(self, part: str) -> Host:
        for url in self.site.station.brokers:
            self.network.path(part, url)
        return self.network.host(part)

    def terminal(self, name: str) -> TerminalNode:
        """The terminal of the officer of that name, made when first asked for."""
        if name not in self.terminals:
            part = f"terminal:{name}"
            self.terminals[name] = TerminalNode(
                self.loop, self.trace, self.rng(part), name, self.site.station.id, self.site.station.brokers,
                host=self._host(part),
            )  # fmt: skip
        return self.terminals[name]

    def second_agent(self, point: str) -> AgentNode:
        """Another agent of that point on the same machine: it is refused while the first one runs."""
        first = self.agents[point]
        rng = self.rng(f"second:{first.part}")
        return AgentNode(
            self.loop, self.trace, rng, first.config, first.client_id, clock=first.clock, disk=first.disk,
            host=first.host, ports=first.ports, own=first.own,
        )  # fmt: skip

    # --- running

    def start(self) -> None:
        """Power for everybody, within two seconds of one another."""
        rng = self.rng("start")
        own = {agent.own for agent in self.agents.values()}
        poles = [pole for pole in self.poles.values() if pole not in own]
        nodes: list[Node] = [*self.brokers.values(), self.station, *self.agents.values(), *poles]
        for node in nodes:
            self.loop.after(rng.randrange(START_MOST_US), partial(_start, node))

    def run_s(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run(self.loop.now_us + round(seconds * SECOND_US))

    def run_until(self, condition: Callable[[], bool], most_s: float) -> bool:
        """Let time pass until ``condition`` holds; False if it does not within ``most_s``."""
        return self.loop.run(self.loop.now_us + round(most_s * SECOND_US), condition)

    def in_service(self) -> bool:
        """All lamps say that somebody is there."""
        return all(pole.look == "in_service" for pole in self.poles.values())

    def counters(self) -> dict[str, int]:
        """How much was done: frames sealed on both ends, commits, messages through brokers, steps of all cores."""
        programs = (*self.agents.values(), self.station)
        sealed = sum(pole.sealed for pole in self.poles.values())
        return {
            "frames": sealed + sum(agent.effects[WriteBytes] for agent in self.agents.values()),
            "commits": sum(program.commits for program in programs),
            "messages": sum(broker.messages for broker in self.brokers.values()),
            "steps": sum(pole.steps for pole in self.poles.values()) + sum(program.handled for program in programs),
        }


def _lose_flash(own: PoleNode) -> None:
    """The journal of a point's own button is a file on that disk."""
    runs = own.running
    own.lose_flash()
    if runs:
        own.start()


def _start(node: Node) -> None:
    if not node.running:
        node.start()
