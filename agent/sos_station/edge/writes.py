"""Step 8, inbox: what each store effect writes. Runs on the writer's thread, in a commit shared with others.

What an alarm is (new, duplicate, clash), which incident it joins and what a notice means, the core's rules decide.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from sos_contract.payloads import Identity
from sos_contract.stages import RECEIVED
from sos_station.core import faults, incidents
from sos_station.core.effects import (
    AlarmStored,
    ChangeStage,
    Done,
    Outcome,
    ProveInbox,
    Prune,
    SetFault,
    StagesChanged,
    StoreAlarm,
    StoreEffect,
    StoreNotice,
)
from sos_station.core.inbox import MAX_IDENTITIES, classify, content
from sos_station.core.records import StageOf
from sos_station.edge.reads import MAX_SHOWN, rows_of_request, stage_of

_SAME_PRESS = "pole = ? AND incarnation = ? AND boot = ? AND press = ?"


def carry_out(connection: sqlite3.Connection, effect: StoreEffect) -> tuple[Outcome, int]:
    """Write ``effect``; its outcome and the high water after it. Raises sqlite3.Error only."""
    try:
        outcome = _WRITES[type(effect)](connection, effect)
    except (OverflowError, UnicodeError, ValueError) as error:
        # A value that SQLite cannot hold: this one job fails, the others of the commit do not.
        raise sqlite3.InterfaceError(str(error)) from None
    high_water = connection.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'high_water' RETURNING value"
    ).fetchone()
    return outcome, int(high_water[0])


def _store_alarm(connection: sqlite3.Connection, effect: StoreAlarm) -> AlarmStored:
    alarm, identity = effect.alarm, effect.alarm.id
    known = connection.execute(
        "SELECT number, incident, clash_number, kind, pressed_at_ms, repeats"
        f" FROM alarm WHERE {_SAME_PRESS} ORDER BY number",
        _press(identity),
    ).fetchall()
    verdict, index = classify([row[3:] for row in known], alarm)
    if verdict == "duplicate":
        number, incident, clash_number = known[index][:3]
        if clash_number != identity.clash:
            # An outbox that was begun anew counts otherwise, and asks for stages under its own number.
            connection.execute("UPDATE alarm SET clash_number = ? WHERE number = ?", (identity.clash, number))
        return AlarmStored(verdict, number, incident)
    family = incidents.family(alarm.kind)
    number = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM alarm").fetchone()[0]
    joined = connection.execute(
        "SELECT incident FROM alarm WHERE pole = ? AND family = ? AND queue < ? ORDER BY number DESC LIMIT 1",
        (identity.pole, family, incidents.SETTLED),
    ).fetchone()
    incident = incidents.join(joined[0] if joined else None, number)
    at = effect.received
    values = (
        number, incident, *_press(identity), identity.clash, effect.point, alarm.kind, family, *content(alarm)[1:],
        verdict == "clash", effect.age_ms, effect.late, alarm.clock, at.wall_ms, at.quality, at.timebase, at.mono_ms,
        RECEIVED, incidents.queue(RECEIVED, alarm.kind, effect.late), "", at.wall_ms, "", effect.remark,
    )  # fmt: skip
    connection.execute(f"INSERT INTO alarm VALUES ({', '.join('?' * len(values))})", values)
    connection.execute(
        "INSERT INTO change (alarm, wall_ms, quality, officer, stage, note, request) VALUES (?, ?, ?, '', ?, ?, '')",
        (number, at.wall_ms, at.quality, RECEIVED, effect.remark),
    )
    return AlarmStored(verdict, number, incident)


def _press(identity: Identity) -> tuple[str, str, int, int]:
    return identity.pole, identity.incarnation, identity.boot, identity.press


def _store_notice(connection: sqlite3.Connection, effect: StoreNotice) -> Done:
    notice, at = effect.notice, effect.received
    key = (effect.point, notice.outbox, notice.number)
    added = connection.execute(
        "INSERT OR IGNORE INTO notice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key, notice.pole, notice.kind, notice.on, notice.value, notice.merged,
            notice.wall_ms, notice.clock, at.wall_ms,
        ),
    )  # fmt: skip
    if added.rowcount == 0:
        return Done(new=False)
    fault, does = faults.meaning(notice.kind, notice.on)
    wall_ms = notice.wall_ms if notice.clock != "unset" and notice.wall_ms > 0 else at.wall_ms
    place = (effect.point, notice.pole, fault)
    if does == faults.DETAIL and notice.detail is not None:
        connection.execute(
            "INSERT OR REPLACE INTO detail VALUES (?, ?, ?, ?, ?)", (*_press(notice.detail.id), notice.detail.held_ms)
        )
    elif does == faults.OPENS:
        _open_fault(connection, place, wall_ms, effect.last_good_wall_ms, notice.value, 1 + notice.merged)
    elif does == faults.ENDS:
        _end_fault(connection, place, wall_ms)
    elif does == faults.HAPPENS:
        connection.execute(
            "INSERT INTO fault VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, wall_ms, effect.last_good_wall_ms, wall_ms, notice.value, 1 + notice.merged),
        )
    return Done()


def _open_fault(
    connection: sqlite3.Connection, place: tuple[str, str, str], wall_ms: int, good_ms: int, value: int, count: int
) -> bool:
    added = connection.execute(
        "INSERT OR IGNORE INTO fault VALUES (NULL, ?, ?, ?, ?, ?, NULL, ?, ?)",
        (*place, wall_ms, good_ms, value, count),
    )
    if added.rowcount == 0:
        connection.execute(
            "UPDATE fault SET count = count + ?, value = ?"
            " WHERE point = ? AND pole = ? AND kind = ? AND until_wall_ms IS NULL",
            (count, value, *place),
        )
    return added.rowcount > 0


def _end_fault(connection: sqlite3.Connection, place: tuple[str, str, str], wall_ms: int) -> bool:
    ended = connection.execute(
        "UPDATE fault SET until_wall_ms = max(?, since_wall_ms)"
        " WHERE point = ? AND pole = ? AND kind = ? AND until_wall_ms IS NULL",
        (wall_ms, *place),
    )
    return ended.rowcount > 0


def _set_fault(connection: sqlite3.Connection, effect: SetFault) -> Done:
    place = (effect.point, effect.pole, effect.kind)
    if not effect.on:
        return Done(_end_fault(connection, place, effect.at.wall_ms))
    stands = connection.execute(
        "SELECT 1 FROM fault WHERE point = ? AND pole = ? AND kind = ? AND until_wall_ms IS NULL", place
    ).fetchone()
    if stands is None:
        _open_fault(connection, place, effect.at.wall_ms, effect.last_good_wall_ms, 0, 1)
    return Done(stands is None)


def _prove(_connection: sqlite3.Connection, _effect: ProveInbox) -> Done:
    return Done()  # the high water, which every job writes, is the proof


def _change_stage(connection: sqlite3.Connection, effect: ChangeStage) -> StagesChanged:
    request, at = effect.request, effect.at
    which = "incident = ? AND number <= ? AND stage = ?"
    covered = (effect.incident, effect.upto, effect.from_stage)
    connection.execute(
        "INSERT INTO change (alarm, wall_ms, quality, officer, stage, note, request)"
        f" SELECT number, ?, ?, ?, ?, ?, ? FROM alarm WHERE {which} ORDER BY number",
        (at.wall_ms, at.quality, request.officer, effect.to_stage, effect.note, request.number, *covered),
    )
    moved = connection.execute(
        f"UPDATE alarm SET stage = ?, queue = ?, officer = ?, changed_wall_ms = ?, disposition = ? WHERE {which}",
        (
            effect.to_stage,
            incidents.queue(effect.to_stage, "", False),
            request.officer,
            at.wall_ms,
            request.disposition,
            *covered,
        ),
    ).rowcount
    rows = rows_of_request(connection, request.number, max(MAX_SHOWN, MAX_IDENTITIES))
    waiting = connection.execute(
        "SELECT count(*) FROM alarm WHERE incident = ? AND stage = ?", (effect.incident, RECEIVED)
    ).fetchone()[0]
    told = [StageOf(row.id, row.point, stage_of(connection, row.id) or row.stage) for row in rows[:MAX_IDENTITIES]]
    return StagesChanged(tuple(rows[:MAX_SHOWN]), moved, waiting, tuple(told))


def _prune(connection: sqlite3.Connection, effect: Prune) -> Done:
    connection.execute("DELETE FROM fault WHERE until_wall_ms < ?", (effect.before_wall_ms,))
    connection.execute("DELETE FROM notice WHERE received_wall_ms < ?", (effect.before_wall_ms,))
    return Done()


_WRITES: dict[type, Callable[[sqlite3.Connection, Any], Outcome]] = {
    StoreAlarm: _store_alarm,
    StoreNotice: _store_notice,
    ProveInbox: _prove,
    SetFault: _set_fault,
    ChangeStage: _change_stage,
    Prune: _prune,
}
