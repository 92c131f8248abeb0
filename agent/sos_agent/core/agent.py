"""The agent's core: events and the time go in, effects come out, in order. It reads no clock and draws no chance.

The parts: ``lines`` (step 5), ``intake`` (step 6), ``courier`` (step 7), ``progress`` (the way back), ``supervision``
(who is there), ``notices``, ``commands``, ``uptime`` (ages), ``health``. This file only hands events on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sos_agent.core import effects, events
from sos_agent.core.brokers import Brokers
from sos_agent.core.commands import Commands
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.effects import ClosePort, Effect, PurgeReceipted, Ready
from sos_agent.core.events import Config, Event, Started
from sos_agent.core.health import HealthReport
from sos_agent.core.intake import Intake
from sos_agent.core.lines import Beat, Changed, Delivered, Lines, Lost, Opened
from sos_agent.core.notices import Notices
from sos_agent.core.progress import Answers, ProgressSync
from sos_agent.core.supervision import PoleLinks, Supervision
from sos_agent.core.uptime import Uptime
from sos_contract import payloads, topics
from sos_contract.payloads import Payload, ProbeAnswer, Progress, Receipt, Refused, State

KEEP_RECEIPTED_MS = 30 * 24 * 3_600_000
PURGE_MS = 6 * 3_600_000
# Nothing that a turn does makes more than a few further happenings; the bound is for a mistake of ours.
TURNS_MOST = 8
# What these tell is asked for when the time comes; nothing becomes due by them.
_NOTED = (events.Published,)
# What these bring concerns the lines alone, unless something comes of it or the time of something else has come.
_OF_LINES = (events.PortBytes, events.Timer)


class Agent:
    """One reporting point. The first event that counts is ``Started``; what comes before it, but for the clock and the
    ports, is refused."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._early: dict[type[Event], Event] = {}
        self._run: _Run | None = None

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """What to do about ``event``, in order. ``now_ms`` never goes back."""
        if isinstance(event, Started):
            assert self._run is None, "started twice"
            self._run = _Run(self._config, event, now_ms)
            todo = [event, *self._early.values()]
        elif self._run is None:
            assert isinstance(event, events.Clock | events.PortsSeen | events.Timer), "not started"
            self._early[type(event)] = event
            return []
        else:
            todo = [event]
        context = self._run.context
        context.now_ms = now_ms
        context.wall_ms = 0 if self._run.uptime.quality == "unset" else self._run.uptime.wall_ms()
        context.effects = []
        for one in todo:
            self._run.handle(one)
        if not isinstance(event, _NOTED) and not (isinstance(event, _OF_LINES) and self._run.pump_lines()):
            self._run.pump()
        return context.effects

    def next_timer_ms(self) -> int | None:
        """When ``Timer`` is due; None before the start and after the end."""
        return self._run.next_timer_ms() if self._run is not None else None

    @property
    def counts(self) -> dict[str, int]:
        """What was refused or mended, by reason."""
        return dict(self._run.context.counts) if self._run is not None else {}


class _Run:
    """All parts of a started agent."""

    def __init__(self, config: Config, started: Started, now_ms: int) -> None:
        contents = started.contents
        self.context = context = Context(config, started, now_ms)
        self.uptime = Uptime(context, contents.boots)
        self.lines = Lines(context, self.uptime)
        self.notices = Notices(context, contents)
        self.courier = Courier(context, self.uptime, contents.waiting_alarms)
        self.answers = Answers(context, self.lines, contents.newest)
        self.progress = ProgressSync(context, self.courier, self.answers)
        self.brokers = Brokers(context)
        self.supervision = Supervision(context, self.brokers)
        self.links = PoleLinks(context, self.notices, list(self.lines.poles))
        self.commands = Commands(context, self.lines)
        self.intake = Intake(
            context, self.uptime, self.notices, self.courier, self.answers, self.links, self.commands
        )  # fmt: skip
        self.health = HealthReport(context, self.uptime, self.lines, self.notices)
        self._contents = contents
        self._told = ""  # the service as the poles know it
        self._purge_ms = now_ms
        self._stopped = False
        self._unproved = False  # since the last proof something did not count
        self._due_ms: int | None = None  # of the next timer, once that was asked for
        self._others_ms: int | None = None  # the same of all parts but the lines
        self._handlers = self._table()

    def _table(self) -> dict[type[Event], Callable[[Any], None]]:
        return {
            events.Started: self._started,
            events.Stopping: self._stopping,
            events.Timer: lambda _: None,
            events.Clock: lambda e: self.uptime.clock(e.wall_ms, e.quality),
            events.PortsSeen: lambda e: self.lines.ports.seen(e.candidates),
            events.PortOpened: lambda e: self.lines.ports.opened(e.port),
            events.PortClosed: lambda e: self.lines.ports.closed(e.port, e.reason),
            events.PortBytes: lambda e: self.lines.received(e.port, e.data),
            events.Stored: self._stored,
            events.Receipted: self._receipted,
            events.MadeWaiting: lambda e: self.courier.made_waiting(e),
            events.ProgressStored: self._progress_stored,
            events.NoticeStored: self._notice_stored,
            events.NoticesDropped: lambda e: self.notices.dropped(e),
            events.WaitingFetched: lambda e: self.courier.fetched(e),
            events.NoticesFetched: lambda e: self.notices.fetched(e),
            events.ReceiptedFetched: lambda e: self.progress.fetched(e),
            events.Purged: lambda _: None,
            events.StoreFailed: self._store_failed,
            events.KeysStored: lambda e: self.commands.stored(e),
            events.KeysNotStored: lambda e: self.commands.not_stored(e),
            events.BrokerUp: self._broker_up,
            events.BrokerDown: self._broker_down,
            events.BrokerMessage: self._broker_message,
            events.Published: self._published,
        }

    def handle(self, event: Event) -> None:
        if not self._stopped:
            self._handlers[type(event)](event)

    def pump_lines(self) -> bool:
        """As ``pump``, where nothing but the lines has something due; False where that is not so."""
        lines, others_ms = self.lines, self._others_ms
        if others_ms is None or self.context.now_ms >= others_ms or self.context.effects or self._stopped:
            return False
        beats = [happening for happening in lines.happenings if isinstance(happening, Beat)]
        if len(beats) < len(lines.happenings):
            return False
        lines.happenings.clear()
        news = False
        for beat in beats:
            news |= self.health.beat(beat.pole, beat.status)
        if news:
            return False
        self._due_ms = None
        lines.pump()
        return not lines.happenings

    def pump(self) -> None:
        """What the time, or the event just handled, makes due: first what concerns presses, last the health."""
        self._due_ms = self._others_ms = None
        if self._stopped:
            return
        for _ in range(TURNS_MOST):
            for happening in self.lines.take():
                if isinstance(happening, Delivered):
                    self.intake.delivered(happening)
                elif isinstance(happening, Beat):
                    self.health.beat(happening.pole, happening.status)
                elif isinstance(happening, Opened):
                    self.health.changed = True
                    self.links.step(happening.pole, "opened", self.lines.poles[happening.pole].heard_ms)
                    self.answers.opened(happening.pole)
                elif isinstance(happening, Lost):
                    self.health.changed = True
                    self.links.step(happening.pole, "lost", self.lines.poles[happening.pole].heard_ms)
                    self.commands.lost(happening.pole)
                elif isinstance(happening, Changed):
                    self.commands.changed(happening.pole)
            self.supervision.timer()
            self.brokers.timer(self.supervision.broker_dead)
            self._tell_service()
            self.links.timer()
            self.commands.timer()
            self.courier.pump()
            self.progress.timer()
            self.notices.pump(self._free())
            self.lines.pump()
            if not self.lines.happenings:
                break
        self._purge()
        known = "unheard" not in self.links.states.values()
        self.health.pump(self.supervision.service, self.courier.waiting, known=known)

    def next_timer_ms(self) -> int | None:
        """Worked out once after each ``pump``: nothing moves it in between."""
        if self._stopped:
            return None
        if self._others_ms is None:
            self._others_ms = self._soonest_ms()
        if self._due_ms is None:
            self._due_ms = min(self.lines.next_due_ms(), self._others_ms)
        return self._due_ms

    def _soonest_ms(self) -> int:
        """Of all parts but the lines."""
        dues = (
            self.supervision.next_due_ms(),
            self.brokers.next_due_ms(),
            self.links.next_due_ms(),
            self.commands.next_due_ms(),
            self.courier.next_due_ms(),
            self.progress.next_due_ms(),
            self.notices.next_due_ms(self._free()),
            self.health.next_due_ms(),
            self._purge_ms,
        )
        return min([due for due in dues if due is not None])

    # -- start and end --------------------------------------------------------------------------------------------

    def _started(self, _: Started) -> None:
        self._tell_service()
        self.context.log(
            "info", "agent starts", session=self.context.session, outbox=self.context.outbox,
            waiting=self._contents.waiting_alarms, poles=len(self.lines.poles),
        )  # fmt: skip
        if self._contents.damaged:
            self.context.log("error", "the outbox was damaged and is moved aside", kept=self._contents.damaged)
            self.notices.add("", "outbox_damaged", on=True)
        self.notices.end_of_others(self.lines.poles)
        self.context.emit(Ready())

    def _stopping(self, _: events.Stopping) -> None:
        self.brokers.goodbye()
        for name in list(self.lines.ports.by_name):
            self.context.emit(ClosePort(name))
        self._stopped = True

    def _purge(self) -> None:
        if self.context.now_ms < self._purge_ms:
            return
        self._purge_ms = self.context.now_ms + PURGE_MS
        if self.uptime.quality == "synced":  # one that was never set, or set by hand, could find everything old
            self.context.emit(PurgeReceipted(self.uptime.wall_ms() - KEEP_RECEIPTED_MS, self.uptime.wall_ms()))

    # -- the outbox -----------------------------------------------------------------------------------------------

    def _stored(self, event: events.Stored) -> None:
        self.intake.stored(event)
        if event.outcome != "duplicate":
            self.health.disk_event("written")

    def _receipted(self, event: events.Receipted) -> None:
        self.courier.receipted(event)
        self.health.disk_event("written")

    def _notice_stored(self, event: events.NoticeStored) -> None:
        self.notices.stored(event)
        self.health.disk_event("noted")

    def _progress_stored(self, event: events.ProgressStored) -> None:
        for identity, stage in event.changed:
            self.answers.say(identity, stage)
        for identity, stage in event.unknown:
            self.answers.adrift(identity, stage)

    def _store_failed(self, event: events.StoreFailed) -> None:
        effect = event.effect
        if isinstance(effect, effects.StoreAlarm):
            self.intake.not_stored(effect)
        elif isinstance(effect, effects.MarkReceipted):
            self.courier.receipt_not_stored(effect)
        elif isinstance(effect, effects.MarkWaiting | effects.StoreProgress):
            self.progress.failed(effect)
        elif isinstance(effect, effects.StoreNotice):
            self.notices.not_stored(effect)
        elif isinstance(effect, effects.DropNotices):
            self.notices.drop_failed(effect)
        elif isinstance(effect, effects.FetchWaiting):
            self.courier.fetch_failed()
        elif isinstance(effect, effects.FetchNotices):
            self.notices.fetch_failed()
        elif isinstance(effect, effects.FetchReceipted):
            self.progress.fetch_failed()
        else:
            self.uptime.store_failed(effect)
        if not (isinstance(effect, effects.StoreNotice) and effect.detail is not None):
            # how long a button was held is the one thing that the outbox may refuse for its number
            crowded = isinstance(effect, effects.StoreNotice) and event.full
            self.health.disk_event("crowded" if crowded else "failed", event.reason)

    # -- the station ----------------------------------------------------------------------------------------------

    def _broker_up(self, event: events.BrokerUp) -> None:
        if self.brokers.ours(event.session):
            self.brokers.step("up")
            self.supervision.connected()
            self._came_back(self.context.now_ms + 1)  # all of it

    def _broker_down(self, event: events.BrokerDown) -> None:
        if self.brokers.ours(event.session):
            self.brokers.step("down", event.reason)

    def _published(self, event: events.Published) -> None:
        if self.brokers.ours(event.session):
            self.supervision.published(event.token)

    def _broker_message(self, event: events.BrokerMessage) -> None:
        if not self.brokers.ours(event.session):
            return
        topic = topics.parse(event.topic)
        if topic is None or topic.station != self.context.config.station:
            self.context.counts["message_elsewhere"] += 1
        elif topic.point == "" and topic.leaf == "state":
            state = self._read(event, State)
            if state is not None and state.online:
                self.supervision.station_says(state.session)
        elif topic.point == self.context.config.point and topic.leaf == "command":
            self.commands.take(event.payload, retained=event.retained)
        elif topic.point != self.context.config.point or event.retained:
            # what a broker kept from earlier would answer today's press with yesterday's receipt
            self.context.counts["message_elsewhere"] += 1
        elif topic.leaf == "receipt":
            self._receipt(event)
        elif topic.leaf == "progress":
            self._progress(event)
        elif topic.leaf == "probe_answer":
            self._probe_answer(event)

    def _receipt(self, event: events.BrokerMessage) -> None:
        receipt = self._read(event, Receipt)
        if receipt is None or not self._proved(receipt.inbox, receipt.run):
            return
        for identity in self.courier.receipt(receipt.alarms, receipt.inbox, receipt.record):
            self.answers.say(identity, "received")
        self.courier.refused(receipt.refused)
        if receipt.outbox == self.context.outbox:
            self.notices.receipt(receipt.notices)

    def _progress(self, event: events.BrokerMessage) -> None:
        progress = self._read(event, Progress)
        if progress is None or not self._proved(progress.inbox, progress.run):
            return
        receipted = tuple(self.progress.progress(progress))
        for identity in self.courier.receipt(receipted, progress.inbox, progress.record):
            self.answers.say(identity, "received")
        self.progress.store()

    def _probe_answer(self, event: events.BrokerMessage) -> None:
        answer = self._read(event, ProbeAnswer)
        told = self.supervision.answer(answer) if answer is not None else ""
        if told == "other":
            self.progress.begin_round(sweep=True)
        if told in ("other", "back"):
            # receipts that came before this proof did not count, whenever what they were for was said
            self._came_back(self.context.now_ms + 1 if self._unproved else self.supervision.good_ms)
            self._unproved = False

    def _proved(self, inbox: str, run: str) -> bool:
        """A receipt counts if the inbox that answers our probes gave it, in its present run; else it is only a hint."""
        if self.supervision.proved(inbox, run):
            return True
        self.context.counts["receipt_unproved"] += 1
        self._unproved = True
        self.supervision.hint()
        return False

    def _read(self, event: events.BrokerMessage, kind: type[Payload]) -> Payload | None:
        read = payloads.decode(event.payload, kind)
        if isinstance(read, Refused):
            self.context.counts["payload_refused"] += 1
            if self.context.counts["payload_refused"] == 1:
                self.context.log("warning", "refused a message of the station", topic=event.topic, reason=read.reason)
            return None
        return read

    def _tell_service(self) -> None:
        answers = self.supervision.service == "in_service"
        if answers != self.courier.in_service:
            self.courier.in_service = answers
            if answers:
                self._came_back(self.supervision.good_ms)
        # A press that we cannot hold would not reach the station: the pole must not say that it would.
        told = "station_lost" if answers and self.health.disk == "failing" else self.supervision.service
        if told != self._told:
            self._told = told
            self.lines.set_service(told)

    def _came_back(self, before_ms: int) -> None:
        """What was published after the answered probe reached the station as that did: not to be said again."""
        self.courier.came_back(before_ms)
        self.notices.came_back(before_ms)
        self.progress.begin_round()

    def _free(self) -> bool:
        return self.courier.in_service and self.courier.idle()
