"""What lies between the programs and the brokers: a path a pair (host, broker), with its delays and faults.

A packet is what it does where it arrives: a call. TCP keeps the packets of one connection and direction in order and
sends again what was lost, so a cut path delays; that nobody answers is noticed by time-outs only.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from sos_edge.address import STEP_TIMEOUT_S, Address

if TYPE_CHECKING:
    from sos_edge.mqtt import MqttEvent, Tls
    from sos_sim.world.broker import Broker
    from sos_sim.world.loop import Loop
    from sos_sim.world.mqtt import Connection, MqttClient

Call = Callable[[], object]
Opened = Callable[[OSError | None], object]
T = TypeVar("T")

SECOND_US = 1_000_000
# A switch, two radio hops of a town's network, and a broker that has little to do.
LATENCY_US, JITTER_US = 800, 400
# TCP's retransmissions double from 0.2 s on; after a cut, the next comes after as long again at most, or this.
RETRANSMIT_MOST_US = 6 * SECOND_US
# Linux asks again for a connection 1 s and 3 s after the first time.
SYN_AGAIN_US = (1 * SECOND_US, 3 * SECOND_US)
# Bytes beside topic and payload: MQTT's header, TCP's and IP's.
OVERHEAD_BYTES = 60
# A copy of a message comes again within this.
DUPLICATE_MOST_US = 2 * SECOND_US


class Pipe:
    """One direction of one connection: packets arrive in order, one call of the loop each."""

    __slots__ = ("_closed_us", "_due_us", "_held", "_held_us", "_loop", "_path", "_patience_us", "up")

    def __init__(self, path: Path, *, up: bool, patience_us: int) -> None:
        """``patience_us``: for so long the kernel goes on sending for a socket that its program has closed."""
        self.up = up
        self._path = path
        self._loop = path.loop
        self._patience_us = patience_us
        self._due_us = 0
        self._held: list[Call] = []
        self._held_us = 0  # since when
        self._closed_us: int | None = None

    def send(self, packet: Call, size: int = 0) -> None:
        """``size``: bytes of topic and payload, 0 for all but messages."""
        path = self._path
        loop = self._loop
        due_us = loop.now_us + path.latency_us + int(path.random() * path.jitter_us)
        if path.odd:
            if path.blocked(up=self.up):
                self._hold(packet)
                return
            due_us = path.slowed(due_us, size + OVERHEAD_BYTES, up=self.up)
            if size and path.random() < path.duplicate:
                loop.at(due_us + int(path.random() * DUPLICATE_MOST_US), packet)
        if due_us < self._due_us:
            due_us = self._due_us
        self._due_us = due_us
        loop.at(due_us, packet)

    def close(self, goodbye: Call) -> None:
        """The last packet; the program has closed its end."""
        self.send(goodbye)
        self._closed_us = self._loop.now_us

    def sever(self) -> None:
        """The sender's kernel has given the connection up: what did not get through never will."""
        self._held.clear()

    def release(self) -> None:
        """The path is open again: what waits goes on with the next retransmission."""
        held, self._held = self._held, []
        now_us = self._loop.now_us
        if self._closed_us is not None and now_us - self._closed_us > self._patience_us:
            return
        pause_us = int(self._path.random() * min(now_us - self._held_us, RETRANSMIT_MOST_US))
        self._due_us = max(self._due_us, now_us + self._path.latency_us + pause_us)
        for packet in held:
            self._loop.at(self._due_us, packet)

    def _hold(self, packet: Call) -> None:
        if not self._held:
            self._held_us = self._loop.now_us
            self._path.holding.append(self)
        self._held.append(packet)


class Fault(Generic[T]):
    """An attribute whose change the path has to hear of."""

    def __init__(self, usual: T) -> None:
        self._usual = usual
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, path: Path, owner: type) -> T:
        value: T = path.__dict__.get(self._name, self._usual)
        return value

    def __set__(self, path: Path, value: T) -> None:
        path.__dict__[self._name] = value
        path.changed()


class Path:
    """Between one host and one broker. The faults are attributes that a scenario sets and clears.

    ``latency_us`` and ``jitter_us`` count one way; more than 5 s together would need pings that nobody plays out.
    """

    cut_up = Fault(False)  # packets to the broker vanish
    cut_down = Fault(False)  # packets from the broker vanish
    hang = Fault(False)  # attempts to connect hang, as with a resolver that does not answer
    slow_bytes_per_s = Fault(0)  # each direction; 0: no bound
    duplicate = Fault(0.0)  # probability that a message arrives a second time

    def __init__(self, network: Network, host: Host, broker: Broker, address: Address) -> None:
        self.loop = network.loop
        self.random = network.rng.random
        self.host = host
        self.broker = broker
        self.address = address
        self.latency_us = LATENCY_US
        self.jitter_us = JITTER_US
        self.refuse = False  # connections are refused
        self.odd = False  # something is not as usual: keep-alive is then played out, packet by packet
        self.silent_us = 0  # not silent up to then at least
        self.connections: dict[Connection, None] = {}  # those that the client holds open
        self.holding: list[Pipe] = []
        self._busy_us = {True: 0, False: 0}  # until then a slow path is taken, up and down
        self._hanging: list[tuple[Opened, int]] = []
        broker.paths.append(self)
        self.changed()

    @property
    def cut(self) -> bool:
        """A black hole in both directions."""
        return self.cut_up and self.cut_down

    @cut.setter
    def cut(self, cut: bool) -> None:
        self.cut_up = self.cut_down = cut

    def drop_connection(self) -> None:
        """Something on the way ends the connections: both ends are told."""
        for connection in list(self.connections):
            connection.up.send(connection.session.broken)
            connection.down.send(connection.broken)

    # --- for pipes and both ends

    def blocked(self, *, up: bool) -> bool:
        return (self.cut_up if up else self.cut_down) or not self.broker.powered

    @property
    def silent(self) -> bool:
        """Nothing that the client sends is acknowledged by TCP."""
        return self.cut_up or self.cut_down or not self.broker.powered

    def slowed(self, due_us: int, size: int, *, up: bool) -> int:
        """When bytes that would arrive then do, one packet behind the other."""
        rate = self.slow_bytes_per_s
        if not rate:
            return due_us
        now_us = self.loop.now_us
        self._busy_us[up] = max(now_us, self._busy_us[up]) + size * SECOND_US // rate
        return due_us + self._busy_us[up] - now_us

    def changed(self) -> None:
        """A fault of the path, the broker or the host began or ended."""
        if not self.silent:
            self.silent_us = self.loop.now_us
        frozen = self.broker.frozen or self.host.frozen
        self.odd = self.silent or frozen or self.slow_bytes_per_s > 0 or self.duplicate > 0
        if self.odd:
            for connection in list(self.connections):
                connection.watch()
        holding, self.holding = self.holding, []
        for pipe in holding:
            if self.blocked(up=pipe.up):
                self.holding.append(pipe)
            else:
                pipe.release()
        if not self.hang:
            hanging, self._hanging = self._hanging, []
            for done, began_us in hanging:
                self._ask(done, began_us)

    # --- connecting

    def open(self, done: Opened) -> None:
        """Begin a TCP connection; ``done`` is called with None once it stands, else with the error."""
        self._ask(done, self.loop.now_us)

    def _ask(self, done: Opened, began_us: int) -> None:
        if self.hang:
            self._hanging.append((done, began_us))
            return
        if not self.silent:
            delay_us = 2 * self.latency_us + int(self.random() * self.jitter_us)
            self.loop.after(delay_us, lambda: self._answer(done, began_us))
            return
        now_us = self.loop.now_us
        for again_us in SYN_AGAIN_US:
            if began_us + again_us > now_us:
                self.loop.at(began_us + again_us, lambda: self._ask(done, began_us))
                return
        self.loop.at(began_us + int(STEP_TIMEOUT_S * SECOND_US), lambda: done(TimeoutError()))

    def _answer(self, done: Opened, began_us: int) -> None:
        if self.silent:
            self._ask(done, began_us)
        elif self.refuse or not self.broker.running:
            done(ConnectionRefusedError())
        else:
            done(None)


class Host:
    """A machine with a program that connects to brokers: its clients live and die together."""

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.frozen = False
        self.off = False  # no kernel answers
        self._clients: list[MqttClient] = []
        self._heard: list[Call] = []  # what came, or was due, while the program was frozen

    def link(
        self, broker: str, client_id: str, *, deliver: Callable[[MqttEvent], None], tls: Tls | None = None
    ) -> MqttClient:
        """A connection of this host's program, as ``sos_edge.link.MakeLink`` has it. KeyError: no such broker."""
        from sos_sim.world.mqtt import MqttClient  # which needs this module

        self.off = False
        client = MqttClient(self, broker, client_id, deliver=deliver, tls=tls)
        self._clients.append(client)
        return client

    def hear(self, call: Call) -> None:
        """Call it, but not before the program runs on."""
        if self.frozen:
            self._heard.append(call)
        else:
            call()

    def kill(self) -> None:
        """The program dies: the kernel closes its sockets."""
        self._end(off=False)

    def power_cut(self) -> None:
        """The machine is off: nobody closes anything."""
        self._end(off=True)

    def freeze(self) -> None:
        """SIGSTOP: the kernel goes on taking bytes, the program does not see them."""
        self.frozen = True
        self._changed()

    def thaw(self) -> None:
        """SIGCONT: all that came meanwhile is seen, in order."""
        self.frozen = False
        heard, self._heard = self._heard, []
        for call in heard:
            call()
        self._changed()

    def _end(self, *, off: bool) -> None:
        self.off = off
        self._heard.clear()
        clients, self._clients = self._clients, []
        for client in clients:
            client.end(off=off)
        self.frozen = False
        self._changed()

    def _changed(self) -> None:
        for path in self.network.paths_of(self.name):
            path.changed()


class Network:
    """All brokers by address, all hosts by name, and the paths between them, made when they are first asked for."""

    def __init__(self, loop: Loop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.brokers: dict[str, Broker] = {}
        self.hosts: dict[str, Host] = {}
        self.paths: dict[tuple[str, str], Path] = {}

    def add(self, url: str, broker: Broker) -> None:
        """``url`` as the site file names it."""
        self.brokers[url] = broker

    def host(self, name: str) -> Host:
        """The host of that name; the same one each time."""
        if name not in self.hosts:
            self.hosts[name] = Host(self, name)
        return self.hosts[name]

    def path(self, host: str, url: str) -> Path:
        """The path between the two; the same one each time. KeyError: no such broker."""
        if (host, url) not in self.paths:
            path = Path(self, self.host(host), self.brokers[url], Address.of(url))
            self.paths[host, url] = path
        return self.paths[host, url]

    def paths_of(self, host: str) -> list[Path]:
        return [path for (name, _), path in self.paths.items() if name == host]
