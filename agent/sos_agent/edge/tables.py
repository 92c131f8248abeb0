"""The outbox's tables, and each effect on them as one function that runs inside a commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sos_agent.core import effects, events
from sos_contract.ledger import BEGAN, PRESS, RECEIPTED, WAITING, witnessed
from sos_contract.ledger import STAGES as LEDGER_STAGES
from sos_contract.payloads import Detail, Entry, Identity
from sos_contract.stages import CLOSED, HELD, RECEIVED, rank
from sos_edge import ledger
from sos_wire.messages import STAGES

_RECEIVED_RANK, _CLOSED_RANK = rank(RECEIVED), rank(CLOSED)
# What the station has and has not closed: asked for each 30 s, beside all that was closed in 30 days.
_OPEN = f"receipted_ms IS NOT NULL AND stage < {_CLOSED_RANK}"
_OPEN_INDEX = f"CREATE INDEX alarm_open ON alarm (row) WHERE {_OPEN};"
SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE timebase (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, wall_at_zero_ms INTEGER, quality TEXT NOT NULL DEFAULT 'unset'
);
CREATE TABLE alarm (
    row INTEGER PRIMARY KEY,
    pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL, press INTEGER NOT NULL,
    clash INTEGER NOT NULL, kind TEXT NOT NULL, pressed_at_ms INTEGER NOT NULL, repeats INTEGER NOT NULL,
    timebase INTEGER NOT NULL REFERENCES timebase (id), pressed_ms INTEGER,
    stage INTEGER NOT NULL, receipt_timebase INTEGER REFERENCES timebase (id), receipted_ms INTEGER,
    record INTEGER NOT NULL,
    UNIQUE (pole, incarnation, boot, press, clash)
);
CREATE INDEX alarm_waiting ON alarm (row) WHERE receipted_ms IS NULL;
{_OPEN_INDEX}
CREATE TABLE notice (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    pole TEXT NOT NULL, kind TEXT NOT NULL, state INTEGER NOT NULL, value INTEGER NOT NULL, merged INTEGER NOT NULL,
    timebase INTEGER NOT NULL REFERENCES timebase (id), at_ms INTEGER NOT NULL, detail BLOB
);
CREATE INDEX notice_kind ON notice (pole, kind, state) WHERE detail IS NULL;
CREATE TABLE fault (pole TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (pole, kind)) WITHOUT ROWID;
CREATE TABLE boot (
    number INTEGER PRIMARY KEY, pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL,
    timebase INTEGER NOT NULL REFERENCES timebase (id), zero_ms INTEGER NOT NULL, UNIQUE (pole, incarnation, boot)
);
{ledger.SCHEMA}"""
VERSION = 2
# `record` of an alarm is the number of the ledger's record of the press; 0: from before there was a ledger.
UPGRADES = {1: f"ALTER TABLE alarm ADD COLUMN record INTEGER NOT NULL DEFAULT 0;\n{_OPEN_INDEX}\n{ledger.SCHEMA}"}

# A boot a minute for an hour of a pole that restarts without end; older boots' presses then have an unknown age.
BOOTS_A_POLE = 64
# Notices are merged where they can be; a press's detail cannot. As many as alarms are reserved, then no more.
MAX_NOTICES = 100_000
# Rows deleted in one commit, so that no press waits behind a long one; the rest goes with the next purge.
MAX_PURGED = 5_000

MAX_NAME = 64  # of an inbox: 16 characters, unless a station is not ours

_detail_decoder = msgspec.json.Decoder(Detail)

_ALARM = """
SELECT a.row, a.pole, a.incarnation, a.boot, a.press, a.clash, a.kind, a.pressed_at_ms, a.repeats, t.name,
       a.pressed_ms, t.wall_at_zero_ms, t.quality, a.stage, l.number, l.hash
FROM alarm a JOIN timebase t ON t.id = a.timebase LEFT JOIN ledger l ON l.number = a.record
"""
_BY_ID = "pole = ? AND incarnation = ? AND boot = ? AND press = ? AND clash = ?"


class RefusedError(sqlite3.IntegrityError):
    """A bound of ours that a row would pass."""


def _key(identity: Identity) -> tuple[str, str, int, int, int]:
    return identity.pole, identity.incarnation, identity.boot, identity.press, identity.clash


def _alarm_row(found: tuple[Any, ...]) -> events.AlarmRow:
    row, pole, incarnation, boot, press, clash, kind, at_ms, repeats, timebase, pressed_ms, zero, quality = found[:13]
    stage, number, hashed = found[13:]
    return events.AlarmRow(
        row=row,
        id=Identity(pole=pole, incarnation=incarnation, boot=boot, press=press, clash=clash),
        kind=kind,
        pressed_at_ms=at_ms,
        repeats=repeats,
        timebase=timebase,
        pressed_ms=pressed_ms,
        pressed_wall_ms=None if zero is None or pressed_ms is None else zero + pressed_ms,
        quality=quality,
        stage=STAGES[stage],
        record=None if number is None else Entry(number, hashed.hex()),
    )


def _timebase(db: sqlite3.Connection, name: str) -> int:
    found = db.execute("SELECT id FROM timebase WHERE name = ?", (name,)).fetchone()
    if found is None:
        return int(db.execute("INSERT INTO timebase (name) VALUES (?)", (name,)).lastrowid or 0)
    return int(found[0])


def store_alarm(db: sqlite3.Connection, effect: effects.StoreAlarm) -> events.Stored:
    """Insert, or find the row of the same content; other content under the same identity is a clash of its own."""
    content = (effect.kind, effect.pressed_at_ms, effect.repeats)
    clash = 0
    query = _ALARM + "WHERE a.pole = ? AND a.incarnation = ? AND a.boot = ? AND a.press = ? ORDER BY a.clash"
    for found in db.execute(query, _key(effect.id)[:4]):
        row = _alarm_row(found)
        if (row.kind, row.pressed_at_ms, row.repeats) == content:
            return events.Stored(effect, "duplicate", row)
        clash = row.id.clash + 1
    identity = replace_clash(effect.id, clash)
    timebase = _timebase(db, effect.timebase)
    number = db.execute("SELECT coalesce(max(row), 0) + 1 FROM alarm").fetchone()[0]
    record = ledger.append(db, effect.wall_ms, PRESS, _record_of_press(effect, number, identity, timebase))
    values = (number, *_key(identity), *content, timebase, effect.pressed_ms, rank(HELD), record.number)
    columns = "row, pole, incarnation, boot, press, clash, kind, pressed_at_ms, repeats, timebase, pressed_ms, stage"
    db.execute(f"INSERT INTO alarm ({columns}, record) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", values)
    stored = _alarm_row(db.execute(_ALARM + "WHERE a.row = ?", (number,)).fetchone())
    return events.Stored(effect, "clash" if clash else "new", stored)


def _record_of_press(effect: effects.StoreAlarm, row: int, identity: Identity, timebase: int) -> dict[str, Any]:
    sealed = effect.sealed
    return {
        "row": row, "press": str(identity), "kind": effect.kind, "pressed_at_ms": effect.pressed_at_ms,
        "repeats": effect.repeats, "timebase": timebase, "pressed_ms": effect.pressed_ms,
        "nonces": sealed.nonces if sealed else None, "frame": sealed.frame if sealed else None,
    }  # fmt: skip


def _rows(db: sqlite3.Connection, identities: Iterable[Identity]) -> list[int]:
    """Row numbers of alarms that are there."""
    query = f"SELECT row FROM alarm WHERE {_BY_ID}"
    return [db.execute(query, _key(one)).fetchone()[0] for one in identities]


def _told_by(effect: effects.MarkReceipted | effects.StoreProgress) -> dict[str, Any]:
    """What a record says of the station that told it."""
    return {"inbox": effect.inbox[:MAX_NAME], "inbox_record": witnessed(effect.record)}


def replace_clash(identity: Identity, clash: int) -> Identity:
    """``identity`` as the ``clash``-th alarm of that name."""
    return msgspec.structs.replace(identity, clash=clash)


def mark_receipted(db: sqlite3.Connection, effect: effects.MarkReceipted) -> events.Receipted:
    timebase = _timebase(db, effect.timebase)
    query = (
        "UPDATE alarm SET receipt_timebase = ?, receipted_ms = ?, stage = max(stage, ?) "
        f"WHERE {_BY_ID} AND receipted_ms IS NULL"
    )
    marks = (timebase, effect.at_ms, _RECEIVED_RANK)
    changed = [one for one in effect.ids if db.execute(query, (*marks, *_key(one))).rowcount]
    if changed:
        ledger.append(db, effect.wall_ms, RECEIPTED, {"rows": _rows(db, changed), **_told_by(effect)})
    return events.Receipted(effect, tuple(changed))


def mark_waiting(db: sqlite3.Connection, effect: effects.MarkWaiting) -> events.MadeWaiting:
    query = f"UPDATE alarm SET receipt_timebase = NULL, receipted_ms = NULL WHERE {_BY_ID} AND receipted_ms IS NOT NULL"
    changed = [one for one in effect.ids if db.execute(query, _key(one)).rowcount]
    if changed:
        ledger.append(db, effect.wall_ms, WAITING, {"rows": _rows(db, changed), "inbox": effect.inbox[:MAX_NAME]})
    return events.MadeWaiting(effect, tuple(changed))


def store_progress(db: sqlite3.Connection, effect: effects.StoreProgress) -> events.ProgressStored:
    query = f"UPDATE alarm SET stage = ? WHERE {_BY_ID} AND stage < ? AND receipted_ms IS NOT NULL"
    changed = [
        (one, stage)
        for one, stage in effect.stages
        if db.execute(query, (rank(stage), *_key(one), rank(stage))).rowcount
    ]
    if changed:
        rows = zip(_rows(db, [one for one, _ in changed]), [stage for _, stage in changed], strict=True)
        ledger.append(db, effect.wall_ms, LEDGER_STAGES, {"stages": [list(one) for one in rows], **_told_by(effect)})
    known = f"SELECT 1 FROM alarm WHERE {_BY_ID}"
    unknown = tuple(one for one in effect.stages if db.execute(known, _key(one[0])).fetchone() is None)
    return events.ProgressStored(effect, tuple(changed), unknown)


def store_notice(db: sqlite3.Connection, effect: effects.StoreNotice) -> events.NoticeStored:
    replaced, merged = None, 0
    same = (effect.pole, effect.kind, effect.on)
    if effect.merge and effect.detail is None:
        query = "SELECT number, merged FROM notice WHERE pole = ? AND kind = ? AND state = ? AND detail IS NULL"
        found = db.execute(query + " ORDER BY number LIMIT 1", same).fetchone()
        if found is not None:
            replaced, merged = int(found[0]), int(found[1]) + 1
            db.execute("DELETE FROM notice WHERE number = ?", (replaced,))
    if replaced is None:
        _refuse_a_flood(db)
    detail = None if effect.detail is None else msgspec.json.encode(effect.detail)
    values = (*same, effect.value, merged, _timebase(db, effect.timebase), effect.at_ms, detail)
    insert = "INSERT INTO notice (pole, kind, state, value, merged, timebase, at_ms, detail) VALUES (?,?,?,?,?,?,?,?)"
    number = db.execute(insert, values).lastrowid
    change = "INSERT OR IGNORE INTO fault VALUES (?, ?)"
    db.execute(change if effect.on else "DELETE FROM fault WHERE pole = ? AND kind = ?", same[:2])
    return events.NoticeStored(effect, int(number or 0), replaced)


def _refuse_a_flood(db: sqlite3.Connection) -> None:
    first, last = db.execute("SELECT (SELECT min(number) FROM notice), (SELECT max(number) FROM notice)").fetchone()
    # The span is known at once and is nearly always enough; only a long one is worth counting.
    if first is not None and last - first + 1 >= MAX_NOTICES:
        count = db.execute("SELECT count(*) FROM notice").fetchone()[0]
        if count >= MAX_NOTICES:
            raise RefusedError(f"{count} notices wait already")


def drop_notices(db: sqlite3.Connection, effect: effects.DropNotices) -> events.NoticesDropped:
    dropped = sum(db.execute("DELETE FROM notice WHERE number = ?", (one,)).rowcount for one in effect.numbers)
    return events.NoticesDropped(effect, dropped)


def store_boot(db: sqlite3.Connection, effect: effects.StoreBoot) -> None:
    # Under a new number even if it was known: the newest are those heard last.
    number = db.execute("SELECT coalesce(max(number), 0) + 1 FROM boot").fetchone()[0]
    values = (number, effect.pole, effect.incarnation, effect.boot, _timebase(db, effect.timebase), effect.zero_ms)
    db.execute("INSERT OR REPLACE INTO boot VALUES (?, ?, ?, ?, ?, ?)", values)
    keep = "SELECT number FROM boot WHERE pole = ? ORDER BY number DESC LIMIT ?"
    db.execute(f"DELETE FROM boot WHERE pole = ? AND number NOT IN ({keep})", (effect.pole, effect.pole, BOOTS_A_POLE))


def store_timebase(db: sqlite3.Connection, effect: effects.StoreTimebase) -> None:
    values = (effect.wall_at_zero_ms, effect.quality, _timebase(db, effect.timebase))
    db.execute("UPDATE timebase SET wall_at_zero_ms = ?, quality = ? WHERE id = ?", values)


def fetch_waiting(db: sqlite3.Connection, effect: effects.FetchWaiting) -> events.WaitingFetched:
    query = _ALARM + "WHERE a.receipted_ms IS NULL AND a.row > ? ORDER BY a.row LIMIT ?"
    found = db.execute(query, (effect.after_row, effect.limit + 1)).fetchall()
    rows = tuple(_alarm_row(one) for one in found[: effect.limit])
    return events.WaitingFetched(effect, rows, len(found) <= effect.limit)


def fetch_notices(db: sqlite3.Connection, effect: effects.FetchNotices) -> events.NoticesFetched:
    query = (
        "SELECT n.number, n.pole, n.kind, n.state, n.value, n.merged, t.name, n.at_ms, t.wall_at_zero_ms, t.quality, "
        "n.detail FROM notice n JOIN timebase t ON t.id = n.timebase WHERE n.number > ? ORDER BY n.number LIMIT ?"
    )
    found = db.execute(query, (effect.after_number, effect.limit + 1)).fetchall()
    rows = tuple(_notice_row(one) for one in found[: effect.limit])
    return events.NoticesFetched(effect, rows, len(found) <= effect.limit)


def _notice_row(found: tuple[Any, ...]) -> events.NoticeRow:
    number, pole, kind, state, value, merged, timebase, at_ms, zero, quality, detail = found
    return events.NoticeRow(
        number=number,
        pole=pole,
        kind=kind,
        on=bool(state),
        value=value,
        merged=merged,
        timebase=timebase,
        at_ms=at_ms,
        wall_ms=0 if zero is None else zero + at_ms,
        quality=quality,
        detail=None if detail is None else _detail_decoder.decode(detail),
    )


def fetch_receipted(db: sqlite3.Connection, effect: effects.FetchReceipted) -> events.ReceiptedFetched:
    which = _OPEN if effect.open_only else "receipted_ms IS NOT NULL"
    query = (
        f"SELECT row, pole, incarnation, boot, press, clash FROM alarm WHERE {which} AND row > ? ORDER BY row LIMIT ?"
    )
    found = db.execute(query, (effect.after_row, effect.limit + 1)).fetchall()
    rows = tuple(
        (row, Identity(pole=pole, incarnation=incarnation, boot=boot, press=press, clash=clash))
        for row, pole, incarnation, boot, press, clash in found[: effect.limit]
    )
    return events.ReceiptedFetched(effect, rows, len(found) <= effect.limit)


def purge_receipted(db: sqlite3.Connection, effect: effects.PurgeReceipted) -> events.Purged:
    """The newest row stays whatever its age: row numbers must go on counting up."""
    query = (
        "DELETE FROM alarm WHERE row IN (SELECT a.row FROM alarm a JOIN timebase t ON t.id = a.receipt_timebase "
        "WHERE a.receipted_ms + t.wall_at_zero_ms < ? AND a.row < (SELECT max(row) FROM alarm) LIMIT ?) "
        "RETURNING record"
    )
    records = [row[0] for row in db.execute(query, (effect.before_wall_ms, MAX_PURGED)).fetchall()]
    count = len(records)
    # What was told of several alarms goes when the last of them has gone: records before the oldest press that is kept.
    oldest = db.execute("SELECT record FROM alarm WHERE record > 0 ORDER BY row LIMIT 1").fetchone()
    if records and oldest is not None:
        before = "SELECT number FROM ledger WHERE number < ? AND body IS NOT NULL AND kind IN (?, ?, ?) LIMIT ?"
        told = db.execute(before, (oldest[0], RECEIPTED, WAITING, LEDGER_STAGES, MAX_PURGED))
        records += [row[0] for row in told]
    ledger.forget(db, effect.wall_ms, records, {"receipted_before_ms": effect.before_wall_ms})
    return events.Purged(effect, count)


Completion = events.Completion | None
WORK: dict[type, Callable[[sqlite3.Connection, Any], Completion]] = {
    effects.StoreAlarm: store_alarm,
    effects.MarkReceipted: mark_receipted,
    effects.MarkWaiting: mark_waiting,
    effects.StoreProgress: store_progress,
    effects.StoreNotice: store_notice,
    effects.DropNotices: drop_notices,
    effects.StoreBoot: store_boot,
    effects.StoreTimebase: store_timebase,
    effects.FetchWaiting: fetch_waiting,
    effects.FetchNotices: fetch_notices,
    effects.FetchReceipted: fetch_receipted,
    effects.PurgeReceipted: purge_receipted,
}


_REFERENCES = (("alarm", "timebase"), ("alarm", "receipt_timebase"), ("notice", "timebase"), ("boot", "timebase"))


def load(db: sqlite3.Connection, fresh_incarnation: str, damaged: str) -> events.Contents:
    """What the outbox holds; a new one gets ``fresh_incarnation``. Forgets time bases that nothing refers to."""
    db.execute("INSERT OR IGNORE INTO meta VALUES ('incarnation', ?)", (fresh_incarnation,))
    outbox = db.execute("SELECT value FROM meta WHERE key = 'incarnation'").fetchone()[0]
    if ledger.head(db) is None:
        older = db.execute("SELECT coalesce(max(row), 0) FROM alarm").fetchone()[0]
        ledger.append(db, 0, BEGAN, {"ledger": outbox, "older_rows": older})
    used = " UNION ".join(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL" for table, column in _REFERENCES)
    db.execute(f"DELETE FROM timebase WHERE id NOT IN ({used})")
    boots = db.execute(
        "SELECT b.pole, b.incarnation, b.boot, t.name, b.zero_ms, t.wall_at_zero_ms + b.zero_ms, t.quality "
        "FROM boot b JOIN timebase t ON t.id = b.timebase ORDER BY b.number"
    )
    return events.Contents(
        outbox=outbox,
        waiting_alarms=db.execute("SELECT count(*) FROM alarm WHERE receipted_ms IS NULL").fetchone()[0],
        waiting_notices=db.execute("SELECT count(*) FROM notice").fetchone()[0],
        newest=tuple(_newest(db)),
        boots=tuple(events.BootRow(*row) for row in boots),
        open_faults=tuple(db.execute("SELECT pole, kind FROM fault ORDER BY pole, kind").fetchall()),
        damaged=damaged,
    )


def _newest(db: sqlite3.Connection) -> Iterable[events.AlarmRow]:
    with_lamp = "SELECT max(row) FROM alarm WHERE kind = 'press' GROUP BY pole"
    last = db.execute(f"SELECT pole, incarnation FROM alarm WHERE row IN ({with_lamp})")
    of_these = "WHERE a.pole = ? AND a.incarnation = ? AND a.kind = 'press'"
    # Of several contents of that press the last one: of the first the pole may have let go long ago.
    query = _ALARM + of_these + " ORDER BY a.boot DESC, a.press DESC, a.clash DESC LIMIT 1"
    for key in last.fetchall():
        yield _alarm_row(db.execute(query, key).fetchone())
