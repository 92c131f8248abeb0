"""The station's core: events and the time go in, effects come out, in order. No I/O, no clock, no random number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sos_contract import topics
from sos_contract.payloads import Health, Probe, Refused, State, decode
from sos_station.core import faults
from sos_station.core.brokers import Brokers, shown
from sos_station.core.clock import WallClock
from sos_station.core.commands import Commands
from sos_station.core.counter import Counter
from sos_station.core.effects import (
    ChangeStage,
    CommandPage,
    CommandSettled,
    CommandStored,
    Effect,
    EndFaults,
    Log,
    Prune,
    ReadCommands,
    ReadStages,
    Ready,
    SetFault,
    StagesChanged,
    StoreCommand,
    StoreNotice,
)
from sos_station.core.events import (
    BrokerDown,
    BrokerUp,
    Clock,
    CommitFailed,
    Committed,
    Event,
    Message,
    Read,
    ReadFailed,
    Started,
    Stopping,
    Tick,
)
from sos_station.core.inbox import Inbox
from sos_station.core.points import Points
from sos_station.core.records import Stages
from sos_wire.seal import Stream

# What is kept no longer is looked for once a day.
PRUNE_EVERY_MS = 24 * 3_600_000
# A clock that nobody disciplines yet is asked again: a machine that is switched on by day only has no tomorrow.
PRUNE_AGAIN_MS = 3_600_000
# A turn that comes this long after it was due: the program was stopped, or the machine slept. Load takes less.
AWAY_MS = 1_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core needs of the site: the station's id, its brokers, its points and the point of each pole.

    ``certificate_until_ms``: the end of the station's own certificate, Unix time. ``*_keep_ms``: how long closed
    alarms and ended faults are kept.
    """

    station: str
    brokers: tuple[str, ...]
    points: tuple[str, ...]
    poles: dict[str, str]
    certificate_until_ms: int | None = None
    alarms_keep_ms: int = faults.KEEP_MS
    faults_keep_ms: int = faults.KEEP_MS


class Station:
    """One station program. ``handle`` must be called with ``Clock`` and ``Started`` first, in this order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = WallClock()
        self._brokers = Brokers(settings.station, settings.brokers)
        self._points = Points(list(settings.points))
        self._health = faults.HealthWatch(settings.poles)
        self.inbox = Inbox(settings.station, settings.poles)
        self.commands = Commands(settings.station, settings.poles)
        self._counter = Counter(settings.station, settings.poles, self.commands)
        self._prune_ms: int | None = None
        self._due_ms: int | None = None  # when the next turn is due
        self._ran_ms = 0  # when the last event was handled
        self._failing = False
        # What each fault should be, and how those began that the disk did not take. Bounded by what the site has.
        self._faults: dict[tuple[str, str, str], SetFault] = {}
        self._unsaved: dict[tuple[str, str, str], SetFault] = {}
        self._unended: list[EndFaults] = []  # of the start, that the disk did not take: two at most
        # Health that a broker kept: believed once the session that said it is heard alive. A point that changed brokers
        # left older health at the one before.
        self._kept: dict[tuple[str, str], Health] = {}
        self._handlers: dict[type, Callable[[Any, int], list[Effect]]] = {
            Clock: self._told_time,
            Started: self._started,
            Tick: self._tick,
            BrokerUp: self._broker_up,
            BrokerDown: self._broker_down,
            Message: self._message,
            Committed: self._committed,
            CommitFailed: self._commit_failed,
            Read: self._read,
            ReadFailed: self._read_failed,
            Stopping: self._stopping,
        }
        self._leaves: dict[str, Callable[[Message, str, int], list[Effect]]] = {
            "alarm": self._alarm,
            "notice": self._notice,
            "probe": self._probe,
            "progress_query": self._query,
            "health": self._told_health,
            "state": self._state,
            "desk_request": self._desk_request,
            "command_answer": lambda e, point, now: self.commands.answered(point, e.payload, self._clock.stamp(now)),
        }

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Effects of ``event``, to be carried out in this order. Raises KeyError for an event that cannot be."""
        self._listen_first(now_ms)
        effects = self._handlers[type(event)](event, now_ms)
        waits = (self._brokers.next_ms(), self._points.next_ms(), self._prune_ms)
        self._due_ms = min((wait for wait in waits if wait is not None), default=None)
        for effect in effects:
            if isinstance(effect, SetFault):
                self._faults[effect.point, effect.pole, effect.kind] = effect
        return effects

    def next_timer_ms(self) -> int | None:
        """When ``Tick`` is due, in the time of ``now_ms``; None: no need."""
        return self._due_ms

    def _listen_first(self, now_ms: int) -> None:
        """Who wakes late finds everybody silent: what they said waits unread, and must be heard before it is judged."""
        # Counted once: a timer stays overdue until its tick, and many messages may be read before that.
        away_ms = now_ms - max(now_ms if self._due_ms is None else self._due_ms, self._ran_ms)
        self._ran_ms = now_ms
        if away_ms > AWAY_MS:
            self._points.away(away_ms)
            self._brokers.away(away_ms)

    # --- the program itself

    def _told_time(self, event: Clock, now_ms: int) -> list[Effect]:
        self._clock.set(event.wall_ms, event.quality, now_ms)
        return []

    def _started(self, event: Started, now_ms: int) -> list[Effect]:
        self._clock.timebase = event.timebase
        self.inbox.incarnation = self._counter.incarnation = event.inbox
        self.inbox.run = self._counter.run = event.entropy[-4:].hex()
        self._prune_ms = now_ms
        ready = Ready(f"armed; inbox {event.inbox}")
        now = self._clock.stamp(now_ms)
        own = self._health.shown(self._settings.station, "", self._settings.certificate_until_ms, now)
        # What left the site file while we were away: nobody else could end its faults.
        brokers = tuple(shown(broker) for broker in self._settings.brokers)
        places = ("", (*self._settings.points, self._settings.station)), (self._settings.station, brokers)
        gone = [EndFaults(point, names, now) for point, names in places]
        return [ready, *self._brokers.start(Stream(event.entropy), now), *own, *gone]

    def _tick(self, _event: Tick, now_ms: int) -> list[Effect]:
        now = self._clock.stamp(now_ms)
        effects = self._brokers.tick(now) + self._points.tick(now) + self._health.tick(now)
        self._points.sight(bool(self._brokers.up()), now)
        if self._prune_ms is not None and now_ms >= self._prune_ms:
            self._prune_ms = now_ms + (PRUNE_EVERY_MS if now.quality == "synced" else PRUNE_AGAIN_MS)
            if now.quality == "synced":  # one that was never set, or set by hand, could find everything old
                keep = self._settings
                effects.append(Prune(now, now.wall_ms - keep.alarms_keep_ms, now.wall_ms - keep.faults_keep_ms))
        return effects

    def _stopping(self, _event: Stopping, now_ms: int) -> list[Effect]:
        return self._brokers.stop(self._clock.stamp(now_ms))

    # --- brokers

    def _broker_up(self, event: BrokerUp, now_ms: int) -> list[Effect]:
        now = self._clock.stamp(now_ms)
        effects = self._brokers.came_up(event.broker, now)
        effects += self._health.shown(self._settings.station, shown(event.broker), event.until_ms, now)
        self._points.sight(True, now)
        return effects

    def _broker_down(self, event: BrokerDown, now_ms: int) -> list[Effect]:
        now = self._clock.stamp(now_ms)
        effects = self._brokers.went_down(event.broker, event.reason, now)
        self._points.sight(bool(self._brokers.up()), now)
        return effects

    def _message(self, event: Message, now_ms: int) -> list[Effect]:
        topic = topics.parse(event.topic)
        if topic is None or topic.station != self._settings.station or topic.leaf not in self._leaves:
            return []
        if event.retained and topic.leaf not in topics.RETAINED:
            # Kept by a broker: an alarm from who knows when. Whoever has it on disk offers it as a message.
            return self.inbox.refusals.told("retained", "kept by a broker", topic=event.topic)
        return self._leaves[topic.leaf](event, topic.point, now_ms)

    def _heard(self, point: str, session: str, now_ms: int) -> list[Effect]:
        effects = self._points.heard(point, session, self._clock.stamp(now_ms))
        for broker in self._settings.brokers:
            kept = self._kept.get((broker, point))
            if kept is not None and session == kept.session:
                del self._kept[broker, point]
                effects += self._health.told(point, kept, self._clock.stamp(now_ms))
        return effects

    # --- points

    def _alarm(self, event: Message, point: str, now_ms: int) -> list[Effect]:
        # The alarm's store comes before all else that this message means.
        effects = self.inbox.alarm(event.broker, point, event.payload, self._clock.stamp(now_ms))
        return effects + self._heard(point, "", now_ms)

    def _notice(self, event: Message, point: str, now_ms: int) -> list[Effect]:
        now = self._clock.stamp(now_ms)
        effects = self.inbox.notice(event.broker, point, event.payload, now, self._health.last_good_wall_ms)
        for effect in effects:
            if isinstance(effect, StoreNotice):
                self._health.noticed(point, effect.notice.pole, effect.notice.kind)
        return effects + self._heard(point, "", now_ms)

    def _probe(self, event: Message, point: str, now_ms: int) -> list[Effect]:
        probe = decode(event.payload, Probe)
        if isinstance(probe, Refused):
            return self.inbox.refusals.told("probe", probe.reason, point=point)
        return self.inbox.probe(event.broker, point, probe) + self._heard(point, probe.session, now_ms)

    def _query(self, event: Message, point: str, now_ms: int) -> list[Effect]:
        return self.inbox.query(event.broker, point, event.payload) + self._heard(point, "", now_ms)

    def _told_health(self, event: Message, point: str, now_ms: int) -> list[Effect]:
        health = decode(event.payload, Health)
        if isinstance(health, Refused):
            return self.inbox.refusals.told("health", health.reason, point=point)
        if point not in self._settings.points:
            return []  # nothing of it is watched, and nobody knows how many such there could be
        if event.retained:
            self._kept[event.broker, point] = health
            return []
        for broker in self._settings.brokers:
            self._kept.pop((broker, point), None)
        self.commands.heard(point, health, self._clock.stamp(now_ms))
        told = self._health.told(point, health, self._clock.stamp(now_ms))
        return self._heard(point, health.session, now_ms) + told

    def _state(self, event: Message, point: str, now_ms: int) -> list[Effect]:
        state = decode(event.payload, State)
        if isinstance(state, Refused):
            return self.inbox.refusals.told("state", state.reason, point=point)
        now = self._clock.stamp(now_ms)
        if not point:
            return self._brokers.heard_state(event.broker, state, event.retained, now)
        if state.online:
            return [] if event.retained else self._heard(point, state.session, now_ms)
        return self._points.will(point, state.session, now)

    # --- the desk

    def _desk_request(self, event: Message, terminal: str, now_ms: int) -> list[Effect]:
        return self._counter.request(event.broker, terminal, event.payload, self._clock.stamp(now_ms))

    # --- completions

    def _committed(self, event: Committed, now_ms: int) -> list[Effect]:
        effects = self.inbox.committed(event.results, event.high_water)
        for effect, outcome in event.results:
            if isinstance(effect, ChangeStage):
                assert isinstance(outcome, StagesChanged)
                effects += self._counter.changed(effect, outcome, self._brokers.up(), self._clock.stamp(now_ms))
            elif isinstance(outcome, CommandStored):
                assert isinstance(effect, StoreCommand)
                effects += self.commands.stored(effect, outcome, self._brokers.up())
            elif isinstance(outcome, CommandSettled):
                effects += self.commands.settled(outcome.row)
        if self._failing:
            self._failing = False
            effects.append(Log("info", "inbox_back"))
        for key, begun in sorted(self._unsaved.items()):
            self._health.noticed(*key)  # its pole may have left meanwhile
            last = self._faults[key]
            # What came and went meanwhile is recorded, too.
            effects += [begun, last] if begun.on and not last.on else [last]
        self._unsaved.clear()
        effects += self._unended
        self._unended = []
        return effects

    def _commit_failed(self, event: CommitFailed, _now_ms: int) -> list[Effect]:
        effects = self.inbox.failed(event.effects)
        if not self._failing:
            self._failing = True
            why = f"{event.reason}; nothing is receipted until the inbox can be written again"
            effects.append(Log("error", "inbox_failed", (("why", why),)))
        for effect in event.effects:
            if isinstance(effect, ChangeStage):
                effects += self._counter.change_failed(effect, event.reason)
            elif isinstance(effect, StoreCommand):
                effects += self.commands.failed(effect, event.reason)
            elif isinstance(effect, EndFaults):
                if effect.point in self._settings.points:
                    self._health.unlisted(effect.point)
                else:
                    self._unended.append(effect)
            elif isinstance(effect, SetFault):
                key = effect.point, effect.pole, effect.kind
                if effect.on or key not in self._unsaved:
                    self._unsaved[key] = effect
        return effects

    def _read(self, event: Read, now_ms: int) -> list[Effect]:
        if isinstance(event.effect, ReadStages):
            assert isinstance(event.result, Stages)
            return self.inbox.stages(event.effect, event.result)
        if isinstance(event.effect, ReadCommands):
            assert isinstance(event.result, CommandPage)
            return self.commands.listed(event.effect, event.result.rows, self._brokers.up())
        return self._counter.read(event.effect, event.result, self._clock.stamp(now_ms))

    def _read_failed(self, event: ReadFailed, _now_ms: int) -> list[Effect]:
        if isinstance(event.effect, ReadStages):
            return self.inbox.stages_failed()
        if isinstance(event.effect, ReadCommands):
            return self.commands.read_failed(event.effect, event.reason)
        return self._counter.read_failed(event.effect, event.reason)
