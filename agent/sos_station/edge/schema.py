"""Tables of the inbox."""

from __future__ import annotations

import sqlite3

from sos_edge import ledger
from sos_station.edge import commands, forgotten

VERSION = 2

# `queue` is the alarm's place in the officer's list (core.incidents), 4 for closed ones. The unique index is what tells
# a duplicate: identity and content, without the clash number of an outbox. `record` is the number of the ledger's
# record of a change or a fault; 0: from before there was a ledger. `count` of a fault is how often notices told of it.
SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE alarm (
    number INTEGER PRIMARY KEY, incident INTEGER NOT NULL,
    pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL, press INTEGER NOT NULL,
    clash_number INTEGER NOT NULL, point TEXT NOT NULL,
    kind TEXT NOT NULL, family TEXT NOT NULL, pressed_at_ms INTEGER NOT NULL, repeats INTEGER NOT NULL,
    clash INTEGER NOT NULL, age_ms INTEGER, late INTEGER NOT NULL, clock TEXT NOT NULL,
    received_wall_ms INTEGER NOT NULL, received_quality TEXT NOT NULL,
    received_timebase TEXT NOT NULL, received_mono_ms INTEGER NOT NULL,
    stage TEXT NOT NULL, queue INTEGER NOT NULL, officer TEXT NOT NULL, changed_wall_ms INTEGER NOT NULL,
    disposition TEXT NOT NULL, remark TEXT NOT NULL
);
CREATE UNIQUE INDEX alarm_content ON alarm (pole, incarnation, boot, press, kind, pressed_at_ms, repeats);
CREATE INDEX alarm_queue ON alarm (queue, number);
CREATE INDEX alarm_incident ON alarm (incident, queue, number, stage);
CREATE INDEX alarm_open ON alarm (pole, family, number) WHERE queue < 4;

CREATE TABLE change (
    id INTEGER PRIMARY KEY, alarm INTEGER NOT NULL REFERENCES alarm (number),
    wall_ms INTEGER NOT NULL, quality TEXT NOT NULL, officer TEXT NOT NULL,
    stage TEXT NOT NULL, note TEXT NOT NULL, request TEXT NOT NULL, record INTEGER NOT NULL
);
CREATE INDEX change_alarm ON change (alarm);
CREATE INDEX change_request ON change (request) WHERE request <> '';

CREATE TABLE detail (
    pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL, press INTEGER NOT NULL,
    held_ms INTEGER NOT NULL, PRIMARY KEY (pole, incarnation, boot, press)
) WITHOUT ROWID;

CREATE TABLE notice (
    point TEXT NOT NULL, outbox TEXT NOT NULL, number INTEGER NOT NULL, pole TEXT NOT NULL, kind TEXT NOT NULL,
    opened INTEGER NOT NULL, value INTEGER NOT NULL, merged INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL, clock TEXT NOT NULL, received_wall_ms INTEGER NOT NULL,
    PRIMARY KEY (point, outbox, number)
) WITHOUT ROWID;
CREATE INDEX notice_received ON notice (received_wall_ms);

CREATE TABLE fault (
    id INTEGER PRIMARY KEY, point TEXT NOT NULL, pole TEXT NOT NULL, kind TEXT NOT NULL,
    since_wall_ms INTEGER NOT NULL, last_good_wall_ms INTEGER NOT NULL, until_wall_ms INTEGER,
    value INTEGER NOT NULL, count INTEGER NOT NULL, record INTEGER NOT NULL, end_record INTEGER NOT NULL
);
CREATE UNIQUE INDEX fault_open ON fault (point, pole, kind) WHERE until_wall_ms IS NULL;
CREATE INDEX fault_until ON fault (until_wall_ms);
{commands.SCHEMA}{forgotten.SCHEMA}{ledger.SCHEMA}"""

UPGRADES = {
    1: f"""
ALTER TABLE change ADD COLUMN record INTEGER NOT NULL DEFAULT 0;
ALTER TABLE fault ADD COLUMN record INTEGER NOT NULL DEFAULT 0;
ALTER TABLE fault ADD COLUMN end_record INTEGER NOT NULL DEFAULT 0;
{ledger.SCHEMA}""",
}


def prepare(connection: sqlite3.Connection) -> None:
    """Tables that an inbox of this version may lack."""
    commands.prepare(connection)
    forgotten.prepare(connection)
