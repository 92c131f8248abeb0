"""A station with a disk of memory and brokers that do what they are told, on virtual time. The SQL is the real one."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from sos_contract import topics
from sos_contract.payloads import (
    Alarm,
    DeskAnswer,
    DeskRequest,
    Identity,
    Probe,
    Progress,
    Receipt,
    Refused,
    decode,
    encode,
)
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.core.station import Settings, Station
from sos_station.edge import reads, writes
from sos_station.edge.schema import SCHEMA

A, B = "mqtt://a:1883", "mqtt://user:secret@b:1883"
POINTS = ("merlin", "market")
POLES = {"merlin-1": "merlin", "market-1": "market"}
WALL_MS = 1_800_000_000_000
MAX_TURNS = 100_000

P = TypeVar("P", bound=msgspec.Struct)


class CrashedError(Exception):
    """The station's power is gone, between two effects."""


def alarm(press: int = 1, *, pole: str = "merlin-1", kind: str = "press", **more: Any) -> Alarm:
    clash = more.pop("clash", 0)
    identity = Identity(pole, more.pop("incarnation", "00000000000000aa"), more.pop("boot", 1), press, clash)
    return Alarm(
        **{"id": identity, "kind": kind, "pressed_at_ms": 1000 * press, "age_ms": 40, "clock": "synced", **more}
    )


@dataclass
class Sent:
    broker: str
    topic: topics.Topic
    payload: bytes
    retain: bool


@dataclass
class World:
    """``send`` and ``ask`` carry out all that follows, commits included, unless ``slow_disk``."""

    brokers: tuple[str, ...] = (A,)
    disk: sqlite3.Connection = field(default_factory=lambda: _disk())
    now_ms: int = 1_000_000
    wall_ms: int = WALL_MS
    quality: Any = "synced"
    timebase: str = "boot-1"
    inbox: str = "inbox-1"
    entropy: bytes = bytes(range(32))
    slow_disk: bool = False
    full_disk: bool = False
    answering: bool = True  # brokers take connections
    hanging: bool = False  # attempts to connect never end
    crash_after: int | None = None  # effects until the power goes
    sent: list[Sent] = field(default_factory=list)
    logs: list[fx.Log] = field(default_factory=list)
    connects: list[fx.Connect] = field(default_factory=list)
    effects: list[fx.Effect] = field(default_factory=list)
    stores: list[fx.StoreEffect] = field(default_factory=list)
    commits: int = 0

    def __post_init__(self) -> None:
        self._numbers = 0
        self._queue: deque[ev.Event] = deque()
        self.start()

    def start(self) -> None:
        """A new program on the disk as it is."""
        self.station = Station(Settings("betong", self.brokers, POINTS, POLES))
        self.stores.clear()
        self._queue.clear()
        self.handle(ev.Clock(self.wall_ms, self.quality))
        self.handle(ev.Started(self.entropy, self.inbox, self.timebase))

    # --- time

    def pass_ms(self, span_ms: int) -> None:
        """Virtual time goes on; ticks come when they are due."""
        end_ms = self.now_ms + span_ms
        for _ in range(MAX_TURNS):
            due_ms = self.station.next_timer_ms()
            if due_ms is None or due_ms > end_ms:
                break
            self._forward(max(due_ms, self.now_ms))
            self.handle(ev.Tick())
        else:
            raise AssertionError("the station's timer turns idly")
        self._forward(end_ms)

    def _forward(self, to_ms: int) -> None:
        self.wall_ms += to_ms - self.now_ms
        self.now_ms = to_ms

    # --- events and effects

    def handle(self, event: ev.Event) -> None:
        self._queue.append(event)
        self._work()
        while self.stores and not self.slow_disk:
            self.commit()

    def _work(self) -> None:
        """Until nothing is left to do but for the disk."""
        for _ in range(MAX_TURNS):
            if not self._queue:
                return
            for effect in self.station.handle(self._queue.popleft(), self.now_ms):
                if self.crash_after is not None:
                    if self.crash_after == 0:
                        raise CrashedError
                    self.crash_after -= 1
                self._carry_out(effect)
        raise AssertionError("the station never comes to rest")

    def _carry_out(self, effect: fx.Effect) -> None:
        self.effects.append(effect)
        if isinstance(effect, fx.Publish):
            topic = topics.parse(effect.topic)
            assert topic is not None
            self.sent.append(Sent(effect.broker, topic, effect.payload, effect.retain))
            if topic.leaf == "state" and self.answering:
                self._queue.append(ev.Message(effect.broker, effect.topic, effect.payload, False))
        elif isinstance(effect, fx.Connect):
            self.connects.append(effect)
            if self.hanging:
                return
            up = ev.BrokerUp(effect.broker) if self.answering else ev.BrokerDown(effect.broker, "nothing listens")
            self._queue.append(up)
        elif isinstance(effect, fx.STORE_EFFECTS):
            self.stores.append(effect)
        elif isinstance(effect, fx.READ_EFFECTS):
            self._queue.append(ev.Read(effect, reads.carry_out(self.disk, effect)))
        elif isinstance(effect, fx.Log):
            self.logs.append(effect)

    def commit(self) -> None:
        """The disk takes, or refuses, all that waits for it."""
        stores, self.stores = tuple(self.stores), []
        if not stores:
            return
        if self.full_disk:
            self._queue.append(ev.CommitFailed(stores, "disk full"))
        else:
            self.disk.execute("BEGIN")
            done = [(effect, writes.carry_out(self.disk, effect)) for effect in stores]
            self.disk.execute("COMMIT")
            self.commits += 1
            self._queue.append(ev.Committed(tuple((effect, made[0]) for effect, made in done), done[-1][1][1]))
        self._work()

    # --- peers

    def send(
        self,
        leaf: str,
        payload: msgspec.Struct | bytes,
        *,
        point: str = "merlin",
        broker: str = A,
        retained: bool = False,
    ) -> None:
        data = payload if isinstance(payload, bytes) else encode(payload)
        self.handle(ev.Message(broker, topics.of_point("betong", point, leaf), data, retained))

    def probe(self, point: str = "merlin", session: str = "s1", number: int = 1) -> None:
        self.send("probe", Probe(session=session, number=number), point=point)

    def request(self, action: Any, which: int | str = "", **more: Any) -> DeskRequest:
        self._numbers += 1
        fields = {"number": f"r{self._numbers}", "officer": "Somchai", "action": action, "alarm": str(which)}
        return DeskRequest(**{**fields, **more})

    def ask(self, action: Any, which: int | str = "", **more: Any) -> DeskAnswer:
        return self.put(self.request(action, which, **more))

    def put(self, request: DeskRequest, broker: str = A) -> DeskAnswer:
        before = len(self.sent)
        self.handle(ev.Message(broker, topics.desk_request("betong", "t1"), encode(request), False))
        answers = [sent for sent in self.sent[before:] if sent.topic.leaf == "desk_answer"]
        assert len(answers) == 1 and answers[0].broker == broker
        answer = decode(answers[0].payload, DeskAnswer)
        assert isinstance(answer, DeskAnswer)
        return answer

    def answers(self) -> list[DeskAnswer]:
        """What terminals were answered so far."""
        found = [decode(sent.payload, DeskAnswer) for sent in self.sent if sent.topic.leaf == "desk_answer"]
        return [one for one in found if isinstance(one, DeskAnswer)]

    def told(self, leaf: str, kind: type[P], *, point: str = "merlin") -> list[P]:
        """What the point was told so far."""
        return [payload for _, payload in self._told(leaf, kind, point)]

    def _told(self, leaf: str, kind: type[P], point: str) -> Iterator[tuple[str, P]]:
        for sent in self.sent:
            if sent.topic.leaf == leaf and sent.topic.point == point:
                payload = decode(sent.payload, kind)
                assert not isinstance(payload, Refused), payload.reason
                yield sent.broker, payload

    def receipts(self, point: str = "merlin") -> list[Identity]:
        return [identity for receipt in self.told("receipt", Receipt, point=point) for identity in receipt.alarms]

    def lamp(self, identity: Identity, point: str = "merlin") -> str:
        """Stage that the point was last told of a press."""
        stages = [dict(told.stages).get(identity) for told in self.told("progress", Progress, point=point)]
        known = [stage for stage in stages if stage]
        return known[-1] if known else ("received" if identity in self.receipts(point) else "")

    def alarms(self, **more: Any) -> Any:
        return self.ask("list", **more).alarms

    def faults(self, **more: Any) -> dict[tuple[str, str, str], Any]:
        return {(fault.point, fault.pole, fault.kind): fault for fault in self.ask("notices", **more).faults}


def _disk() -> sqlite3.Connection:
    disk = sqlite3.connect(":memory:", isolation_level=None)
    disk.executescript(SCHEMA)
    disk.execute("INSERT INTO meta VALUES ('high_water', 0)")
    writes.begin_ledger(disk, "inbox-1", "", WALL_MS)
    return disk
