"""Power cuts at every byte of everything that the journal writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from tests.pole.journal_model import ENTROPY, SILENT, Model

from sos_pole.journal import Journal
from sos_sim.nor_flash import NorFlash, PowerCut


def _ordinary(model: Model) -> None:
    for _ in range(3):
        model.press()
    model.release(1)
    model.press(SILENT)
    model.mark()
    model.open()
    model.press()
    for _ in range(4):
        model.release(0)


def _crowded(model: Model) -> None:
    for _ in range(3):
        model.press()
    model.release(0)
    model.close()
    model.press()
    model.release(5)
    model.open()
    model.press()


def _change_with_pending(model: Model) -> None:
    """The bank is full while presses wait: they are copied."""
    for _ in range(4):
        model.press()
        model.release(0)
    model.open()
    for _ in range(8):
        model.press()


def _upkeep(model: Model) -> None:
    model.maintain()
    model.press()
    model.open()
    model.release(0)
    model.maintain()


def _upkeep_with_pending(model: Model) -> None:
    """Presses wait, the bank is nearly full, the other one holds what was copied from it."""
    model.maintain()
    model.press()
    model.open()
    model.release(0)


def _prepare(presses: int, left: int) -> bytes:
    """A flash on which so many presses were made before, and all but the newest few released."""
    flash = NorFlash()
    journal = Journal(flash, ENTROPY)
    journal.open()
    for at_ms in range(presses):
        journal.append(1, at_ms)
        if len(journal.entries) > left:
            journal.release(journal.entries[0])
    return bytes(flash.bytes)


SCENARIOS: list[tuple[Callable[[Model], None], int, int]] = [
    (_ordinary, 0, 0),
    (_crowded, 64, 64),
    (_crowded, 200, 63),
    (_change_with_pending, 251, 6),
    (_upkeep, 170, 0),
    (_upkeep_with_pending, 430, 3),
]


@pytest.mark.parametrize(
    ("scenario", "presses", "left"), SCENARIOS, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_cut_at_every_byte(scenario: Callable[[Model], None], presses: int, left: int) -> None:
    content = _prepare(presses, left)
    whole = _adopted(content)
    start = whole.flash.writes
    scenario(whole)
    assert whole.cuts == 0
    total = whole.flash.writes - start
    erasing = total > 4096
    for byte in range(0, total, 1 if not erasing else 11):
        model = _adopted(content)
        model.flash.tear_at = model.flash.writes + byte
        scenario(model)
        assert model.cuts >= 1
        model.open()


def _adopted(content: bytes) -> Model:
    """A model that takes what a flash holds as shown."""
    flash = NorFlash(content=content)
    before = Journal(NorFlash(content=content), ENTROPY)
    before.open()
    model = Model.__new__(Model)
    model.flash = flash
    model.shown = {(e.incarnation, e.boot, e.press): (e.kind, e.at_ms, e.repeats) for e in before.entries}
    model.maybe, model.floor, model.closed, model.boots = {}, {}, set(), set()
    model.incarnation, model.marked, model.maybe_marked = before.incarnation, False, False
    model.uptime_ms, model.cuts = 10_000_000, 0
    model.open()
    return model


def test_a_cut_at_every_byte_of_the_first_start() -> None:
    for byte in range(200):
        flash = NorFlash()
        flash.tear_at = byte
        journal = Journal(flash, ENTROPY)
        try:
            journal.open()
        except PowerCut:
            flash.tear_at = None
            journal = Journal(flash, ENTROPY)
            journal.open()
        flash.tear_at = None
        assert not journal.damaged and not journal.failing
        assert journal.append(1, 5).durable


class Cuts(RuleBasedStateMachine):
    """Anything, in any order, with cuts anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @rule(kind=st.sampled_from([1, 1, 2]), count=st.sampled_from([1, 1, 2, 30, 70]))
    def press(self, kind: int, count: int) -> None:
        for _ in range(count):
            self.model.press(kind)

    @rule(index=st.integers(0, 70), count=st.sampled_from([1, 1, 5, 70]))
    def release(self, index: int, count: int) -> None:
        for _ in range(count):
            self.model.release(index)

    @rule()
    def close(self) -> None:
        self.model.close()

    @rule()
    def maintain(self) -> None:
        self.model.maintain()

    @rule()
    def mark(self) -> None:
        self.model.mark()

    @rule(count=st.sampled_from([1, 1, 70]))
    def start_again(self, count: int) -> None:
        for _ in range(count):
            self.model.open()

    @precondition(lambda self: self.model.flash.tear_at is None)
    @rule(after=st.one_of(st.integers(0, 100), st.integers(0, 9000)))
    def cut(self, after: int) -> None:
        self.model.flash.tear_at = self.model.flash.writes + after


Cuts.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCuts = Cuts.TestCase
