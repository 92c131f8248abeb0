"""Bugs of the station: core, inbox and desk."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

from msgspec import structs

from sos_contract import topics
from sos_contract.payloads import Alarm, AlarmView, Probe, Receipt, State, decode, encode
from sos_contract.stages import rank
from sos_sim.bugs.plant import Bug, Swap, wherever, without_unique_index
from sos_station.core import desk, points
from sos_station.core.desk import Move
from sos_station.core.effects import (
    AlarmStored,
    ChangeStage,
    Effect,
    ProveInbox,
    Publish,
    ReadAlarms,
    SetFault,
    StoreAlarm,
)
from sos_station.core.events import Message
from sos_station.core.inbox import Inbox, age_at_receipt_ms, classify
from sos_station.core.records import AlarmPage, AlarmRow, Stamp, age_now_ms, view
from sos_station.core.station import Station
from sos_station.edge import reads, writes


def _receipt_before_commit() -> list[Swap]:
    take = Inbox.alarm

    def hasty(self: Inbox, broker: str, point: str, payload: bytes, received: Stamp) -> list[Effect]:
        effects = take(self, broker, point, payload, received)
        alarm = decode(payload, Alarm)
        if not isinstance(alarm, Alarm):
            return effects
        receipt = Receipt(inbox=self.incarnation, alarms=(alarm.id,))
        return [Publish(broker, topics.of_point(self._station, point, "receipt"), encode(receipt)), *effects]

    return [Swap(Inbox, "alarm", hasty)]


def _late_will() -> list[Swap]:
    def believed(self: Station, event: Message, point: str, now_ms: int) -> list[Effect]:
        state = decode(event.payload, State)
        if not isinstance(state, State) or not point or state.online:
            return tell(self, event, point, now_ms)
        return [SetFault(point, "", "point_lost", True, self._clock.stamp(now_ms))]

    tell = Station._state
    return [Swap(Station, "_state", believed)]


def _duplicates_anew() -> list[Swap]:
    def anew(_known: Any, _alarm: Alarm) -> tuple[str, int]:  # noqa: ANN401
        return "new", -1

    return [*wherever(classify, anew), *without_unique_index()]


def _accept_covers_all() -> list[Swap]:
    """Whatever waits, at whichever pole, joins the incident that an officer accepts."""
    change = writes._change_stage

    def every(connection: sqlite3.Connection, effect: ChangeStage) -> Any:  # noqa: ANN401
        if effect.to_stage == "accepted":
            connection.execute("UPDATE alarm SET incident = ? WHERE stage = ?", (effect.incident, effect.from_stage))
            effect = structs.replace(effect, upto=1 << 40)
        return change(connection, effect)

    return [Swap(writes._WRITES, ChangeStage, every)]


def _accept_covers_later() -> list[Swap]:
    decide = desk.decide

    def careless(case: Any, request: Any, now: Stamp) -> Any:  # noqa: ANN401
        move = decide(case, request, now)
        return replace(move, upto=1 << 40) if isinstance(move, Move) else move

    return [Swap(desk, "decide", careless)]


def _joins_at_stage() -> list[Swap]:
    store = writes._store_alarm

    def joined(connection: sqlite3.Connection, effect: StoreAlarm) -> AlarmStored:
        stored = store(connection, effect)
        if stored.verdict == "new":
            found = connection.execute(
                "SELECT stage FROM alarm WHERE incident = ? AND number < ?", (stored.incident, stored.number)
            ).fetchall()
            furthest = max((row[0] for row in found if row[0] != "closed"), key=rank, default="received")
            connection.execute("UPDATE alarm SET stage = ? WHERE number = ?", (furthest, stored.number))
        return stored

    return [Swap(writes._WRITES, StoreAlarm, joined)]


def _old_copy_unseen() -> list[Swap]:
    """The answer to a probe tells of no inbox: one that was restored from a copy looks like the one before."""
    answer, committed = Inbox._answer_probe, Inbox.committed

    def same(self: Inbox, effect: ProveInbox, _high_water: int) -> Effect:
        told, self.incarnation = self.incarnation, "0" * 16
        try:
            return answer(self, effect, 1)
        finally:
            self.incarnation = told

    def under_no_name(self: Inbox, results: Any, high_water: int) -> list[Effect]:  # noqa: ANN401
        told, self.incarnation = self.incarnation, "0" * 16
        try:
            return committed(self, results, high_water)
        finally:
            self.incarnation = told

    return [Swap(Inbox, "_answer_probe", same), Swap(Inbox, "committed", under_no_name)]


def _probe_without_commit() -> list[Swap]:
    """The program answers by itself, with what the last commit told it."""
    commit = Inbox.committed

    def committed(self: Inbox, results: Any, high_water: int) -> list[Effect]:  # noqa: ANN401
        self.__dict__["high_water"] = high_water
        return commit(self, results, high_water)

    def at_once(self: Inbox, broker: str, point: str, probe: Probe) -> list[Effect]:
        asked = ProveInbox(broker, point, probe.session, probe.number)
        return [self._answer_probe(asked, self.__dict__.get("high_water", 0))]

    return [Swap(Inbox, "committed", committed), Swap(Inbox, "probe", at_once)]


def _list_hides_late() -> list[Swap]:
    read = reads._alarms

    def live_first(connection: sqlite3.Connection, effect: ReadAlarms) -> AlarmPage:
        page = read(connection, effect)
        rows = tuple(row for row in page.rows if not (row.late and row.stage == "received")) or page.rows
        return structs.replace(page, rows=rows, total=len(rows))

    return [Swap(reads._READS, ReadAlarms, live_first)]


def _newest_of_all() -> list[Swap]:
    shown = view  # by another name than the one that is swapped

    def anything(row: AlarmRow, now: Stamp) -> AlarmView:
        return structs.replace(shown(row, now), newest=1 << 40)

    return wherever(view, anything)


def _age_unknown() -> list[Swap]:
    def unknown(_alarm: Alarm, _received: Stamp) -> int | None:
        return None

    return wherever(age_at_receipt_ms, unknown)


def _age_from_screen() -> list[Swap]:
    """The age stands still: an alarm is shown as old as it was when it came."""

    def still(row: AlarmRow, _now: Stamp) -> int | None:
        return row.age_ms

    return wherever(age_now_ms, still)


BUGS = (
    Bug("receipt-before-commit", "The station receipts an alarm before its inbox has committed it.", ("lied", "lost"),
        _receipt_before_commit),
    Bug("late-will-believed", "A will of an old connection calls its point lost.", ("lied",), _late_will),
    Bug("duplicate-is-new", "An alarm that comes again becomes another alarm.", ("duplicated",), _duplicates_anew),
    Bug("accept-covers-all", "An officer's accept covers what waits at other poles.", ("forged", "lied"),
        _accept_covers_all),
    Bug("accept-covers-later", "An officer's accept covers presses that came after the screen was drawn.",
        ("forged", "lied"), _accept_covers_later),
    Bug("joins-at-stage", "A press that joins an incident is accepted because the incident is.", ("forged", "lied"),
        _joins_at_stage),
    Bug("point-lost-late", "A silent point is called lost after 60 s.", ("lied",),
        lambda: [Swap(points, "POINT_LOST_MS", 60_000), Swap(points, "POINT_SUSPECT_MS", 60_000)]),
    Bug("old-copy-unseen", "An inbox restored from a copy looks like the one before.", ("lost", "stuck"),
        _old_copy_unseen),
    Bug("age-stands-still", "The screen shows an alarm as old as it was when it was received.", ("lied",),
        _age_from_screen),
    Bug("probe-without-commit", "A probe is answered without a commit of the inbox, whose disk may take none.",
        ("lied",), _probe_without_commit),
    Bug("list-hides-late", "The officers' list leaves late alarms out while there are others.", ("lied",),
        _list_hides_late),
    Bug("newest-of-all", "A screen names no end of what its incident holds: an accept covers what comes later.",
        ("lied", "forged"), _newest_of_all),
    Bug("age-unknown", "The age of an alarm is not told, though its agent knows it.", ("lied",), _age_unknown),
)  # fmt: skip
