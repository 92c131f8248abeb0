"""Samples become runs; a hole is told, and makes no press."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT, Runs, Sampler, classify
from sos_wire.ticks import TICKS_MASK


def taken(sampler: Sampler) -> list[tuple[int, int]]:
    runs = sampler.take()
    return [(runs.level[i], runs.ms[i]) for i in range(runs.count)]


def test_samples_of_one_level_are_one_run_and_buffers_take_turns() -> None:
    sampler = Sampler()
    for now in range(0, 20, 2):
        sampler.sample(IDLE, now)
    assert not sampler.changed
    sampler.sample(PRESSED, 20)
    assert sampler.changed
    assert taken(sampler) == [(IDLE, 20), (PRESSED, 2)]
    assert not sampler.changed and taken(sampler) == [] and taken(sampler) == []


@given(st.lists(st.tuples(st.sampled_from([IDLE, PRESSED, OPEN, SHORT]), st.integers(1, 300)), max_size=200))
def test_no_time_is_lost_whatever_comes(samples: list[tuple[int, int]]) -> None:
    sampler = Sampler()
    now = TICKS_MASK - 500  # wraps on the way
    sampler.sample(IDLE, now)
    total = 2
    for level, ms in samples:
        now = (now + ms) & TICKS_MASK
        total += ms
        sampler.sample(level, now)
    runs = taken(sampler)
    told = sum(ms for _, ms in runs)
    assert told <= total and total - told <= sampler.blind_ms
    assert len(runs) <= 48


def test_a_hole_belongs_to_the_level_on_both_sides() -> None:
    sampler = Sampler()
    sampler.sample(PRESSED, 0)
    sampler.sample(PRESSED, 47)
    assert taken(sampler) == [(PRESSED, 49)] and sampler.blind_ms == 45


def test_a_hole_between_two_levels_makes_no_press_of_a_touch() -> None:
    for before, after in ((PRESSED, IDLE), (IDLE, PRESSED), (OPEN, PRESSED), (PRESSED, SHORT)):
        sampler = Sampler()
        sampler.sample(before, 0)
        sampler.sample(after, 47)
        assert sum(ms for level, ms in taken(sampler) if level == PRESSED) == 2
        assert sampler.blind_ms == 45


def test_two_calls_in_one_millisecond_count_once() -> None:
    sampler = Sampler()
    for now in (0, 2, 2, 1, 4):
        sampler.sample(IDLE, now)
    assert taken(sampler) == [(IDLE, 6)]


def test_a_full_buffer_is_told_as_blind_time() -> None:
    sampler = Sampler()
    for index in range(100):
        sampler.sample(PRESSED if index % 2 else IDLE, 2 * index)
    assert sampler.blind_ms == 2 * (100 - 48) and len(taken(sampler)) == 48


def test_a_long_run_goes_on_as_a_second_one() -> None:
    runs = Runs()
    for _ in range(4):
        assert runs.add(IDLE, 29999)
    assert runs.count == 2


def test_levels_of_a_supervised_loop() -> None:
    limits = (10400, 30000, 52000)
    readings = (0, 10399, 10400, 29999, 30000, 51999, 52000, 65535)
    expected = [SHORT, SHORT, PRESSED, PRESSED, IDLE, IDLE, OPEN, OPEN]
    assert [classify(raw, limits) for raw in readings] == expected
