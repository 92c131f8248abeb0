"""Connections to all brokers of the site at the same time, each with its own session, will and back-off."""

from __future__ import annotations

from dataclasses import dataclass

from sos_contract import topics
from sos_contract.payloads import State, encode
from sos_station.core.effects import Connect, Disconnect, Effect, Log, Publish, SetFault, Subscribe
from sos_station.core.records import Stamp
from sos_wire.seal import Stream

# The first attempt after a loss comes at once; a broker that stays away is asked every 5 s, +-25 % so that stations
# and agents do not come in step.
BACKOFF_FIRST_MS, BACKOFF_MOST_MS = 250, 5_000
# The edge gives up name, TCP, TLS and CONNACK after 15 s together; this is for an edge that forgot.
CONNECT_TIMEOUT_MS = 20_000
# Our own state comes back through each broker: a connection through which it does not is dead, whatever TCP says. Two
# may be lost; and it is given up before a point, silent 13 s at least after its broker, could be blamed for that.
ECHO_EVERY_MS, ECHO_LOST_MS = 5_000, 12_000
# Another station program says its state as often as we do: after three that did not come it has gone.
RIVAL_GONE_MS = 15_000
# A broker that is away for longer than a restart takes is a fault.
BROKER_LOST_MS = 10_000

DOWN, CONNECTING, UP = "down", "connecting", "up"
# (state, happening) -> state
TABLE: dict[tuple[str, str], str] = {
    (DOWN, "due"): CONNECTING,
    (DOWN, "down"): DOWN,
    (CONNECTING, "up"): UP,
    (CONNECTING, "down"): DOWN,
    (CONNECTING, "timeout"): DOWN,
    (UP, "down"): DOWN,
    (UP, "timeout"): DOWN,
}


@dataclass(slots=True)
class _Broker:
    state: str = DOWN
    session: str = ""
    due_ms: int = 0  # next attempt, time-out of the attempt, or next echo
    echo_ms: int = 0  # when our state last came back
    tries: int = 0
    lost_since_ms: int | None = None
    good_wall_ms: int = 0  # when it was last up
    fault: bool | None = None  # None: not known; a fault may stand open from before a restart
    rival_ms: int | None = None  # when another station program was last heard here, or could have been
    rival: bool | None = None  # whether there is one; None: not known, as with `fault`


def shown(broker: str) -> str:
    """The broker's address without user and password, as a fault's place."""
    return broker.rpartition("@")[2].rpartition("//")[2]


class Brokers:
    """One connection a broker. ``up()`` lists those that stand."""

    def __init__(self, station: str, brokers: tuple[str, ...]) -> None:
        self._station = station
        self._topic = topics.of_station(station, "state")
        self._brokers = {broker: _Broker() for broker in brokers}
        self._stream: Stream | None = None
        self._run = ""  # begins each session of ours: what we said on an earlier connection is known as ours
        self._sessions = 0

    def start(self, stream: Stream, now: Stamp) -> list[Effect]:
        self._stream = stream
        self._run = stream.take(8).hex()
        for broker in self._brokers.values():
            broker.lost_since_ms = broker.due_ms = now.mono_ms
        return self.tick(now)

    def up(self) -> list[str]:
        return [name for name, broker in self._brokers.items() if broker.state == UP]

    def came_up(self, name: str, now: Stamp) -> list[Effect]:
        broker = self._brokers[name]
        self._move(broker, "up")
        effects: list[Effect] = []
        if broker.fault is not False:
            effects.append(SetFault(self._station, shown(name), "broker_lost", False, now))
        effects.append(Log("info", "broker_up", (("broker", shown(name)), ("tries", broker.tries))))
        broker.tries, broker.lost_since_ms, broker.fault = 0, None, False
        broker.echo_ms = now.mono_ms
        if broker.rival is not False:
            broker.rival_ms = now.mono_ms  # nobody could be heard here until now
        wanted = [topics.of_point(self._station, "+", leaf) for leaf in topics.FROM_POINT]
        wanted += [topics.desk_request(self._station, "+"), self._topic]
        effects.append(Subscribe(name, tuple(wanted)))
        return effects + self._say_state(name, now)

    def went_down(self, name: str, reason: str, now: Stamp) -> list[Effect]:
        broker = self._brokers[name]
        before = self._move(broker, "down")
        if before == DOWN:
            return []
        return self._lost(name, broker, reason, now)

    def _lost(self, name: str, broker: _Broker, reason: str, now: Stamp) -> list[Effect]:
        first = broker.tries == 0
        if broker.lost_since_ms is None:
            broker.lost_since_ms, broker.good_wall_ms = now.mono_ms, now.wall_ms
        assert self._stream is not None
        wait_ms = min(BACKOFF_FIRST_MS << min(broker.tries, 8), BACKOFF_MOST_MS)
        broker.due_ms = now.mono_ms + self._stream.about(wait_ms, wait_ms // 4)
        broker.tries += 1
        return [Log("warning", "broker_lost", (("broker", shown(name)), ("why", reason)))] if first else []

    def heard_state(self, name: str, state: State, retained: bool, now: Stamp) -> list[Effect]:
        """Our own topic: our echo, a will, or another station program on the same broker."""
        broker = self._brokers[name]
        if broker.state != UP:
            return []
        if not state.online:
            # A will, late, of an old connection: it stands retained under our name and is no longer true.
            return self._say_state(name, now)
        if state.session == broker.session:
            broker.echo_ms = now.mono_ms
        elif not retained and not state.session.startswith(self._run):
            return self._rival(name, broker, state, now)
        return []

    def _rival(self, name: str, broker: _Broker, state: State, now: Stamp) -> list[Effect]:
        """Two stations under one name answer every agent, and each holds alarms that the other lacks."""
        known, broker.rival, broker.rival_ms = broker.rival, True, now.mono_ms
        if known:
            return []
        why = "another station program answers under this name; stop one of the two"
        return [
            SetFault(self._station, shown(name), "second_station", True, now),
            Log("error", "second_station", (("broker", shown(name)), ("session", state.session[:64]), ("why", why))),
        ]

    def away(self, span_ms: int) -> None:
        """We did not run for so long: what came meanwhile is yet to be read, so that time is nobody's silence."""
        for broker in self._brokers.values():
            broker.echo_ms += span_ms
            if broker.state == CONNECTING:
                broker.due_ms += span_ms
            if broker.lost_since_ms is not None:
                broker.lost_since_ms += span_ms
            if broker.rival_ms is not None:
                broker.rival_ms += span_ms

    def next_ms(self) -> int | None:
        waits = [broker.due_ms for broker in self._brokers.values()]
        waits += [
            broker.lost_since_ms + BROKER_LOST_MS
            for broker in self._brokers.values()
            if broker.lost_since_ms is not None and not broker.fault
        ]
        waits += [
            broker.rival_ms + RIVAL_GONE_MS
            for broker in self._brokers.values()
            if broker.rival_ms is not None and broker.state == UP
        ]
        return min(waits) if waits and self._stream else None

    def tick(self, now: Stamp) -> list[Effect]:
        effects: list[Effect] = []
        for name, broker in self._brokers.items():
            if now.mono_ms >= broker.due_ms:
                effects += self._due(name, broker, now)
            effects += self._check_fault(name, broker, now)
        return effects

    def _due(self, name: str, broker: _Broker, now: Stamp) -> list[Effect]:
        if broker.state == DOWN:
            self._move(broker, "due")
            self._sessions += 1
            broker.session = f"{self._run}-{self._sessions}"
            broker.due_ms = now.mono_ms + CONNECT_TIMEOUT_MS
            return [Connect(name, broker.session, self._topic, self._state(broker, now, online=False))]
        if broker.state == CONNECTING or now.mono_ms - broker.echo_ms >= ECHO_LOST_MS:
            why = "no answer in time" if broker.state == CONNECTING else "our own messages do not come back"
            self._move(broker, "timeout")
            return [Disconnect(name), *self._lost(name, broker, why, now)]
        return self._say_state(name, now)

    def _check_fault(self, name: str, broker: _Broker, now: Stamp) -> list[Effect]:
        heard_ms = broker.rival_ms if broker.state == UP else None  # else nobody can be heard
        if heard_ms is not None and now.mono_ms >= heard_ms + RIVAL_GONE_MS:
            broker.rival_ms, broker.rival = None, False
            return [SetFault(self._station, shown(name), "second_station", False, now)]
        if broker.fault or broker.lost_since_ms is None or now.mono_ms < broker.lost_since_ms + BROKER_LOST_MS:
            return []
        broker.fault = True
        return [SetFault(self._station, shown(name), "broker_lost", True, now, broker.good_wall_ms)]

    def stop(self, now: Stamp) -> list[Effect]:
        """Say that the program ends, then end the connections."""
        effects: list[Effect] = []
        for name in self.up():
            effects.append(Publish(name, self._topic, self._state(self._brokers[name], now, online=False), retain=True))
            effects.append(Disconnect(name))
        return effects

    def _say_state(self, name: str, now: Stamp) -> list[Effect]:
        broker = self._brokers[name]
        broker.due_ms = min(now.mono_ms + ECHO_EVERY_MS, broker.echo_ms + ECHO_LOST_MS)
        return [Publish(name, self._topic, self._state(broker, now, online=True), retain=True)]

    @staticmethod
    def _state(broker: _Broker, now: Stamp, *, online: bool) -> bytes:
        return encode(State(online=online, session=broker.session, wall_ms=now.wall_ms))

    @staticmethod
    def _move(broker: _Broker, happening: str) -> str:
        """The state before; raises KeyError, changing nothing, for what the table does not list."""
        before = broker.state
        broker.state = TABLE[before, happening]
        return before
