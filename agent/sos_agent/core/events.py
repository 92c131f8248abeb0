"""Events: all that the agent's core ever learns, and the rows of the outbox as it sees them.

``now_ms`` beside each event counts in a *time base*: a monotonic clock that goes on across restarts of the program,
until the machine restarts (Linux: CLOCK_BOOTTIME and the kernel's boot id). ``*_wall_ms`` is Unix time.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from sos_agent.core.effects import (
    DropNotices,
    FetchNotices,
    FetchReceipted,
    FetchWaiting,
    MarkReceipted,
    MarkWaiting,
    PurgeReceipted,
    StoreAlarm,
    StoreEffect,
    StoreKeys,
    StoreNotice,
    StoreProgress,
)
from sos_contract.payloads import Detail, Entry, Identity, Quality


class PoleConfig(Struct, frozen=True):
    """A pole on a line. ``supervised`` is false for an input without a resistor reading: the point's own button.
    ``next``: a key that is to take the other's place, if the pole has it already, or nothing."""

    id: str
    address: int
    key: bytes
    supervised: bool = True
    next: bytes = b""


class LineConfig(Struct, frozen=True):
    """A serial line, named after the port that the site file gives it; the own button is one, ``local:<id>``."""

    name: str
    baud: int
    shared: bool
    poles: tuple[PoleConfig, ...]


class Config(Struct, frozen=True):
    """What does not change while the agent runs."""

    station: str
    point: str
    brokers: tuple[str, ...]
    lines: tuple[LineConfig, ...]
    certificate_until_ms: int | None = None  # Unix time


class AlarmRow(Struct, frozen=True):
    """An alarm in the outbox. ``row`` counts up in the order of commits.

    ``pressed_ms`` is in ``timebase``; ``pressed_wall_ms`` = that plus the time base's wall time, None where either is
    unknown; ``quality`` is that of the time base's wall time (``unset`` where there is none).
    """

    row: int
    id: Identity
    kind: str
    pressed_at_ms: int
    repeats: int
    timebase: str
    pressed_ms: int | None
    pressed_wall_ms: int | None
    quality: Quality
    stage: str
    record: Entry | None = None  # of the ledger: that of the press


class NoticeRow(Struct, frozen=True):
    """A waiting notice; ``wall_ms`` and ``quality`` through the time base, as for alarms (0 and ``unset``: unknown)."""

    number: int
    pole: str
    kind: str
    on: bool
    value: int
    merged: int
    timebase: str
    at_ms: int
    wall_ms: int
    quality: Quality
    detail: Detail | None = None


class BootRow(Struct, frozen=True):
    """A pole's boot as ``StoreBoot`` remembered it; ``wall_zero_ms`` and ``quality`` through the time base."""

    pole: str
    incarnation: str
    boot: int
    timebase: str
    zero_ms: int
    wall_zero_ms: int | None
    quality: Quality


class Contents(Struct, frozen=True):
    """What the outbox holds at start, in bounded size.

    ``newest``: per pole, of the alarms of kind ``press`` and the incarnation that the highest row of these has, the one
    with the highest (boot, press): the one its lamp belongs to. ``boots``: at most 64 a pole. ``open_faults``:
    (pole, kind) of notices whose last one, waiting or dropped, had ``on``. ``damaged``: where a damaged outbox was
    moved, or empty.
    """

    outbox: str  # incarnation of this outbox, 16 hex digits
    waiting_alarms: int
    waiting_notices: int
    newest: tuple[AlarmRow, ...] = ()
    boots: tuple[BootRow, ...] = ()
    open_faults: tuple[tuple[str, str], ...] = ()
    damaged: str = ""


class Started(Struct, frozen=True):
    """The first event, once. ``entropy``: 32 random bytes; ``timebase`` names the clock of ``now_ms``."""

    entropy: bytes
    timebase: str
    contents: Contents


class Stopping(Struct, frozen=True):
    """The program is asked to end: the last effects say goodbye to the broker."""


class Timer(Struct, frozen=True):
    """``next_timer_ms`` has come. Early or needless ones do no harm."""


class Clock(Struct, frozen=True):
    """The wall clock now: once at start (before ``Started`` or after), every 10 s, and when its quality changes."""

    wall_ms: int
    quality: Quality


class Candidate(Struct, frozen=True):
    """A port that exists and could be that line's: ``home`` if it is the one that the site file names."""

    port: str
    line: str
    home: bool


class PortsSeen(Struct, frozen=True):
    """All candidates there are now, at start and whenever that changes. A device stands there once for each line it
    could be, under one name (the path to open), whatever links point at it. Looked for every second."""

    candidates: tuple[Candidate, ...]


class PortOpened(Struct, frozen=True):
    """``OpenPort`` succeeded."""

    port: str


class PortClosed(Struct, frozen=True):
    """The port could not be opened, or it broke; it is closed now."""

    port: str
    reason: str


class PortBytes(Struct, frozen=True):
    """Bytes read from an open port, in order, as they came."""

    port: str
    data: bytes


class Stored(Struct, frozen=True):
    """``StoreAlarm`` is on disk. ``row`` is the alarm of exactly that content: new, or as it was found."""

    effect: StoreAlarm
    outcome: Literal["new", "duplicate", "clash"]
    row: AlarmRow


class Receipted(Struct, frozen=True):
    """``changed``: those that waited until now."""

    effect: MarkReceipted
    changed: tuple[Identity, ...]


class MadeWaiting(Struct, frozen=True):
    """``changed``: those that were receipted until now."""

    effect: MarkWaiting
    changed: tuple[Identity, ...]


class ProgressStored(Struct, frozen=True):
    """``changed``: those whose stage really moved on, with the new one; ``unknown``: those that the outbox lacks."""

    effect: StoreProgress
    changed: tuple[tuple[Identity, str], ...]
    unknown: tuple[tuple[Identity, str], ...] = ()


class NoticeStored(Struct, frozen=True):
    """The notice is on disk as ``number``; ``replaced`` is the number of the one merged into it, or None."""

    effect: StoreNotice
    number: int
    replaced: int | None


class NoticesDropped(Struct, frozen=True):
    """``dropped``: how many of them were there."""

    effect: DropNotices
    dropped: int


class WaitingFetched(Struct, frozen=True):
    """``end``: no waiting alarm lies behind these."""

    effect: FetchWaiting
    rows: tuple[AlarmRow, ...]
    end: bool


class NoticesFetched(Struct, frozen=True):
    """``end``: no waiting notice lies behind these."""

    effect: FetchNotices
    rows: tuple[NoticeRow, ...]
    end: bool


class ReceiptedFetched(Struct, frozen=True):
    """(row, identity) pairs; ``end``: none lies behind these."""

    effect: FetchReceipted
    rows: tuple[tuple[int, Identity], ...]
    end: bool


class Purged(Struct, frozen=True):
    """``count`` rows went."""

    effect: PurgeReceipted
    count: int


class StoreFailed(Struct, frozen=True):
    """That effect on the outbox did not happen. Nothing was promised, nothing is. ``full``: for want of room, of which
    alarms have some of their own."""

    effect: StoreEffect
    reason: str
    full: bool = False


class KeysStored(Struct, frozen=True):
    """They are on disk."""

    effect: StoreKeys


class KeysNotStored(Struct, frozen=True):
    """What was on disk before is there still."""

    effect: StoreKeys
    reason: str


class BrokerUp(Struct, frozen=True):
    """``Connect`` succeeded."""

    session: str


class BrokerDown(Struct, frozen=True):
    """The attempt failed or the connection broke."""

    session: str
    reason: str


class BrokerMessage(Struct, frozen=True):
    """A message of a subscribed topic. ``retained``: it was kept by the broker from earlier."""

    session: str
    topic: str
    payload: bytes
    retained: bool


class Published(Struct, frozen=True):
    """The broker acknowledged ``Publish`` of that token: the broker lives. Only a receipt is success."""

    session: str
    token: int


Completion = (
    Stored
    | Receipted
    | MadeWaiting
    | ProgressStored
    | NoticeStored
    | NoticesDropped
    | WaitingFetched
    | NoticesFetched
    | ReceiptedFetched
    | Purged
    | StoreFailed
)
Event = (
    Started
    | Stopping
    | Timer
    | Clock
    | PortsSeen
    | PortOpened
    | PortClosed
    | PortBytes
    | Completion
    | KeysStored
    | KeysNotStored
    | BrokerUp
    | BrokerDown
    | BrokerMessage
    | Published
)
