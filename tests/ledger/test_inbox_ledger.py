"""The station's ledger: what happens is in it, what is done to the file is found, what is old is forgotten."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from tests.ledger.books import DAY_MS, edit, lived_station, rehash, station_disk, verify, words
from tests.station.world import WALL_MS, A, World, alarm

from sos_contract.payloads import Command, CommandAnswer
from sos_edge.sqlite import open_database
from sos_ledger.book import open_book
from sos_station.core import effects as fx
from sos_station.core.records import Stamp
from sos_station.edge import writes
from sos_station.edge.inbox import identify
from sos_station.edge.schema import SCHEMA, UPGRADES, VERSION, prepare


def test_what_the_station_did_is_written_down_and_holds(tmp_path: Path) -> None:
    world = lived_station(tmp_path)
    kinds = [kind for (kind,) in world.disk.execute("SELECT kind FROM ledger ORDER BY number")]
    assert kinds[:8] == ["began", "alarm", "stage", "alarm", "stage", "stage", "stage", "alarm"]
    assert set(kinds[8:]) == {"fault", "fault_ended"}
    assert verify(tmp_path) == []
    world.send("alarm", alarm(3, pole="market-1"), point="market")
    count = "SELECT count(*) FROM ledger WHERE kind = 'alarm'"
    assert world.disk.execute(count).fetchone() == (3,), "a duplicate is no record"
    world.send("alarm", alarm(3, pole="market-1", pressed_at_ms=9), point="market")
    assert b'"verdict":"clash"' in world.disk.execute("SELECT body FROM ledger ORDER BY number DESC").fetchone()[0]
    assert verify(tmp_path) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE alarm SET officer = 'Malee' WHERE number = 2", "row 5 says of alarm 2 that its officer is 'Somchai'"),
        ("UPDATE alarm SET stage = 'closed', queue = 4 WHERE number = 3", "row 8 says of alarm 3 that its stage"),
        ("UPDATE alarm SET pressed_at_ms = 5 WHERE number = 1", "row 2 says of alarm 1 that its pressed_at_ms is 1000"),
        ("UPDATE alarm SET age_ms = NULL WHERE number = 1", "row 2 says of alarm 1 that its age_ms"),
        ("UPDATE alarm SET clash = 1 WHERE number = 1", "row 2 says of alarm 1 that its clash"),
        ("UPDATE change SET officer = 'Malee' WHERE alarm = 2 AND stage = 'accepted'", "row 5 does not tell of this"),
        ("UPDATE change SET note = 'none' WHERE note = 'two cars'", "row 6 does not tell of this change"),
        ("DELETE FROM change WHERE alarm = 2 AND stage = 'accepted'", "row 5 tells of a change that is not in"),
        ("UPDATE fault SET until_wall_ms = until_wall_ms + 1", "says otherwise of fault 1 (point_lost)"),
        ("UPDATE change SET quality = 'unset' WHERE alarm = 2 AND stage = 'accepted'", "row 5 does not tell of this"),
    ],
)  # fmt: skip
def test_an_edit_in_place_is_named(tmp_path: Path, statement: str, found: str) -> None:
    lived_station(tmp_path)
    edit(tmp_path, statement)
    assert any(found in line for line in words(tmp_path)), words(tmp_path)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE alarm SET queue = 4 WHERE number = 3", ["row 8 puts alarm 3", "by queue 0 (the table says 4)"]),
        ("UPDATE alarm SET queue = 1 WHERE number = 3", ["row 8 puts alarm 3", "by queue 0 (the table says 1)"]),
        ("UPDATE alarm SET family = 'test', queue = 'x' WHERE number = 3", ["family 'call'", "queue 0", "says 'x'"]),
        ("UPDATE alarm SET changed_wall_ms = 1 WHERE number = 2", ["row 5 puts alarm 2", "changed_wall_ms 1800"]),
    ],
)
def test_a_call_that_is_taken_off_the_officers_list_is_named_in_one_line(
    tmp_path: Path, statement: str, found: list[str]
) -> None:
    """Its record and all that the record tells still stood: nobody missed it."""
    lived_station(tmp_path)
    edit(tmp_path, statement)
    (line,) = words(tmp_path)
    assert all(part in line for part in found), line


def test_a_press_that_is_called_forgotten_before_it_came_is_named(tmp_path: Path) -> None:
    """It would be receipted when it comes, and no officer would see it."""
    world = lived_station(tmp_path)
    forged = "INSERT INTO forgotten VALUES ('market-1', '00000000000000aa', 1, 4, 'press', 4000, 0, {}, 1)"
    for number in (1, 3, 4, 0, "'x'"):
        edit(tmp_path, forged.format(number))
        (line,) = words(tmp_path)
        assert line.startswith("row 0 press 4 of market-1 is called forgotten as alarm "), line
        edit(tmp_path, "DELETE FROM forgotten")
    _later(world, 800)
    assert world.disk.execute("SELECT number FROM forgotten").fetchall() == [(1,)]
    assert words(tmp_path) == []
    edit(tmp_path, forged.format(1))
    assert len(words(tmp_path)) == 1


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE command SET officer = 'Noi'", "says otherwise of command c1 (open_repl) than the table"),
        ("UPDATE command SET words = 'never'", "says otherwise of command c1 (open_repl) than the table"),
        ("DELETE FROM command", "tells of command c1, which is missing from the table"),
        ("DROP TABLE command", "tells of command c1, which is missing from the table"),
        (
            "INSERT INTO command SELECT NULL, 'c2', pole, point, command, officer, terminal, 1, '', '', '', 0, 0, 0"
            " FROM command",
            "row 0 command c2 stands in the table, but no record tells of it",
        ),
    ],
)
def test_who_ordered_what_of_a_pole_cannot_be_edited_unseen(tmp_path: Path, statement: str, found: str) -> None:
    world = lived_station(tmp_path)
    command = Command(
        id="c1", session="s1", until_ms=9, pole="merlin-1", command="open_repl", officer="Somchai", terminal="t1"
    )
    at = Stamp(world.wall_ms, "synced", "boot-1", world.now_ms)
    writes.carry_out(world.disk, fx.StoreCommand(A, "t1", "merlin", command, at))
    assert words(tmp_path) == []
    answer = CommandAnswer(id="c1", outcome="done", words="it waits for you")
    writes.carry_out(world.disk, fx.SettleCommand("merlin", answer, at))
    assert words(tmp_path) == []
    edit(tmp_path, statement)
    (line,) = words(tmp_path)
    assert found in line


def test_two_officers_whose_names_are_swapped_everywhere_are_still_named(tmp_path: Path) -> None:
    lived_station(tmp_path)
    swap = "CASE officer WHEN 'Somchai' THEN 'Malee' WHEN 'Malee' THEN 'Somchai' ELSE officer END"
    bodies = "replace(replace(replace(CAST(body AS TEXT), 'Somchai', '?'), 'Malee', 'Somchai'), '?', 'Malee')"
    edit(
        tmp_path,
        f"UPDATE alarm SET officer = {swap}",
        f"UPDATE change SET officer = {swap}",
        f"UPDATE ledger SET body = CAST({bodies} AS BLOB) WHERE kind = 'stage'",
    )
    assert [line.split()[:2] for line in words(tmp_path)] == [["changed", str(number)] for number in (3, 5, 6, 7)]


def test_an_alarm_that_is_taken_away_or_put_in_is_named(tmp_path: Path) -> None:
    lived_station(tmp_path)
    edit(tmp_path, "DELETE FROM change WHERE alarm = 3", "DELETE FROM alarm WHERE number = 3")
    found = words(tmp_path)
    assert "row 8 tells of alarm 3, which is missing from the table" in found
    edit(tmp_path, "INSERT INTO alarm SELECT 4, 4, pole, incarnation, boot, 99, 0, point, kind, family, 1, 0, 0, 0, 0,"
         " clock, 0, 'unset', '', 0, 'received', 0, '', 0, '', '' FROM alarm WHERE number = 1",
         "INSERT INTO change VALUES (NULL, 4, 0, 'unset', '', 'received', '', '', 0)")  # fmt: skip
    assert "row 0 alarm 4 stands in the table, but no record tells of its receipt" in words(tmp_path)
    assert "row 0 no record tells of a change in the table: alarm 4, received" in words(tmp_path)


def test_a_forger_who_makes_all_fit_is_found_by_a_head_that_was_written_down(tmp_path: Path) -> None:
    world = lived_station(tmp_path)
    number, hashed = world.disk.execute("SELECT number, lower(hex(hash)) FROM ledger ORDER BY number DESC").fetchone()
    heads = (f"{number}:{hashed}", hashed)
    assert words(tmp_path, heads=heads) == []
    officer = "UPDATE {} SET officer = 'Malee' WHERE officer = 'Somchai'"
    bodies = "UPDATE ledger SET body = CAST(replace(CAST(body AS TEXT), 'Somchai', 'Malee') AS BLOB)"
    edit(tmp_path, officer.format("alarm"), officer.format("change"), bodies, then=lambda disk: rehash(disk, 1))
    assert words(tmp_path) == [], "alone it cannot be seen"
    assert [line.split()[0] for line in words(tmp_path, heads=heads)] == ["witness", "witness"]


def test_a_ledger_that_is_cut_at_its_end_lacks_what_the_tables_have(tmp_path: Path) -> None:
    lived_station(tmp_path)
    edit(tmp_path, "DELETE FROM ledger WHERE number > 7")
    assert "row 0 alarm 3 stands in the table, but no record tells of its receipt" in words(tmp_path)


# --- retention


def _later(world: World, days: int) -> None:
    """The station starts again after so many days, and looks for what is old."""
    world.now_ms += days * DAY_MS
    world.wall_ms += days * DAY_MS
    world.start()
    world.pass_ms(1_000)


def test_old_incidents_are_forgotten_whole_and_open_ones_never(tmp_path: Path) -> None:
    world = lived_station(tmp_path)
    _later(world, 800)
    assert [number for (number,) in world.disk.execute("SELECT number FROM alarm ORDER BY number")] == [2, 3], (
        "alarm 1 was closed"
    )
    assert world.disk.execute("SELECT count(*) FROM change WHERE alarm = 1").fetchone() == (0,)
    assert b"two cars" not in b"".join(body or b"" for (body,) in world.disk.execute("SELECT body FROM ledger"))
    assert verify(tmp_path) == []
    world.ask("close", 2, officer="Malee", disposition="false")
    world.ask("accept", 3, officer="Malee")
    _later(world, 2)
    assert verify(tmp_path) == []
    _later(world, 732)
    assert [number for (number,) in world.disk.execute("SELECT number FROM alarm ORDER BY number")] == [3]
    assert verify(tmp_path) == []
    world.ask("close", 3, officer="Malee", disposition="false")
    _later(world, 800)
    assert world.disk.execute("SELECT count(*) FROM alarm").fetchone() == (1,), "the newest stays: numbers count up"
    world.send("alarm", alarm(9))
    assert world.disk.execute("SELECT max(number) FROM alarm").fetchone() == (4,)
    assert world.disk.execute("SELECT min(number) FROM ledger").fetchone()[0] > 1
    assert verify(tmp_path) == []


def test_what_is_cut_off_before_what_the_rules_dropped_is_named(tmp_path: Path) -> None:
    world = lived_station(tmp_path)
    _later(world, 800)
    first = world.disk.execute("SELECT min(number) FROM ledger").fetchone()[0]
    assert first > 1
    edit(tmp_path, f"DELETE FROM ledger WHERE number = {first}")
    assert words(tmp_path)[0].startswith("missing 1")


# --- an inbox of the release before


@pytest.fixture
def old_disk(tmp_path: Path) -> Path:
    path = tmp_path / "inbox.sqlite"
    disk = sqlite3.connect(path, isolation_level=None)
    disk.executescript((Path(__file__).parent / "inbox-1.sql").read_text())
    disk.close()
    return path


def test_an_inbox_of_the_release_before_gets_a_ledger_that_says_so(old_disk: Path) -> None:
    for _ in range(2):
        database = open_database(old_disk, SCHEMA, version=VERSION, upgrades=UPGRADES, verify=prepare)
        assert database.aside is None, database.why
        name = identify(database.connection, 1, fresh="f", damaged=False, wall_ms=WALL_MS)
        assert name == "00000000000000cc"
        world = World(disk=database.connection)
        assert words(old_disk.parent) == []
        database.connection.close()
    with sqlite3.connect(old_disk) as disk:
        assert disk.execute("SELECT kind, body FROM ledger").fetchall() == [
            ("began", b'{"ledger":"00000000000000cc","older_alarms":2,"older_faults":1}')
        ]
        world = World(disk=disk)
        disk.isolation_level = None
        assert [row.officer for row in world.alarms(everything=True)] == ["", "Somchai"]
        world.send("alarm", alarm(7))
        world.ask("accept", 2, officer="Malee")
        assert words(old_disk.parent) == []
        disk.execute("UPDATE alarm SET officer = 'Noi' WHERE number = 2")
    assert [line.split(" that")[0] for line in words(old_disk.parent)] == ["row 3 says of alarm 2"]


def test_what_is_older_than_the_ledger_stays_so_when_its_beginning_is_dropped(old_disk: Path) -> None:
    database = open_database(old_disk, SCHEMA, version=VERSION, upgrades=UPGRADES, verify=prepare)
    identify(database.connection, 1, fresh="f", damaged=False, wall_ms=WALL_MS)
    world = World(disk=database.connection)
    world.pass_ms(60_000)  # both points are lost
    for point in ("merlin", "market"):
        world.probe(point)
    _later(world, 800)  # these faults are forgotten; no alarm came since
    assert world.disk.execute("SELECT count(*) FROM ledger WHERE kind = 'began'").fetchone() == (0,)
    assert world.disk.execute("SELECT count(*) FROM alarm").fetchone()[0] > 0
    assert words(old_disk.parent) == []
    world.disk.execute("PRAGMA foreign_keys=OFF")
    world.disk.execute("UPDATE alarm SET number = 77 WHERE number = (SELECT max(number) FROM alarm)")
    assert words(old_disk.parent)[0].startswith("row 0 alarm 77 stands in the table")
    database.connection.close()


def test_a_ledger_keeps_the_names_it_had_before_what_it_dropped(tmp_path: Path) -> None:
    world = lived_station(tmp_path)
    world.disk.execute("INSERT OR REPLACE INTO meta VALUES ('incarnation', 'inbox-1')")
    for days in (800, 2):
        _later(world, days)
        with open_book(tmp_path / "inbox.sqlite") as book:
            assert book.chain.records[0].number > 1 and book.chain.names == {"inbox-1": 1}
        world.ask("close", 2, officer="Malee", disposition="false")
    restored = world.disk.execute("SELECT max(number) + 1 FROM ledger").fetchone()[0]
    assert identify(world.disk, 5, fresh="inbox-2", damaged=False, wall_ms=WALL_MS) == "inbox-2"
    world.ask("close", 3, officer="Malee", disposition="false")
    world.send("alarm", alarm(9))
    world.probe("market")  # whose loss stood open
    _later(world, 800)
    with open_book(tmp_path / "inbox.sqlite") as book:
        assert book.chain.records[0].number > restored
        assert book.chain.names == {"inbox-1": 1, "inbox-2": restored}
        assert book.chain.renamed_after("inbox-1") == restored
    assert verify(tmp_path) == []


def test_whatever_somebody_wrote_into_its_beginning_the_ledger_can_forget(tmp_path: Path) -> None:
    forged = (b"no JSON", b"[1]", b'{"names":7,"older_alarms":"x"}', b"\xff", b'{"names":{"\\ud800":1}}',
              b'{"names":{"x":%d}}' % 2**64, b"[" * 100_000)  # fmt: skip
    for place, body in enumerate(("text", *forged)):
        world = lived_station(tmp_path / str(place))
        world.disk.execute("UPDATE ledger SET body = ? WHERE number = 1", (body,))
        _later(world, 800)
        assert b'"names":{}' in world.disk.execute("SELECT body FROM ledger WHERE kind = 'forgotten'").fetchone()[0]


def test_a_copy_goes_on_under_a_new_name_and_says_so(tmp_path: Path) -> None:
    disk = station_disk(tmp_path)
    disk.execute("INSERT OR REPLACE INTO meta VALUES ('incarnation', 'inbox-1')")
    assert identify(disk, 5, fresh="inbox-2", damaged=False, wall_ms=WALL_MS) == "inbox-2"
    assert identify(disk, 5, fresh="inbox-3", damaged=False, wall_ms=WALL_MS) == "inbox-2"
    assert disk.execute("SELECT kind, body FROM ledger WHERE number > 1").fetchall() == [
        ("restored", b'{"before":"inbox-1","ledger":"inbox-2"}')
    ]
    assert words(tmp_path) == []
