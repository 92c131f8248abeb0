"""What the station's core wants done, in order. Stores and reads complete as events that carry the effect back.

An effect carries all that its completion needs (whom to answer), so that the core holds nothing for what is under way.
"""

from __future__ import annotations

from dataclasses import dataclass

from sos_contract.payloads import Alarm, DeskRequest, Entry, Identity, Notice
from sos_station.core.records import AlarmFile, AlarmPage, AlarmRow, CaseFile, FaultPage, StageOf, Stages, Stamp


@dataclass(frozen=True, slots=True)
class Connect:
    """Begin one attempt; completes as ``BrokerUp`` or ``BrokerDown``."""

    broker: str
    session: str
    will_topic: str
    will: bytes  # retained


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection or attempt, if there is one, once what was published before has gone out."""

    broker: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe at QoS 1."""

    broker: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish at QoS 1. May be lost with the connection: whoever needs it asks again."""

    broker: str
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class StoreAlarm:
    """Keep an alarm; ``core.inbox.classify`` and ``core.incidents.join`` decide as what, inside the commit."""

    broker: str
    point: str
    alarm: Alarm
    received: Stamp
    age_ms: int | None
    late: bool
    remark: str


@dataclass(frozen=True, slots=True)
class StoreNotice:
    """Keep a notice once and apply it to the fault table as ``core.faults.meaning`` says."""

    broker: str
    point: str
    notice: Notice
    received: Stamp
    last_good_wall_ms: int


@dataclass(frozen=True, slots=True)
class ProveInbox:
    """Commit, so that a probe can be answered by work done."""

    broker: str
    point: str
    session: str
    number: int


@dataclass(frozen=True, slots=True)
class SetFault:
    """Open or end a fault that the station itself found. Repeating it changes nothing."""

    point: str
    pole: str
    kind: str
    on: bool
    at: Stamp
    last_good_wall_ms: int = 0


@dataclass(frozen=True, slots=True)
class ChangeStage:
    """Move the incident's alarms up to number ``upto`` that stand at ``from_stage``; record who, when, what."""

    broker: str
    terminal: str
    request: DeskRequest
    number: int
    incident: int
    upto: int
    from_stage: str
    to_stage: str
    note: str
    at: Stamp


@dataclass(frozen=True, slots=True)
class Prune:
    """Forget incidents whose last alarm was closed, and faults that ended, before these wall times, and old notices.

    Open ones are never forgotten.
    """

    at: Stamp
    alarms_before_ms: int
    faults_before_ms: int


@dataclass(frozen=True, slots=True)
class ReadStages:
    """Stages of these identities, and of the newest press of each of these poles, for a point that asked."""

    broker: str
    point: str
    identities: tuple[Identity, ...]
    poles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadAlarms:
    """A page of alarms, in the order in which an officer needs them; closed ones too with ``request.everything``."""

    broker: str
    terminal: str
    request: DeskRequest
    limit: int


@dataclass(frozen=True, slots=True)
class ReadAlarm:
    """One alarm with its history."""

    broker: str
    terminal: str
    request: DeskRequest
    number: int
    limit: int


@dataclass(frozen=True, slots=True)
class ReadFaults:
    """A page of the fault table: open ones, with ``request.everything`` ended ones too."""

    broker: str
    terminal: str
    request: DeskRequest
    limit: int


@dataclass(frozen=True, slots=True)
class ReadCase:
    """What a decision needs. ``number`` None: the first alarm that waits for an officer."""

    broker: str
    terminal: str
    request: DeskRequest
    number: int | None


@dataclass(frozen=True, slots=True)
class Log:
    """One line for the log: key=value fields; ``level`` is info, warning or error."""

    level: str
    text: str
    fields: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """The station is armed: tell systemd, in words."""

    status: str


@dataclass(frozen=True, slots=True)
class AlarmStored:
    """``verdict`` is new, duplicate or clash; ``record``: the ledger's last one, at or after that of this alarm."""

    verdict: str
    number: int
    incident: int
    record: Entry | None = None


@dataclass(frozen=True, slots=True)
class StagesChanged:
    """``rows``: the alarms moved, newest first, bounded; ``moved`` counts all; ``told``: what points may be told;
    ``record``: the ledger's last one."""

    rows: tuple[AlarmRow, ...]
    moved: int
    still_waiting: int
    told: tuple[StageOf, ...]
    record: Entry | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Stored; nothing more to say. ``new`` is false where it was there before."""

    new: bool = True


StoreEffect = StoreAlarm | StoreNotice | ProveInbox | SetFault | ChangeStage | Prune
Outcome = AlarmStored | StagesChanged | Done
ReadEffect = ReadStages | ReadAlarms | ReadAlarm | ReadFaults | ReadCase
ReadResult = Stages | AlarmPage | AlarmFile | FaultPage | CaseFile | None
Effect = Connect | Disconnect | Subscribe | Publish | StoreEffect | ReadEffect | Log | Ready
STORE_EFFECTS = (StoreAlarm, StoreNotice, ProveInbox, SetFault, ChangeStage, Prune)
READ_EFFECTS = (ReadStages, ReadAlarms, ReadAlarm, ReadFaults, ReadCase)
