"""How SQLite finds what the inbox asks for: alarms that were closed years ago cost a press, or a list, nothing."""

from __future__ import annotations

import sqlite3
from typing import Any

from tests.station.test_edge_inbox import AT, store
from tests.station.world import A

from sos_contract.payloads import DeskRequest
from sos_station.core import effects as fx
from sos_station.edge import reads, writes
from sos_station.edge.inbox import identify
from sos_station.edge.schema import SCHEMA


class Planned(sqlite3.Connection):
    """Keeps the plan of each statement as it is asked for: with its parameters, not their values."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """See sqlite3.Connection."""
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "WITH")):
            self.plans += [(sql, step[3]) for step in super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        return super().execute(sql, parameters)

    plans: list[tuple[str, str]]


def _inbox() -> Planned:
    inbox = sqlite3.connect(":memory:", isolation_level=None, factory=Planned)
    inbox.plans = []
    inbox.executescript(SCHEMA)
    identify(inbox, 1, fresh="00000000000000aa", damaged=False, wall_ms=AT.wall_ms)
    inbox.plans.clear()
    return inbox


def test_no_alarm_that_was_closed_is_looked_at_to_store_a_press_or_to_list_what_is_open() -> None:
    inbox = _inbox()
    for press in range(3):
        writes.carry_out(inbox, store(press))
    for by_incident in (False, True):
        request = DeskRequest(number="n", officer="", action="list", by_incident=by_incident)
        assert reads.carry_out(inbox, fx.ReadAlarms(A, "t", request, 100))
    alarms = [(sql, step) for sql, step in inbox.plans if "alarm" in step.split()]
    assert len(alarms) >= 8
    assert [found for found in alarms if found[1].startswith("SCAN")] == []
    (joined,) = {step for sql, step in alarms if sql.startswith("SELECT incident FROM alarm")}
    assert "alarm_open" in joined
    assert [sql for sql, _ in alarms if "queue < ?" in sql or "queue <= ?" in sql] == [], "planned anew each time"
