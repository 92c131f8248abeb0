"""The form of a record, by hand; and that no edit of a ledger goes unseen."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.books import rehash

from sos_contract.ledger import FIRST, body_of, digest_of, hash_of, spans, witnessed
from sos_contract.payloads import Entry
from sos_edge import ledger
from sos_ledger.book import RECORDS, record_of
from sos_ledger.chain import Chain


def _disk(records: int) -> sqlite3.Connection:
    disk = sqlite3.connect(":memory:", isolation_level=None)
    disk.executescript(ledger.SCHEMA)
    for number in range(1, records + 1):
        ledger.append(disk, 1000 * number, "alarm" if number > 1 else "began", {"alarm": number, "who": "ปู่"})
    return disk


def _chain(disk: sqlite3.Connection) -> Chain:
    return Chain("here", [record_of(row) for row in disk.execute(RECORDS)])


def _found(disk: sqlite3.Connection) -> list[tuple[str, int]]:
    return [(one.fault, one.record) for one in _chain(disk).findings()]


def test_a_record_by_hand() -> None:
    disk = _disk(0)
    ledger.append(disk, 1_800_000_000_000, "stage", {"to": "accepted", "officer": "มาลี", "alarms": [12]})
    second = ledger.append(disk, 1_800_000_000_001, "stage", {"b": None, "a": True})
    # As printf and sha256sum had it.
    body = '{"alarms":[12],"officer":"มาลี","to":"accepted"}'.encode()
    first = "81d07674557d4fb053d2618c7c4b2353a55b5d966f27ab921610f5597b17813c"
    digest = sha256(b'{"a":true,"b":null}').hexdigest()
    assert second == Entry(2, sha256(f"2\n1800000000001\nstage\n{first}\n{digest}\n".encode()).hexdigest())
    rows = disk.execute("SELECT body, digest, previous, hex(hash) FROM ledger").fetchall()
    assert rows[0] == (body, None, bytes(32), first.upper())
    assert rows[1][2].hex() == first


def test_a_whole_chain_has_nothing_to_say() -> None:
    assert _found(_disk(5)) == []
    assert _found(_disk(0)) == [("missing", 0)]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ("UPDATE ledger SET body = '{\"alarm\":33}' WHERE number = 3", [("changed", 3)]),
        ("UPDATE ledger SET wall_ms = 1 WHERE number = 3", [("changed", 3)]),
        ("UPDATE ledger SET kind = 'fault' WHERE number = 5", [("changed", 5)]),
        ("UPDATE ledger SET hash = zeroblob(32) WHERE number = 3", [("changed", 3), ("changed", 4)]),
        ("UPDATE ledger SET previous = zeroblob(32) WHERE number = 3", [("changed", 3), ("changed", 3)]),
        ("UPDATE ledger SET previous = zeroblob(2) WHERE number = 1", [("changed", 1), ("changed", 1)]),
        ("DELETE FROM ledger WHERE number = 3", [("missing", 3)]),
        ("DELETE FROM ledger WHERE number IN (2, 3)", [("missing", 2)]),
        ("DELETE FROM ledger WHERE number < 3", [("missing", 1)]),
        ("UPDATE ledger SET number = 9 WHERE number = 5", [("missing", 5), ("changed", 9)]),
        ("UPDATE ledger SET body = NULL WHERE number = 3", [("changed", 3)]),
        ("INSERT INTO ledger SELECT 6, wall_ms, kind, body, digest, previous, hash FROM ledger WHERE number = 5",
         [("changed", 6), ("changed", 6)]),
    ],
)  # fmt: skip
def test_each_edit_is_named(edit: str, found: list[tuple[str, int]]) -> None:
    disk = _disk(5)
    disk.execute(edit)
    assert _found(disk) == found


def test_a_body_that_was_taken_and_its_digest_left_is_named() -> None:
    disk = _disk(5)
    body = disk.execute("SELECT body FROM ledger WHERE number = 3").fetchone()[0]
    disk.execute("UPDATE ledger SET body = NULL, digest = ? WHERE number = 3", (digest_of(body),))
    assert _found(disk) == [("missing", 3)]


def test_records_that_changed_places_are_named() -> None:
    disk = _disk(5)
    for old, new in ((3, 99), (4, 3), (99, 4)):
        disk.execute("UPDATE ledger SET number = ? WHERE number = ?", (new, old))
    assert {record for _, record in _found(disk)} >= {3, 4, 5}


def test_what_is_forgotten_by_the_rules_leaves_a_chain_that_holds() -> None:
    disk = _disk(9)
    ledger.forget(disk, 99_000, [4, 5, 8], {"alarms_before_ms": 8})
    assert _found(disk) == []
    assert disk.execute("SELECT number FROM ledger WHERE body IS NULL").fetchall() == [(4,), (5,), (8,)]
    told = {"alarms_before_ms": 8, "dropped": _entry(disk, 1), "records": [[4, 5], [8, 8]], "names": {}}
    assert _chain(disk).bodies[10] == told
    ledger.forget(disk, 99_001, [2, 3], {})
    assert _found(disk) == []
    assert disk.execute("SELECT min(number) FROM ledger").fetchone() == (6,), "all before had no body any more"
    ledger.forget(disk, 99_002, [4, 11, 500], {})
    assert _chain(disk).last == 12, "the last has a record that was there"
    ledger.forget(disk, 99_003, [6, 7, 9], {})
    assert [number for (number,) in disk.execute("SELECT number FROM ledger")] == [13]
    assert _found(disk) == []
    ledger.append(disk, 99_004, "alarm", {"alarm": 77})
    assert _found(disk) == []
    disk.execute("DELETE FROM ledger WHERE number = 13")
    assert _found(disk) == [("missing", 1)]


def _entry(disk: sqlite3.Connection, number: int) -> list[object]:
    del disk
    whole = _disk(number)
    return list(whole.execute("SELECT number, lower(hex(hash)) FROM ledger WHERE number = ?", (number,)).fetchone())


_COLUMNS = st.sampled_from(["number", "wall_ms", "kind", "body", "digest", "previous", "hash"])
_VALUES = st.one_of(st.none(), st.integers(-5, 20), st.text(max_size=6), st.binary(max_size=33))


@given(st.integers(1, 8), _COLUMNS, _VALUES)
def test_no_edit_of_one_column_goes_unseen(number: int, column: str, value: object) -> None:
    disk = _disk(8)
    before = disk.execute("SELECT * FROM ledger").fetchall()
    try:
        disk.execute(f"UPDATE ledger SET {column} = ? WHERE number = ?", (value, number))
    except sqlite3.Error:
        return  # the table itself does not take it
    if disk.execute("SELECT * FROM ledger").fetchall() != before and column != "digest":
        assert _found(disk)
    else:
        assert not _found(disk), "a digest beside a body counts for nothing"


@given(st.lists(st.integers(1, 12), unique=True, min_size=1, max_size=12))
def test_no_missing_record_but_at_the_end_goes_unseen(gone: list[int]) -> None:
    disk = _disk(12)
    disk.executemany("DELETE FROM ledger WHERE number = ?", [(number,) for number in gone])
    kept = 12 - len(gone)
    at_the_end = kept > 0 and set(gone) == set(range(kept + 1, 13))
    assert bool(_found(disk)) is not at_the_end
    rehash(disk, 1)
    assert bool(_found(disk)) is not at_the_end, "numbers tell, even if all hashes are made to fit"


@given(st.sets(st.integers(1, 200)))
def test_spans_hold_what_was_put_in(numbers: set[int]) -> None:
    found = spans(numbers)
    assert {n for first, last in found for n in range(first, last + 1)} == numbers
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))


def test_a_peers_record_that_cannot_be_one_is_not_written_down() -> None:
    good = "ab" * 32
    assert witnessed(Entry(5, good)) == [5, good]
    for bad in (None, Entry(0, good), Entry(2**63, good), Entry(5, good[1:]), Entry(5, good.upper()), Entry(5, "")):
        assert witnessed(bad) is None


def test_the_hash_ends_each_field() -> None:
    assert hash_of(1, 23, "a", FIRST, FIRST) != hash_of(12, 3, "a", FIRST, FIRST)
    assert body_of({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
