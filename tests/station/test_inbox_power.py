"""The inbox after a power cut at any point of what it really wrote: what was receipted is there, whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.books import verify
from tests.station.test_edge_inbox import AT, Desk, store
from tests.support.recorded_disk import Op, RecordedDisk, cut_everywhere

from sos_edge import sqlite
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.edge.inbox import FILE_NAME

ROUNDS = 60


def record(folder: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Desk], object]) -> list[Op]:
    """An inbox under load: alarms, probes, faults; the log copied back in between, and begun again."""
    folder.mkdir()
    monkeypatch.setattr(sqlite, "AUTOCHECKPOINT_PAGES", 60)
    rng = random.Random(7)

    async def live() -> None:
        desk = Desk(folder)
        disk.tell(("inbox", desk.inbox.incarnation))
        prepare(desk)
        number = 0
        for _ in range(ROUNDS):
            monkeypatch.setattr(sqlite, "QUIET_S", rng.choice((0, 60, 60, 60)))
            count = rng.choice((1, 1, 2, 5, 20))
            todo: list[fx.StoreEffect] = [store(number + one + 1) for one in range(count)]
            number += count
            todo += [
                fx.ProveInbox("b", "merlin", "s", number),
                fx.SetFault("merlin", "", "point_lost", number % 2 > 0, AT),
            ]
            desk.events.clear()
            for effect in todo:
                desk.inbox.store(effect)
            wanted = len(todo)
            await desk.until(lambda _, wanted=wanted: desk.stored() == wanted)  # type: ignore[misc]
            for event in desk.events:
                assert isinstance(event, ev.Committed)
                for effect, outcome in event.results:
                    if isinstance(outcome, fx.AlarmStored):
                        assert isinstance(effect, fx.StoreAlarm)
                        disk.tell(("alarm", effect.alarm.id.press))
                disk.tell(("high_water", event.high_water))
        assert desk.inbox.close()

    with RecordedDisk(folder) as disk:
        disk.watch_folder_syncs(monkeypatch)
        asyncio.run(live())
    return disk.ops


def look(folder: Path, told: dict[str, set[int | str]]) -> None:
    """Open what the disk holds, as the station does at its next start."""

    async def start() -> str:
        desk = Desk(folder)
        assert desk.inbox.aside is None, desk.inbox.why
        assert desk.inbox.close()
        return desk.inbox.incarnation

    asyncio.run(start())
    with closing(sqlite3.connect(folder / FILE_NAME)) as found:
        rows = found.execute(
            "SELECT number, press, pole, kind, pressed_at_ms, stage FROM alarm ORDER BY number"
        ).fetchall()
        meta = dict(found.execute("SELECT key, value FROM meta").fetchall())
        changes = found.execute("SELECT alarm FROM change ORDER BY id").fetchall()
    # Commits stay in their order, each whole or not at all: the model of the virtual disk, too.
    assert rows == [(one, one, "merlin-1", "press", 1000 * one, "received") for one in range(1, len(rows) + 1)]
    assert [row[0] for row in changes] == [row[0] for row in rows]
    assert told["alarm"] <= {row[1] for row in rows}
    assert max((int(one) for one in told["high_water"]), default=0) <= meta["high_water"]
    assert not verify(folder), "each record of the ledger fits the one before and the tables"


@pytest.mark.timeout(3600)  # with many cuts
def test_power_goes_anywhere_and_nothing_that_was_receipted_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    ops = record(tmp_path / "real", monkeypatch, lambda desk: None)
    kinds = {(op.what, Path(op.path).name) for op in ops}
    assert {("sync", FILE_NAME), ("sync", f"{FILE_NAME}-wal"), ("write", FILE_NAME), ("sync_folder", "")} <= kinds
    assert cut_everywhere(ops, tmp_path, cuts, 1, look) == []


def test_with_less_than_full_synchronous_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weaken(desk: Desk) -> None:
        desk.inbox._writer._connection.execute("PRAGMA synchronous=NORMAL")

    ops = record(tmp_path / "real", monkeypatch, weaken)
    assert cut_everywhere(ops, tmp_path, 40, 1, look)
