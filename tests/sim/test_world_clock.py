"""A machine's clocks: drift, time bases, jumps, and what is known after a start."""

from __future__ import annotations

import random

import pytest

from sos_sim.world.clock import MachineClock, true_wall_ms

HOUR_US = 3_600_000_000


def clock(drift_ppm: int = 0) -> MachineClock:
    return MachineClock(random.Random(1), drift_ppm)


@pytest.mark.parametrize("drift_ppm", [-100, -1, 0, 1, 50])
def test_due_is_the_first_instant_at_which_the_clock_says_so(drift_ppm: int) -> None:
    machine = clock(drift_ppm)
    began_ms = machine.ms(0)
    assert machine.ms(HOUR_US) - began_ms == 3_600_000 + 3600 * drift_ppm // 1000
    for ahead_ms in (1, 7, 1000, 86_400_000):
        due_us = machine.due_us(began_ms + ahead_ms)
        assert machine.ms(due_us) == began_ms + ahead_ms == machine.ms(due_us - 1) + 1


def test_the_time_base_is_new_with_each_start_of_the_machine_only() -> None:
    machine = clock()
    before = machine.timebase
    machine.power_cut(HOUR_US)
    machine.power_on(2 * HOUR_US)
    assert machine.timebase != before
    assert 8_000 <= machine.ms(2 * HOUR_US) <= 25_000


def test_drift_may_change_and_time_never_goes_back() -> None:
    machine = clock(50)
    told = []
    for hour in range(1, 6):
        told.append(machine.ms(hour * HOUR_US))
        machine.drift(hour * HOUR_US, (-1) ** hour * 50)
        told.append(machine.ms(hour * HOUR_US))
    assert told == sorted(told)


def test_an_undisciplined_clock_drifts_and_a_jump_moves_only_the_wall() -> None:
    machine = clock(100)
    assert machine.wall_ms(HOUR_US) == true_wall_ms(HOUR_US) and machine.quality(HOUR_US) == "synced"
    machine.lose_sync(HOUR_US)
    assert machine.quality(HOUR_US) == "holdover"
    assert machine.wall_ms(2 * HOUR_US) == true_wall_ms(2 * HOUR_US) + 360
    before_ms = machine.ms(2 * HOUR_US)
    machine.jump(-86_400_000)
    assert machine.wall_ms(2 * HOUR_US) == true_wall_ms(2 * HOUR_US) + 360 - 86_400_000
    assert machine.ms(2 * HOUR_US) == before_ms
    machine.synchronise()
    assert abs(machine.wall_ms(3 * HOUR_US) - true_wall_ms(3 * HOUR_US)) <= 20


@pytest.mark.parametrize(("at_boot", "quality"), [("kept", "synced"), ("stale", "holdover"), ("unset", "unset")])
def test_what_is_known_after_a_start(at_boot: str, quality: str) -> None:
    machine = clock()
    machine.at_boot = at_boot
    machine.power_cut(HOUR_US)
    machine.power_on(3 * HOUR_US)
    assert machine.quality(3 * HOUR_US) == quality
    if at_boot == "stale":
        assert machine.wall_ms(3 * HOUR_US) == true_wall_ms(HOUR_US), "the time of the last shutdown"
    if at_boot == "unset":
        assert machine.wall_ms(3 * HOUR_US) < 60_000, "1970"
