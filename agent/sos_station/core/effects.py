"""What the station's core wants done, in order. Stores and reads complete as events that carry the effect back.

An effect carries all that its completion needs (whom to answer), so that the core holds nothing for what is under way.
"""

from __future__ import annotations

from msgspec import Struct

from sos_contract.payloads import Alarm, Command, CommandAnswer, CommandView, DeskRequest, Entry, Identity, Notice
from sos_station.core.records import AlarmFile, AlarmPage, AlarmRow, CaseFile, FaultPage, StageOf, Stages, Stamp


class Connect(Struct, frozen=True):
    """Begin one attempt; completes as ``BrokerUp`` or ``BrokerDown``."""

    broker: str
    session: str
    will_topic: str
    will: bytes  # retained


class Disconnect(Struct, frozen=True):
    """End the connection or attempt, if there is one, once what was published before has gone out."""

    broker: str


class Subscribe(Struct, frozen=True):
    """Subscribe at QoS 1."""

    broker: str
    topics: tuple[str, ...]


class Publish(Struct, frozen=True):
    """Publish at QoS 1. May be lost with the connection: whoever needs it asks again."""

    broker: str
    topic: str
    payload: bytes
    retain: bool = False


class StoreAlarm(Struct, frozen=True):
    """Keep an alarm; ``core.inbox.classify`` and ``core.incidents.join`` decide as what, inside the commit."""

    broker: str
    point: str
    alarm: Alarm
    received: Stamp
    age_ms: int | None
    late: bool
    remark: str


class StoreNotice(Struct, frozen=True):
    """Keep a notice once and apply it to the fault table as ``core.faults.meaning`` says."""

    broker: str
    point: str
    notice: Notice
    received: Stamp
    last_good_wall_ms: int


class ProveInbox(Struct, frozen=True):
    """Commit, so that a probe can be answered by work done."""

    broker: str
    point: str
    session: str
    number: int


class SetFault(Struct, frozen=True):
    """Open or end a fault that the station itself found. Repeating it changes nothing."""

    point: str
    pole: str
    kind: str
    on: bool
    at: Stamp
    last_good_wall_ms: int = 0


class EndFaults(Struct, frozen=True):
    """End what stands open where nobody can end it any more: faults of ``point`` about poles (at the station: brokers)
    that are not among ``names``. ``point`` "": faults of points that are not among them."""

    point: str
    names: tuple[str, ...]
    at: Stamp


class ChangeStage(Struct, frozen=True):
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


class StoreCommand(Struct, frozen=True):
    """Record that a command was asked for; its key, if it has one, is not kept."""

    broker: str
    terminal: str
    point: str
    command: Command
    at: Stamp


class SettleCommand(Struct, frozen=True):
    """Record what a point says has come of a command."""

    point: str
    answer: CommandAnswer
    at: Stamp


class Prune(Struct, frozen=True):
    """Forget incidents whose last alarm was closed, and faults that ended, before these wall times, and old notices
    and commands.

    Open ones are never forgotten.
    """

    at: Stamp
    alarms_before_ms: int
    faults_before_ms: int


class ReadStages(Struct, frozen=True):
    """Stages of these identities, and of the newest press of each of these poles, for a point that asked."""

    broker: str
    point: str
    identities: tuple[Identity, ...]
    poles: tuple[str, ...] = ()


class ReadAlarms(Struct, frozen=True):
    """A page of alarms, in the order in which an officer needs them; closed ones too with ``request.everything``."""

    broker: str
    terminal: str
    request: DeskRequest
    limit: int


class ReadAlarm(Struct, frozen=True):
    """One alarm with its history."""

    broker: str
    terminal: str
    request: DeskRequest
    number: int
    limit: int


class ReadFaults(Struct, frozen=True):
    """A page of the fault table: open ones, with ``request.everything`` ended ones too."""

    broker: str
    terminal: str
    request: DeskRequest
    limit: int


class ReadCase(Struct, frozen=True):
    """What a decision needs. ``number`` None: the first alarm that waits for an officer."""

    broker: str
    terminal: str
    request: DeskRequest
    number: int | None


class ReadCommands(Struct, frozen=True):
    """The newest commands, or that of ``request.id``."""

    broker: str
    terminal: str
    request: DeskRequest
    limit: int


class Log(Struct, frozen=True):
    """One line for the log: key=value fields; ``level`` is info, warning or error."""

    level: str
    text: str
    fields: tuple[tuple[str, str | int], ...] = ()


class Ready(Struct, frozen=True):
    """The station is armed: tell systemd, in words."""

    status: str


class AlarmStored(Struct, frozen=True):
    """``verdict`` is new, duplicate or clash; ``record``: the ledger's last one, at or after that of this alarm."""

    verdict: str
    number: int
    incident: int
    record: Entry | None = None


class StagesChanged(Struct, frozen=True):
    """``rows``: the alarms moved, newest first, bounded; ``moved`` counts all; ``told``: what points may be told;
    ``record``: the ledger's last one."""

    rows: tuple[AlarmRow, ...]
    moved: int
    still_waiting: int
    told: tuple[StageOf, ...]
    record: Entry | None = None


class CommandPage(Struct, frozen=True):
    """Commands, the newest first."""

    rows: tuple[CommandView, ...]


class CommandStored(Struct, frozen=True):
    """``row`` stands under its id; ``new`` is false where it did so before."""

    row: CommandView
    new: bool


class CommandSettled(Struct, frozen=True):
    """``row``: the command whose answer this was; None where it was none's, or not the first."""

    row: CommandView | None


class Done(Struct, frozen=True):
    """Stored; nothing more to say. ``new`` is false where it was there before."""

    new: bool = True


StoreEffect = (
    StoreAlarm | StoreNotice | ProveInbox | SetFault | EndFaults | ChangeStage | StoreCommand | SettleCommand | Prune
)
Outcome = AlarmStored | StagesChanged | CommandStored | CommandSettled | Done
ReadEffect = ReadStages | ReadAlarms | ReadAlarm | ReadFaults | ReadCase | ReadCommands
ReadResult = Stages | CommandPage | AlarmPage | AlarmFile | FaultPage | CaseFile | None
Effect = Connect | Disconnect | Subscribe | Publish | StoreEffect | ReadEffect | Log | Ready
STORE_EFFECTS = (
    StoreAlarm, StoreNotice, ProveInbox, SetFault, EndFaults, ChangeStage, StoreCommand, SettleCommand, Prune,
)  # fmt: skip
READ_EFFECTS = (ReadStages, ReadAlarms, ReadAlarm, ReadFaults, ReadCase, ReadCommands)
