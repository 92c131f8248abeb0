"""The stores' twins: the same answers as the real edges on a real file, and what a crash at any moment leaves."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.agent.outbox_kit import Bench
from tests.agent.test_outbox_twin import BASES, steps, unrecorded
from tests.sim.stores import SECOND_US, WALL_MS, Stores, press, results, store

from sos_agent.core import effects as fx
from sos_agent.core import events as ev
from sos_contract.payloads import DeskRequest, Detail, Identity, Notice
from sos_station.core import effects as sfx
from sos_station.core import events as sev
from sos_station.core.records import Stamp
from sos_station.edge.inbox import Inbox

POISON = fx.StoreNotice("merlin-1", "press_detail", True, 2**70, "boot-a", 1, None)
purges = st.builds(fx.PurgeReceipted, st.integers(0, 5000))


def _ordered(contents: ev.Contents) -> ev.Contents:
    return replace(
        contents,
        outbox="",
        newest=tuple(sorted((replace(row, record=None) for row in contents.newest), key=lambda row: row.id.pole)),
        boots=tuple(sorted(contents.boots, key=lambda boot: (boot.pole, boot.incarnation, boot.boot))),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(steps, steps, purges, st.just(POISON)), max_size=25))
def test_the_outbox_answers_as_the_real_one_and_holds_the_same(todo: list[fx.StoreEffect]) -> None:
    todo = [*(fx.StoreTimebase(name, 1000 * n, "synced") for n, name in enumerate(BASES, 1)), *todo]
    with tempfile.TemporaryDirectory() as folder:
        stores, bench = Stores(), Bench(Path(folder))
        stores.open_outbox()
        answers = stores.do(*todo)
        for effect in todo:
            bench.outbox.carry_out(effect)
        assert list(map(unrecorded, bench.wait(len(answers)))) == list(map(unrecorded, answers))
        assert bench.outbox.close()
        stores.outbox.kill()
        again = Bench(Path(folder))
        assert _ordered(again.outbox.contents) == _ordered(stores.open_outbox().contents)
        again.outbox.close()


# --- the inbox

AT = Stamp(WALL_MS, "synced", "boot-1", 5)
few = st.integers(1, 3)
kinds = st.sampled_from(["loop_open", "mains_back", "press_detail", "pole_restarted"])


def _request(action: Any, number: int, **more: Any) -> DeskRequest:
    return DeskRequest(number=f"r{number}", officer="Malee", action=action, **more)


def _change(number: int, incident: int, upto: int, stages: tuple[str, str]) -> sfx.ChangeStage:
    request = _request("accept", number, alarm=str(incident))
    return sfx.ChangeStage("b", "t", request, incident, incident, upto, *stages, "", AT)


def _notice(number: int, kind: str, on: bool, press_number: int) -> sfx.StoreNotice:
    detail = Detail(id=Identity("merlin-1", "aa", 1, press_number), held_ms=900) if kind == "press_detail" else None
    told = Notice(
        number=number, outbox="o", pole="merlin-1", kind=kind, on=on, wall_ms=5, clock="synced", detail=detail
    )
    return sfx.StoreNotice("b", "merlin", told, AT, 0)


kept = st.one_of(
    st.builds(lambda n, ms: store(n, pressed_at_ms=ms), few, few),
    st.builds(lambda n: store(n, kind="silent_press", incarnation="bb"), few),
    st.builds(_notice, few, kinds, st.booleans(), few),
    st.builds(sfx.ProveInbox, st.just("b"), st.just("merlin"), st.just("s"), few),
    st.builds(sfx.SetFault, st.just("merlin"), st.just(""), st.just("point_lost"), st.booleans(), st.just(AT)),
    st.just(sfx.EndFaults("merlin", (), AT)),
    st.builds(_change, few, few, few, st.sampled_from([("received", "accepted"), ("accepted", "closed")])),
    st.just(store(9, repeats=2**70)),
    st.just(sfx.Prune(AT, WALL_MS, WALL_MS)),
)  # fmt: skip
READS: tuple[sfx.ReadEffect, ...] = (
    sfx.ReadAlarms("b", "t", _request("list", 0, everything=True), 50),
    sfx.ReadFaults("b", "t", _request("notices", 0, everything=True), 50),
    sfx.ReadCase("b", "t", _request("accept", 1), None),
    sfx.ReadAlarm("b", "t", _request("show", 0), 1, 50),
)


async def _really(folder: Path, todo: list[sfx.StoreEffect]) -> tuple[list[Any], list[Any], int]:
    told: list[Any] = []
    heard = asyncio.Event()

    def take(event: Any) -> None:
        told.append(event)
        heard.set()

    async def until(done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                heard.clear()
                await heard.wait()

    inbox = Inbox(folder, deliver=take, wall_ms=WALL_MS)
    for effect in todo:
        inbox.store(effect)
    await until(lambda: len(results(told)) == len(todo))
    for read in READS:
        inbox.read(read)
    await until(lambda: sum(isinstance(event, sev.Read) for event in told) == len(READS))
    assert inbox.close()
    high_water = max((event.high_water for event in told if isinstance(event, sev.Committed)), default=0)
    return results(told), [event.result for event in told if isinstance(event, sev.Read)], high_water


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(kept, max_size=20))
def test_the_inbox_answers_as_the_real_one_and_reads_the_same(todo: list[sfx.StoreEffect]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        real, read, high_water = asyncio.run(_really(Path(folder), todo))
    stores = Stores()
    stores.open_inbox()
    for effect in todo:
        stores.inbox.store(effect)
    told = stores.pass_us()
    # The real one tells the failures of a commit before its results; which jobs share a commit is nobody's promise.
    by_kind = [
        [_nameless(one) for one in found if isinstance(one[1], str) is failed]
        for found in (real, results(told))
        for failed in (False, True)
    ]
    assert sum(map(len, by_kind[:2])) == len(todo)
    assert by_kind[:2] == by_kind[2:]
    for one in READS:
        stores.inbox.read(one)
    assert [event.result for event in stores.pass_us()] == read
    assert max((event.high_water for event in told if isinstance(event, sev.Committed)), default=0) == high_water


def _nameless(one: tuple[Any, Any]) -> tuple[Any, Any]:
    """Each ledger has a name of its own, which its hashes show; the numbers of its records must be the same."""
    record = getattr(one[1], "record", None)
    return one if record is None else (one[0], replace(one[1], record=record.number))


# --- crashes

MOMENTS_US = (0, 50, 300, 800, 1500, 2500, 4000, 6000, 9000, 12_000)


@pytest.mark.parametrize("end", ["kill", "power_cut"])
@pytest.mark.parametrize("frozen_us", [None, 0, 900])
def test_what_was_told_as_stored_is_there_after_a_crash_at_any_moment_and_nothing_twice(
    end: str, frozen_us: int | None
) -> None:
    outcomes = set()
    for moment_us in MOMENTS_US:
        for seed in range(8):
            stores = Stores(seed)
            outbox = stores.open_outbox()
            for number in (1, 2, 3):
                outbox.carry_out(press(number))
                stores.loop.run(stores.loop.now_us + 40 * seed)
            if frozen_us is not None:
                stores.loop.run(stores.loop.now_us + frozen_us)
                outbox.freeze()
            told = {event.row.id.press for event in stores.pass_us(moment_us)}
            getattr(outbox, end)()
            assert stores.pass_us() == []
            there = stores.presses()
            rows = [row.fields for row in stores.trace.rows]
            assert told <= set(there), "a promise was broken"
            assert there == sorted(set(there))
            assert len(rows) == len(there), "the trace tells of each row, told or not"
            stores.open_outbox()
            answers = stores.do(press(1), press(2), press(3))
            assert [one.outcome for one in answers] == ["duplicate" if n in there else "new" for n in (1, 2, 3)]
            assert stores.presses() == sorted(stores.presses()) or set(stores.presses()) == {1, 2, 3}
            outcomes.add((len(told), len(there)))
    if frozen_us is None:
        assert {(0, 0), (0, 3), (3, 3)} <= outcomes, "before written, between written and told, and after"


@pytest.mark.parametrize("end", ["kill", "power_cut"])
def test_what_the_inbox_has_committed_is_there_after_a_crash_at_any_moment(end: str) -> None:
    for moment_us in MOMENTS_US:
        stores = Stores(moment_us)
        stores.open_inbox()
        stores.inbox.store(store(1))
        stores.inbox.store(store(2))
        stores.inbox.read(READS[0])  # that is not told of after the end either
        told = [outcome.verdict for _, outcome in results(stores.pass_us(moment_us))]
        getattr(stores.inbox, end)()
        assert stores.pass_us() == []
        incarnation = stores.inbox.incarnation
        assert stores.open_inbox().incarnation == incarnation
        again = [outcome.verdict for _, outcome in stores.keep(store(1), store(2))]
        assert again.count("duplicate") >= len(told)
        assert len([row for row in stores.trace.rows if row.fields[1] == "new"]) == 2


def test_a_commit_takes_between_one_and_eight_milliseconds_and_those_that_wait_share_the_next() -> None:
    stores = Stores()
    stores.open_outbox()
    for number in range(300):
        stores.outbox.carry_out(press(number))
        stores.loop.run(stores.loop.now_us + 50)
    stores.pass_us()
    assert 1 < stores.outbox.commits < 25
    times = []
    for number in range(300, 500):
        began_us = stores.loop.now_us
        stores.outbox.carry_out(press(number))
        assert stores.loop.run(began_us + SECOND_US, lambda: bool(stores.told))
        stores.told.clear()
        times.append(stores.loop.now_us - began_us)
    times.sort()
    assert times[0] >= 1000 and times[190] <= 9000 and times[-1] > 20_000, "a card is slow now and then"
