"""Twin of a mosquitto broker (2.0), at the level of what packets mean, on virtual time.

Clean sessions only, as all of ours are: what is under way to a client whose connection ends is gone. Figures that are
not of the protocol were read in mosquitto's sources or seen in it; tests/sim holds the twin against the real one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from sos_edge.mqtt import KEEPALIVE_S
from sos_sim.world.network import SECOND_US, Call, Path

if TYPE_CHECKING:
    from sos_sim.trace import Trace
    from sos_sim.world.loop import Loop
    from sos_sim.world.mqtt import Connection

# (at_us, client, topic, payload, retain) of each message that the broker takes.
Record = Callable[[int, str, str, bytes, bool], object]
Will = tuple[str, bytes]

# mosquitto's defaults: messages to one client that wait for its acknowledgement, and behind these; more are dropped.
MAX_IN_FLIGHT, MAX_QUEUED = 20, 1000
# The retained messages are written this often, and at an end in order.
AUTOSAVE_US = 1800 * SECOND_US
# mosquitto looks for silent clients each 6 s and counts whole seconds: it is silent after 1.5 x keep-alive and one.
LOOK_US = 6 * SECOND_US
SILENT_S = KEEPALIVE_S * 3 // 2
# Topics whose receivers are remembered; an attacker may publish to any number of them.
MAX_KNOWN_TOPICS = 4096


class Session:
    """The broker's end of one connection. The public methods are packets that arrive from the client."""

    __slots__ = (
        "_broker", "_in_flight", "_in_us", "_look", "_loop", "_path", "_peer", "_will", "acks", "client_id", "filters",
        "open", "queue",
    )  # fmt: skip

    def __init__(self, broker: Broker, peer: Connection, path: Path) -> None:
        self._broker = broker
        self._peer = peer
        self._path = path
        self._loop = path.loop
        self._will: Will | None = None
        self._in_us = path.loop.now_us
        self._in_flight = 0
        self._look: list[object] | None = None
        self.open = True
        self.client_id = ""  # until CONNECT has come
        self.filters: dict[str, None] = {}
        self.acks: deque[int] = deque()  # when acknowledgements arrive that need no call of their own
        self.queue: deque[tuple[str, bytes, bool]] = deque()

    # --- packets

    def connect(self, client_id: str, will: Will | None) -> None:
        if self._takes(partial(self.connect, client_id, will)):
            self.client_id, self._will = client_id, will
            self._broker.admit(self)
            self._peer.down.send(self._peer.connack)
            if self._path.odd:
                self.watch()

    def subscribe(self, filters: Iterable[str]) -> None:
        """SUBACK is not modelled: nobody waits for it, and this broker refuses none."""
        if self._takes(partial(self.subscribe, filters)):
            for one in filters:
                self.filters[one] = None
                self._broker.forget_matches()
                for topic, payload in list(self._broker.retained.items()):
                    if matches(one, topic):
                        self.push(topic, payload, True, 1)

    def publish(self, mid: int, topic: str, payload: bytes, retain: bool) -> None:
        broker = self._broker
        if broker.frozen or not self.open:
            self._takes(partial(self.publish, mid, topic, payload, retain))
            return
        self._in_us = self._loop.now_us
        if broker.routes:
            broker.route(self.client_id, topic, payload, retain, 1)
        if broker.acknowledges:
            self._peer.down.send(partial(self._peer.puback, mid))

    def acked(self) -> None:
        """PUBACK of a message that we sent; one that is older than the window is a copy's and counts for nothing."""
        if self._takes(self.acked):
            self._in_flight = max(0, self._in_flight - 1)
            while self.queue and self._in_flight < MAX_IN_FLIGHT:
                self._send(*self.queue.popleft())

    def ping(self) -> None:
        if self._takes(self.ping):
            self._peer.down.send(self._peer.pong)

    def disconnect(self) -> None:
        """DISCONNECT, then the end of the connection."""
        if self._broker.frozen:
            self._broker.hear(self.disconnect)
        else:
            self._will = None
            self._end()

    def broken(self) -> None:
        """The connection has ended without a DISCONNECT."""
        if self._broker.frozen:
            self._broker.hear(self.broken)
        else:
            self._end()

    # --- the broker's side

    def push(self, topic: str, payload: bytes, retained: bool, qos: int) -> None:
        """Send it to the client, or queue it behind what waits for its acknowledgement, or drop it."""
        if not qos:
            packet = partial(self._peer.message, topic, payload, retained, 0)
            self._peer.down.send(packet, len(topic) + len(payload))
            return
        acks, now_us = self.acks, self._loop.now_us
        while acks and acks[0] <= now_us:
            acks.popleft()
            self._in_flight -= 1
        if self._in_flight < MAX_IN_FLIGHT:
            self._send(topic, payload, retained)
        elif len(self.queue) < MAX_QUEUED:
            self.queue.append((topic, payload, retained))
            while acks:  # from now on each of them lets another message go
                self._loop.at(acks.popleft(), self.acked)
        else:
            self._broker.dropped += 1

    def take_over(self) -> None:
        """Another connection of the same client has come."""
        self._end(told=True)

    def abort(self, *, told: bool) -> None:
        """The broker is gone: no will, and only a kernel that still runs tells the client."""
        self._will = None
        self._end(told=told)

    def watch(self) -> None:
        """Something is odd, or the client is gone: look for its silence."""
        if self.open and self.client_id and self._look is None:
            self._peer.settle()
            self._in_us = max(self._in_us, self._peer.out_us)
            self._look_later()

    def is_silent(self) -> bool:
        return self._loop.now_us // SECOND_US - self._in_us // SECOND_US > SILENT_S

    def expire(self) -> None:
        """Too long without a packet."""
        self._end(told=True)

    def say_will(self) -> None:
        """The will, if there still is one; it is said once."""
        will, self._will = self._will, None
        if will is not None:
            self._broker.say_will(self.client_id, will)

    def _send(self, topic: str, payload: bytes, retained: bool) -> None:
        self._in_flight += 1
        packet = partial(self._peer.message, topic, payload, retained, 1)
        self._peer.down.send(packet, len(topic) + len(payload))

    def _takes(self, again: Call) -> bool:
        if self._broker.frozen:
            self._broker.hear(again)
            return False
        if not self.open:
            if self._broker.powered:
                self._peer.down.send(self._peer.broken)  # RST: nobody has this connection any more
            return False
        self._in_us = self._loop.now_us
        return True

    def _end(self, *, told: bool = False) -> None:
        if not self.open:
            return
        self.open = False
        if self._look is not None:
            self._loop.cancel(self._look)
        self._broker.forget(self)
        self.say_will()
        if told:
            self._peer.down.close(self._peer.broken)
        else:
            self._peer.down.sever()

    def _look_later(self) -> None:
        began_us = self._broker.began_us
        silent_us = (self._in_us // SECOND_US + SILENT_S + 1) * SECOND_US
        looks = max(0, -(-(silent_us - began_us) // LOOK_US))
        self._look = self._loop.at(max(began_us + looks * LOOK_US, self._loop.now_us + 1), self._looked)

    def _looked(self) -> None:
        self._look = None
        if self._broker.frozen:
            self._look = self._loop.after(LOOK_US, self._looked)
        elif self.is_silent():
            self.expire()
        elif self._path.odd or not self._peer.open:
            self._look_later()


class Broker:
    """``part`` of its rows is broker:NAME. Faults of the broker alone are plain attributes."""

    def __init__(self, loop: Loop, trace: Trace, rng: random.Random, name: str) -> None:
        self.loop = loop
        self.part = f"broker:{name}"
        self.running = self.frozen = False
        self.powered = True
        self.began_us = 0
        self.acknowledges = True  # False: PUBACK is never sent
        self.routes = True  # False: messages are taken and go nowhere
        self.late_will_us = 0  # a will is said up to this much later, perhaps behind its client's next birth
        self.record: Record | None = None
        self.retained: dict[str, bytes] = {}
        self.paths: list[Path] = []
        self.messages = self.dropped = 0  # taken from clients; lost because a client's queue was full
        self._trace = trace
        self._rng = rng
        self._saved: dict[str, bytes] = {}
        self._save_us = 0  # the next autosave
        self._sessions: dict[Session, None] = {}
        self._by_id: dict[str, Session] = {}
        self._known: dict[str, tuple[Session, ...]] = {}
        self._heard: list[Call] = []

    # --- life

    def start(self, cause: str = "start") -> None:
        """With what its store held."""
        assert not self.running
        self.running = self.powered = True
        self.began_us = self.loop.now_us
        self.retained = dict(self._saved)
        self._save_us = self.loop.now_us + AUTOSAVE_US
        self._say("up", cause)
        self._changed()

    def stop(self) -> None:
        """SIGTERM: wills are said, the store is written, connections end."""
        for session in list(self._by_id.values()):
            session.say_will()
        self._saved = dict(self.retained)
        self._die("stop", told=True)

    def kill(self, keep_store: bool = True) -> None:
        """SIGKILL: the store is as the last autosave left it, or lost; the kernel ends the connections."""
        self._settle_store(keep_store)
        self._die("kill", told=True)

    def power_cut(self, keep_store: bool = True) -> None:
        """The machine is off: as kill(), but nobody tells the clients."""
        self._settle_store(keep_store)
        self.powered = False
        self._die("power", told=False)

    def freeze(self) -> None:
        """SIGSTOP: the kernel takes connections and bytes, and nobody answers."""
        self.frozen = True
        self._say("down", "freeze")
        self._changed()

    def thaw(self) -> None:
        """SIGCONT: mosquitto looks for silent clients first, and only then reads what they have sent meanwhile."""
        self.frozen = False
        self._say("up", "thaw")
        for session in [one for one in self._by_id.values() if one.is_silent()]:
            session.expire()
        heard, self._heard = self._heard, []
        for packet in heard:
            packet()
        self._changed()

    def save(self) -> None:
        """SIGUSR1, or the time for it: write the store."""
        self._saved = dict(self.retained)

    # --- for sessions

    def accept(self, peer: Connection, path: Path) -> Session:
        """A TCP connection stands; who it is comes with its CONNECT."""
        session = Session(self, peer, path)
        self._sessions[session] = None
        return session

    def admit(self, session: Session) -> None:
        """A client is known by its id; the one that has it already is told to go, and its will is said."""
        before = self._by_id.get(session.client_id)
        if before is not None and before is not session:
            before.take_over()
        self._by_id[session.client_id] = session

    def forget(self, session: Session) -> None:
        self._sessions.pop(session, None)
        if self._by_id.get(session.client_id) is session:
            del self._by_id[session.client_id]
        self._known.clear()

    def forget_matches(self) -> None:
        self._known.clear()

    def hear(self, packet: Call) -> None:
        """It came while the broker was frozen."""
        self._heard.append(packet)

    def route(self, client_id: str, topic: str, payload: bytes, retain: bool, qos: int) -> None:
        """Take a message and pass it on to all that subscribed to its topic."""
        self.messages += 1
        if self.record is not None:
            self.record(self.loop.now_us, client_id, topic, payload, retain)
        if retain:
            self._retain(topic, payload)
        receivers = self._known.get(topic)
        if receivers is None:
            receivers = self._receivers(topic)
        for session in receivers:
            session.push(topic, payload, False, qos)

    def say_will(self, client_id: str, will: Will) -> None:
        call = partial(self._say_will, client_id, will, self.began_us)
        if self.late_will_us:
            self.loop.after(int(self._rng.random() * self.late_will_us), call)
        else:
            call()

    # --- an attacker, who has the broker's keys

    def attack(self, who: str, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        """Publish anything to any topic. False: nobody is there to take it."""
        if not self.running:
            return False
        self._attacked(who, f"publishes to {topic}, {len(payload)} bytes{', retained' if retain else ''}")
        publish = partial(self.route, who, topic, payload, retain, qos)
        if self.frozen:
            self.hear(publish)
        else:
            publish()
        return True

    def steal(self, who: str, client_id: str) -> bool:
        """Connect under somebody's id, and go. False: there is nobody of that id, or the broker does not run."""
        session = self._by_id.get(client_id)
        if session is None or not self.running or self.frozen:
            return False
        self._attacked(who, f"takes the place of {client_id}")
        session.take_over()
        return True

    def clients(self) -> list[str]:
        """Ids of those that are connected."""
        return list(self._by_id)

    # --- inside

    def _receivers(self, topic: str) -> tuple[Session, ...]:
        if len(self._known) >= MAX_KNOWN_TOPICS:
            self._known.clear()
        found = tuple(
            session for session in self._by_id.values() if any(matches(one, topic) for one in session.filters)
        )
        self._known[topic] = found
        return found

    def _retain(self, topic: str, payload: bytes) -> None:
        if self.loop.now_us >= self._save_us:
            self.save()  # as it was when its time came, for nothing has changed since
            self._save_us += ((self.loop.now_us - self._save_us) // AUTOSAVE_US + 1) * AUTOSAVE_US
        if payload:
            self.retained[topic] = payload
        else:
            self.retained.pop(topic, None)

    def _settle_store(self, keep_store: bool) -> None:
        if not keep_store:
            self._saved = {}
        elif self.loop.now_us >= self._save_us:
            self.save()

    def _say_will(self, client_id: str, will: Will, began_us: int) -> None:
        if self.running and self.began_us == began_us:
            self.route(client_id, will[0], will[1], True, 1)

    def _die(self, cause: str, *, told: bool) -> None:
        assert self.running
        self.running = self.frozen = False
        self._heard.clear()
        for session in list(self._sessions):
            session.abort(told=told)
        self._say("down", cause)
        self._changed()

    def _changed(self) -> None:
        for path in self.paths:
            path.changed()

    def _say(self, kind: str, cause: str) -> None:
        self._trace.say(self.loop.now_us, kind, self.part, cause)

    def _attacked(self, who: str, words: str) -> None:
        self._trace.say(self.loop.now_us, "attack", self.part, f"{who} {words}")


def matches(wanted: str, topic: str) -> bool:
    """Whether a subscription's filter takes a topic: + stands for one level, # for all that follow, $ is apart."""
    if topic.startswith("$") and not wanted.startswith("$"):
        return False
    filters, levels = wanted.split("/"), topic.split("/")
    for at, one in enumerate(filters):
        if one == "#":
            return True
        if at >= len(levels) or one not in ("+", levels[at]):
            return False
    return len(filters) == len(levels)
