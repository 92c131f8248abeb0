"""Exact values at the edges of the pole's parts: the alarm's times, debounce, runs, senses, the player."""

from __future__ import annotations

import pytest

from sos_pole.alarm import (
    DONE_MS,
    LATE_MS,
    LATE_WITHOUT_SERVICE_MS,
    STARTING_MS,
    Alarm,
)
from sos_pole.debounce import CALM_MS, FAULT_MS, GAP_MS, NEVER, PRESS_MS, STUCK_MS, Debounce
from sos_pole.journal import Entry
from sos_pole.lamp import TABLE, Player
from sos_pole.runs import BLIND_MS, IDLE, OPEN, PRESSED, SHORT, Runs, Sampler, classify
from sos_pole.senses import Senses
from sos_wire.ticks import TICKS_MASK, ticks_add

NIGH = TICKS_MASK - 3  # begin so that the ticks wrap at once


def entry(press: int = 1) -> Entry:
    return Entry(1, 77, 5, press, 1000, False)


def alarm(told: bool = True, in_service: bool = True, at: int = NIGH) -> Alarm:
    shown = Alarm(at)
    shown.show(entry(), told, in_service, at)
    return shown


@pytest.mark.parametrize(
    ("told", "in_service", "late_ms"),
    [(True, True, LATE_MS), (True, False, LATE_WITHOUT_SERVICE_MS), (False, True, LATE_WITHOUT_SERVICE_MS)],
)
def test_not_delivered_comes_at_its_millisecond(told: bool, in_service: bool, late_ms: int) -> None:
    shown = alarm(told, in_service)
    assert shown.wake(NIGH, NEVER) == late_ms and shown.wake(NIGH, 7) == 7
    before = shown.look(in_service, ticks_add(NIGH, late_ms - 1))
    assert before == ("pressed" if told else "in_service")
    assert shown.wake(ticks_add(NIGH, late_ms - 1), NEVER) == 1
    assert shown.wake(ticks_add(NIGH, late_ms + 5), NEVER) == 0
    assert shown.look(in_service, ticks_add(NIGH, late_ms)) == "not_delivered"
    assert shown.wake(ticks_add(NIGH, late_ms), NEVER) == NEVER


def test_a_second_press_is_told_no_later_than_the_first_and_may_be_sooner() -> None:
    shown = alarm()
    shown.show(entry(2), True, True, ticks_add(NIGH, 3000))
    assert shown.look(True, ticks_add(NIGH, LATE_MS - 1)) == "pressed"
    assert shown.look(True, ticks_add(NIGH, LATE_MS)) == "not_delivered"
    shown.show(entry(3), True, True, ticks_add(NIGH, LATE_MS + 1))
    assert shown.look(True, ticks_add(NIGH, LATE_MS + 1)) == "not_delivered", "nobody has the first one"
    sooner = alarm()
    sooner.show(entry(2), True, False, ticks_add(NIGH, 3000))
    assert sooner.look(False, ticks_add(NIGH, 3000 + LATE_WITHOUT_SERVICE_MS)) == "not_delivered"


def test_a_press_after_one_that_was_received_has_its_own_time() -> None:
    shown = alarm()
    shown.look(True, ticks_add(NIGH, LATE_MS))
    shown.progress(77, 5, 1, 3, ticks_add(NIGH, LATE_MS + 10))
    at = ticks_add(NIGH, LATE_MS + 20)
    assert shown.look(True, at) == "received" and shown.wake(at, NEVER) == NEVER
    shown.show(entry(2), True, True, at)
    assert shown.look(True, at) == "pressed" and shown.wake(at, NEVER) == LATE_MS


@pytest.mark.parametrize("identity", [(78, 5, 1), (77, 6, 1), (77, 5, 2)])
def test_progress_of_another_press_shows_nothing(identity: tuple[int, int, int]) -> None:
    shown = alarm()
    shown.progress(*identity, 7, NIGH)
    assert shown.look(True, NIGH) == "pressed"


def test_an_untold_press_is_shown_once_the_agent_has_it() -> None:
    shown = alarm(told=False)
    shown.progress(77, 5, 1, 1, NIGH)
    assert shown.look(True, NIGH) == "in_service"
    shown.progress(77, 5, 1, 2, NIGH)
    assert shown.look(True, NIGH) == "held"


def test_the_last_stage_gives_the_lamp_back_and_the_one_before_keeps_it() -> None:
    shown = alarm()
    shown.progress(77, 5, 1, 6, NIGH)
    assert shown.look(True, NIGH) == "on_scene"
    shown.progress(77, 5, 1, 7, NIGH)
    assert shown.entry is None and shown.look(True, NIGH) == "in_service"


@pytest.mark.parametrize(("stage", "after"), [(3, "in_service"), (2, "not_delivered")])
def test_after_half_an_hour_at_a_stage_it_rests_and_only_what_was_received_goes(stage: int, after: str) -> None:
    shown = alarm()
    shown.progress(77, 5, 1, stage, ticks_add(NIGH, 50))
    shown.look(True, ticks_add(NIGH, 50 + DONE_MS - 1))
    assert shown.entry is not None and not shown.tired
    assert shown.look(True, ticks_add(NIGH, 50 + DONE_MS)) == after and shown.tired
    shown.show(entry(2), True, True, ticks_add(NIGH, 60 + DONE_MS))
    assert not shown.tired


def test_a_new_stage_wakes_a_tired_alarm_and_the_same_one_does_not() -> None:
    shown = alarm()
    shown.look(True, ticks_add(NIGH, DONE_MS))
    shown.progress(77, 5, 1, 1, ticks_add(NIGH, DONE_MS + 1))
    assert shown.tired
    shown.progress(77, 5, 1, 2, ticks_add(NIGH, DONE_MS + 1))
    assert not shown.tired


def test_starting_ends_after_ten_seconds_or_with_service_for_good() -> None:
    new = Alarm(NIGH)
    assert new.look(False, ticks_add(NIGH, STARTING_MS - 1)) == "starting"
    assert new.look(False, ticks_add(NIGH, STARTING_MS)) == "out_of_service"
    served = Alarm(NIGH)
    assert [served.look(able, NIGH) for able in (False, True, False)] == ["starting", "in_service", "out_of_service"]
    assert served.wake(NIGH, 40) == 40


def fed(*runs: tuple[int, int]) -> Debounce:
    """A button that was seen released, after these runs."""
    button = Debounce()
    for level, ms in ((IDLE, CALM_MS), *runs):
        button.feed(level, ms)
    return button


@pytest.mark.parametrize(
    ("runs", "wake_ms"),
    [
        ([(PRESSED, 10)], PRESS_MS - 10),
        ([(PRESSED, PRESS_MS)], STUCK_MS - PRESS_MS),
        ([(PRESSED, STUCK_MS)], NEVER),
        ([(PRESSED, 10), (IDLE, 10)], GAP_MS - 10),
        ([(PRESSED, 40), (IDLE, 10)], CALM_MS - 10),
        ([(PRESSED, 10), (IDLE, 5), (PRESSED, 5)], PRESS_MS - 20),
        ([(OPEN, 10)], FAULT_MS - 10),
        ([(OPEN, FAULT_MS)], NEVER),
        ([(OPEN, FAULT_MS), (SHORT, 30)], FAULT_MS - 30),
        ([(OPEN, 10), (IDLE, 20)], CALM_MS - 20),
        ([(OPEN, FAULT_MS), (IDLE, 20)], CALM_MS - 20),
        ([(OPEN, FAULT_MS), (OPEN, 10), (PRESSED, 20)], STUCK_MS - 20),
        ([(IDLE, 5)], NEVER),
    ],
)
def test_a_button_says_when_to_look_again(runs: list[tuple[int, int]], wake_ms: int) -> None:
    assert fed(*runs).wake() == wake_ms


def test_a_new_button_waits_for_its_calm_and_a_closed_one_for_its_sticking() -> None:
    assert Debounce().wake() == CALM_MS
    closed = Debounce()
    closed.feed(PRESSED, 100)
    assert closed.wake() == STUCK_MS - 100


@pytest.mark.parametrize(
    ("runs", "happens"),
    [
        ([(PRESSED, PRESS_MS - 1), (IDLE, CALM_MS)], ()),
        ([(PRESSED, PRESS_MS - 1), (IDLE, GAP_MS - 1), (PRESSED, 1)], ("press",)),
        ([(PRESSED, PRESS_MS - 1), (IDLE, GAP_MS), (PRESSED, 1)], ("down",)),
        ([(PRESSED, 50), (IDLE, CALM_MS - 1), (PRESSED, 50), (IDLE, 1)], ()),
        ([(PRESSED, STUCK_MS - 1), (PRESSED, 1)], ("stuck",)),
        ([(OPEN, FAULT_MS - 1), (OPEN, 1)], ("loop_open",)),
        ([(SHORT, FAULT_MS - 1), (IDLE, CALM_MS - 1), (SHORT, 1)], ("loop_short",)),
        ([(SHORT, FAULT_MS - 1), (IDLE, CALM_MS), (SHORT, 1)], ()),
        ([(OPEN, FAULT_MS), (SHORT, FAULT_MS - 1), (IDLE, CALM_MS)], ("loop_ok",)),
        ([(PRESSED, 50), (OPEN, FAULT_MS)], ("release", "loop_open")),
    ],
)
def test_what_happens_at_the_last_millisecond(runs: list[tuple[int, int]], happens: tuple[str, ...]) -> None:
    assert fed(*runs[:-1]).feed(*runs[-1]) == happens


def test_contacts_count_as_chatter_from_the_200th_and_leak_20_a_second() -> None:
    button = fed((PRESSED, PRESS_MS))
    for _ in range(199):
        assert not button.chattering
        button.feed(IDLE, 0)
        button.feed(PRESSED, 0)
    assert button.chattering
    assert button.feed(IDLE, CALM_MS) == ("release",)
    assert button.feed(IDLE, 200 * 50 - PRESS_MS - CALM_MS - 1) == () and button.chattering
    assert button.feed(IDLE, 1) == ("chatter_end",)


def test_eight_touches_too_brief_for_a_finger_are_chatter_and_leak_two_a_minute() -> None:
    button = fed()
    for touch in range(8):
        assert button.feed(PRESSED, 10) == ("down",)
        assert button.feed(IDLE, GAP_MS) == (("chatter",) if touch == 7 else ())
    assert button.feed(IDLE, 8 * 30_000 - 8 * (GAP_MS + 10) - 1) == ()
    assert button.feed(IDLE, 1) == ("chatter_end",)


def test_runs_keep_apart_what_is_apart_and_say_when_they_are_full() -> None:
    runs = Runs()
    for index in range(48):
        assert runs.add(index % 2, 2)
    assert runs.count == 48 and not runs.spilt
    assert runs.add(1, 3) and runs.ms[47] == 5
    assert not runs.add(0, 2) and runs.spilt and not runs.add(1, 2), "what is apart must not look joined"
    runs.count = 0
    assert runs.add(0, 2) and not runs.spilt and runs.count == 1


def test_a_run_ends_at_half_a_minute() -> None:
    runs = Runs()
    assert runs.add(PRESSED, 29_999) and runs.add(PRESSED, 2) and runs.count == 1
    assert runs.add(PRESSED, 2) and (runs.count, runs.ms[:2]) == (2, [30_001, 2])


def sampled(*samples: tuple[int, int]) -> tuple[list[tuple[int, int]], int]:
    """The runs of (level, at) and the blind time."""
    sampler = Sampler()
    for level, at in samples:
        sampler.sample(level, ticks_add(NIGH, at))
    runs = sampler.take()
    return [(runs.level[index], runs.ms[index]) for index in range(runs.count)], sampler.blind_ms


def test_a_sample_that_is_just_in_time_is_not_blind_and_a_later_one_is() -> None:
    assert sampled((IDLE, 0), (PRESSED, BLIND_MS)) == ([(IDLE, 2), (PRESSED, BLIND_MS)], 0)
    assert sampled((IDLE, 0), (PRESSED, BLIND_MS + 1)) == ([(IDLE, 2 + BLIND_MS - 1), (PRESSED, 2)], BLIND_MS - 1)
    assert sampled((PRESSED, 0), (PRESSED, 20)) == ([(PRESSED, 22)], 18)
    assert sampled((PRESSED, 0), (OPEN, 20)) == ([(PRESSED, 2), (OPEN, 20)], 18)
    assert sampled((SHORT, 0), (OPEN, 20)) == ([(SHORT, 20), (OPEN, 2)], 18)
    assert sampled((OPEN, 0), (IDLE, 20)) == ([(OPEN, 2), (IDLE, 20)], 18)
    assert sampled((PRESSED, 5), (IDLE, 5), (IDLE, 4)) == ([(PRESSED, 2)], 0), "time stands, or went back"


def test_levels_lie_at_their_limits() -> None:
    limits = (100, 200, 300)
    assert [classify(raw, limits) for raw in (99, 100, 199, 200, 299, 300)] == [
        SHORT, PRESSED, PRESSED, IDLE, IDLE, OPEN,
    ]  # fmt: skip


def test_a_battery_turns_low_below_and_good_at_its_thresholds() -> None:
    senses = Senses(11_000, 11_800)
    now = senses.readings
    assert not senses.look(False, False, 11_000, 5) and not now.battery_low and now.temperature_dc == 5
    assert senses.look(False, False, 10_996, 5) and now.battery_low and (now.supply_mv, now.changes) == (10_999, 1)
    assert not senses.look(False, False, 11_999, 5) and (now.supply_mv, now.battery_low) == (11_249, True)
    assert not senses.look(False, False, 0, 5) and now.supply_mv == 0, "the measurement is gone at once"
    assert senses.look(False, False, 11_800, 5) and not now.battery_low and now.changes == 2


def test_the_player_changes_at_its_millisecond() -> None:
    player = Player(((10, "a"), (5, "b")), NIGH)
    assert [player.advance(ticks_add(NIGH, at)) for at in (0, 9, 10, 14, 15)] == [10, 1, 5, 1, 10]
    assert player.value == "a" and Player(TABLE["in_service"][0], NIGH).advance(NIGH) == 86_400_000
