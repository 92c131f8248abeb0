-- An outbox as the release before the ledger left it.
BEGIN TRANSACTION;
CREATE TABLE alarm (
    row INTEGER PRIMARY KEY,
    pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL, press INTEGER NOT NULL,
    clash INTEGER NOT NULL, kind TEXT NOT NULL, pressed_at_ms INTEGER NOT NULL, repeats INTEGER NOT NULL,
    timebase INTEGER NOT NULL REFERENCES timebase (id), pressed_ms INTEGER,
    stage INTEGER NOT NULL, receipt_timebase INTEGER REFERENCES timebase (id), receipted_ms INTEGER,
    UNIQUE (pole, incarnation, boot, press, clash)
);
INSERT INTO "alarm" VALUES(1,'merlin-1','00000000000000aa',1,1,0,'press',1000,0,1,50001,6,1,60000);
INSERT INTO "alarm" VALUES(2,'merlin-1','00000000000000aa',1,2,0,'press',2000,0,1,50002,2,1,60000);
INSERT INTO "alarm" VALUES(3,'merlin-1','00000000000000aa',1,3,0,'press',3000,0,1,50003,1,NULL,NULL);
CREATE TABLE boot (
    number INTEGER PRIMARY KEY, pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL,
    timebase INTEGER NOT NULL REFERENCES timebase (id), zero_ms INTEGER NOT NULL, UNIQUE (pole, incarnation, boot)
);
CREATE TABLE fault (pole TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (pole, kind)) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('incarnation','00000000000000bb');
CREATE TABLE notice (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    pole TEXT NOT NULL, kind TEXT NOT NULL, state INTEGER NOT NULL, value INTEGER NOT NULL, merged INTEGER NOT NULL,
    timebase INTEGER NOT NULL REFERENCES timebase (id), at_ms INTEGER NOT NULL, detail BLOB
);
CREATE TABLE timebase (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, wall_at_zero_ms INTEGER, quality TEXT NOT NULL DEFAULT 'unset'
);
INSERT INTO "timebase" VALUES(1,'boot-a',1800000000000,'synced');
CREATE INDEX alarm_waiting ON alarm (row) WHERE receipted_ms IS NULL;
CREATE INDEX notice_kind ON notice (pole, kind, state) WHERE detail IS NULL;
DELETE FROM "sqlite_sequence";
COMMIT;
PRAGMA user_version=1;
