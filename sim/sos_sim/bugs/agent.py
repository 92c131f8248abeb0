"""Bugs of the agent: core, outbox and disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from sos_agent.core import effects, events, supervision
from sos_agent.core.agent import _Run
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.intake import Intake
from sos_agent.core.lines import Delivered
from sos_agent.core.uptime import Uptime
from sos_agent.edge import tables
from sos_contract.payloads import Alarm, Entry, Identity, decode
from sos_sim.bugs.plant import Bug, Swap, wherever, without_unique_index
from sos_sim.world.disk import DiskWriter
from sos_station.core.events import Message
from sos_station.core.inbox import classify
from sos_station.core.station import Settings, Station
from sos_wire import messages

FEW_NOTICES = 4
CHECKPOINT_US = 2_000_000  # as sos_edge.sqlite.QUIET_S


def _held_before_commit() -> list[Swap]:
    take = Intake._press

    def hasty(self: Intake, pole: str, press: messages.Press, message: Delivered) -> None:
        self._answers.say(Identity(pole, f"{press.incarnation:016x}", press.boot, press.press), "held")
        take(self, pole, press, message)

    return [Swap(Intake, "_press", hasty)]


def _identity_again() -> list[Swap]:
    take = Intake._press

    def renamed(self: Intake, pole: str, press: messages.Press, message: Delivered) -> None:
        given = self.__dict__["given"] = self.__dict__.get("given", 1_000_000) + 1
        press.press = given
        take(self, pole, press, message)

    return [Swap(Intake, "_press", renamed)]


def _lamp_from_puback() -> list[Swap]:
    hear = _Run._published

    def trusting(self: _Run, event: events.Published) -> None:
        hear(self, event)
        for identity in [one for one in self.courier._rows if self.courier.waits(one)]:
            self.answers.say(identity, "received")

    return [Swap(_Run, "_published", trusting)]


def _service_from_puback() -> list[Swap]:
    hear = _Run._published

    def trusting(self: _Run, event: events.Published) -> None:
        hear(self, event)
        watch = self.supervision
        watch.good_ms = self.context.now_ms
        if watch.service != "in_service":
            watch._step("answered")

    return [Swap(_Run, "_published", trusting)]


def _retained_alarm() -> list[Swap]:
    """Both ends: the agent has its alarms kept by the broker, and the station takes what was kept for news."""
    publish, take, begin = Context.publish, Station._message, Station.__init__
    judge = classify  # by another name than the one that is swapped
    kept: set[tuple[str, str, int, int]] = set()

    def started(self: Station, settings: Settings) -> None:
        kept.clear()
        begin(self, settings)

    def keep(self: Context, leaf: str, payload: Any, *, retain: bool = False) -> int:  # noqa: ANN401
        return publish(self, leaf, payload, retain=retain or leaf == "alarm")

    def taken(self: Station, event: Message, now_ms: int) -> list[Any]:
        alarm = decode(event.payload, Alarm) if event.retained and event.topic.endswith("/alarm") else None
        if isinstance(alarm, Alarm):
            kept.add((alarm.id.pole, alarm.id.incarnation, alarm.id.boot, alarm.id.press))
            event = replace(event, retained=False)
        return take(self, event, now_ms)

    def news(known: Sequence[tuple[str, int, int]], alarm: Alarm) -> tuple[str, int]:
        one = (alarm.id.pole, alarm.id.incarnation, alarm.id.boot, alarm.id.press)
        if one in kept:
            kept.remove(one)
            return "new", -1
        return judge(known, alarm)

    return [Swap(Context, "publish", keep), Swap(Station, "_message", taken), Swap(Station, "__init__", started),
            *wherever(classify, news), *without_unique_index()]  # fmt: skip


def _eviction_by_notices() -> list[Swap]:
    store = tables.store_notice

    def crowd_out(db: sqlite3.Connection, effect: effects.StoreNotice) -> events.NoticeStored:
        done = store(db, effect)
        if db.execute("SELECT count(*) FROM notice").fetchone()[0] > FEW_NOTICES:
            db.execute("DELETE FROM alarm WHERE row = (SELECT min(row) FROM alarm WHERE receipted_ms IS NULL)")
        return done

    return [Swap(tables.WORK, effects.StoreNotice, crowd_out)]


def _age_lost() -> list[Swap]:
    begin, time_of = Uptime.__init__, Uptime.time_of

    def empty(self: Uptime, context: Context, _boots: tuple[events.BootRow, ...]) -> None:
        begin(self, context, ())

    def now(self: Uptime, *boot: Any) -> tuple[str, int | None]:  # noqa: ANN401
        timebase, at_ms = time_of(self, *boot)
        return timebase, self._context.now_ms if at_ms is None else at_ms

    return [Swap(Uptime, "__init__", empty), Swap(Uptime, "time_of", now)]


def _receipt_not_told() -> list[Swap]:
    """A receipt is written down, and the pole hears of it with the next stage."""

    def quiet(self: _Run, event: events.BrokerMessage) -> None:
        say = self.answers.say
        self.answers.say = lambda identity, stage: None  # type: ignore[method-assign]
        try:
            hear(self, event)
        finally:
            self.answers.say = say  # type: ignore[method-assign]

    hear = _Run._receipt
    return [Swap(_Run, "_receipt", quiet)]


def _receipt_covers_all() -> list[Swap]:
    receipt = Courier.receipt

    def generous(self: Courier, ids: tuple[Identity, ...], inbox: str, record: Entry | None) -> list[Identity]:
        others = [one for one in self._rows if one not in ids and self.waits(one)] if ids else []
        return receipt(self, (*ids, *others), inbox, record)

    return [Swap(Courier, "receipt", generous)]


def _forgets_in_flight() -> list[Swap]:
    def give_up(self: Courier, _effect: effects.MarkReceipted) -> None:
        self._marking.clear()

    def last_word(self: Courier, _before_ms: int) -> None:
        for lane in (self._live, self._backlog):
            for number in list(lane.flights):
                self._drop(lane, number)
        self._ended_ms, self._cursor = None, 1 << 40

    return [Swap(Courier, "receipt_not_stored", give_up), Swap(Courier, "came_back", last_word),
            Swap(Courier, "_next_pass_ms", lambda _self: 1 << 60)]  # fmt: skip


def _synchronous_normal() -> list[Swap]:
    """A power cut takes back what was committed since the writer last had time to copy its log into the database."""
    begin, leave = DiskWriter._begin_commit, DiskWriter._leave

    def copying(self: DiskWriter, wake_us: int) -> None:
        state, now_us = self.__dict__, self._loop.now_us
        rested = now_us - state.get("begun_us", -CHECKPOINT_US) >= CHECKPOINT_US
        if rested or now_us - state["copied_us"] >= 5 * CHECKPOINT_US:
            state["copied_us"], state["copy"] = now_us, self._connection.serialize()
        state["begun_us"] = now_us
        begin(self, wake_us)

    def power_cut(self: DiskWriter) -> None:
        leave(self, stays=False)
        state = self.__dict__
        if self._loop.now_us - state.get("begun_us", -CHECKPOINT_US) < CHECKPOINT_US:
            self._connection.deserialize(state["copy"])

    return [Swap(DiskWriter, "_begin_commit", copying), Swap(DiskWriter, "power_cut", power_cut)]


BUGS = (
    Bug("held-before-commit", "The agent says held before the outbox has committed.", ("lied", "lost"),
        _held_before_commit),
    Bug("identity-again", "The agent numbers presses itself, each time that they are offered.", ("forged",),
        _identity_again),
    Bug("lamp-from-puback", "The broker's acknowledgement of an alarm is taken for the station's receipt.",
        ("lied", "lost"), _lamp_from_puback),
    Bug("service-from-puback", "The broker's acknowledgement of a probe is taken for the station's answer.", ("lied",),
        _service_from_puback),
    Bug("station-lost-late", "The agent waits 40 s for the station before it calls it lost.", ("lied",),
        lambda: [Swap(supervision, "STATION_LOST_MS", 40_000)]),
    Bug("retained-alarm", "Alarms are retained by the broker, and the station takes what it kept for news.",
        ("lied", "duplicated", "forged"), _retained_alarm),
    Bug("eviction-by-notices", "An outbox with more than four notices makes room by the oldest alarm.",
        ("lost", "stuck"), _eviction_by_notices),
    Bug("age-lost-at-restart", "The agent forgets the boots of its poles: what it did not hear is from now.",
        ("lied",), _age_lost),
    Bug("receipt-covers-all", "A receipt is taken for all alarms that are on their way.", ("lied", "lost", "stuck"),
        _receipt_covers_all),
    Bug("receipt-not-told", "The agent keeps a receipt to itself: its pole says not delivered of what was received.",
        ("lied",), _receipt_not_told),
    Bug("never-published-again", "What was published and not receipted is not published again.", ("stuck",),
        _forgets_in_flight),
    Bug("synchronous-normal", "Commits are told before the card has them: a power cut rolls the last ones back.",
        ("lost", "lied", "duplicated"), _synchronous_normal),
)  # fmt: skip
