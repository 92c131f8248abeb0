"""Step 8, inbox: an alarm is committed, told from its duplicates, and only then receipted.

A receipt says that the station holds the alarm on disk. It is made in the handler of ``Committed`` and nowhere else;
an alarm that was there before is receipted again in the same words, since its first receipt may have been lost.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from sos_contract import topics
from sos_contract.payloads import (
    Alarm,
    Entry,
    Identity,
    Notice,
    Probe,
    ProbeAnswer,
    Progress,
    ProgressQuery,
    Receipt,
    Refused,
    decode,
    encode,
)
from sos_contract.stages import NOTICE_KINDS
from sos_station.core.effects import (
    AlarmStored,
    Effect,
    Log,
    Outcome,
    ProveInbox,
    Publish,
    ReadStages,
    StoreAlarm,
    StoreEffect,
    StoreNotice,
)
from sos_station.core.records import Stages, Stamp
from sos_station.core.refusals import Refusals

T = TypeVar("T")

# A press that took longer than this to get here is late: two missed probes and a re-send take less.
LATE_MS = 60_000
# Broker and network between agent and station hold a message some seconds at most; more is a clock gone wrong.
MAX_TRANSIT_MS = 3_600_000
# Identities in one answer: 100 bytes each, so far below MAX_PAYLOAD_BYTES.
MAX_IDENTITIES = 200
# Stores under way. Agents keep 64 in flight and offer again: more than this waits only while the disk hangs.
MAX_STORES = 5_000
# Of the backlog lane so many share a commit at most, the rest waits here: a press from just now, which no backlog may
# delay, then waits for one short commit only. 16 still drain some thousand a second.
MAX_BACKLOG_STORES = 16
# Poles in one query: an agent serves sixteen at most.
MAX_POLES = 64
# Reads under way for points; beyond it a query is dropped, the point asks again within 30 s.
MAX_READS = 500

MAX_NAME = 64
_U32, _I63 = 2**32, 2**63


def classify(known: Sequence[tuple[str, int, int]], alarm: Alarm) -> tuple[str, int]:
    """``new``, ``duplicate`` or ``clash``, and which of ``known`` it duplicates (-1 for none).

    ``known`` are the contents (see ``content``) under which the inbox holds alarms of the same pole, incarnation, boot
    and press. The number that an outbox gave a clash is no content: another outbox may count otherwise.
    """
    mine = content(alarm)
    if mine in known:
        return "duplicate", list(known).index(mine)
    return ("clash" if known or alarm.id.clash else "new"), -1


def content(alarm: Alarm) -> tuple[str, int, int]:
    """What a retry of the same press cannot change."""
    return alarm.kind, alarm.pressed_at_ms, alarm.repeats


def age_at_receipt_ms(alarm: Alarm, received: Stamp) -> int | None:
    """Age of the press: what the agent reckoned, and the way here where both clocks are good enough to measure it."""
    if alarm.age_ms is None:
        return None
    transit_ms = received.wall_ms - alarm.sent_wall_ms
    measured = alarm.clock == "synced" and received.quality == "synced" and 0 < transit_ms <= MAX_TRANSIT_MS
    return alarm.age_ms + (transit_ms if measured else 0)


def complaint(alarm: Alarm) -> str:
    """Why ``alarm`` cannot be taken, in words; empty if it can. Kinds of a later release are taken: they are calls."""
    if alarm.kind in NOTICE_KINDS:
        return f"kind {alarm.kind} is a notice, not an alarm"
    if not _is_identity(alarm.id):
        return "its identity does not fit: pole, 16 hex digits, boot and press below 2^32"
    if not (0 < len(alarm.kind) <= MAX_NAME and alarm.kind.isprintable()):
        return "its kind is no word"
    if not (0 <= alarm.pressed_at_ms < _I63 and 0 <= alarm.repeats < _U32):
        return "its uptime or its repeats are out of range"
    if alarm.age_ms is not None and not 0 <= alarm.age_ms < 2**53:
        return "its age is out of range"
    return ""


def _is_identity(identity: Identity) -> bool:
    return (
        0 < len(identity.pole) <= MAX_NAME
        and identity.pole.isprintable()
        and len(identity.incarnation) == 16
        and set(identity.incarnation) <= set("0123456789abcdef")
        and 0 <= identity.boot < _U32
        and 0 <= identity.press < _U32
        and 0 <= identity.clash < _U32
    )


def notice_complaint(notice: Notice) -> str:
    """Why ``notice`` cannot be taken; empty if it can."""
    names = (notice.outbox, notice.pole, notice.kind)
    if not all(len(name) <= MAX_NAME and name.isprintable() for name in names) or not notice.kind:
        return "a name in it is too long or unprintable"
    numbers = (notice.number, notice.value, notice.merged, notice.wall_ms)
    if not all(-_I63 <= number < _I63 for number in numbers):
        return "a number in it is out of range"
    detail = notice.detail
    if detail is not None and not (_is_identity(detail.id) and 0 <= detail.held_ms < 2**53):
        return "its detail does not fit"
    return ""


class Inbox:
    """What points send and what they are answered. Holds only counts: the inbox itself is on disk."""

    def __init__(self, station: str, poles: dict[str, str]) -> None:
        """``poles``: point of each pole of the site."""
        self.incarnation = ""
        self.run = ""
        self._opened: int | None = None  # high water before this run's first commit
        self.counts: Counter[str] = Counter()
        self.refusals = Refusals()
        self._station = station
        self._poles = poles
        self._stores = 0  # handed out or held back
        self._reads = 0
        self._backlog_stores = 0  # of the backlog lane, handed out
        self._held: deque[StoreAlarm] = deque()  # of the backlog lane, to be handed out

    def alarm(self, broker: str, point: str, payload: bytes, received: Stamp) -> list[Effect]:
        alarm = decode(payload, Alarm)
        if isinstance(alarm, Refused):
            return self.refusals.told("alarm", alarm.reason, point=point)
        why = complaint(alarm)
        if why:
            effects = self.refusals.told("alarm", why, point=point)
            if _is_identity(alarm.id):
                refusal = Receipt(inbox=self.incarnation, run=self.run, refused=((alarm.id, why),))
                effects.append(self._to_point(broker, point, "receipt", refusal))
            return effects
        if self._stores >= MAX_STORES:
            return self.refusals.told("alarm", "too many stores under way; the agent will offer it again", point=point)
        self._stores += 1
        age_ms = age_at_receipt_ms(alarm, received)
        late = age_ms is None or age_ms > LATE_MS
        store = StoreAlarm(broker, point, alarm, received, age_ms, late, self._remark(point, alarm))
        if alarm.lane == "live":
            return [store]
        self._held.append(store)
        return self._release()

    def _release(self) -> list[Effect]:
        """Stores of the backlog lane that may go on now."""
        count = min(len(self._held), MAX_BACKLOG_STORES - self._backlog_stores)
        self._backlog_stores += count
        return [self._held.popleft() for _ in range(count)]

    def _remark(self, point: str, alarm: Alarm) -> str:
        # A press is never refused for what our site file does not know: it may be older than the pole.
        home = self._poles.get(alarm.id.pole)
        if home is None:
            return "pole is not in the station's site file"
        return "" if home == point else f"pole belongs to point {home}"

    def notice(
        self,
        broker: str,
        point: str,
        payload: bytes,
        received: Stamp,
        last_good_wall_ms: Callable[[str, str, str], int],
    ) -> list[Effect]:
        notice = decode(payload, Notice)
        why = notice.reason if isinstance(notice, Refused) else notice_complaint(notice)
        if why or isinstance(notice, Refused):
            return self.refusals.told("notice", why, point=point)
        if self._stores >= MAX_STORES:
            return self.refusals.told("notice", "too many stores under way; the agent will offer it again", point=point)
        self._stores += 1
        return [StoreNotice(broker, point, notice, received, last_good_wall_ms(point, notice.pole, notice.kind))]

    def probe(self, broker: str, point: str, probe: Probe) -> list[Effect]:
        if self._stores >= MAX_STORES or len(probe.session) > MAX_NAME or not -_I63 <= probe.number < _I63:
            return self.refusals.told("probe", "too many stores under way, or it does not fit", point=point)
        self._stores += 1
        return [ProveInbox(broker, point, probe.session, probe.number)]

    def query(self, broker: str, point: str, payload: bytes) -> list[Effect]:
        query = decode(payload, ProgressQuery)
        if isinstance(query, Refused):
            return self.refusals.told("progress_query", query.reason, point=point)
        known = tuple(identity for identity in query.alarms if _is_identity(identity))
        poles = tuple(pole for pole in query.poles[:MAX_POLES] if len(pole) <= MAX_NAME)
        if not known and not poles:
            return []
        if self._reads >= MAX_READS:
            return self.refusals.told("progress_query", "too many reads under way", point=point)
        self._reads += 1
        return [ReadStages(broker, point, known, poles)]

    def stages(self, effect: ReadStages, found: Stages) -> list[Effect]:
        """Answer to a progress query: the stage of each alarm asked for, those that the inbox lacks, and the stage of
        the newest press of each pole asked for."""
        self._reads -= 1
        by_id = {stage.id: stage.stage for stage in found.stages}
        asked = tuple(dict.fromkeys([*effect.identities, *by_id]))  # and what was found of the poles asked for
        return [
            self._to_point(
                effect.broker,
                effect.point,
                "progress",
                Progress(
                    inbox=self.incarnation,
                    run=self.run,
                    stages=tuple((identity, by_id[identity]) for identity in part if identity in by_id),
                    missing=tuple(identity for identity in part if identity not in by_id),
                    record=found.record if by_id else None,
                ),
            )
            for part in _parts(asked) or [()]  # to know of nothing is an answer, too
        ]

    def stages_failed(self) -> list[Effect]:
        """The disk did not say: nothing is told; the point asks again."""
        self._reads -= 1
        return []

    def committed(self, results: Sequence[tuple[StoreEffect, Outcome]], high_water: int) -> list[Effect]:
        """Step 8's promise: these are on disk, so say it. One receipt a point for all that shared the commit."""
        if self._opened is None:
            self._opened = high_water - len(results)  # each of them counts one
        alarms: dict[tuple[str, str], list[Identity]] = {}
        record: Entry | None = None
        notices: dict[tuple[str, str, str], list[int]] = {}
        answers: list[Effect] = []
        logs: list[Effect] = []
        for effect, outcome in results:
            if isinstance(effect, StoreAlarm) and isinstance(outcome, AlarmStored):
                self._stores -= 1
                self._backlog_stores -= effect.alarm.lane == "backlog"
                self.counts[outcome.verdict] += 1
                alarms.setdefault((effect.broker, effect.point), []).append(effect.alarm.id)
                record = outcome.record
                if outcome.verdict != "duplicate":
                    logs.append(_log_alarm(effect, outcome))
            elif isinstance(effect, StoreNotice):
                self._stores -= 1
                key = effect.broker, effect.point, effect.notice.outbox
                notices.setdefault(key, []).append(effect.notice.number)
            elif isinstance(effect, ProveInbox):
                self._stores -= 1
                answers.append(self._answer_probe(effect, high_water))
        receipts: list[Effect] = []
        for (broker, point), identities in alarms.items():
            for part in _parts(list(dict.fromkeys(identities))):
                receipt = Receipt(inbox=self.incarnation, run=self.run, alarms=part, record=record)
                receipts.append(self._to_point(broker, point, "receipt", receipt))
        for (broker, point, outbox), numbers in notices.items():
            for these in _parts(list(dict.fromkeys(numbers))):
                receipt = Receipt(inbox=self.incarnation, run=self.run, outbox=outbox, notices=these)
                receipts.append(self._to_point(broker, point, "receipt", receipt))
        return receipts + answers + self._release() + logs

    def failed(self, effects: Sequence[StoreEffect]) -> list[Effect]:
        """Not on disk: nothing is said, so that the agent keeps the alarm and, unanswered, tells its poles."""
        for effect in effects:
            self._stores -= isinstance(effect, StoreAlarm | StoreNotice | ProveInbox)
            self._backlog_stores -= isinstance(effect, StoreAlarm) and effect.alarm.lane == "backlog"
        return self._release()

    def _answer_probe(self, effect: ProveInbox, high_water: int) -> Effect:
        answer = ProbeAnswer(
            session=effect.session, number=effect.number, inbox=self.incarnation, high_water=high_water,
            run=self.run, opened=self._opened or 0,
        )  # fmt: skip
        return self._to_point(effect.broker, effect.point, "probe_answer", answer)

    def _to_point(self, broker: str, point: str, leaf: str, payload: Receipt | Progress | ProbeAnswer) -> Effect:
        return Publish(broker, topics.of_point(self._station, point, leaf), encode(payload))


def _log_alarm(effect: StoreAlarm, outcome: AlarmStored) -> Log:
    identity = effect.alarm.id
    return Log(
        "warning" if outcome.verdict == "clash" else "info",
        "alarm_clash" if outcome.verdict == "clash" else "alarm_received",
        (
            ("pole", identity.pole),
            ("press", identity.press),
            ("number", outcome.number),
            ("incident", outcome.incident),
            ("kind", effect.alarm.kind),
            ("age_ms", "unknown" if effect.age_ms is None else effect.age_ms),
        ),
    )


def _parts(whole: Sequence[T]) -> list[tuple[T, ...]]:
    return [tuple(whole[start : start + MAX_IDENTITIES]) for start in range(0, len(whole), MAX_IDENTITIES)]
