"""Step 8, inbox: what each store effect writes. Runs on the writer's thread, in a commit shared with others.

What an alarm is (new, duplicate, clash), which incident it joins and what a notice means, the core's rules decide.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from sos_contract.ledger import ALARM, BEGAN, FAULT, FAULT_ENDED, RESTORED, STAGE, witnessed
from sos_contract.payloads import RELEASED_MS, Identity
from sos_contract.stages import RECEIVED
from sos_edge import ledger
from sos_station.core import faults, incidents
from sos_station.core.effects import (
    AlarmStored,
    ChangeStage,
    Done,
    EndFaults,
    Outcome,
    ProveInbox,
    Prune,
    SetFault,
    SettleCommand,
    StagesChanged,
    StoreAlarm,
    StoreCommand,
    StoreEffect,
    StoreNotice,
)
from sos_station.core.inbox import MAX_IDENTITIES, MAX_NAME, classify, content
from sos_station.core.records import StageOf
from sos_station.edge import commands, forgotten
from sos_station.edge.reads import MAX_SHOWN, rows_of_request, stage_of

# Incidents deleted in one commit, so that no press waits behind a long one; the rest goes the next day.
MAX_PRUNED = 500

# Health tells of a fault within seconds of the notice, whose time is its beginning.
TOLD_LATE_MS = 10_000

# The bound stands in the statement, as in ``reads``.
_JOINED = (
    f"SELECT incident FROM alarm WHERE pole = ? AND family = ? AND queue < {incidents.SETTLED}"
    " ORDER BY number DESC LIMIT 1"
)
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
    gone = forgotten.known(connection, identity)
    verdict, index = classify([*(row[3:] for row in known), *(row[2:] for row in gone)], alarm)
    if verdict == "duplicate" and index >= len(known):
        return AlarmStored(verdict, *gone[index - len(known)][:2], ledger.head(connection))
    if verdict == "duplicate":
        number, incident, clash_number = known[index][:3]
        if clash_number != identity.clash:
            # An outbox that was begun anew counts otherwise, and asks for stages under its own number.
            connection.execute("UPDATE alarm SET clash_number = ? WHERE number = ?", (identity.clash, number))
        return AlarmStored(verdict, number, incident, ledger.head(connection))
    family = incidents.family(alarm.kind)
    number = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM alarm").fetchone()[0]
    joined = connection.execute(_JOINED, (identity.pole, family)).fetchone()
    incident = incidents.join(joined[0] if joined else None, number)
    at = effect.received
    values = (
        number, incident, *_press(identity), identity.clash, effect.point, alarm.kind, family, *content(alarm)[1:],
        verdict == "clash", effect.age_ms, effect.late, alarm.clock, at.wall_ms, at.quality, at.timebase, at.mono_ms,
        RECEIVED, incidents.queue(RECEIVED, alarm.kind, effect.late), "", at.wall_ms, "", effect.remark,
    )  # fmt: skip
    connection.execute(f"INSERT INTO alarm VALUES ({', '.join('?' * len(values))})", values)
    entry = ledger.append(connection, at.wall_ms, ALARM, _record_of_alarm(effect, verdict, number, incident))
    connection.execute(
        "INSERT INTO change (alarm, wall_ms, quality, officer, stage, note, request, record)"
        " VALUES (?, ?, ?, '', ?, ?, '', ?)",
        (number, at.wall_ms, at.quality, RECEIVED, effect.remark, entry.number),
    )
    return AlarmStored(verdict, number, incident, entry)


def _record_of_alarm(effect: StoreAlarm, verdict: str, number: int, incident: int) -> dict[str, Any]:
    alarm, at = effect.alarm, effect.received
    identity = alarm.id
    found: dict[str, Any] = {
        "alarm": number, "incident": incident, "verdict": verdict, "pole": identity.pole,
        "incarnation": identity.incarnation, "boot": identity.boot, "press": identity.press,
        "kind": alarm.kind, "pressed_at_ms": alarm.pressed_at_ms, "repeats": alarm.repeats, "point": effect.point,
        "age_ms": effect.age_ms, "late": effect.late, "clock": alarm.clock, "remark": effect.remark,
        "received_wall_ms": at.wall_ms, "received_quality": at.quality,
        "received_timebase": at.timebase, "received_mono_ms": at.mono_ms,
    }  # fmt: skip
    if alarm.record is not None:
        found["outbox"], found["outbox_record"] = alarm.outbox[:MAX_NAME], witnessed(alarm.record)
    return found


def _press(identity: Identity) -> tuple[str, str, int, int]:
    return identity.pole, identity.incarnation, identity.boot, identity.press


def _store_notice(connection: sqlite3.Connection, effect: StoreNotice) -> Done:
    notice, at = effect.notice, effect.received
    key = (effect.point, notice.outbox, notice.number)
    # An outbox that was brought back from a copy of its disk counts on from there: the same number, another notice.
    said = (notice.pole, notice.kind, notice.on, notice.value, notice.merged)
    query = "SELECT pole, kind, opened, value, merged FROM notice WHERE point = ? AND outbox = ? AND number = ?"
    if connection.execute(query, key).fetchone() == said and notice.detail is None:
        return Done(new=False)
    values = (*key, *said, notice.wall_ms, notice.clock, at.wall_ms)
    connection.execute("INSERT OR REPLACE INTO notice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    fault, does = faults.meaning(notice.kind, notice.on)
    wall_ms = notice.wall_ms if notice.clock != "unset" and notice.wall_ms > 0 else at.wall_ms
    place = (effect.point, notice.pole, fault)
    good_ms = min(effect.last_good_wall_ms, wall_ms)  # health may have come between the fault and the word of it
    found = _Fault(place, wall_ms, good_ms, at.wall_ms, notice.value, 1 + notice.merged)
    if does == faults.DETAIL and notice.detail is not None:
        connection.execute(
            "INSERT OR REPLACE INTO detail VALUES (?, ?, ?, ?, ?)", (*_press(notice.detail.id), notice.detail.held_ms)
        )
    elif does == faults.OPENS:
        if not _tell_of_ended(connection, found):
            _open_fault(connection, found)
    elif does == faults.ENDS:
        _end_fault(connection, place, wall_ms, at.wall_ms)
    elif does == faults.HAPPENS:
        _note_fault(connection, found)
    return Done()


def begin_ledger(connection: sqlite3.Connection, name: str, before: str, wall_ms: int) -> None:
    """The first record of a ledger; or, in a copy that goes on under a new name, the one that says so."""
    if ledger.head(connection) is not None:
        ledger.append(connection, wall_ms, RESTORED, {"ledger": name, "before": before})
        return
    last = "SELECT (SELECT coalesce(max(number), 0) FROM alarm), (SELECT coalesce(max(id), 0) FROM fault)"
    alarms, faults_ = connection.execute(last).fetchone()
    content = {"ledger": name, "older_alarms": alarms, "older_faults": faults_}
    ledger.append(connection, wall_ms, BEGAN, content)


def note_damage(connection: sqlite3.Connection, wall_ms: int) -> None:
    """The inbox before this one was moved aside: a fault to record."""
    _note_fault(connection, _Fault(("", "", "inbox_damaged"), wall_ms, 0, wall_ms))


class _Fault(NamedTuple):
    """A fault as it is to be written down. ``place``: point, pole, kind; the times are the wall's, in ms."""

    place: tuple[str, str, str]
    since_ms: int
    last_good_ms: int
    told_ms: int
    value: int = 0
    times: int = 1  # how often notices told of it

    def record(self, number: int | None, until_ms: int | None) -> dict[str, Any]:
        """What the ledger says of it."""
        point, pole, kind = self.place
        return {
            "fault": number, "point": point, "pole": pole, "kind": kind,
            "since_wall_ms": self.since_ms, "last_good_wall_ms": self.last_good_ms, "until_wall_ms": until_ms,
        }  # fmt: skip


def _note_fault(connection: sqlite3.Connection, fault: _Fault) -> None:
    """A fault that begins and ends at once."""
    number = connection.execute(
        "INSERT INTO fault VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
        (*fault.place, fault.since_ms, fault.last_good_ms, fault.since_ms, fault.value, fault.times),
    ).lastrowid
    entry = ledger.append(connection, fault.told_ms, FAULT, fault.record(number, fault.since_ms))
    both = (entry.number, entry.number, number)
    connection.execute("UPDATE fault SET record = ?, end_record = ? WHERE id = ?", both)


def _open_fault(connection: sqlite3.Connection, fault: _Fault) -> None:
    """A fault that stands from now on; of one that stands already there is more."""
    added = connection.execute(
        "INSERT OR IGNORE INTO fault VALUES (NULL, ?, ?, ?, ?, ?, NULL, ?, ?, 0, 0)",
        (*fault.place, fault.since_ms, fault.last_good_ms, fault.value, fault.times),
    )
    if added.rowcount == 0:
        connection.execute(
            "UPDATE fault SET count = count + ?, value = ?"
            " WHERE point = ? AND pole = ? AND kind = ? AND until_wall_ms IS NULL",
            (fault.times, fault.value, *fault.place),
        )
        return
    number = added.lastrowid
    entry = ledger.append(connection, fault.told_ms, FAULT, fault.record(number, None))
    connection.execute("UPDATE fault SET record = ? WHERE id = ?", (entry.number, number))


def _tell_of_ended(connection: sqlite3.Connection, fault: _Fault) -> bool:
    """A notice that waited behind alarms, or for its disk, tells of what health has opened and ended meanwhile: one
    outage is one fault. Whether it was so."""
    ended = connection.execute(
        "UPDATE fault SET count = ?, value = ? WHERE id = (SELECT max(id) FROM fault WHERE point = ? AND pole = ?"
        " AND kind = ? AND until_wall_ms > ? AND since_wall_ms <= ? AND count = 0)",
        (fault.times, fault.value, *fault.place, fault.since_ms, fault.since_ms + TOLD_LATE_MS),
    )
    return ended.rowcount > 0


def _end_fault(connection: sqlite3.Connection, place: tuple[str, str, str], wall_ms: int, at_ms: int) -> bool:
    stands = connection.execute(
        "SELECT id, max(?, since_wall_ms) FROM fault"
        " WHERE point = ? AND pole = ? AND kind = ? AND until_wall_ms IS NULL",
        (wall_ms, *place),
    ).fetchone()
    if stands is None:
        return False
    number, until_ms = stands
    entry = ledger.append(connection, at_ms, FAULT_ENDED, {"fault": number, "until_wall_ms": until_ms})
    connection.execute(
        "UPDATE fault SET until_wall_ms = ?, end_record = ? WHERE id = ?", (until_ms, entry.number, number)
    )
    return True


def _set_fault(connection: sqlite3.Connection, effect: SetFault) -> Done:
    place = (effect.point, effect.pole, effect.kind)
    if not effect.on:
        return Done(_end_fault(connection, place, effect.at.wall_ms, effect.at.wall_ms))
    stands = connection.execute(
        "SELECT 1 FROM fault WHERE point = ? AND pole = ? AND kind = ? AND until_wall_ms IS NULL", place
    ).fetchone()
    if stands is None:
        # Told no times so far: the notice of it may come yet.
        found = _Fault(place, effect.at.wall_ms, effect.last_good_wall_ms, effect.at.wall_ms, times=0)
        _open_fault(connection, found)
    return Done(stands is None)


def _end_faults(connection: sqlite3.Connection, effect: EndFaults) -> Done:
    standing = connection.execute("SELECT point, pole, kind FROM fault WHERE until_wall_ms IS NULL").fetchall()
    for place in standing:
        point, pole, _ = place
        name = pole if effect.point else point
        if name and name not in effect.names and effect.point in ("", point):
            _end_fault(connection, place, effect.at.wall_ms, effect.at.wall_ms)
    return Done()


def _prove(_connection: sqlite3.Connection, _effect: ProveInbox) -> Done:
    return Done()  # the high water, which every job writes, is the proof


def _change_stage(connection: sqlite3.Connection, effect: ChangeStage) -> StagesChanged:
    request, at = effect.request, effect.at
    which = "incident = ? AND number <= ? AND stage = ?"
    covered = (effect.incident, effect.upto, effect.from_stage)
    moved = [row[0] for row in connection.execute(f"SELECT number FROM alarm WHERE {which} ORDER BY number", covered)]
    if moved:
        entry = ledger.append(connection, at.wall_ms, STAGE, _record_of_change(effect, moved))
        connection.execute(
            "INSERT INTO change (alarm, wall_ms, quality, officer, stage, note, request, record)"
            f" SELECT number, ?, ?, ?, ?, ?, ?, ? FROM alarm WHERE {which} ORDER BY number",
            (
                at.wall_ms, at.quality, request.officer, effect.to_stage, effect.note, request.number, entry.number,
                *covered,
            ),
        )  # fmt: skip
    connection.execute(
        f"UPDATE alarm SET stage = ?, queue = ?, officer = ?, changed_wall_ms = ?, disposition = ? WHERE {which}",
        (
            effect.to_stage,
            incidents.queue(effect.to_stage, "", False),
            request.officer,
            at.wall_ms,
            request.disposition,
            *covered,
        ),
    )
    rows = rows_of_request(connection, request.number, max(MAX_SHOWN, MAX_IDENTITIES))
    waiting = connection.execute(
        "SELECT count(*) FROM alarm WHERE incident = ? AND stage = ?", (effect.incident, RECEIVED)
    ).fetchone()[0]
    told = [StageOf(row.id, row.point, stage_of(connection, row.id) or row.stage) for row in rows[:MAX_IDENTITIES]]
    return StagesChanged(tuple(rows[:MAX_SHOWN]), len(moved), waiting, tuple(told), ledger.head(connection))


def _record_of_change(effect: ChangeStage, moved: list[int]) -> dict[str, Any]:
    request = effect.request
    return {
        "alarms": moved, "incident": effect.incident, "officer": request.officer, "terminal": effect.terminal,
        "from": effect.from_stage, "to": effect.to_stage, "disposition": request.disposition, "note": effect.note,
        "request": request.number, "quality": effect.at.quality,
    }  # fmt: skip


def _prune(connection: sqlite3.Connection, effect: Prune) -> Done:
    """Whole incidents, and only where each alarm of them was closed long ago. What was closed while our clock was not
    set has no time at all, and stays. The newest alarm stays, too: numbers must go on counting up."""
    old = [
        row[0]
        for row in connection.execute(
            "SELECT DISTINCT incident FROM alarm a WHERE queue = ?1 AND changed_wall_ms < ?2"
            " AND incident <> (SELECT incident FROM alarm ORDER BY number DESC LIMIT 1) AND NOT EXISTS (SELECT 1"
            " FROM alarm o WHERE o.incident = a.incident"
            " AND (o.queue < ?1 OR o.changed_wall_ms NOT BETWEEN ?4 AND ?2 - 1)) LIMIT ?3",
            (incidents.SETTLED, effect.alarms_before_ms, MAX_PRUNED, RELEASED_MS),
        )
    ]
    records: set[int] = set()
    for incident in old:
        of_it = "alarm IN (SELECT number FROM alarm WHERE incident = ?)"
        records.update(row[0] for row in connection.execute(f"SELECT record FROM change WHERE {of_it}", (incident,)))
        connection.execute(f"DELETE FROM change WHERE {of_it}", (incident,))
        connection.execute(
            "DELETE FROM detail WHERE (pole, incarnation, boot, press) IN"
            " (SELECT pole, incarnation, boot, press FROM alarm WHERE incident = ?)",
            (incident,),
        )
        forgotten.keep(connection, incident)
        connection.execute("DELETE FROM alarm WHERE incident = ?", (incident,))
    ended = "DELETE FROM fault WHERE until_wall_ms BETWEEN ? AND ? - 1 RETURNING record, end_record"
    for numbers in connection.execute(ended, (RELEASED_MS, effect.faults_before_ms)).fetchall():
        records.update(numbers)
    noted = "DELETE FROM notice WHERE received_wall_ms BETWEEN ? AND ? - 1"
    connection.execute(noted, (RELEASED_MS, effect.faults_before_ms))
    records |= commands.prune(connection, effect.faults_before_ms)
    rules = {"alarms_before_ms": effect.alarms_before_ms, "faults_before_ms": effect.faults_before_ms}
    ledger.forget(connection, effect.at.wall_ms, records, rules)
    return Done()


_WRITES: dict[type, Callable[[sqlite3.Connection, Any], Outcome]] = {
    StoreAlarm: _store_alarm,
    StoreNotice: _store_notice,
    ProveInbox: _prove,
    SetFault: _set_fault,
    EndFaults: _end_faults,
    ChangeStage: _change_stage,
    StoreCommand: commands.store,
    SettleCommand: commands.settle,
    Prune: _prune,
}
