"""What the edges tell the station's core. One event at a time, with the monotonic time at which it happened."""

from __future__ import annotations

from dataclasses import dataclass

from sos_contract.payloads import Quality
from sos_station.core.effects import Outcome, ReadEffect, ReadResult, StoreEffect


@dataclass(frozen=True, slots=True)
class Started:
    """First event. ``inbox`` is the inbox's incarnation; ``entropy`` is 32 bytes; ``timebase`` names what ``now_ms``
    counts in: a monotonic clock that goes on until the machine restarts."""

    entropy: bytes
    inbox: str
    timebase: str


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall time now and how good it is; told at the start and every 10 s."""

    wall_ms: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that ``next_timer_ms`` named has come (or passed)."""


@dataclass(frozen=True, slots=True)
class BrokerUp:
    """The connection stands; ``until_ms``: the end of the broker's certificate, Unix time."""

    broker: str
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BrokerDown:
    """An attempt failed or a connection ended; ``reason`` in words."""

    broker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message on a subscribed topic. ``retained``: the broker had kept it; nobody has just said it."""

    broker: str
    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """One commit of the inbox is on disk: everything in ``results``, in order, at once."""

    results: tuple[tuple[StoreEffect, Outcome], ...]
    high_water: int


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """None of ``effects`` is on disk."""

    effects: tuple[StoreEffect, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Read:
    """Completion of a read."""

    effect: ReadEffect
    result: ReadResult


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """The inbox could not be read."""

    effect: ReadEffect
    reason: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The program is asked to end: say so to everybody."""


Event = (
    Started | Clock | Tick | BrokerUp | BrokerDown | Message | Committed | CommitFailed | Read | ReadFailed | Stopping
)
