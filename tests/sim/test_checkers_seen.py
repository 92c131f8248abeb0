"""The checkers of lamps, screens, supervision, order, memory and progress can fail, too."""

from __future__ import annotations

import pytest
from tests.sim.checked import Story, identity

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


@pytest.mark.parametrize(("at_s", "found"), [(33.0, {}), (33.5, {"lied": 1})])
def test_a_lamp_whose_program_hung_says_not_delivered_once_it_goes_on(at_s: float, found: dict[str, int]) -> None:
    """It may say so before the fault is told to have ended (seed 58, one hour)."""
    story = Story()
    who = story.mint(10)
    story.say(10.05, "look", "a-1", "pressed", who)
    story.say(26, "fault", "a-1", "pole-hangs", "on", "")
    if found:
        story.say(33, "fault", "a-1", "pole-hangs", "off", "")
    story.say(at_s, "look", "a-1", "not_delivered", who)
    if not found:
        story.say(33, "fault", "a-1", "pole-hangs", "off", "")
    story.ground.stored.add(who)
    assert story.end(60, progress=False) == found


@pytest.mark.parametrize("swapped", [True, False])
def test_a_new_board_says_nothing_of_what_the_one_before_had_in_its_flash(swapped: bool) -> None:
    """Though the agent held it: no lamp could speak of it (seed 125, one hour)."""
    story = Story()
    who = story.mint(10)
    story.say(10.05, "look", "a-1", "pressed", who)
    story.say(10.06, "held", "a", who, "new")
    story.say(20, "down", "a-1", "power")
    if swapped:
        story.say(20, "forgot", "a-1", who)
    story.say(25, "up", "a-1", "power_on")
    story.say(25.3, "look", "a-1", "starting", "")
    story.say(26, "look", "a-1", "in_service", "")
    assert story.end(60, progress=False).get("lied", 0) == (0 if swapped else 1)


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
    story.say(190, "fault", "a-1", "wire-noise", "on", "")
    who = story.mint(200)
    story.say(220.1, "look", "a-1", "not_delivered", who)
    story.received(290, who, age_ms=age_ms, late=late)
    assert story.end(300) == found


@pytest.mark.parametrize(
    ("age_s", "stall", "found"),
    [(62, "", {}), (40, "", {"lied": 1}), (40, "agent-frozen", {}), (40, "agent-killed", {"lied": 1})],
)
def test_no_age_is_younger_than_the_press_was_when_its_agent_got_it(
    age_s: int, stall: str, found: dict[str, int]
) -> None:
    """Anything wrong on the way to the station excused that, so an agent that forgot its poles' boots was not found."""
    story = Story()
    story.say(150, "fault", "b>1", "network-slow", "on", "")
    if stall:
        story.say(160, "fault", "a", stall, "on", "")
        story.say(165, "fault", "a", stall, "off", "")
    story.say(190, "fault", "a-1", "wire-noise", "on", "")
    who = story.mint(200)
    story.say(220.1, "look", "a-1", "not_delivered", who)
    story.held(260, who)
    story.received(290, who, age_ms=age_s * 1000, late=age_s > 60)
    assert story.end(300) == found


def test_a_screen_shows_what_is_in_the_inbox_at_the_stage_that_it_has() -> None:
    story = Story()
    who = story.through(10)
    story.ask(11, "accept", 1, 1)
    story.say(11, "stage", "station", who, "accepted", "Malee")
    story.screen(15, (who, "received", 5_000, False), asked_s=10.9)
    assert story.checkers.findings.counts["lied"] == 0
    story.screen(40, (who, "received", 30_000, False), (identity("b-1"), "received", 1, False))
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


@pytest.mark.parametrize(("out_s", "found"), [(27.0, {}), (28.5, {"lied": 1})])
def test_a_lamp_whose_program_hung_goes_out_of_service_once_it_goes_on(out_s: float, found: dict[str, int]) -> None:
    """Agent and pole's program were gone at the same time (seed 81, one hour)."""
    story = Story()
    story.say(10, "down", "agent:b", "kill")
    story.say(12, "fault", "b-1", "pole-hangs", "on", "")
    story.say(27, "fault", "b-1", "pole-hangs", "off", "")
    story.say(out_s, "look", "b-1", "out_of_service", "")
    story.say(28.6, "point_lost", "station", "b", "on")
    assert story.end(29, progress=False) == found


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
        story.received(101.4, who, age_ms=1_000, number=1 + (who is second))
    story.say(101.5, "look", "a-1", "received", second)
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
        story.received(101.4, who, age_ms=1_000, number=1 + (who is second))
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


@pytest.mark.parametrize(("restored", "found"), [(True, {}), (False, {"stuck": 1})])
def test_a_lamp_may_speak_on_of_a_press_that_nobody_has_any_more(restored: bool, found: dict[str, int]) -> None:
    """The agent's disk was lost and the inbox restored from an older copy: nobody can end it (seed 124, one hour)."""
    story = Story()
    who = story.through(10)
    story.say(15, "disk", "agent:a", "lost")
    if restored:
        story.say(16, "disk", "station", "restored")
        story.ground.stored.discard(who)
    story.ground.unwell = [f"a-1 says received, of {who}"]
    assert story.end(40) == found


def test_what_a_touch_made_is_found_where_the_touch_was_however_late_it_is_judged() -> None:
    """It was judged when the next one came, or at the end of a phase: a timeline showed the minute before that, and
    neither the finger nor its presses."""
    story = Story()
    story.contact(33, 300)
    story.say(33.04, "minted", "a-1", identity(), "press", True, 0)
    story.say(33.2, "minted", "a-1", identity(press=2), "press", True, 0)
    story.end(185, progress=False)
    (found,) = [one for one in story.checkers.findings.found if one.promise == "duplicated"]
    assert 33.3 <= found.at_us / 1e6 <= 35
