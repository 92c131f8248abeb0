"""The debounce contract: what is always a press, what never is, and that one is never two."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sos_pole.debounce import (
    CALM_MS,
    FAULT_MS,
    GAP_MS,
    NEVER,
    PRESS_MS,
    STUCK_MS,
    TABLE,
    Debounce,
)
from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT

Wave = list[tuple[int, int]]  # (level, samples of 2 ms)


def play(wave: Wave, button: Debounce | None = None) -> list[str]:
    """What happens, the wave being fed sample by sample."""
    button = button or ready()
    return [what for level, samples in wave for _ in range(samples) for what in button.feed(level, 2)]


def ready() -> Debounce:
    button = Debounce()
    assert button.feed(IDLE, CALM_MS) == ()
    assert button.state == "ready"
    return button


def presses(happened: list[str]) -> int:
    return happened.count("press")


contacts = st.integers(1, 40)
short_gaps = st.integers(1, GAP_MS // 2 - 1)


@st.composite
def attempts(draw: st.DrawFn) -> Wave:
    """One attempt at a press: contacts with gaps below 30 ms."""
    wave = [(PRESSED, draw(contacts))]
    for _ in range(draw(st.integers(0, 8))):
        wave += [(IDLE, draw(short_gaps)), (PRESSED, draw(contacts))]
    return wave


def length_ms(wave: Wave) -> int:
    return 2 * sum(samples for _, samples in wave)


@given(attempts())
@settings(max_examples=400)
def test_thirty_ms_from_first_to_last_contact_is_a_press_once_and_less_is_none(wave: Wave) -> None:
    happened = play([*wave, (IDLE, 200)])
    assert presses(happened) == (1 if length_ms(wave) >= PRESS_MS else 0)
    assert happened[0] == "down"
    if presses(happened):
        assert happened == ["down", "press", "release"]


@given(st.lists(attempts(), min_size=1, max_size=5))
@settings(max_examples=200)
def test_presses_with_250_ms_between_are_each_one(waves: list[Wave]) -> None:
    happened = play([run for wave in waves for run in [*wave, (IDLE, CALM_MS // 2)]])
    assert presses(happened) == sum(length_ms(wave) >= PRESS_MS for wave in waves)


@given(attempts(), st.lists(st.tuples(st.integers(1, CALM_MS // 2 - 1), contacts), max_size=6))
@settings(max_examples=200)
def test_whatever_follows_within_250_ms_of_release_is_the_same_press(wave: Wave, after: list[tuple[int, int]]) -> None:
    first = [(PRESSED, PRESS_MS // 2), *[(IDLE, 1), *wave]]
    again = [run for gap, contact in after for run in ((IDLE, gap), (PRESSED, contact))]
    assert presses(play([*first, *again, (IDLE, 200)])) == 1


@given(st.lists(st.tuples(st.sampled_from([IDLE, OPEN, SHORT]), st.integers(1, 400)), max_size=20))
def test_a_cut_or_shorted_wire_is_never_a_press(wave: Wave) -> None:
    happened = play(wave)
    assert "press" not in happened and "down" not in happened


@given(st.lists(st.tuples(st.sampled_from([IDLE, OPEN, SHORT, PRESSED]), st.integers(1, 40)), max_size=60))
@settings(max_examples=300)
def test_runs_and_samples_tell_the_same(wave: Wave) -> None:
    """A press, a release, a fault: the same whether the time comes in samples or in runs, as the wave is the same."""
    merged: Wave = []
    for level, samples in wave:
        if merged and merged[-1][0] == level:
            merged[-1] = (level, merged[-1][1] + samples)
        else:
            merged.append((level, samples))
    button = ready()
    in_runs = [what for level, samples in merged for what in button.feed(level, 2 * samples)]
    assert [w for w in in_runs if "chatter" not in w] == [w for w in play(wave) if "chatter" not in w]


@given(st.lists(st.tuples(st.sampled_from([IDLE, OPEN, SHORT, PRESSED]), st.integers(1, 3000)), max_size=30))
@settings(max_examples=300)
def test_nothing_happens_before_it_said_that_it_wakes(wave: Wave) -> None:
    button = Debounce()
    for level, samples in wave:
        button.feed(level, 2)
        wake = button.wake()
        assert wake > 0
        quiet = min(wake - 1, 2 * samples)
        if quiet > 0:
            happened = button.feed(level, quiet)
            assert all("chatter" in what for what in happened), (level, wake, happened)


@given(st.lists(st.tuples(st.sampled_from([IDLE, OPEN, SHORT, PRESSED]), st.integers(1, 300)), max_size=60))
@settings(max_examples=300)
def test_presses_and_releases_alternate_and_faults_end(wave: Wave) -> None:
    happened = play([*wave, (IDLE, CALM_MS)])
    pairs = [what for what in happened if what in ("press", "release")]
    assert pairs == ["press", "release"] * (len(pairs) // 2)
    assert happened.count("stuck") == happened.count("stuck_end")
    if "loop_open" in happened or "loop_short" in happened:
        assert "loop_ok" in happened


def test_closed_at_the_start_counts_only_after_a_release() -> None:
    button = Debounce()
    assert play([(PRESSED, 2000), (IDLE, CALM_MS // 2 - 1), (PRESSED, 100)], button) == []
    assert play([(IDLE, CALM_MS // 2), (PRESSED, 15)], button) == ["down", "press"]


def test_closed_for_60_s_since_the_start_is_a_dead_button() -> None:
    button = Debounce()
    assert play([(PRESSED, STUCK_MS // 2)], button) == ["stuck"]
    assert play([(PRESSED, STUCK_MS), (IDLE, CALM_MS // 2)], button) == ["stuck_end"]


def test_a_stuck_button_is_told_once_and_the_first_press_all_the_same() -> None:
    assert play([(PRESSED, STUCK_MS), (IDLE, CALM_MS // 2)]) == ["down", "press", "stuck", "release", "stuck_end"]


def test_a_cut_wire_is_told_and_its_mending_and_what_is_pressed_then_counts_after_release() -> None:
    button = ready()
    assert play([(OPEN, FAULT_MS // 2)], button) == ["loop_open"]
    assert play([(SHORT, FAULT_MS // 2)], button) == ["loop_short"]
    assert play([(PRESSED, 200)], button) == []
    assert play([(IDLE, CALM_MS // 2), (PRESSED, 15)], button) == ["loop_ok", "down", "press"]


def test_a_wire_cut_during_a_press_ends_it() -> None:
    assert play([(PRESSED, 100), (OPEN, FAULT_MS // 2)]) == ["down", "press", "release", "loop_open"]


def test_a_wire_that_flickers_to_short_through_the_pressed_range_is_a_fault_and_no_press() -> None:
    happened = play([(SHORT, 3), (PRESSED, 1), (IDLE, 3), (PRESSED, 1)] * 30)
    assert "loop_short" in happened and "press" not in happened


def test_a_press_right_after_a_spark_still_counts() -> None:
    assert "press" in play([(PRESSED, 3), (SHORT, 1), (PRESSED, 15)])


def test_a_contact_that_chatters_is_told_and_its_end() -> None:
    button = ready()
    happened = play([(PRESSED, 1), (IDLE, 3)] * 500, button)
    assert happened.count("press") == 1 and happened.count("chatter") == 1
    assert "chatter_end" in play([(IDLE, 30000)], button)
    brief = play([(PRESSED, 2), (IDLE, 500)] * 9)
    assert "chatter" in brief and "press" not in brief


def test_a_person_in_panic_is_no_chatter() -> None:
    tap: Wave = [(PRESSED, 1), (IDLE, 1), (PRESSED, 1), (IDLE, 1), (PRESSED, 40), (IDLE, 1), (PRESSED, 1), (IDLE, 60)]
    assert "chatter" not in play(tap * 300)


def test_held_ms_is_from_first_to_last_contact() -> None:
    button = ready()
    play([(PRESSED, 20), (IDLE, 5), (PRESSED, 100), (IDLE, 125)], button)
    assert button.held_ms == 250


def test_at_rest_it_asks_for_nothing_and_makes_nothing() -> None:
    button = ready()
    assert button.wake() == NEVER
    assert button.feed(IDLE, 1000) is button.feed(IDLE, 1000)


def test_what_the_table_does_not_list_changes_nothing() -> None:
    states = set(TABLE)
    seen = {what for row in TABLE.values() for what in row}
    for state in states:
        for what in seen:
            button = Debounce()
            button.state = state
            moved = button._see(what)
            assert moved == (what in TABLE[state])
            if not moved:
                assert button.state == state and button._happened == ()
