"""Effects: what the agent's core asks its edges to do, carried out in the order given.

A crash may fall between any two. Effects on the outbox complete as the event named in their docstring, or as
``StoreFailed`` with the effect itself; they are carried out first in, first out, and those that wait share one commit.
``*_ms`` without ``wall`` are milliseconds of the time base of ``now_ms`` (see ``events.Started``). What changes alarms
is written into the outbox's ledger in the same commit: ``wall_ms`` is the time of its record (0: not known), ``inbox``
and ``record`` what the station told of its own ledger with it.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from sos_contract.payloads import Detail, Entry, Identity, Quality


class OpenPort(Struct, frozen=True):
    """Open a port that ``PortsSeen`` offered. Completes as ``PortOpened``, or as ``PortClosed`` with the reason."""

    port: str
    baud: int


class ClosePort(Struct, frozen=True):
    """Close a port; nothing of it is delivered afterwards, not even a ``PortClosed``."""

    port: str


class WriteBytes(Struct, frozen=True):
    """Write one frame to an open port. No completion: what is lost is sent again. Must not block the loop."""

    port: str
    data: bytes


class Sealed(Struct, frozen=True):
    """What proves a press to whoever has that pole's key: the frame as the pole sealed it, and its session's nonces."""

    nonces: bytes
    frame: bytes


class StoreAlarm(Struct, frozen=True):
    """Commit one press. Completes as ``Stored`` once it would survive a power cut.

    The store looks ``id`` up: unknown -> ``new``; known with the same (kind, pressed_at_ms, repeats) -> ``duplicate``,
    nothing is written; known with other content only -> ``clash``: a row of its own whose ``id.clash`` is the next
    free number for that identity (1, 2, ...). ``id.clash`` is 0 here. New rows wait and have the stage ``held``.
    ``pressed_ms`` is when the press was, in ``timebase``; None: the pole's boot was never heard.
    """

    id: Identity
    kind: str
    pressed_at_ms: int
    repeats: int
    timebase: str
    pressed_ms: int | None
    sealed: Sealed | None = None
    wall_ms: int = 0


class MarkReceipted(Struct, frozen=True):
    """The station has these on disk: they wait no more, stage at least ``received``, kept for 30 days from ``at_ms``.

    Completes as ``Receipted``. Unknown identities, and rows that are receipted already, are left as they are.
    """

    ids: tuple[Identity, ...]
    timebase: str
    at_ms: int
    inbox: str = ""
    record: Entry | None = None
    wall_ms: int = 0


class MarkWaiting(Struct, frozen=True):
    """The station's inbox lacks these: those that are receipted wait again (their stage stays). -> ``MadeWaiting``."""

    ids: tuple[Identity, ...]
    inbox: str = ""
    wall_ms: int = 0


class StoreProgress(Struct, frozen=True):
    """Move stages forward, never back, of rows that are receipted. Completes as ``ProgressStored``."""

    stages: tuple[tuple[Identity, str], ...]
    inbox: str = ""
    record: Entry | None = None
    wall_ms: int = 0


class StoreNotice(Struct, frozen=True):
    """Commit a notice under the next number of this outbox. Completes as ``NoticeStored``.

    ``merge``: if a waiting notice of the same pole, kind and ``on`` exists (and ``detail`` is None), that one goes and
    the new one, under its new number, stands for it too: ``merged`` = its ``merged`` + 1.
    """

    pole: str
    kind: str
    on: bool
    value: int
    timebase: str
    at_ms: int
    detail: Detail | None = None
    merge: bool = False


class DropNotices(Struct, frozen=True):
    """The station has these notices: they go, apart from what tells which faults are open. -> ``NoticesDropped``."""

    numbers: tuple[int, ...]


class StoreBoot(Struct, frozen=True):
    """Remember when a pole's boot began, for ages across restarts (insert or replace). No completion but failure.

    ``zero_ms`` is the time, in ``timebase``, at which that boot's uptime was 0. The newest 64 boots a pole are kept.
    """

    pole: str
    incarnation: str
    boot: int
    timebase: str
    zero_ms: int


class StoreTimebase(Struct, frozen=True):
    """Remember which wall time the zero of a time base was (insert or replace). No completion but failure."""

    timebase: str
    wall_at_zero_ms: int
    quality: Quality


class FetchWaiting(Struct, frozen=True):
    """Read waiting alarms with ``row`` > ``after_row`` in order, at most ``limit``. Completes as ``WaitingFetched``."""

    after_row: int
    limit: int


class FetchNotices(Struct, frozen=True):
    """Read waiting notices with number > ``after_number`` in order, at most ``limit``. -> ``NoticesFetched``."""

    after_number: int
    limit: int


class FetchReceipted(Struct, frozen=True):
    """Read identities of receipted alarms with ``row`` > ``after_row`` in order. -> ``ReceiptedFetched``.

    ``open_only`` leaves out those whose stage is ``closed``.
    """

    after_row: int
    limit: int
    open_only: bool


class PurgeReceipted(Struct, frozen=True):
    """Delete alarms receipted before that wall time (rows whose time base has no wall time stay). -> ``Purged``."""

    before_wall_ms: int
    wall_ms: int = 0


class StoreKeys(Struct, frozen=True):
    """Remember the key of a pole, and the one that is to take its place if there is one. Completes as ``KeysStored``
    once it would survive a power cut, or as ``KeysNotStored``. Not in the outbox: a damaged one must cost no key."""

    pole: str
    key: bytes
    next: bytes


class Connect(Struct, frozen=True):
    """Begin one attempt to connect, with this will (QoS 1, retained). Completes as ``BrokerUp`` or ``BrokerDown``.

    ``session`` is new for each attempt and marks every event of that connection. No retries by the edge.
    """

    broker: str
    session: str
    will_topic: str
    will_payload: bytes


class Disconnect(Struct, frozen=True):
    """End that connection, orderly where it still can; no event of that session is delivered afterwards."""

    session: str


class Subscribe(Struct, frozen=True):
    """Subscribe at QoS 1. Messages come as ``BrokerMessage``."""

    session: str
    topics: tuple[str, ...]


class Publish(Struct, frozen=True):
    """Publish at QoS 1. Completes as ``Published`` when the broker acknowledged; lost with the connection."""

    session: str
    topic: str
    payload: bytes
    retain: bool
    token: int


class Log(Struct, frozen=True):
    """One line for the log: what happened, then key=value fields."""

    level: Literal["info", "warning", "error"]
    message: str
    fields: tuple[tuple[str, object], ...] = ()


class Ready(Struct, frozen=True):
    """Armed: the outbox is loaded and the ports are being opened. systemd READY=1."""


class Summary(Struct, frozen=True):
    """One line for systemd STATUS=, when it changes."""

    text: str


StoreEffect = (
    StoreAlarm
    | MarkReceipted
    | MarkWaiting
    | StoreProgress
    | StoreNotice
    | DropNotices
    | StoreBoot
    | StoreTimebase
    | FetchWaiting
    | FetchNotices
    | FetchReceipted
    | PurgeReceipted
)
Effect = (
    OpenPort
    | ClosePort
    | WriteBytes
    | StoreEffect
    | StoreKeys
    | Connect
    | Disconnect
    | Subscribe
    | Publish
    | Log
    | Ready
    | Summary
)
