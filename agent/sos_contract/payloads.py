"""MQTT payloads: JSON, versioned; unknown fields are ignored, unknown versions refused with a reason.

Times: ``*_ms`` are milliseconds; ``wall_ms`` is Unix time in milliseconds; a clock's quality is ``synced``,
``holdover`` or ``unset``. Payloads are read as values: what does not fit is a ``Refused``, never an exception.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

VERSION = 1
MAX_PAYLOAD_BYTES = 65536  # progress of some hundred alarms, far below any broker's limit

Quality = Literal["synced", "holdover", "unset"]
# 1 January 2025: no release of this program is older, so a clock that says less has never been set.
RELEASED_MS = 1_735_689_600_000


class Refused(msgspec.Struct, frozen=True):
    """A peer's message that we do not take, and why, in words for the log."""

    reason: str


class Identity(msgspec.Struct, frozen=True, order=True):
    """Who pressed, minted once at the pole: the key by which every later stage de-duplicates.

    ``incarnation`` is 64 random bits as 16 hex digits (JSON numbers lose bits past 2^53). ``clash`` is 0; where an
    outbox holds several contents under one identity, it numbers the later ones, so that receipts and stages tell them
    apart. Whoever keeps identities keeps it too.
    """

    pole: str
    incarnation: str
    boot: int
    press: int
    clash: int = 0

    def __str__(self) -> str:
        clash = f"!{self.clash}" if self.clash else ""
        return f"{self.pole}/{self.incarnation}/{self.boot}/{self.press}{clash}"


class Entry(msgspec.Struct, frozen=True):
    """A record of the sender's ledger, by number and hash (64 hex digits): kept by the peer, it shows later changes."""

    number: int
    hash: str


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """point -> station, ``alarm``: one press. A retry is the same content; only ``age_ms`` and ``sent_*`` move on."""

    v: int = VERSION
    id: Identity
    kind: str
    pressed_at_ms: int  # the pole's uptime in that boot
    repeats: int = 0  # further presses that the full journal could only count
    lane: Literal["live", "backlog"] = "live"
    age_ms: int | None = None  # None: the boot of that press was never heard
    sent_wall_ms: int = 0
    clock: Quality = "unset"
    agent: str = ""  # session of the agent that speaks
    outbox: str = ""  # the agent's ledger goes by this name ...
    record: Entry | None = None  # ... and this is its record of the press; both missing from a release before


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """How long the button was held; follows the press as a notice of kind ``press_detail``."""

    id: Identity
    held_ms: int


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """point -> station, ``notice``: a fault or its end; never an alarm.

    ``number`` counts within the agent's outbox; ``pole`` is empty for the point's own notices. ``merged`` counts the
    notices of the same kind that this one stands for.
    """

    v: int = VERSION
    number: int
    outbox: str
    pole: str
    kind: str
    on: bool
    value: int = 0
    merged: int = 0
    wall_ms: int = 0
    clock: Quality = "unset"
    detail: Detail | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Retained: is the program there? ``session`` binds a last will to its connection: a late one is ignored."""

    v: int = VERSION
    online: bool
    session: str
    wall_ms: int = 0


class PoleHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One pole as its agent last heard it. ``lamp`` is empty until it has told its agent how it is."""

    pole: str
    link: bool
    supervised: bool = True
    lamp: str = ""
    supply_mv: int = 0
    temperature_dc: int = 0  # tenths of a degree Celsius
    reset_cause: str = ""
    bad_frames: int = 0
    blind_ms: int = 0
    pending: int = 0
    firmware: str = ""
    faults: tuple[str, ...] = ()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """point -> station, ``health``, retained: the point and its poles. ``session``: of the agent's run, a dot, and the
    number of its connection; ``uptime_ms`` counts within the run."""

    v: int = VERSION
    session: str
    uptime_ms: int
    clock: Quality
    outbox_waiting: int
    disk_ok: bool
    poles: tuple[PoleHealth, ...]
    certificate_until_ms: int | None = None  # end of the point's own certificate, Unix time; None: it shows none


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """point -> station, ``probe``; answered only after a commit of the inbox: proof that the station program works."""

    v: int = VERSION
    session: str
    number: int


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """station -> point, ``probe_answer``. ``inbox`` is the inbox's incarnation: a change means a new one."""

    v: int = VERSION
    session: str
    number: int
    inbox: str
    high_water: int  # commits of that inbox so far; smaller than before: restored from an older copy
    run: str = ""  # of the station program, new at each of its starts; empty from a release before
    opened: int = 0  # the high water when that run began: smaller than one heard before, although it rose meanwhile


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """station -> point, ``receipt``: these alarms (or notice numbers) are on the station's disk."""

    v: int = VERSION
    inbox: str
    run: str = ""  # as in ProbeAnswer: an inbox restored from a copy lacks what an earlier run receipted
    alarms: tuple[Identity, ...] = ()
    outbox: str = ""
    notices: tuple[int, ...] = ()
    refused: tuple[tuple[Identity, str], ...] = ()  # identity and reason
    record: Entry | None = None  # the last of the inbox's ledger, which covers these alarms


class ProgressQuery(msgspec.Struct, frozen=True, kw_only=True):
    """point -> station, ``progress_query``: at each birth and every 30 s the point names its open alarms.

    ``poles``: those of which the agent knows no press, as after the loss of its disk. The newest press of each is told
    too, if there is one: a lamp may belong to it.
    """

    v: int = VERSION
    session: str
    alarms: tuple[Identity, ...]
    poles: tuple[str, ...] = ()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """station -> point, ``progress``: stage of each alarm; ``missing`` are those that the inbox does not hold."""

    v: int = VERSION
    inbox: str
    run: str = ""  # as in Receipt
    stages: tuple[tuple[Identity, str], ...] = ()
    missing: tuple[Identity, ...] = ()
    record: Entry | None = None  # the last of the inbox's ledger, which covers these stages


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """station -> point, ``command``: a service message for a pole. Never retained.

    It is carried out once, in the agent's run of ``session`` (as ``Health`` told it), while that run's uptime is below
    ``until_ms``. ``id``, ``officer`` and ``terminal``: who asked, as the station has recorded it. Of ``replace_key``:
    ``wrapped`` is the new key, for the pole and its agent alone (``sos_wire.wrap``), as hex; ``check`` its fingerprint.
    """

    v: int = VERSION
    id: str
    session: str
    until_ms: int
    pole: str
    command: str
    officer: str
    terminal: str
    wrapped: str = ""
    check: str = ""


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """point -> station, ``command_answer``: what came of it, in words. ``refused``: it was not begun; ``failed``: it
    was, and nobody knows that it ended well."""

    v: int = VERSION
    id: str
    outcome: Literal["done", "refused", "failed"]
    words: str


class DeskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """officer's terminal -> station. ``number`` makes a repeat of the same request harmless."""

    v: int = VERSION
    number: str
    officer: str
    action: Literal["list", "show", "notices", "accept", "dispatch", "arrive", "close", "command", "commands"]
    alarm: str = ""  # number of the alarm at this station, as `list` shows it; `accept` of "": the first that waits
    seen: int = 0  # newest alarm number on the screen: later presses of the incident are not covered; 0: not told
    run: str = ""  # of the station, as the screen's answer told: numbers of a run before may name other alarms now
    seen_stage: str = ""  # stage on the screen the officer acted on; refused if the alarm has moved on
    disposition: str = ""
    note: str = ""
    everything: bool = False  # list closed alarms (ended faults) too, newest first
    by_incident: bool = False  # list one row an incident, the press that most needs an officer, not one a press
    offset: int = 0  # rows to pass over: pages
    limit: int = 50
    # `command`: a service message for a pole; `commands`: those of late, or the one of that id
    pole: str = ""
    command: str = ""
    id: str = ""
    wrapped: str = ""  # of `replace_key`, as in Command
    check: str = ""


class AlarmView(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm as the officer sees it.

    ``presses``, ``waiting`` (for an officer) and ``newest`` tell of the open alarms of its incident. ``late``: it was
    old, or of unknown age, when it was received. ``remark``: what is odd about it, in words.
    """

    number: int
    incident: int
    id: Identity
    point: str
    kind: str
    stage: str
    age_ms: int | None  # since the press, now
    late: bool
    clock: Quality
    repeats: int
    clash: bool
    received_wall_ms: int
    officer: str
    disposition: str
    held_ms: int | None = None
    changed_wall_ms: int = 0
    remark: str = ""
    presses: int = 1
    waiting: int = 0
    newest: int = 0


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded change of an alarm: what, when, by whom."""

    wall_ms: int
    officer: str
    stage: str
    note: str


class FaultView(msgspec.Struct, frozen=True, kw_only=True):
    """An open fault, or one that ended."""

    point: str
    pole: str
    kind: str
    since_wall_ms: int
    last_good_wall_ms: int
    until_wall_ms: int | None
    value: int
    count: int


class CommandView(msgspec.Struct, frozen=True, kw_only=True):
    """A command as the station has recorded it: who asked for what, when, and what came of it.

    ``outcome`` is that of ``CommandAnswer``, or empty: there was no answer yet. ``words`` tell more.
    """

    id: str
    pole: str
    point: str
    command: str
    officer: str
    terminal: str
    asked_wall_ms: int
    outcome: str = ""
    words: str = ""
    answered_wall_ms: int = 0


class DeskAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """station -> officer's terminal. ``error`` is empty when the request was carried out.

    ``alarms`` are those asked for or changed; ``hint`` is what the officer should know besides, in words.
    """

    v: int = VERSION
    number: str
    error: str = ""
    hint: str = ""
    run: str = ""  # of the station program, new at each of its starts
    alarms: tuple[AlarmView, ...] = ()
    changes: tuple[ChangeView, ...] = ()
    faults: tuple[FaultView, ...] = ()
    commands: tuple[CommandView, ...] = ()
    more: int = 0  # rows left out of this answer


Payload = TypeVar("Payload", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class _Versioned(msgspec.Struct):
    v: int


_version_decoder = msgspec.json.Decoder(_Versioned)


def encode(payload: msgspec.Struct) -> bytes:
    """JSON of ``payload``, UTF-8."""
    return _encoder.encode(payload)


def decode(data: bytes, kind: type[Payload]) -> Payload | Refused:
    """Read ``data`` as ``kind``; a ``Refused`` with the reason where it does not fit. Never raises."""
    if len(data) > MAX_PAYLOAD_BYTES:
        return Refused(f"payload of {len(data)} bytes is over {MAX_PAYLOAD_BYTES}")
    try:
        version = _version_decoder.decode(data).v
        # Parts of one version before and after ours are understood: new fields are ignored, old ones have defaults.
        if abs(version - VERSION) > 1 or version < 1:
            return Refused(f"version {version} of {kind.__name__} is unknown here (ours is {VERSION})")
        decoder = _decoders.get(kind) or _decoders.setdefault(kind, msgspec.json.Decoder(kind))
        value: Payload = decoder.decode(data)
        return value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refused(f"{kind.__name__}: {error}")
