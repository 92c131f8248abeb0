"""Twin of a mosquitto broker (2.0), at the level of what packets mean, on virtual time.

Clean sessions only, as all of ours are: what is under way to a client whose connection ends is gone. Figures that are
not of the protocol were read in mosquitto's sources or seen in it; tests/sim holds the twin against the real one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sos_sim.world.network import SECOND_US, Call, Path
from sos_sim.world.session import Session, Will, matches

if TYPE_CHECKING:
    from sos_sim.trace import Trace
    from sos_sim.world.loop import Loop
    from sos_sim.world.mqtt import Connection

# (at_us, client, topic, payload, retain) of each message that the broker takes.
Record = Callable[[int, str, str, bytes, bool], object]

# mosquitto's defaults: messages to one client that wait for its acknowledgement, and behind these; more are dropped.
MAX_IN_FLIGHT, MAX_QUEUED = 20, 1000
# The retained messages are written this often, and at an end in order.
AUTOSAVE_US = 1800 * SECOND_US
# Topics whose receivers are remembered; an attacker may publish to any number of them.
MAX_KNOWN_TOPICS = 4096


class Broker:
    """``part`` of its rows is broker:NAME. Faults of the broker alone are plain attributes."""

    def __init__(self, loop: Loop, trace: Trace, rng: random.Random, name: str) -> None:
        self.loop = loop
        self.part = f"broker:{name}"
        self.running = self.frozen = False
        self.powered = True
        self.began_us = 0
        self.max_in_flight, self.max_queued = MAX_IN_FLIGHT, MAX_QUEUED  # per client, as its configuration has it
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
        """With what its store held; the machine is on from now on."""
        assert not self.running, f"{self.part} runs already"
        self.running = self.powered = True
        self.began_us = self.loop.now_us
        self.retained = dict(self._saved)
        self._save_us = self.loop.now_us + AUTOSAVE_US
        self._say("up", cause)
        self._changed()

    def stop(self) -> None:
        """SIGTERM: wills are said, the store is written, connections end. A frozen one does not hear it."""
        if not self.running or self.frozen:
            return
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
        self._changed()  # a machine may go off whose broker did not run

    def freeze(self) -> None:
        """SIGSTOP: the kernel takes connections and bytes, and nobody answers."""
        if not self.running or self.frozen:
            return
        self.frozen = True
        self._say("down", "freeze")
        self._changed()

    def thaw(self) -> None:
        """SIGCONT: mosquitto looks for silent clients first, and only then reads what they have sent meanwhile."""
        if not self.frozen:
            return
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
        if not self.routes:
            return
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
        elif self.running and self.loop.now_us >= self._save_us:
            self.save()

    def _say_will(self, client_id: str, will: Will, began_us: int) -> None:
        if self.running and self.began_us == began_us:
            self.route(client_id, will[0], will[1], True, 1)

    def _die(self, cause: str, *, told: bool) -> None:
        if not self.running:
            return
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
