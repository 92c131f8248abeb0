"""A small world on virtual time for the agent's core: its outbox, a broker with a station, poles on cables.

The poles speak through the real link in the pole's role. All delays are fixed; nothing sleeps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.agent.core_peers import PoleTwin, StationTwin, key_of
from tests.agent.core_store import StoreTwin

from sos_agent.core import effects, events
from sos_agent.core.agent import Agent
from sos_agent.core.events import Candidate, Config, LineConfig, PoleConfig
from sos_contract import payloads, topics
from sos_contract.payloads import Identity, State

SERIAL_MS, STORE_MS, NET_MS = 2, 3, 2
WALL_MS = 1_790_000_000_000


def config(brokers: tuple[str, ...] = ("mqtt://a",), lines: dict[str, tuple[str, ...]] | None = None) -> Config:
    """``lines``: port -> its poles; p1 alone on /dev/home if not given."""
    built = []
    for port, poles in (lines or {"/dev/home": ("p1",)}).items():
        ends = tuple(PoleConfig(pole, address, key_of(pole)) for address, pole in enumerate(poles, 1))
        built.append(LineConfig(port, 115200, len(poles) > 1, ends))
    return Config("betong", "merlin", brokers, tuple(built))


class World:
    """Everything around one agent. ``run`` moves the time; ``crash`` and ``start`` are the agent's."""

    def __init__(self, agent_config: Config | None = None, *, now_ms: int = 1_000_000, quality: str = "synced") -> None:
        self.config = agent_config or config()
        self.now_ms = now_ms
        self.wall_ms = WALL_MS - now_ms  # wall time minus time of the time base
        self.quality = quality
        self.timebase = "linux-1"
        self.store = StoreTwin()
        self.station = StationTwin()
        self.brokers_up = set(self.config.brokers)
        self.hanging: set[str] = set()  # brokers that neither take nor refuse a connection
        self.station_at = set(self.config.brokers)  # brokers at which the station listens
        ends = [(line.name, pole) for line in self.config.lines for pole in line.poles]
        self.poles = {pole.id: PoleTwin(pole.id, pole.address, started_ms=now_ms) for _, pole in ends}
        self.line_of = {pole.id: line for line, pole in ends}
        # device -> the line whose poles hang there, or None
        self.ports: dict[str, str | None] = {line.name: line.name for line in self.config.lines}
        self.store_ms, self.net_ms = STORE_MS, NET_MS
        self.late_commits = False  # what was handed to the store is committed even if the agent dies meanwhile
        self.keys: dict[str, tuple[bytes, bytes]] = {}  # as the agent has kept them
        self.opened: set[str] = set()
        self.out: list[effects.Effect] = []  # all effects ever
        self.agent: Agent | None = None
        self.session = ""
        self.broker = ""
        self.crash_after: int | None = None  # effects until the agent's power fails
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._once: dict[tuple[str, int], int] = {}
        self._life = 0
        self._entropy = count(1)
        for pole in self.poles.values():
            self._wake_pole(pole)

    # -- the agent's life

    def start(self) -> None:
        self._life += 1
        self.agent = Agent(self.config)
        self.session, self.opened = "", set()
        self._give(events.Clock(self.wall_ms + self.now_ms, self.quality))  # type: ignore[arg-type]
        self._give(events.Started(bytes([next(self._entropy) % 256]) * 32, self.timebase, self.store.contents()))
        self._give(self.ports_seen())

    def ports_seen(self) -> events.PortsSeen:
        return events.PortsSeen(
            tuple(Candidate(name, line.name, name == line.name) for name in self.ports for line in self.config.lines)
        )

    def crash(self) -> None:
        self._life += 1
        self.agent = None

    def reboot(self, timebase: str, now_ms: int, off_ms: int) -> None:
        """The machine is off for ``off_ms``; its new time base begins at ``now_ms``."""
        self.crash()
        wall_ms = self.wall_ms + self.now_ms + off_ms
        for pole in self.poles.values():
            pole.powered = False
        self._queue.clear()
        self._once.clear()
        self.now_ms, self.timebase, self.wall_ms = now_ms, timebase, wall_ms - now_ms

    def _give(self, event: events.Event) -> None:
        if self.agent is None:
            return
        for effect in self.agent.handle(event, self.now_ms):
            if self.crash_after is not None:
                if self.crash_after == 0:
                    self.crash_after = None
                    self.crash()
                    return
                self.crash_after -= 1
            self.out.append(effect)
            self._carry_out(effect)
        due = self.agent.next_timer_ms()
        if due is not None:
            self._later(max(1, due - self.now_ms), lambda: self._give(events.Timer()), once="timer")

    # -- time

    def _later(self, delay_ms: int, act: Callable[[], None], once: str = "", life: bool = True) -> None:
        """``once``: an earlier one of that name will do. ``life``: only if the agent's life goes on till then."""
        mine = self._life
        at = self.now_ms + delay_ms
        name = (once, mine)
        if once and self._once.get(name, at + 1) <= at:
            return

        def checked() -> None:
            if once and self._once.get(name) == at:
                del self._once[name]
            if not life or mine == self._life:
                act()

        if once:
            self._once[name] = at
        heapq.heappush(self._queue, (at, next(self._order), checked))

    def run(self, ms: int) -> None:
        end = self.now_ms + ms
        while self._queue and self._queue[0][0] <= end:
            at, _, act = heapq.heappop(self._queue)
            self.now_ms = max(self.now_ms, at)
            act()
        self.now_ms = end

    def until(self, true: Callable[[], bool], within_ms: int = 60_000) -> int:
        """Run until ``true``; how long it took. Fails after ``within_ms``."""
        began = self.now_ms
        while not true():
            assert self.now_ms - began < within_ms, f"not within {within_ms} ms"
            self.run(1)
        return self.now_ms - began

    # -- effects

    def _carry_out(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.OpenPort):
            self._later(1, lambda: self._open(effect.port))
        elif isinstance(effect, effects.ClosePort):
            self.opened.discard(effect.port)
        elif isinstance(effect, effects.WriteBytes):
            self._later(SERIAL_MS, lambda: self._to_poles(effect.port, effect.data))
        elif isinstance(effect, effects.Connect):
            self._connect(effect)
        elif isinstance(effect, effects.Disconnect):
            self.session = ""
        elif isinstance(effect, effects.Publish):
            self._publish(effect)
        elif isinstance(effect, effects.StoreKeys):
            self._later(self.store_ms, lambda: self._keep_keys(effect))
        elif isinstance(effect, effects.StoreEffect):
            mine = self._life
            self._later(self.store_ms, lambda: self._complete(effect, mine), life=not self.late_commits)

    def _complete(self, effect: effects.StoreEffect, life: int) -> None:
        event = self.store.do(effect)
        if event is not None and life == self._life:
            self._give(event)

    def _keep_keys(self, effect: effects.StoreKeys) -> None:
        if self.store.failing:
            self._give(events.KeysNotStored(effect, self.store.failing))
        else:
            self.keys[effect.pole] = (effect.key, effect.next)
            self._give(events.KeysStored(effect))

    def _open(self, port: str) -> None:
        if port in self.ports:
            self.opened.add(port)
            self._give(events.PortOpened(port))
        else:
            self._give(events.PortClosed(port, "No such file or directory"))

    def _connect(self, effect: effects.Connect) -> None:
        if effect.broker in self.hanging:
            return
        if effect.broker in self.brokers_up:
            self.session, self.broker = effect.session, effect.broker
            self._later(self.net_ms, lambda: self._give(events.BrokerUp(effect.session)))
        else:
            self._later(self.net_ms, lambda: self._give(events.BrokerDown(effect.session, "Connection refused")))

    def _publish(self, effect: effects.Publish) -> None:
        if effect.session != self.session or self.broker not in self.brokers_up:
            return
        topic = topics.parse(effect.topic)
        assert topic is not None
        self._later(self.net_ms, lambda: self._give(events.Published(effect.session, effect.token)))
        self._later(self.net_ms, lambda: self._at_station(effect.session, topic.leaf, effect.payload), life=False)

    def _at_station(self, session: str, leaf: str, payload: bytes) -> None:
        if not self.station.up or self.broker not in self.station_at or self.station.deaf:
            return
        for answer_leaf, answer in self.station.answer(leaf, payload):
            self.from_station(answer_leaf, answer, session=session)

    def from_station(self, leaf: str, payload: Any, *, session: str = "", retained: bool = False) -> None:
        topic = topics.of_point("betong", "merlin", leaf) if leaf != "state" else topics.of_station("betong", leaf)
        data = payload if isinstance(payload, bytes) else payloads.encode(payload)
        session = session or self.session
        self._later(self.net_ms, lambda: self._give(events.BrokerMessage(session, topic, data, retained)))

    # -- disturbances

    def broker_stops(self, broker: str = "mqtt://a") -> None:
        self.brokers_up.discard(broker)
        if self.session and self.broker == broker:
            session, self.session = self.session, ""
            self._give(events.BrokerDown(session, "connection reset"))

    def unplug(self, port: str = "/dev/home") -> None:
        del self.ports[port]
        if port in self.opened:
            self.opened.discard(port)
            self._give(events.PortClosed(port, "device reports readiness to read but returned no data"))
        self._give(self.ports_seen())

    def plug(self, port: str, line: str | None = "/dev/home") -> None:
        self.ports[port] = line
        self._give(self.ports_seen())

    def station_comes_back(self) -> None:
        self.station.up = True
        self.from_station("state", State(online=True, session="s2"))

    # -- poles

    def _to_poles(self, port: str, data: bytes) -> None:
        for pole in self.poles.values():
            if self.ports.get(port) == self.line_of[pole.id]:
                self._turn_pole(pole, data)

    def _wake_pole(self, pole: PoleTwin) -> None:
        self._later(pole.wake_ms(self.now_ms), lambda: self._turn_pole(pole, b""), once=pole.id, life=False)

    def _turn_pole(self, pole: PoleTwin, data: bytes) -> None:
        wire = pole.turn(self.now_ms, data)
        if wire:
            self._later(SERIAL_MS, lambda: self._from_pole(self.line_of[pole.id], wire), life=False)
        self._wake_pole(pole)

    def _from_pole(self, line: str, wire: bytes) -> None:
        for port, hangs in list(self.ports.items()):
            if hangs == line and port in self.opened:
                self._give(events.PortBytes(port, wire))

    def from_port(self, port: str, noise: bytes) -> None:
        """Bytes that nobody of ours sent."""
        self._give(events.PortBytes(port, noise))

    def wake_poles(self) -> None:
        for pole in self.poles.values():
            self._turn_pole(pole, b"")

    def press(self, pole: str = "p1", kind: str = "press") -> Identity:
        identity = self.poles[pole].press(self.now_ms, kind)
        self._turn_pole(self.poles[pole], b"")
        return identity

    # -- what was said

    def stage(self, identity: Identity) -> str:
        return self.poles[identity.pole].stages.get((identity.boot, identity.press), "pressed")

    def last_topic(self) -> str:
        return self.out[-1].topic if isinstance(self.out[-1], effects.Publish) else ""

    def effects_of(self, kind: type[Any]) -> list[Any]:
        return [effect for effect in self.out if isinstance(effect, kind)]
