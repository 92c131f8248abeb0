"""The outbox on disk and the one in memory that the core's tests use keep one contract."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.agent.core_store import StoreTwin
from tests.agent.outbox_kit import Bench

from sos_agent.core import effects, events
from sos_contract.payloads import Detail, Identity
from sos_wire.messages import STAGES

BASES = ("boot-a", "boot-b")
small = st.integers(0, 3)
poles = st.sampled_from(["merlin-1", "market-1"])
identities = st.builds(
    Identity, pole=poles, incarnation=st.sampled_from(["0a", "0b"]), boot=small, press=small, clash=st.integers(0, 1)
)
plain = identities.map(lambda one: Identity(one.pole, one.incarnation, one.boot, one.press))
ids = st.lists(identities, max_size=4, unique=True).map(tuple)
bases = st.sampled_from(BASES)
kinds = st.sampled_from(["loop_open", "mains_lost"])

alarms = st.builds(effects.StoreAlarm, plain, st.sampled_from(["press", "silent_press"]), small, small, bases, small)
notices = st.builds(effects.StoreNotice, poles, kinds, st.booleans(), small, bases, small, st.none(), st.booleans())
details = st.builds(
    effects.StoreNotice, poles, st.just("press_detail"), st.just(True), small, bases, small,
    st.builds(Detail, id=plain, held_ms=small), st.booleans(),
)  # fmt: skip
steps = st.one_of(
    alarms,
    alarms,
    notices,
    details,
    st.builds(effects.MarkReceipted, ids, bases, small),
    st.builds(effects.MarkWaiting, ids),
    st.builds(
        effects.StoreProgress,
        st.lists(st.tuples(identities, st.sampled_from(STAGES[2:])), max_size=3, unique_by=lambda one: one[0]).map(
            tuple
        ),
    ),
    st.builds(effects.DropNotices, st.lists(st.integers(1, 6), max_size=3, unique=True).map(tuple)),
    st.builds(effects.StoreBoot, poles, st.sampled_from(["0a", "0b"]), small, bases, small),
    st.builds(effects.FetchWaiting, small, st.integers(1, 3)),
    st.builds(effects.FetchNotices, small, st.integers(1, 3)),
    st.builds(effects.FetchReceipted, small, st.integers(1, 3), st.booleans()),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25), st.booleans())
def test_disk_and_memory_answer_alike_and_keep_the_same(todo: list[effects.StoreEffect], known_time: bool) -> None:
    first = [effects.StoreTimebase(name, 1000 * n, "synced") for n, name in enumerate(BASES, 1)] if known_time else []
    with tempfile.TemporaryDirectory() as folder:
        bench, twin = Bench(Path(folder)), StoreTwin()
        answers = [answer for effect in [*first, *todo] if (answer := twin.do(effect)) is not None]
        for effect in [*first, *todo]:
            bench.outbox.carry_out(effect)
        assert [unrecorded(answer) for answer in bench.wait(len(answers))] == answers
        assert bench.outbox.close()
        again = Bench(Path(folder))
        kept = again.outbox.contents
        again.outbox.close()
        assert _sorted(replace(kept, outbox=twin.outbox)) == _sorted(twin.contents())


def unrecorded(answer: events.Event) -> events.Event:
    """Without the ledger's records: each ledger has a name of its own, which its hashes show."""
    if isinstance(answer, events.Stored):
        return replace(answer, row=replace(answer.row, record=None))
    if isinstance(answer, events.WaitingFetched):
        return replace(answer, rows=tuple(replace(row, record=None) for row in answer.rows))
    return answer


def _sorted(contents: events.Contents) -> events.Contents:
    return replace(
        contents,
        newest=tuple(sorted((replace(row, record=None) for row in contents.newest), key=lambda row: row.id.pole)),
        boots=tuple(sorted(contents.boots, key=lambda boot: (boot.pole, boot.incarnation, boot.boot))),
    )
