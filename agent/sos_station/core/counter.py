"""Step 9, counter: takes the officers' requests one by one, has them decided by the desk, answers them."""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

from sos_contract import topics
from sos_contract.payloads import DeskAnswer, DeskRequest, Identity, Progress, Refused, decode, encode
from sos_station.core import commands, desk
from sos_station.core.effects import (
    ChangeStage,
    Effect,
    Log,
    Publish,
    ReadAlarm,
    ReadAlarms,
    ReadCase,
    ReadEffect,
    ReadFaults,
    ReadResult,
    StagesChanged,
)
from sos_station.core.inbox import MAX_IDENTITIES
from sos_station.core.records import AlarmFile, AlarmPage, AlarmRow, CaseFile, FaultPage, Stamp, view
from sos_station.core.refusals import Refusals

# Rows in one answer: 400 bytes each, so below MAX_PAYLOAD_BYTES.
MAX_ROWS = 100
# Requests that wait while one is decided: officers are few and a commit takes milliseconds.
MAX_QUEUE = 256
# Answers kept for requests that come again (through another broker, by an impatient terminal).
MAX_ANSWERS = 1024
# Lists being read; beyond it a terminal is told to try again.
MAX_LISTS = 64

_OTHER_RUN = "the station has started anew since your screen was shown; look again"

IDLE, READING, CHANGING = "idle", "reading", "changing"
# One decision at a time: (state, happening) -> state
FLOW: dict[tuple[str, str], str] = {
    (IDLE, "begin"): READING,
    (READING, "refuse"): IDLE,
    (READING, "change"): CHANGING,
    (CHANGING, "changed"): IDLE,
    (CHANGING, "failed"): IDLE,
}


class Counter:
    """The officers' side of the station. Bounded: a queue, the last answers, nothing of the alarms themselves."""

    def __init__(self, station: str, poles: dict[str, str], for_poles: commands.Commands) -> None:
        """``poles``: point of each pole of the site."""
        self._station = station
        self._poles = poles
        self._commands = for_poles
        self.incarnation = ""
        self.run = ""
        self._state = IDLE
        self._queue: deque[tuple[str, str, DeskRequest]] = deque()
        self._answers: OrderedDict[str, tuple[DeskRequest, DeskAnswer]] = OrderedDict()
        self._lists = 0
        self._refusals = Refusals()

    def request(self, broker: str, terminal: str, payload: bytes, now: Stamp) -> list[Effect]:
        """A terminal asks. Reads are answered at once, changes wait their turn; commands go to the poles."""
        request = decode(payload, DeskRequest)
        if isinstance(request, Refused):
            return self._refusals.told("desk_request", request.reason, terminal=terminal)
        why = desk.complaint(request)
        if why:
            return [self._answer(broker, terminal, DeskAnswer(number=request.number, error=why))]
        if request.action in ("command", "commands"):
            return self._commands.request(broker, terminal, request, now)
        if request.action not in desk.ACTIONS:
            return self._list(broker, terminal, request)
        if len(self._queue) >= MAX_QUEUE:
            return [self._answer(broker, terminal, DeskAnswer(number=request.number, error="too many requests wait"))]
        self._queue.append((broker, terminal, request))
        return self._next()

    def _list(self, broker: str, terminal: str, request: DeskRequest) -> list[Effect]:
        if self._lists >= MAX_LISTS:
            return [self._answer(broker, terminal, DeskAnswer(number=request.number, error="the station is busy"))]
        limit = max(1, min(request.limit, MAX_ROWS))
        if not 0 <= request.offset < 2**53:
            return [self._answer(broker, terminal, DeskAnswer(number=request.number, error="no such page"))]
        number = desk.number_of(request.alarm)
        if request.action == "show" and number is None:
            return [self._answer(broker, terminal, _no_number(request))]
        self._lists += 1
        if request.action == "show" and number is not None:
            return [ReadAlarm(broker, terminal, request, number, limit)]
        if request.action == "notices":
            return [ReadFaults(broker, terminal, request, limit)]
        return [ReadAlarms(broker, terminal, request, limit)]

    def _next(self) -> list[Effect]:
        """Begin with the next request, unless one is under way. Answers repeats and nonsense on the way."""
        effects: list[Effect] = []
        while self._state == IDLE and self._queue:
            broker, terminal, request = self._queue.popleft()
            number = desk.number_of(request.alarm)
            known = self._answers.get(request.number)
            if known is not None:
                answer = known[1] if known[0] == request else _reused(request)
                effects.append(self._answer(broker, terminal, answer))
            elif number is None and (request.alarm or request.action != "accept"):
                effects.append(self._settle(broker, terminal, request, _no_number(request)))
            else:
                self._move("begin")
                effects.append(ReadCase(broker, terminal, request, number))
        return effects

    def read(self, effect: ReadEffect, result: ReadResult, now: Stamp) -> list[Effect]:
        """Completion of a read of ours."""
        if isinstance(effect, ReadCase):
            assert isinstance(result, CaseFile)
            return self._decide(effect, result, now)
        assert isinstance(effect, ReadAlarms | ReadAlarm | ReadFaults)
        self._lists -= 1
        return [self._answer(effect.broker, effect.terminal, _listed(effect, result, now))]

    def read_failed(self, effect: ReadEffect, reason: str) -> list[Effect]:
        """The inbox could not be read: the officer is told."""
        assert isinstance(effect, ReadCase | ReadAlarms | ReadAlarm | ReadFaults)
        error = f"the station cannot read its inbox: {reason}"
        answer = DeskAnswer(number=effect.request.number, error=error)
        if isinstance(effect, ReadCase):
            self._move("refuse")
            return [self._settle(effect.broker, effect.terminal, effect.request, answer), *self._next()]
        self._lists -= 1
        return [self._answer(effect.broker, effect.terminal, answer)]

    def _decide(self, effect: ReadCase, found: CaseFile, now: Stamp) -> list[Effect]:
        request, case = effect.request, found.case
        if found.done:
            # Carried out before a restart of the station: the same answer, as the alarms stand now.
            answer = DeskAnswer(number=request.number, alarms=tuple(view(row, now) for row in found.done))
        elif request.run and request.run != self.run:
            # A run that began with an older copy of the inbox gives numbers once more, to other alarms.
            answer = DeskAnswer(number=request.number, error=_OTHER_RUN)
        elif case is None:
            answer = DeskAnswer(number=request.number, error=_no_such(effect))
        else:
            decision = desk.decide(case, request, now)
            if isinstance(decision, desk.Move):
                self._move("change")
                row, target = case.row, decision.to_stage
                change = (row.number, row.incident, decision.upto, decision.from_stage, target, decision.note)
                return [ChangeStage(effect.broker, effect.terminal, request, *change, at=now)]
            if isinstance(decision, desk.Refusal):
                answer = DeskAnswer(number=request.number, error=decision.words, alarms=(view(case.row, now),))
            else:
                answer = DeskAnswer(number=request.number, hint="nothing to do", alarms=(view(case.row, now),))
        self._move("refuse")
        return [self._settle(effect.broker, effect.terminal, request, answer), *self._next()]

    def changed(self, effect: ChangeStage, outcome: StagesChanged, brokers: list[str], now: Stamp) -> list[Effect]:
        """The change is on disk: only now may the officer and the lamps say so."""
        self._move("changed")
        rows = tuple(view(row, now) for row in outcome.rows[:MAX_ROWS])
        hint = desk.changed_hint(outcome.moved, outcome.still_waiting, rows)
        answer = DeskAnswer(number=effect.request.number, alarms=rows, hint=hint)
        effects = [self._settle(effect.broker, effect.terminal, effect.request, answer)]
        effects += self._tell_points(outcome, brokers)
        effects += [_log_change(effect, row) for row in outcome.rows[:1]]
        return effects + self._next()

    def change_failed(self, effect: ChangeStage, reason: str) -> list[Effect]:
        """Not on disk: nothing has changed, and the officer is told."""
        self._move("failed")
        error = f"nothing has changed, the station's inbox does not take it: {reason}"
        answer = DeskAnswer(number=effect.request.number, error=error)
        return [self._settle(effect.broker, effect.terminal, effect.request, answer), *self._next()]

    def _tell_points(self, outcome: StagesChanged, brokers: list[str]) -> list[Effect]:
        """Progress is pushed on each change through every broker, to the point that told of the press and to the one
        where its pole stands now; the point's own question mends what gets lost."""
        by_point: dict[str, list[tuple[Identity, str]]] = {}
        for stage in outcome.told:
            for point in {stage.point: None, self._poles.get(stage.id.pole, stage.point): None}:
                by_point.setdefault(point, []).append((stage.id, stage.stage))
        effects: list[Effect] = []
        for point, stages in by_point.items():
            topic = topics.of_point(self._station, point, "progress")
            told = tuple(stages[:MAX_IDENTITIES])
            progress = Progress(inbox=self.incarnation, run=self.run, stages=told, record=outcome.record)
            effects += [Publish(broker, topic, encode(progress)) for broker in brokers]
        return effects

    def _settle(self, broker: str, terminal: str, request: DeskRequest, answer: DeskAnswer) -> Effect:
        """Answer a change for good: whatever comes again under this number is told the same."""
        self._answers[request.number] = request, answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return self._answer(broker, terminal, answer)

    def _answer(self, broker: str, terminal: str, answer: DeskAnswer) -> Effect:
        answer = msgspec.structs.replace(answer, run=self.run)
        return Publish(broker, topics.desk_answer(self._station, terminal), encode(answer))

    def _move(self, happening: str) -> None:
        """Raises KeyError, changing nothing, for what the table does not list."""
        self._state = FLOW[self._state, happening]


def _listed(effect: ReadAlarms | ReadAlarm | ReadFaults, result: ReadResult, now: Stamp) -> DeskAnswer:
    number = effect.request.number
    if isinstance(result, AlarmPage):
        rows = tuple(view(row, now) for row in result.rows)
        more = max(0, result.total - effect.request.offset - len(rows))
        return DeskAnswer(number=number, alarms=rows, more=more)
    if isinstance(result, FaultPage):
        more = max(0, result.total - effect.request.offset - len(result.faults))
        return DeskAnswer(number=number, faults=result.faults, more=more)
    if isinstance(result, AlarmFile):
        views = tuple(view(row, now) for row in (result.row, *result.others))
        return DeskAnswer(number=number, alarms=views, changes=result.changes)
    return DeskAnswer(number=number, error=_no_such(effect))


def _no_such(effect: ReadCase | ReadAlarms | ReadAlarm | ReadFaults) -> str:
    if isinstance(effect, ReadCase) and effect.number is None:
        return "no alarm waits for an officer"
    return f"no alarm {effect.request.alarm.strip()}; 'safezone alarms list --all' shows all there are"


def _no_number(request: DeskRequest) -> DeskAnswer:
    shown = request.alarm[:20]
    error = f"'{shown}' is no alarm number" if shown else f"which alarm? 'safezone alarms {request.action} NUMBER'"
    return DeskAnswer(number=request.number, error=error)


def _reused(request: DeskRequest) -> DeskAnswer:
    return DeskAnswer(number=request.number, error="another request had this number; nothing has changed")


def _log_change(effect: ChangeStage, row: AlarmRow) -> Effect:
    fields = (
        ("pole", row.id.pole),
        ("press", row.id.press),
        ("number", effect.number),
        ("incident", effect.incident),
        ("stage", effect.to_stage),
        ("officer", effect.request.officer),
    )
    return Log("info", "alarm_changed", fields)
