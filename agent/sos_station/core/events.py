"""What the edges tell the station's core. One event at a time, with the monotonic time at which it happened."""

from __future__ import annotations

from msgspec import Struct

from sos_contract.payloads import Quality
from sos_station.core.effects import Outcome, ReadEffect, ReadResult, StoreEffect


class Started(Struct, frozen=True):
    """First event. ``inbox`` is the inbox's incarnation; ``entropy`` is 32 bytes; ``timebase`` names what ``now_ms``
    counts in: a monotonic clock that goes on until the machine restarts."""

    entropy: bytes
    inbox: str
    timebase: str


class Clock(Struct, frozen=True):
    """Wall time now and how good it is; told at the start and every 10 s."""

    wall_ms: int
    quality: Quality


class Tick(Struct, frozen=True):
    """The time that ``next_timer_ms`` named has come (or passed)."""


class BrokerUp(Struct, frozen=True):
    """The connection stands; ``until_ms``: the end of the broker's certificate, Unix time."""

    broker: str
    until_ms: int | None = None


class BrokerDown(Struct, frozen=True):
    """An attempt failed or a connection ended; ``reason`` in words."""

    broker: str
    reason: str


class Message(Struct, frozen=True):
    """A message on a subscribed topic. ``retained``: the broker had kept it; nobody has just said it."""

    broker: str
    topic: str
    payload: bytes
    retained: bool


class Committed(Struct, frozen=True):
    """One commit of the inbox is on disk: everything in ``results``, in order, at once."""

    results: tuple[tuple[StoreEffect, Outcome], ...]
    high_water: int


class CommitFailed(Struct, frozen=True):
    """None of ``effects`` is on disk."""

    effects: tuple[StoreEffect, ...]
    reason: str


class Read(Struct, frozen=True):
    """Completion of a read."""

    effect: ReadEffect
    result: ReadResult


class ReadFailed(Struct, frozen=True):
    """The inbox could not be read."""

    effect: ReadEffect
    reason: str


class Stopping(Struct, frozen=True):
    """The program is asked to end: say so to everybody."""


Event = (
    Started | Clock | Tick | BrokerUp | BrokerDown | Message | Committed | CommitFailed | Read | ReadFailed | Stopping
)
