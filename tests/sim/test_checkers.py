"""Each checker can fail: a trace that breaks its promise, and beside it the nearest trace that does not."""

from __future__ import annotations

import pytest
from tests.sim.checked import Story, identity

# --- a press without trouble


def test_a_press_that_goes_its_way_breaks_nothing() -> None:
    story = Story()
    who = story.through(10)
    story.say(10.05, "look", "a-1", "pressed", who)
    story.say(10.06, "look", "a-1", "held", who)
    story.say(10.07, "look", "a-1", "received", who)
    story.say(11, "asked", "Malee", "Malee", "accept", 1, 1)
    story.say(11.1, "stage", "station", who, "accepted", "Malee")
    story.say(11.2, "look", "a-1", "accepted", who)
    story.say(11.3, "screen", "Malee", ((who, "accepted", 1300, False),))
    assert story.end(60) == {}
    assert story.checkers.touches.counted == 1


# --- touches


@pytest.mark.parametrize(("ms", "found"), [(27, {}), (35, {}), (60, {"lost": 1}), (900, {"lost": 1})])
def test_a_touch_that_has_to_count_and_does_not_is_lost(ms: float, found: dict[str, int]) -> None:
    story = Story()
    story.contact(10, ms)
    assert story.end(20) == found


def test_a_touch_right_after_the_start_may_be_missed() -> None:
    story = Story()
    story.contact(0.8, 200)
    assert story.end(20) == {}


def test_a_touch_during_which_the_power_goes_may_be_missed_and_an_earlier_one_may_not() -> None:
    story = Story()
    story.contact(10, 100)
    story.say(15.000, "loop", "a-1", 0, "pressed")
    story.say(15.020, "down", "a-1", "power")
    story.say(15.100, "loop", "a-1", 0, "idle")
    story.say(16, "up", "a-1", "power_on")
    assert story.end(20) == {"lost": 1}
    assert "10.000 s" in story.words


def test_a_touch_with_a_broken_loop_or_a_blind_board_may_be_missed() -> None:
    story = Story()
    story.say(10.0, "loop", "a-1", 0, "open")
    story.say(10.2, "loop", "a-1", 0, "idle")
    story.contact(10.3, 200)
    story.say(15.0, "loop", "a-1", 0, "pressed")
    story.ground.blind = 45
    story.say(15.08, "loop", "a-1", 0, "idle")
    assert story.end(20) == {}


def test_contacts_apart_are_two_presses_and_close_together_one() -> None:
    story = Story()
    story.contact(10.0, 100)
    story.say(10.15, "minted", "a-1", identity(press=1), "press", True, 0)
    story.contact(10.6, 100)
    story.say(10.75, "minted", "a-1", identity(press=2), "press", True, 0)
    story.ground.stored |= {identity(press=1), identity(press=2)}
    assert story.end(20, progress=False) == {}


def test_two_presses_from_one_touch_are_one_too_many() -> None:
    story = Story()
    story.say(10.0, "loop", "a-1", 0, "pressed")
    for press in (1, 2):
        story.say(10.04 * press / press + press / 100, "minted", "a-1", identity(press=press), "press", True, 0)
    story.say(10.2, "loop", "a-1", 0, "idle")
    story.ground.stored |= {identity(press=1), identity(press=2)}
    assert story.end(20, progress=False) == {"duplicated": 1}


def test_a_press_without_a_touch_or_from_a_bounce_is_made_up() -> None:
    story = Story()
    story.say(10, "minted", "a-1", identity(), "press", True, 0)
    for flip in range(4):
        story.contact(12 + flip * 0.1, 8)
    story.say(12.35, "minted", "a-1", identity(press=2), "press", True, 0)
    story.ground.stored |= {identity(press=1), identity(press=2)}
    assert story.end(20, progress=False) == {"forged": 2}


# --- never lost


def test_a_press_that_is_nowhere_is_lost_and_one_that_waits_is_stuck() -> None:
    story = Story()
    story.mint(10, press=1)
    waits = story.mint(11, press=2)
    story.ground.where[waits] = ["the journal of a-1"]
    found = story.end(60)
    assert found == {"lost": 1, "stuck": 1, "lied": 1}  # the lamp said nothing, either
    assert "waits in the journal of a-1" in story.words


def test_a_press_whose_only_flash_was_lost_is_excused_and_not_one_that_was_held() -> None:
    story = Story()
    story.mint(10, "a-1")
    story.say(10.2, "down", "a-1", "power")
    story.say(10.2, "forgot", "a-1", identity("a-1"))
    held = story.mint(12, "b-1")
    story.held(12.1, held)
    story.say(12.2, "down", "b-1", "power")
    story.say(12.2, "forgot", "b-1", held)
    assert story.end(15) == {"lost": 1}
    assert held in story.words


def test_losing_flash_and_outbox_excuses_and_losing_the_outbox_alone_does_not() -> None:
    story = Story()
    both, one = story.mint(10, "a-1"), story.mint(10.5, "b-1")
    for who in (both, one):
        story.held(11, who)
    story.say(12, "down", "a-1", "power")
    story.say(12, "forgot", "a-1", both)
    story.say(13, "disk", "agent:a", "lost")
    story.say(13, "disk", "agent:b", "lost")
    assert story.end(15) == {"lost": 1}
    assert one in story.words


def test_an_inbox_that_forgets_by_itself_loses_and_one_that_is_restored_does_not_while_the_outbox_has_it() -> None:
    story = Story()
    story.say(9, "disk", "station", "copied")
    who = story.through(10)
    story.say(12, "disk", "station", "restored")
    story.ground.stored.clear()
    story.ground.where[who] = ["the outbox of agent:a"]
    assert story.end(15) == {}
    story.ground.where.clear()
    assert story.end(30) == {"lost": 1}


def test_an_inbox_restored_while_the_outbox_is_lost_is_physics() -> None:
    story = Story()
    story.say(9, "disk", "station", "copied")
    story.through(10)
    story.say(11, "disk", "agent:a", "lost")
    story.say(12, "disk", "station", "restored")
    story.ground.stored.clear()
    assert story.end(15) == {}
    assert story.checkers.never_lost.excused == 1


def test_a_press_that_could_not_be_written_may_go_with_the_power() -> None:
    story = Story()
    story.mint(10, durable=False)
    story.say(11, "down", "a-1", "power")
    assert story.end(15) == {}


# --- never made up


def test_an_alarm_that_nobody_pressed_is_made_up() -> None:
    story = Story()
    story.held(10, identity("a-1", 7))
    story.received(10, identity("b-1", 7))
    assert story.end(15) == {"forged": 2}


def test_a_pole_that_lost_its_power_while_it_wrote_may_have_made_one_and_not_two() -> None:
    story = Story()
    story.say(10.0, "loop", "a-1", 0, "pressed")
    story.say(10.035, "down", "a-1", "power")
    story.say(10.2, "loop", "a-1", 0, "idle")
    story.say(11, "up", "a-1", "power_on")
    story.received(13, identity(press=1), age_ms=3_000)
    assert story.end(15) == {}
    story.received(16, identity(press=2), number=2)
    assert story.end(17) == {"forged": 1}


@pytest.mark.parametrize(
    ("copied", "restored", "found"), [(9.0, 12.0, {}), (11.0, 12.0, {"duplicated": 1}), (9.0, None, {"duplicated": 1})]
)
def test_one_press_is_one_alarm_in_each_inbox(copied: float, restored: float | None, found: dict[str, int]) -> None:
    story = Story()
    if copied < 10:
        story.say(copied, "disk", "station", "copied")
    who = story.through(10)
    if copied > 10:
        story.say(copied, "disk", "station", "copied")
    if restored is not None:
        story.say(restored, "disk", "station", "restored")
    story.received(13, who, number=2, age_ms=3_000)
    assert story.end(15) == found


def test_the_same_press_held_twice_in_one_outbox_is_one_too_many() -> None:
    story = Story()
    who = story.through(10)
    story.held(11, who, "duplicate")
    story.held(12, who)
    assert story.end(15) == {"duplicated": 1}


def test_a_clash_or_another_kind_is_made_up() -> None:
    story = Story()
    who = story.through(10)
    story.received(11, who + ".1", verdict="clash", number=2, age_ms=1_000)
    other = story.mint(12, "b-1")
    story.say(12.2, "received", "station", other, "new", 3, "test_press", 1000, 150, False)
    story.ground.stored.add(other)
    assert story.end(15) == {"forged": 2}


def test_stages_come_from_officers_and_never_go_back() -> None:
    story = Story()
    who = story.through(10)
    story.say(11, "stage", "station", who, "accepted", "Malee")
    assert story.checkers.findings.counts["forged"] == 1
    for action in ("accept", "dispatch"):
        story.say(12, "asked", "Malee", "Malee", action, 1, 1)
    story.say(13, "stage", "station", who, "dispatched", "Malee")
    assert story.checkers.findings.counts["forged"] == 1
    story.say(14, "stage", "station", who, "accepted", "Malee")
    assert story.checkers.findings.counts["forged"] == 2


# --- lamps


@pytest.mark.parametrize("look", ["held", "received", "accepted", "on_scene"])
def test_a_lamp_that_is_ahead_of_the_truth_lies(look: str) -> None:
    story = Story()
    who = story.mint(10)
    story.say(10.05, "look", "a-1", "pressed", who)
    story.say(10.1, "look", "a-1", look, who)
    story.ground.stored.add(who)
    assert story.end(12) == {"lied": 1}


def test_pressed_lies_of_what_is_in_no_flash_unless_it_was_found_there() -> None:
    story = Story()
    who = story.mint(10, durable=False)
    story.say(10.05, "look", "a-1", "pressed", who)
    assert story.checkers.findings.counts["lied"] == 1
    story.say(11, "down", "a-1", "power")
    story.say(12, "up", "a-1", "power_on")
    story.say(13, "look", "a-1", "pressed", who)
    assert story.checkers.findings.counts["lied"] == 1


def test_a_lamp_never_goes_back_but_over_a_restart() -> None:
    story = Story()
    who = story.through(10)
    story.say(11, "look", "a-1", "received", who)
    story.say(12, "down", "a-1", "power")
    story.say(13, "up", "a-1", "power_on")
    story.say(14, "look", "a-1", "pressed", who)
    assert story.checkers.findings.counts["lied"] == 0
    story.say(15, "look", "a-1", "received", who)
    story.say(16, "look", "a-1", "not_delivered", who)
    assert story.checkers.findings.counts["lied"] == 1


@pytest.mark.parametrize(("at_s", "found"), [(30.1, {}), (30.5, {"lied": 1})])
def test_not_delivered_has_to_stand_after_twenty_seconds(at_s: float, found: dict[str, int]) -> None:
    story = Story()
    who = story.mint(10)
    story.say(10.05, "look", "a-1", "pressed", who)
    story.say(at_s, "look", "a-1", "not_delivered", who)
    story.ground.stored.add(who)
    assert story.end(60, progress=False) == found


def test_in_service_lies_while_the_button_is_cut() -> None:
    story = Story()
    story.say(10, "loop", "a-1", 0, "open")
    story.say(10.15, "look", "a-1", "out_of_service", "")
    story.say(12, "loop", "b-1", 0, "open")
    assert story.end(13) == {"lied": 1}


def test_the_lamp_belongs_to_no_silent_press_and_to_none_of_another_pole() -> None:
    story = Story()
    story.say(10, "loop", "a-1", 1, "pressed")
    story.say(10.04, "minted", "a-1", identity(), "silent_press", True, 0)
    story.say(10.2, "loop", "a-1", 1, "idle")
    story.say(10.05, "look", "a-1", "pressed", identity())
    other = story.through(11, "b-1")
    story.say(11.1, "look", "a-1", "received", other)
    story.ground.stored.add(identity())
    assert story.end(12, progress=False) == {"forged": 2}


# --- screens


@pytest.mark.parametrize(
    ("age_ms", "late", "found"),
    [(90_000, True, {}), (None, True, {}), (100_000, True, {"lied": 1}), (80_000, True, {"lied": 1}),
     (90_000, False, {"lied": 1}), (None, False, {"lied": 1})],
)  # fmt: skip
def test_ages_and_late_are_true(age_ms: int | None, late: bool, found: dict[str, int]) -> None:
    story = Story()
    who = story.mint(200)
    story.say(200.1, "look", "a-1", "pressed", who)
    story.say(220.1, "look", "a-1", "not_delivered", who)
    story.received(290, who, age_ms=age_ms, late=late)
    assert story.end(300) == found


def test_a_screen_shows_what_is_in_the_inbox_at_the_stage_that_it_has() -> None:
    story = Story()
    who = story.through(10)
    story.say(11, "asked", "Malee", "Malee", "accept", 1, 1)
    story.say(11, "stage", "station", who, "accepted", "Malee")
    story.say(15, "screen", "Malee", ((who, "received", 5_000, False),))
    assert story.checkers.findings.counts["lied"] == 0
    story.say(40, "screen", "Malee", ((who, "received", 30_000, False), (identity("b-1"), "received", 1, False)))
    assert story.end(41) == {"lied": 2}


# --- supervision


@pytest.mark.parametrize(
    ("part", "out_s", "found"),
    [("agent:b", 19.9, {}), ("agent:b", 21, {"lied": 1}), ("station", 29.9, {}), ("station", 31, {"lied": 3}),
     ("broker:1", 31, {"lied": 3})],
)  # fmt: skip
def test_in_service_ends_in_time(part: str, out_s: float, found: dict[str, int]) -> None:
    story = Story()
    story.say(10, "down", part, "kill")
    poles = ("b-1",) if part == "agent:b" else ("a-1", "a-2", "b-1")
    for pole in poles:
        story.say(out_s, "look", pole, "out_of_service", "")
    if part == "agent:b":
        story.say(out_s, "point_lost", "station", "b", "on")
    assert story.end(out_s + 1, progress=False) == found


def test_in_service_is_not_said_again_while_the_agent_is_gone() -> None:
    story = Story()
    story.say(10, "fault", "b-1", "wire-cut", "on", "")
    story.say(11, "look", "b-1", "out_of_service", "")
    story.say(19, "pole_lost", "b", "b-1", "on")
    story.say(40, "look", "b-1", "in_service", "")
    story.say(41, "fault", "b-1", "wire-cut", "off", "")
    assert story.end(42, progress=False) == {"lied": 1}


def test_a_cut_of_one_path_of_two_machines_is_no_loss() -> None:
    story = Story()
    story.say(10, "fault", "a>1", "network-cut", "on", "")
    for pole in ("a-1", "a-2"):
        story.say(25, "look", pole, "out_of_service", "")
    story.say(60, "look", "b-1", "in_service", "")
    assert story.end(61, progress=False) == {}


def test_lost_poles_and_points_are_noted_in_time_and_nobody_without_need() -> None:
    story = Story()
    story.say(100, "down", "a-1", "power")
    story.say(109, "pole_lost", "a", "a-1", "on")
    story.say(120, "down", "b-1", "power")
    story.say(131, "pole_lost", "b", "b-1", "on")
    assert story.checkers.findings.counts["lied"] == 1
    story.say(200, "up", "b-1", "power_on")
    story.say(201, "pole_lost", "b", "b-1", "off")
    story.say(300, "pole_lost", "b", "b-1", "on")
    assert story.checkers.findings.counts["lied"] == 2
    story.say(400, "down", "agent:b", "kill")
    assert story.end(421, progress=False) == {"lied": 3}


# --- order, memory, progress


def test_presses_of_a_calm_pole_come_in_order() -> None:
    story = Story()
    first, second = story.mint(100, press=1), story.mint(101, press=2)
    story.held(101.2, second)
    story.held(101.3, first)
    for who in (first, second):
        story.received(101.4, who, age_ms=1_000)
    assert story.end(110) == {"lied": 1}
    assert "is held before" in story.words


def test_presses_that_waited_may_be_overtaken() -> None:
    story = Story()
    story.say(90, "fault", "a-1", "wire-cut", "on", "")
    first = story.mint(100, press=1)
    story.say(100.5, "fault", "a-1", "wire-cut", "off", "")
    second = story.mint(101, press=2)
    story.held(101.2, second)
    story.held(101.3, first)
    for who in (first, second):
        story.received(101.4, who, age_ms=1_000)
    assert "is held before" not in story.words


def test_memory_that_grows_is_found_wherever_it_is() -> None:
    from sos_agent.core.context import Context

    core = Context.__new__(Context)
    core.counts = {str(number): number for number in range(1_000)}  # type: ignore[assignment]
    story = Story()
    story.ground.core["agent:a"] = [core]
    assert story.end(10) == {}
    core.counts = {str(number): number for number in range(5_000)}  # type: ignore[assignment]
    assert story.end(20)["stuck"] >= 1
    assert "5000 things in" in story.words


def test_a_town_that_is_not_well_at_the_end_is_stuck_and_says_why() -> None:
    story = Story()
    story.ground.unwell = ["station does not run"]
    assert story.end(20) == {"stuck": 1}
    assert "station does not run" in story.words
