-- An inbox as the release before the ledger left it.
BEGIN TRANSACTION;
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
INSERT INTO "alarm" VALUES(1,1,'merlin-1','00000000000000aa',1,1,0,'merlin','press','call',1000,0,0,40,0,'synced',1800000000000,'synced','boot-1',1000000,'accepted',3,'Somchai',1800000000000,'','');
INSERT INTO "alarm" VALUES(2,1,'merlin-1','00000000000000aa',1,2,0,'merlin','press','call',2000,0,0,40,0,'synced',1800000000000,'synced','boot-1',1000000,'received',0,'',1800000000000,'','');
CREATE TABLE change (
    id INTEGER PRIMARY KEY, alarm INTEGER NOT NULL REFERENCES alarm (number),
    wall_ms INTEGER NOT NULL, quality TEXT NOT NULL, officer TEXT NOT NULL,
    stage TEXT NOT NULL, note TEXT NOT NULL, request TEXT NOT NULL
);
INSERT INTO "change" VALUES(1,1,1800000000000,'synced','','received','','');
INSERT INTO "change" VALUES(2,1,1800000000000,'synced','Somchai','accepted','','r1');
INSERT INTO "change" VALUES(3,2,1800000000000,'synced','','received','','');
CREATE TABLE detail (
    pole TEXT NOT NULL, incarnation TEXT NOT NULL, boot INTEGER NOT NULL, press INTEGER NOT NULL,
    held_ms INTEGER NOT NULL, PRIMARY KEY (pole, incarnation, boot, press)
) WITHOUT ROWID;
CREATE TABLE fault (
    id INTEGER PRIMARY KEY, point TEXT NOT NULL, pole TEXT NOT NULL, kind TEXT NOT NULL,
    since_wall_ms INTEGER NOT NULL, last_good_wall_ms INTEGER NOT NULL, until_wall_ms INTEGER,
    value INTEGER NOT NULL, count INTEGER NOT NULL
);
INSERT INTO "fault" VALUES(1,'merlin','merlin-1','tamper',1800000000000,0,NULL,0,1);
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO "meta" VALUES('high_water',6);
INSERT INTO "meta" VALUES('incarnation','00000000000000cc');
INSERT INTO "meta" VALUES('inode','1');
CREATE TABLE notice (
    point TEXT NOT NULL, outbox TEXT NOT NULL, number INTEGER NOT NULL, pole TEXT NOT NULL, kind TEXT NOT NULL,
    opened INTEGER NOT NULL, value INTEGER NOT NULL, merged INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL, clock TEXT NOT NULL, received_wall_ms INTEGER NOT NULL,
    PRIMARY KEY (point, outbox, number)
) WITHOUT ROWID;
INSERT INTO "notice" VALUES('merlin','o',1,'merlin-1','tamper',1,0,0,1800000000000,'synced',1800000000000);
CREATE UNIQUE INDEX alarm_content ON alarm (pole, incarnation, boot, press, kind, pressed_at_ms, repeats);
CREATE INDEX alarm_queue ON alarm (queue, number);
CREATE INDEX alarm_incident ON alarm (incident, queue, number, stage);
CREATE INDEX alarm_open ON alarm (pole, family, number) WHERE queue < 4;
CREATE INDEX change_alarm ON change (alarm);
CREATE INDEX change_request ON change (request) WHERE request <> '';
CREATE INDEX notice_received ON notice (received_wall_ms);
CREATE UNIQUE INDEX fault_open ON fault (point, pole, kind) WHERE until_wall_ms IS NULL;
CREATE INDEX fault_until ON fault (until_wall_ms);
COMMIT;
PRAGMA user_version=1;
