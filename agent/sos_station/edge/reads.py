"""Step 9, desk: what each read effect reads. Runs on the reader's thread, with a connection that cannot write."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sos_contract.payloads import ChangeView, FaultView, Identity
from sos_contract.stages import CLOSED, RECEIVED, rank
from sos_edge import ledger
from sos_station.core.effects import (
    CommandPage,
    ReadAlarm,
    ReadAlarms,
    ReadCase,
    ReadCommands,
    ReadEffect,
    ReadFaults,
    ReadResult,
    ReadStages,
)
from sos_station.core.incidents import SETTLED, WAITING_TEST
from sos_station.core.records import AlarmFile, AlarmPage, AlarmRow, Case, CaseFile, FaultPage, StageOf, Stages, Stamp
from sos_station.edge import commands, forgotten

# Rows of one answer that shows what a change covered.
MAX_SHOWN = 100

_COLUMNS = (
    "number, incident, a.pole, a.incarnation, a.boot, a.press, clash_number, point, kind, repeats, clash, age_ms,"
    " late, clock, received_wall_ms, received_quality, received_timebase, received_mono_ms, stage, officer,"
    " changed_wall_ms, disposition, remark, held_ms"
)
_FROM = "FROM alarm a LEFT JOIN detail d USING (pole, incarnation, boot, press)"
# A step of the index an incarnation, since a pole may have had any number of presses; few poles have had a second one.
_NEWEST_PRESS = """
WITH RECURSIVE life (incarnation) AS (
    SELECT min(incarnation) FROM alarm WHERE pole = ?1
    UNION ALL
    SELECT (SELECT min(a.incarnation) FROM alarm a WHERE a.pole = ?1 AND a.incarnation > life.incarnation)
    FROM life WHERE life.incarnation IS NOT NULL
)
SELECT incarnation, boot, press, clash_number FROM alarm WHERE number IN (
    SELECT (SELECT number FROM alarm a WHERE a.pole = ?1 AND a.incarnation = life.incarnation AND kind = 'press'
            ORDER BY boot DESC, press DESC LIMIT 1)
    FROM life
) ORDER BY number DESC LIMIT 1
"""
# Bounds of `queue` stand in the statements: SQLite may prove with one that a partial index is enough, so it would plan
# anew, which takes longer than to read, each time that one came as a parameter.
_OPEN = f"queue < {SETTLED}"
# Sorts by place in the list, then by number, in one integer: numbers stay far below.
_PLACE = 1 << 40


def carry_out(connection: sqlite3.Connection, effect: ReadEffect) -> ReadResult:
    """Read ``effect``, all of it as of one moment. Raises sqlite3.Error only."""
    connection.execute("BEGIN")
    try:
        return _READS[type(effect)](connection, effect)
    finally:
        connection.execute("COMMIT")


def _row(values: Sequence[Any], incident: tuple[int, int, int]) -> AlarmRow:
    number, joined, pole, incarnation, boot, press, clash_number, point, kind, repeats, clash, age_ms = values[:12]
    late, clock, wall_ms, quality, timebase, mono_ms, stage, officer, changed_ms, disposition, remark = values[12:23]
    identity = Identity(pole, incarnation, boot, press, clash_number)
    received = Stamp(wall_ms, quality, timebase, mono_ms)
    return AlarmRow(
        number, joined, identity, point, kind, repeats, bool(clash), age_ms, bool(late), clock, received,
        stage, officer, changed_ms, disposition, remark, values[23], *incident,
    )  # fmt: skip


def _rows(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[AlarmRow]:
    """Rows with what an officer should know of their incidents. ``where`` may order and limit."""
    found = connection.execute(f"SELECT {_COLUMNS} {_FROM} {where}", values).fetchall()
    numbers = sorted({values[1] for values in found})
    about = {
        row[0]: (row[1] or row[4], row[2], row[3] or row[5])
        for row in connection.execute(
            f"SELECT incident, sum({_OPEN}), sum(stage = ?), max(CASE WHEN {_OPEN} THEN number END), count(*),"
            f" max(number) FROM alarm WHERE incident IN ({', '.join('?' * len(numbers))}) GROUP BY incident",
            (RECEIVED, *numbers),
        )
    }
    return [_row(values, about[values[1]]) for values in found]


def _by_number(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[AlarmRow]:
    rows = _rows(connection, f"WHERE number IN ({', '.join('?' * len(numbers))})", numbers)
    by_number = {row.number: row for row in rows}
    return [by_number[number] for number in numbers]


def rows_of_request(connection: sqlite3.Connection, request: str, limit: int) -> list[AlarmRow]:
    """Alarms that the request of that number changed, newest first."""
    found = connection.execute(
        "SELECT alarm FROM change WHERE request = ? AND request <> '' ORDER BY alarm DESC LIMIT ?", (request, limit)
    ).fetchall()
    return _by_number(connection, [row[0] for row in found])


def stage_of(connection: sqlite3.Connection, identity: Identity) -> str | None:
    """Stage that may be told of ``identity``: the least of all contents under it; None if the inbox never had it."""
    found = connection.execute(
        "SELECT clash_number, stage FROM alarm WHERE pole = ? AND incarnation = ? AND boot = ? AND press = ?",
        (identity.pole, identity.incarnation, identity.boot, identity.press),
    ).fetchall()
    if not found or (identity.clash and identity.clash not in {row[0] for row in found}):
        if not forgotten.known(connection, identity):
            return None
        found.append((0, CLOSED))
    stages: list[str] = [row[1] for row in found]
    return min(stages, key=rank)


def _newest_press(connection: sqlite3.Connection, pole: str) -> Identity | None:
    """The last press of the incarnation of ``pole`` that was heard of last; a silent one never has the lamp."""
    found = connection.execute(_NEWEST_PRESS, (pole,)).fetchone()
    return None if found is None else Identity(pole, *found)


def _stages(connection: sqlite3.Connection, effect: ReadStages) -> Stages:
    newest = (identity for pole in effect.poles if (identity := _newest_press(connection, pole)) is not None)
    identities = dict.fromkeys([*effect.identities, *newest])
    stages = ((identity, stage_of(connection, identity)) for identity in identities)
    found = tuple(StageOf(identity, effect.point, stage) for identity, stage in stages if stage)
    return Stages(found, ledger.head(connection))


def _alarms(connection: sqlite3.Connection, effect: ReadAlarms) -> AlarmPage:
    request = effect.request
    which = f"queue <= {SETTLED}" if request.everything else _OPEN
    page = (effect.limit, request.offset)
    counted = "count(DISTINCT incident)" if request.by_incident else "count(*)"
    total = connection.execute(f"SELECT {counted} FROM alarm WHERE {which}").fetchone()[0]
    if not request.by_incident:
        order = "number DESC" if request.everything else "queue, number"
        rows = _rows(connection, f"WHERE {which} ORDER BY {order} LIMIT ? OFFSET ?", page)
        return AlarmPage(tuple(rows), total)
    order = "max(number) DESC" if request.everything else "1"
    # The sign: else SQLite goes through all incidents that ever were, because they are in order.
    found = connection.execute(
        f"SELECT min(queue * {_PLACE} + number) FROM alarm WHERE {which} GROUP BY +incident"
        f" ORDER BY {order} LIMIT ? OFFSET ?",
        page,
    ).fetchall()
    return AlarmPage(tuple(_by_number(connection, [row[0] % _PLACE for row in found])), total)


def _alarm(connection: sqlite3.Connection, effect: ReadAlarm) -> AlarmFile | None:
    rows = _rows(connection, "WHERE number = ?", (effect.number,))
    if not rows:
        return None
    found = connection.execute(
        "SELECT wall_ms, officer, stage, note FROM change WHERE alarm = ? ORDER BY id LIMIT ?",
        (effect.number, effect.limit),
    )
    changes = tuple(ChangeView(wall_ms=row[0], officer=row[1], stage=row[2], note=row[3]) for row in found)
    others = _rows(
        connection,
        "WHERE incident = ? AND number <> ? ORDER BY number DESC LIMIT ?",
        (rows[0].incident, effect.number, effect.limit - 1),
    )
    return AlarmFile(rows[0], changes, tuple(others))


def _case(connection: sqlite3.Connection, effect: ReadCase) -> CaseFile:
    done = tuple(rows_of_request(connection, effect.request.number, MAX_SHOWN))
    if effect.number is None:
        rows = _rows(connection, f"WHERE queue <= {WAITING_TEST} ORDER BY queue, number LIMIT 1", ())
    else:
        rows = _rows(connection, "WHERE number = ?", (effect.number,))
    if not rows:
        return CaseFile(None, done)
    stages = connection.execute(
        f"SELECT DISTINCT stage FROM alarm WHERE incident = ? AND {_OPEN}", (rows[0].incident,)
    ).fetchall()
    furthest = max((row[0] for row in stages), key=rank, default=rows[0].stage)
    return CaseFile(Case(rows[0], furthest, max(rows[0].newest, rows[0].number)), done)


def _faults(connection: sqlite3.Connection, effect: ReadFaults) -> FaultPage:
    where = "" if effect.request.everything else "WHERE until_wall_ms IS NULL"
    total = connection.execute(f"SELECT count(*) FROM fault {where}").fetchone()[0]
    found = connection.execute(
        "SELECT point, pole, kind, since_wall_ms, last_good_wall_ms, until_wall_ms, value, max(count, 1)"
        f" FROM fault {where} ORDER BY id DESC LIMIT ? OFFSET ?",
        (effect.limit, effect.request.offset),
    ).fetchall()
    faults = tuple(
        FaultView(
            point=row[0], pole=row[1], kind=row[2], since_wall_ms=row[3], last_good_wall_ms=row[4],
            until_wall_ms=row[5], value=row[6], count=row[7],
        )
        for row in found
    )  # fmt: skip
    return FaultPage(faults, total)


_READS: dict[type, Callable[[sqlite3.Connection, Any], ReadResult]] = {
    ReadStages: _stages,
    ReadAlarms: _alarms,
    ReadAlarm: _alarm,
    ReadCase: _case,
    ReadFaults: _faults,
    ReadCommands: lambda connection, effect: CommandPage(commands.read(connection, effect)),
}
