"""Raw values become facts only when they stay, and the battery's between two thresholds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sos_pole.senses import Senses
from sos_wire.ticks import TICKS_MASK


def test_a_switch_that_bounces_is_no_fact() -> None:
    senses = Senses(11_400, 12_200)
    for _ in range(10):
        assert not senses.look(True, False, 13_000, 250)
        assert not senses.look(True, False, 13_000, 250)
        assert not senses.look(False, False, 13_000, 250)
    assert not senses.readings.tamper


def test_three_looks_in_a_row_make_a_fact_and_three_end_it() -> None:
    senses = Senses(11_400, 12_200)
    assert [senses.look(True, True, 13_000, 250) for _ in range(5)] == [False, False, True, False, False]
    assert senses.readings.tamper and senses.readings.mains_lost and senses.readings.changes == 1
    assert [senses.look(False, False, 13_000, 250) for _ in range(3)] == [False, False, True]
    assert not senses.readings.tamper and not senses.readings.mains_lost


def test_a_battery_is_low_until_it_is_good_again() -> None:
    senses = Senses(11_400, 12_200)
    told = []
    for millivolts in (13_000, 11_000, 11_900, 12_000, 12_900):
        for _ in range(40):
            senses.look(False, False, millivolts, 250)
        told.append(senses.readings.battery_low)
    assert told == [False, True, True, True, False]


def test_no_measurement_is_no_low_battery() -> None:
    senses = Senses(0, 0)
    for _ in range(10):
        assert not senses.look(False, False, 0, 0)
    assert not senses.readings.battery_low


def test_an_output_is_judged_once_it_has_been_on_for_a_while_and_at_each_look() -> None:
    senses = Senses(0, 0)
    senses.put(1, 880, 1000)
    assert [senses.due(1, 1000 + ms) for ms in (0, 59, 60, 70)] == [False, False, True, False]
    assert not senses.due(0, 5000), "the lamp is off"
    senses.look(False, False, 0, 0)
    assert senses.due(1, 1250)
    senses.put(1, 0, 1300)
    assert not senses.due(1, 2000), "a silent sounder draws nothing"


def test_a_steady_light_is_judged_at_each_look_for_weeks() -> None:
    """A lamp that shows *in service* is not changed for weeks: from the sixth day on it died unseen, for six days."""
    senses = Senses(0, 0)
    senses.put(0, 1, 1000)
    for hour in range(1, 24 * 14):
        senses.look(False, False, 0, 0)
        assert senses.due(0, 1000 + hour * 3_600_000 & TICKS_MASK), hour


def test_lamp_and_sounder_fail_each_by_itself() -> None:
    senses = Senses(0, 0)
    for _ in range(3):
        senses.look_at(1, False)
        senses.look_at(0, True)
    assert (senses.readings.dead, senses.readings.changes) == (2, 1)


def test_a_lamp_is_dead_after_three_looks_and_well_after_three() -> None:
    senses = Senses(0, 0)
    assert [senses.look_at(0, False) for _ in range(3)] == [False, False, True]
    assert [senses.look_at(0, True) for _ in range(4)] == [False, False, True, False]
    assert not senses.readings.dead


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 20_000)), max_size=60))
def test_changes_count_each_change_of_a_fact(looks: list[tuple[bool, bool, int]]) -> None:
    senses = Senses(11_400, 12_200)
    facts, changes = (False, False, False), 0
    for tamper, mains, millivolts in looks:
        changed = senses.look(tamper, mains, millivolts, 0)
        now = senses.readings
        assert changed == ((now.tamper, now.mains_lost, now.battery_low) != facts)
        facts = (now.tamper, now.mains_lost, now.battery_low)
        changes += changed
        assert now.changes == changes
