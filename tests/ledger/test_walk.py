"""A press from the pole's seal to the officer's name, through the ledgers of agent and station; and whoever changes one
of them is found by the other.

The town is the virtual one: real firmware, agent, station and SQL. Its disks are written to files.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.books import edit, rehash, verify, words

from safezone.cli import main
from sos_contract.site import find_site, read_site
from sos_sim.scenario import only
from sos_sim.testing.virtual import VirtualZone
from sos_station.core.effects import Prune
from sos_station.core.records import Stamp
from sos_station.edge import writes

POLE, POINT = "market-1", "market"


class Town:
    """``agent`` and ``station``: data folders. ``keys``: of the pole."""

    def __init__(self, folder: Path, keys: dict[str, list[bytes]]) -> None:
        self.agent, self.station, self.keys = folder / POINT, folder / "station", keys

    def words(self) -> list[str]:
        return words(self.agent, self.station, keys=self.keys)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("town")
    zone = VirtualZone(only(read_site(find_site("betong")), [POINT]), 7, folder)
    for _ in range(2):
        zone.press(POLE)
        zone.expect(POLE).shows("received", within_s=5)
        for verb in (zone.accept, zone.dispatch, zone.arrive, zone.close):
            verb(POLE)
            zone.run(1)
        zone.expect(POLE).shows("in_service", within_s=5)
    zone.press(POLE)
    zone.expect(POLE).shows("received", within_s=5)
    zone.accept(POLE)
    zone.run(2)
    key = zone.zone.rng(f"key:{POLE}").randbytes(32)
    town = Town(folder, {POLE: [key]})
    for place, name, disk in (
        (town.agent, "outbox.db", zone.zone.agents[POINT].disk),
        (town.station, "inbox.sqlite", zone.zone.station.disk),
    ):
        place.mkdir()
        assert disk.file is not None
        copy = sqlite3.connect(place / name)
        disk.file.backup(copy)
        copy.close()
    return town


@pytest.fixture
def town(lived: Town, tmp_path: Path) -> Town:
    shutil.copytree(lived.agent, tmp_path / POINT)
    shutil.copytree(lived.station, tmp_path / "station")
    return Town(tmp_path, lived.keys)


def test_a_press_is_walked_from_the_poles_seal_to_the_officers_name(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "poles.toml"
    keys.write_text(f'[poles]\n{POLE} = "{town.keys[POLE][0].hex()}"\n')
    keys.chmod(0o600)
    data = ["--data", str(town.agent), "--data", str(town.station)]
    assert main(["ledger", "verify", *data, "--keys", str(keys), "1"]) == 0
    said = capsys.readouterr().out
    order = [
        f"sealed by pole {POLE}: the seal is good, sealed in session",
        f"held at its point {POINT}",
        f"received at the station from point {POINT} as alarm 1",
        "receipted by inbox",
        "accepted by officer tester",
        "the point was told: accepted",
        "dispatched by officer tester",
        "the point was told: dispatched",
        "on_scene by officer tester",
        "closed by officer tester as test",
        "the point was told: closed",
        "every record holds",
    ]
    places = [said.find(part) for part in order]
    assert -1 not in places and places == sorted(places), said
    assert "not here" not in said
    assert main(["ledger", "verify", *data, "--json", POLE]) == 0
    walks = [json.loads(line) for line in capsys.readouterr().out.splitlines()][:3]
    assert [walk["alarms"] for walk in walks] == [[1], [2], [3]]
    assert "not checked, no key" in walks[0]["steps"][0]["words"]
    assert main(["ledger", "verify", "--data", str(town.agent), POLE]) == 0
    said = capsys.readouterr().out
    assert "ledger " in said and "is not here: what is remembered of it was not compared" in said


# --- the seal


def _forge(town: Town, change: Callable[[dict[str, object]], object], number: int) -> None:
    """Change a record at the agent, and make every hash fit again."""

    def work(disk: sqlite3.Connection) -> None:
        body = json.loads(disk.execute("SELECT body FROM ledger WHERE number = ?", (number,)).fetchone()[0])
        change(body)
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        disk.execute("UPDATE ledger SET body = ? WHERE number = ?", (text, number))
        rehash(disk, number)

    edit(town.agent, then=work)


def _flip(name: str, at: int) -> Callable[[dict[str, object]], None]:
    def change(body: dict[str, object]) -> None:
        raw = bytearray(base64.b64decode(str(body[name])))
        raw[at] ^= 1
        body[name] = base64.b64encode(bytes(raw)).decode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(_flip("frame", at) for at in (0, 1, 4, 8, 12, 19, 20, 28, 40, -1)),
        _flip("nonces", 3),
        _flip("nonces", 30),
        lambda body: body.update(pressed_at_ms=5),
        lambda body: body.update(press=str(body["press"]) + "1"),
        lambda body: body.update(frame="?"),
        lambda body: body.update(nonces=7),
        lambda body: body.update(frame=""),
    ],
)
def test_a_press_that_its_pole_did_not_seal_is_named(town: Town, change: Callable[[dict[str, object]], object]) -> None:
    _forge(town, change, 2)
    assert [line.split()[:2] for line in words(town.agent, keys=town.keys) if line.startswith("seal")] == [
        ["seal", "2"]
    ]
    assert any(line.startswith("witness 2 is not the one that record") for line in town.words())


def test_a_key_that_was_replaced_is_given_with_the_one_before_it(town: Town) -> None:
    old = town.keys[POLE]
    assert [line.split()[0] for line in words(town.agent, keys={POLE: [bytes(range(32))]})] == ["seal"] * 3
    assert words(town.agent, keys={POLE: [bytes(range(32)), *old]}) == []


# --- each remembers the other


def test_a_station_that_was_forged_as_a_whole_is_found_by_its_points(town: Town) -> None:
    name = "'tester', 'nobody'"
    edit(
        town.station,
        f"UPDATE alarm SET officer = replace(officer, {name})",
        f"UPDATE change SET officer = replace(officer, {name})",
        f"UPDATE ledger SET body = CAST(replace(CAST(body AS TEXT), {name}) AS BLOB)",
        then=lambda disk: rehash(disk, 1),
    )
    assert words(town.station) == [], "alone it cannot be seen"
    found = town.words()
    assert found and all("was changed and all hashes made anew" in line for line in found)
    assert all(f"of {town.agent}" in line for line in found)


def test_a_forged_station_is_found_by_its_points_also_when_it_has_forgotten_its_beginning(town: Town) -> None:
    def forget(disk: sqlite3.Connection) -> None:
        late = Stamp(1 << 42, "synced", "boot", 0)
        disk.execute("BEGIN")
        writes.carry_out(disk, Prune(late, late.wall_ms, late.wall_ms))
        disk.execute("COMMIT")

    edit(town.station, then=forget)
    assert town.words() == []
    name = "'tester', 'nobody'"
    edit(
        town.station,
        f"UPDATE alarm SET officer = replace(officer, {name})",
        f"UPDATE change SET officer = replace(officer, {name})",
        f"UPDATE ledger SET body = CAST(replace(CAST(body AS TEXT), {name}) AS BLOB) WHERE body IS NOT NULL",
        then=lambda disk: rehash(disk, disk.execute("SELECT min(number) + 1 FROM ledger").fetchone()[0]),
    )
    assert words(town.station) == [], "alone it cannot be seen"
    found = town.words()
    assert found and all("was changed and all hashes made anew" in line for line in found)


def test_an_alarm_that_was_taken_out_of_a_forged_station_is_missed_by_its_point(town: Town) -> None:
    def take_out(disk: sqlite3.Connection) -> None:
        gone = [row[0] for row in disk.execute("SELECT DISTINCT record FROM change WHERE alarm = 3")]
        disk.execute("DELETE FROM change WHERE alarm = 3")
        disk.execute("DELETE FROM alarm WHERE number = 3")
        for number in sorted(gone, reverse=True):
            disk.execute("DELETE FROM ledger WHERE number = ?", (number,))
            for table, column in (
                ("ledger", "number"),
                ("change", "record"),
                ("fault", "record"),
                ("fault", "end_record"),
            ):
                later = f"UPDATE {table} SET {column} = {column} - 1 WHERE {column} > {number}"
                if table == "ledger":  # in order, for numbers are unique
                    for (one,) in disk.execute(
                        f"SELECT number FROM ledger WHERE number > {number} ORDER BY 1"
                    ).fetchall():
                        disk.execute("UPDATE ledger SET number = ? WHERE number = ?", (one - 1, one))
                else:
                    disk.execute(later)
        rehash(disk, 1)

    edit(town.station, then=take_out)
    assert words(town.station) == [], "alone it cannot be seen"
    assert any("was receipted by this station, but no record tells of it" in line for line in town.words())
    assert any(line.startswith("witness") for line in town.words())


def test_ends_that_were_cut_off_are_remembered_by_the_other(town: Town) -> None:
    last = sqlite3.connect(town.station / "inbox.sqlite").execute("SELECT max(number) FROM ledger").fetchone()[0]
    edit(town.station, "DELETE FROM ledger WHERE number > 6")
    lost = [line for line in town.words() if line.startswith("witness")]
    assert lost and all("is missing with all that followed 6, the last" in line for line in lost)
    assert int(lost[-1].split()[1]) <= last
    edit(town.agent, "DELETE FROM ledger", "DELETE FROM alarm", "INSERT INTO ledger SELECT 1, 0, 'began', body, NULL,"
         " zeroblob(32), zeroblob(32) FROM (SELECT '{\"ledger\":\"x\"}' AS body)")  # fmt: skip
    assert any(line.startswith("changed 1") for line in words(town.agent))


def test_an_agent_whose_end_was_cut_off_is_remembered_by_the_station(town: Town) -> None:
    third = "(SELECT record FROM alarm ORDER BY row DESC LIMIT 1)"
    edit(town.agent, f"DELETE FROM ledger WHERE number >= {third}", "DELETE FROM alarm WHERE row = 3")
    assert words(town.agent) == [], "alone it cannot be seen"
    assert [line.split(":")[0].split()[0] for line in town.words()] == ["witness"]
    assert "the last: record" in town.words()[0] and str(town.station) in town.words()[0]
    # A copy that was taken before the other is no different; nobody is to be accused of that.
    assert town.words()[0].endswith("; if this copy was taken before that one, take it anew")


def test_an_alarm_that_tells_another_press_than_its_agent_is_named(town: Town) -> None:
    edit(
        town.station,
        "UPDATE alarm SET kind = 'test_press', family = 'test' WHERE number = 1",
        """UPDATE ledger SET body = CAST(replace(CAST(body AS TEXT), '"kind":"press"', '"kind":"test_press"') AS BLOB)
           WHERE number = (SELECT min(record) FROM change WHERE alarm = 1)""",
        then=lambda disk: rehash(disk, 1),
    )
    assert words(town.station) == []
    assert any("tells of another press than record 2" in line for line in town.words())


def test_a_copy_from_yesterday_is_named_as_what_it_is(town: Town) -> None:
    def restore(disk: sqlite3.Connection) -> None:
        from sos_edge import ledger

        name = json.loads(disk.execute("SELECT body FROM ledger WHERE number = 1").fetchone()[0])["ledger"]
        disk.execute("DELETE FROM ledger WHERE number > 6")
        disk.execute("DELETE FROM change WHERE record > 6")
        disk.execute("DELETE FROM alarm WHERE number > 1")
        ledger.append(disk, 5, "restored", {"ledger": "another", "before": name})
        for _ in range(99):
            ledger.append(disk, 5, "fault_ended", {"fault": 0})

    edit(town.station, then=restore)
    assert any("a copy was put in place of the ledger: it had a record" in line for line in town.words())


# --- the agent's own table


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE alarm SET stage = 1 WHERE row = 1", "that its stage is 'closed'; the table says 'held'"),
        ("UPDATE alarm SET receipted_ms = NULL WHERE row = 1", "that its receipted is True; the table says False"),
        ("UPDATE alarm SET pressed_ms = pressed_ms + 1 WHERE row = 2", "says of row 2 that its pressed_ms is"),
        ("UPDATE alarm SET press = 77 WHERE row = 2", "says of row 2 that its press is 'market-1/"),
        ("UPDATE alarm SET record = 3 WHERE row = 2", "says of row 2 that its record is"),
        ("DELETE FROM alarm WHERE row = 2", f"tells of press {POLE}/"),
        ("INSERT INTO alarm SELECT 9, pole, incarnation, 99, press, clash, kind, pressed_at_ms, repeats, timebase,"
         " pressed_ms, stage, NULL, NULL, 0 FROM alarm WHERE row = 1", "row 9 stands in the table, but no record"),
    ],
)  # fmt: skip
def test_an_edit_of_the_outbox_is_named(town: Town, statement: str, found: str) -> None:
    edit(town.agent, statement)
    assert any(line.startswith("row") and found in line for line in words(town.agent)), words(town.agent)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just("\ud800\x1b[2J")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
_NAMES = (
    "alarm alarms incident verdict pole press kind outbox outbox_record inbox inbox_record row rows stages to from"
    " officer note age_ms fault until_wall_ms ledger older_alarms older_rows records dropped nonces frame"
)
_KEYS = st.sampled_from(_NAMES.split())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["agent", "station"]), st.integers(1, 20), st.dictionaries(_KEYS, _JSON, max_size=3))
def test_whatever_a_record_says_is_told_in_words(
    town: Town, capsys: pytest.CaptureFixture[str], where: str, number: int, said: dict[str, object]
) -> None:
    folder: Path = getattr(town, where)

    def work(disk: sqlite3.Connection) -> None:
        found = disk.execute("SELECT body FROM ledger WHERE number = ?", (number,)).fetchone()
        if found is not None:
            text = json.dumps({**json.loads(found[0]), **said}).encode()
            disk.execute("UPDATE ledger SET body = ? WHERE number = ?", (text, number))
            rehash(disk, 1)

    path = next(folder.iterdir())
    before = path.read_bytes()
    edit(folder, then=work)
    data = ["--data", str(town.agent), "--data", str(town.station)]
    for more in (["1"], [POLE], ["--json", POLE], []):
        code = main(["ledger", "verify", *data, *more])
        told = capsys.readouterr()
        assert code in (0, 1) or (code == 2 and "no record here tells of" in told.err), told.err
        assert "\x1b" not in told.out
    path.write_bytes(before)


def test_all_of_it_holds(town: Town) -> None:
    assert verify(town.agent, town.station, keys=town.keys) == []


def test_the_virtual_town_looks_into_its_ledgers_at_the_end(tmp_path: Path) -> None:
    zone = VirtualZone(only(read_site(find_site("betong")), [POINT]), 8, tmp_path)
    zone.press(POLE)
    zone.expect(POLE).shows("received", within_s=5)
    records = zone.checkers.records
    records.finish(0)
    assert zone.checkers.findings.found == []
    for part, disk in (("station", zone.zone.station.disk), (f"agent:{POINT}", zone.zone.agents[POINT].disk)):
        assert disk.file is not None
        disk.file.execute("DELETE FROM ledger WHERE number = 2")
        records.finish(0)
        assert {found.part for found in zone.checkers.findings.found} >= {part}
        assert zone.checkers.findings.counts["lied"] > 0
