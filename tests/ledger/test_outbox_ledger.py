"""The agent's ledger: what the outbox writes down, forgets after 30 days, and makes of an outbox without one."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.agent.outbox_kit import Bench, identity, press
from tests.ledger.books import words

from sos_agent.core import effects, events
from sos_contract.payloads import Entry


def _records(folder: Path) -> list[tuple[str, dict[str, Any] | None]]:
    disk = sqlite3.connect(folder / "outbox.db")
    found = disk.execute("SELECT kind, body FROM ledger ORDER BY number").fetchall()
    disk.close()
    return [(kind, None if body is None else json.loads(body)) for kind, body in found]


def test_what_befalls_a_press_is_written_down_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    stored = bench.do(press(1), events.Stored)
    again = bench.do(press(1), events.Stored)
    assert stored.row.record == again.row.record == Entry(2, stored.row.record.hash if stored.row.record else "")
    clash = bench.do(press(1, at_ms=5), events.Stored)
    told = ("inbox-1", Entry(44, "ab" * 32), 9_000)
    for _ in range(2):  # said twice, true once
        bench.do(effects.MarkReceipted((identity(1), identity(8)), "boot-a", 90_000, *told), events.Receipted)
        bench.do(effects.StoreProgress(((identity(1), "accepted"),), *told), events.ProgressStored)
    for _ in range(2):
        bench.do(effects.MarkWaiting((identity(1),), "inbox-2", 9_001), events.MadeWaiting)
    bench.do(effects.MarkReceipted((identity(1),), "boot-a", 90_000, "i" * 999, Entry(-4, "no hash")), events.Receipted)
    assert bench.outbox.close()
    began, first, second, *rest = _records(tmp_path)
    assert began[1] == {"ledger": bench.outbox.contents.outbox, "older_rows": 0}
    assert first[0] == second[0] == "press" and first[1] and second[1]
    assert (first[1]["press"], second[1]["press"]) == (str(stored.row.id), str(clash.row.id))
    assert rest == [
        ("receipted", {"rows": [1], "inbox": "inbox-1", "inbox_record": [44, "ab" * 32]}),
        ("stages", {"stages": [[1, "accepted"]], "inbox": "inbox-1", "inbox_record": [44, "ab" * 32]}),
        ("waiting", {"rows": [1], "inbox": "inbox-2"}),
        ("receipted", {"rows": [1], "inbox": "i" * 64, "inbox_record": None}),
    ]
    assert words(tmp_path) == []


def test_what_is_purged_is_forgotten_and_the_chain_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.outbox.carry_out(effects.StoreTimebase("boot-a", 1_000_000, "synced"))
    for number in (1, 2, 3, 4):
        bench.do(press(number), events.Stored)
        bench.do(effects.MarkReceipted((identity(number),), "boot-a", 90_000 * number), events.Receipted)
    bench.do(effects.StoreProgress(tuple((identity(n), "closed") for n in (1, 2, 3))), events.ProgressStored)
    assert bench.do(effects.PurgeReceipted(1_180_001, 2_000_000), events.Purged).count == 2
    assert bench.outbox.close()
    assert words(tmp_path) == []
    kinds = [kind for kind, body in _records(tmp_path) if body is not None]
    assert kinds == ["press", "receipted", "press", "receipted", "stages", "forgotten"]
    bench = Bench(tmp_path)
    assert bench.do(effects.PurgeReceipted(9_000_000, 9_000_000), events.Purged).count == 1, "the newest row stays"
    assert bench.do(effects.PurgeReceipted(9_000_000, 9_000_000), events.Purged).count == 0
    assert bench.do(press(5), events.Stored).outcome == "new"
    assert bench.outbox.close()
    assert words(tmp_path) == []
    assert [kind for kind, _ in _records(tmp_path)] == [
        "press",
        "receipted",
        "stages",
        "forgotten",
        "forgotten",
        "press",
    ]


def test_an_outbox_of_the_release_before_keeps_its_alarms_and_gets_a_ledger(tmp_path: Path) -> None:
    disk = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    disk.executescript((Path(__file__).parent / "outbox-1.sql").read_text())
    disk.close()
    bench = Bench(tmp_path)
    contents = bench.outbox.contents
    assert (contents.damaged, contents.outbox, contents.waiting_alarms) == ("", "00000000000000bb", 1)
    waiting = bench.do(effects.FetchWaiting(0, 9), events.WaitingFetched).rows
    assert [(row.id.press, row.record) for row in waiting] == [(3, None)]
    assert bench.do(press(4), events.Stored).row.row == 4
    bench.do(effects.MarkReceipted((identity(3), identity(4)), "boot-a", 90_000), events.Receipted)
    assert bench.outbox.close()
    assert _records(tmp_path)[0] == ("began", {"ledger": "00000000000000bb", "older_rows": 3})
    assert words(tmp_path) == []
    disk = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    disk.execute("INSERT INTO alarm SELECT 9, pole, incarnation, 9, press, clash, kind, 0, 0, 1, 0, 1, NULL, NULL, 0"
                 " FROM alarm WHERE row = 1")  # fmt: skip
    disk.close()
    assert words(tmp_path) == ["row 0 row 9 stands in the table, but no record tells of that press"]
    assert Bench(tmp_path).outbox.contents.waiting_alarms == 1
