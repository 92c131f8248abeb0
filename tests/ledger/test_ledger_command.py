"""``safezone ledger``: what a person reads, what a program reads, and what is wrong said in one line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.ledger.books import edit, lived_station

from safezone.cli import main


def _run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = main(["ledger", *map(str, arguments)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


def test_a_press_is_walked_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lived_station(tmp_path)
    code, said = _run(capsys, "verify", "--data", tmp_path, "1")
    assert code == 0
    assert "merlin-1/00000000000000aa/1/1\n" in said
    for part in (
        "received at the station from point merlin as alarm 1, 0.0 s after it",
        "accepted by officer Somchai at terminal t1",
        "dispatched by officer Malee at terminal t1, noting 'two cars'",
        "closed by officer Malee as genuine",
        "every record holds",
    ):
        assert part in said, said


def test_a_pole_names_all_its_presses_and_json_is_one_object_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lived_station(tmp_path)
    edit(tmp_path, "UPDATE alarm SET officer = 'Noi' WHERE number = 1")
    code, said = _run(capsys, "verify", "--json", "--data", tmp_path, "merlin-1")
    assert code == 1
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["alarms"] for line in lines if "press" in line] == [[1], [2]]
    assert [step["what"] for step in lines[0]["steps"]] == ["received", "accepted", "dispatched", "closed"]
    assert [line["finding"]["fault"] for line in lines if "finding" in line] == ["row"]
    assert lines[-1] == {"ledgers": 1, "findings": 1}


def test_a_head_is_told_and_taken_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = lived_station(tmp_path)
    code, said = _run(capsys, "head", "--data", tmp_path)
    head = said.split()[0]
    assert code == 0 and head.split(":")[0] == str(world.disk.execute("SELECT max(number) FROM ledger").fetchone()[0])
    world.ask("accept", 3)
    assert _run(capsys, "verify", "--data", tmp_path, "--head", head)[0] == 0
    assert _run(capsys, "verify", "--data", tmp_path, "--head", said.splitlines()[0])[0] == 0, "the whole line, as told"
    code, said = _run(capsys, "verify", "--data", tmp_path, "--head", f"7:{'ab' * 32}")
    assert code == 1 and "hold no record of the head 7:abab" in said


def test_a_copy_without_its_program_is_read_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lived_station(tmp_path).disk.close()
    disk = sqlite3.connect(tmp_path / "inbox.sqlite")
    disk.execute("PRAGMA journal_mode=WAL")
    disk.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tmp_path.chmod(0o500)
    try:
        assert _run(capsys, "verify", "--data", tmp_path)[0] == 0
    finally:
        tmp_path.chmod(0o700)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "--data", "@/none"), "holds neither inbox.sqlite"),
        (("verify", "--data", "@", "44"), "no record here tells of '44'"),
        (("verify", "--data", "@", "merlin"), "no record here tells of 'merlin'"),
        (("verify", "--data", "@", "--head", "7:xyz"), "is no head"),
        (("verify", "--data", "@", "--head", ""), "is no head"),
        (("verify", "--data", "@/junk"), "cannot be read as a database of ours"),
        (("verify", "--data", "@/older"), "has no ledger"),
        (("verify", "--site", "nowhere"), "no site file 'nowhere'"),
        (("verify", "--site", "betong"), "no data of this site is on this machine"),
        (("head", "--data", "@/junk"), "cannot be read as a database of ours"),
        (("heads",), "heads"),
    ],
)  # fmt: skip
def test_what_the_user_got_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    lived_station(tmp_path)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "inbox.sqlite").write_bytes(b"no database" * 500)
    (tmp_path / "older").mkdir()
    sqlite3.connect(tmp_path / "older" / "inbox.sqlite").executescript("CREATE TABLE t (x); PRAGMA user_version=1")
    code, told = _run(capsys, *(word.replace("@", str(tmp_path)) for word in arguments))
    assert code == 2 and said in told and told.count("\n") == 1, told


def test_a_ledger_that_was_emptied_has_no_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lived_station(tmp_path)
    edit(tmp_path, "DELETE FROM ledger")
    code, told = _run(capsys, "head", "--data", tmp_path)
    assert code == 1 and "the ledger is empty" in told


def test_a_key_that_came_over_the_wire_is_found_in_the_agents_folder(tmp_path: Path) -> None:
    from sos_agent.edge.keys import FILE_NAME, Kept
    from sos_ledger.cli import _keys
    from sos_wire.wrap import fingerprint

    old, new = (bytes(range(start, start + 32)) for start in (0, 50))
    path = tmp_path / "poles.toml"
    path.write_text(f'[poles]\nmerlin-1 = "{old.hex()}"\n')
    path.chmod(0o600)
    kept = {"merlin-1": Kept(fingerprint(old), new.hex())}
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(kept))
    assert _keys(path, None, {tmp_path}) == {"merlin-1": [old, new]}
    assert _keys(path, [path, path], set()) == {"merlin-1": [old, old]}
    assert _keys(tmp_path / "none", None, {tmp_path}) == {}


@pytest.mark.parametrize(("table", "number"), [("ledger", "number"), ("alarm", "number"), ("fault", "id")])
def test_a_table_in_another_s_place_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, number: str
) -> None:
    """One whose numbers were none ended 'verify' in a traceback: nothing was said of what else had been changed."""
    lived_station(tmp_path)
    disk = sqlite3.connect(tmp_path / "inbox.sqlite", isolation_level=None)
    disk.executescript(f"CREATE TABLE other AS SELECT * FROM {table}; DROP TABLE {table};")
    disk.executescript(f"ALTER TABLE other RENAME TO {table}; UPDATE {table} SET {number} = 'x' WHERE rowid = 1;")
    disk.close()
    code, told = _run(capsys, "verify", "--data", tmp_path)
    assert code == 2 and told.count("\n") == 1
    assert "inbox.sqlite: cannot be read: a table in it has no numbers, as our programs would make it" in told
