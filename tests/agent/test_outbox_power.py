"""The outbox after a power cut at any point of what it really wrote: what was told to be stored is there, whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agent.outbox_kit import Bench, identity, notice, press
from tests.support.recorded_disk import Op, RecordedDisk, cut_everywhere

from sos_agent.core import effects, events
from sos_agent.edge.reserve import Reserve
from sos_edge import sqlite

ROUNDS = 60


def tiny(folder: Path) -> Reserve:
    """The room that is kept for alarms does not matter here, and costs time."""
    return Reserve(folder, 0, margin=0)


def record(folder: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Bench], object]) -> list[Op]:
    """An outbox under load: presses, receipts, notices; the log copied back in between, and begun again."""
    folder.mkdir()
    monkeypatch.setattr(sqlite, "AUTOCHECKPOINT_PAGES", 60)
    rng = random.Random(7)
    with RecordedDisk(folder) as disk:
        disk.watch_folder_syncs(monkeypatch)
        bench = Bench(folder, tiny)
        disk.tell(("outbox", bench.outbox.contents.outbox))
        prepare(bench)
        number = 0
        for _ in range(ROUNDS):
            # How long nothing must have waited before the log is copied back: now and then that is at once.
            monkeypatch.setattr(sqlite, "QUIET_S", rng.choice((0, 60, 60, 60)))
            count = rng.choice((1, 1, 2, 5, 20))
            todo: list[effects.StoreEffect] = [press(number + one + 1) for one in range(count)]
            number += count
            todo += [
                notice(f"kind_{number}"),
                effects.MarkReceipted((identity(rng.randint(1, number)),), "boot-a", number),
            ]
            for effect in todo:
                bench.outbox.carry_out(effect)
            for event in bench.wait(len(todo)):
                if isinstance(event, events.Stored):
                    disk.tell(("stored", event.row.id.press))
                elif isinstance(event, events.Receipted):
                    for one in event.changed:
                        disk.tell(("receipted", one.press))
                elif isinstance(event, events.NoticeStored):
                    disk.tell(("noted", event.number))
        assert bench.outbox.close()
    return disk.ops


def look(folder: Path, told: dict[str, set[int | str]]) -> None:
    """Open what the disk holds, as the agent does at its next start."""
    bench = Bench(folder, tiny)
    try:
        contents = bench.outbox.contents
        assert not contents.damaged, contents.damaged
        assert told["outbox"] <= {contents.outbox}
        waiting = bench.do(effects.FetchWaiting(0, 10_000), events.WaitingFetched).rows
        receipted = {
            one.press for _, one in bench.do(effects.FetchReceipted(0, 10_000, False), events.ReceiptedFetched).rows
        }
        there = {row.id.press for row in waiting} | receipted
        assert told["stored"] <= there and told["receipted"] <= receipted
        # Commits stay in their order, each whole or not at all: the model of the virtual disk, too.
        assert there == set(range(1, len(there) + 1))
        for row in waiting:
            wanted = press(row.id.press)
            assert (row.id, row.kind, row.pressed_at_ms, row.repeats, row.pressed_ms, row.stage) == (
                wanted.id, wanted.kind, wanted.pressed_at_ms, wanted.repeats, wanted.pressed_ms, "held",
            )  # fmt: skip
        noted = {row.number for row in bench.do(effects.FetchNotices(0, 10_000), events.NoticesFetched).rows}
        assert told["noted"] <= noted and noted == set(range(1, len(noted) + 1))
        again = bench.do(press(1), events.Stored)  # and it goes on
        assert again.outcome == ("duplicate" if there else "new")
    finally:
        assert bench.outbox.close()


@pytest.mark.timeout(3600)  # with many cuts
def test_power_goes_anywhere_and_nothing_that_was_told_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    ops = record(tmp_path / "real", monkeypatch, lambda bench: None)
    kinds = {(op.what, Path(op.path).name) for op in ops}
    assert {("sync", "outbox.db"), ("sync", "outbox.db-wal"), ("write", "outbox.db"), ("sync_folder", "")} <= kinds
    assert cut_everywhere(ops, tmp_path, cuts, 1, look) == []


def test_with_less_than_full_synchronous_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weaken(bench: Bench) -> None:
        bench.outbox._writer._connection.execute("PRAGMA synchronous=NORMAL")

    ops = record(tmp_path / "real", monkeypatch, weaken)
    assert cut_everywhere(ops, tmp_path, 40, 1, look)
