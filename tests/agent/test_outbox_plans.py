"""How SQLite finds what the outbox asks for again and again: a month of closed alarms costs the next look nothing."""

from __future__ import annotations

import sqlite3

from sos_agent.core import effects as fx
from sos_agent.edge import tables


def test_open_alarms_are_found_without_looking_at_closed_ones() -> None:
    outbox = sqlite3.connect(":memory:")
    outbox.executescript(tables.SCHEMA)
    asked: list[str] = []
    outbox.set_trace_callback(asked.append)
    tables.fetch_receipted(outbox, fx.FetchReceipted(0, 100, open_only=True))
    outbox.set_trace_callback(None)
    (plan,) = [step[3] for sql in asked for step in outbox.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert "alarm_open" in plan
