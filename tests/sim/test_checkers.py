"""Each checker can fail: a trace that breaks its promise, and beside it the nearest trace that does not."""

from __future__ import annotations

import pytest
from tests.sim.checked import Story, identity

from sos_sim.checkers.reach import part_of
from sos_sim.faults import FAULTS

# --- a press without trouble


def test_a_press_that_goes_its_way_breaks_nothing() -> None:
    story = Story()
    who = story.through(10)
    story.say(10.05, "look", "a-1", "pressed", who)
    story.say(10.06, "look", "a-1", "held", who)
    story.say(10.07, "look", "a-1", "received", who)
    story.ask(11, "accept", 1, 1)
    story.say(11.1, "stage", "station", who, "accepted", "Malee")
    story.say(11.2, "look", "a-1", "accepted", who)
    story.screen(11.3, (who, "accepted", 1300, False), asked_for="open")
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


@pytest.mark.parametrize(("powered", "found"), [(False, {}), (True, {"lost": 1})])
def test_a_program_that_stops_hanging_sees_nothing_while_its_pole_is_off(powered: bool, found: dict[str, int]) -> None:
    """The end of the fault was taken for a start (seed 120, one hour)."""
    story = Story()
    if not powered:
        story.say(9, "down", "a-1", "power")
    story.say(10, "fault", "a-1", "pole-hangs", "on", "")
    story.say(12, "fault", "a-1", "pole-hangs", "off", "")
    story.contact(14, 150)
    assert story.end(17) == found


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


@pytest.mark.parametrize(
    ("up", "press", "found"),
    [(11.0, 12.4, {}), (11.0, 11.2, {"forged": 1}), (12.3, 12.4, {"forged": 1})],
)
def test_a_contact_that_chatters_since_before_the_start_is_not_held_down_for_ever(
    up: float, press: float, found: dict[str, int]
) -> None:
    """Chatter before a swapped board's start made one touch of all that came after it (seed 13, one hour)."""
    story = Story()
    story.say(9, "down", "a-1", "power")
    chatter = [10.02 + flip / 10 for flip in range(30)]
    for at in chatter:
        if at < up:
            story.contact(at, 1)
    story.say(up, "up", "a-1", "power_on")
    for at in chatter:
        if up < at < press - 0.1:
            story.contact(at, 1)
    story.contact(press - 0.06, 80)
    story.say(press, "minted", "a-1", identity(), "press", True, 0)
    story.ground.stored |= {identity()}
    assert story.end(20, progress=False) == found


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
    story.say(11.5, "minted", "a-1", identity(press=1), "press", True, 0)
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
    story.received(13, who, number=2, incident=2, age_ms=3_000)
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
    story.received(12.2, other, number=3, kind="test_press", age_ms=150)
    assert story.end(15) == {"forged": 2}


def test_stages_come_from_officers_and_never_go_back() -> None:
    story = Story()
    who = story.through(10)
    story.say(11, "stage", "station", who, "accepted", "Malee")
    assert story.checkers.findings.counts["forged"] == 1
    for action in ("accept", "dispatch"):
        story.ask(12, action, 1, 1)
    story.say(13, "stage", "station", who, "dispatched", "Malee")
    assert story.checkers.findings.counts["forged"] == 1
    story.say(14, "stage", "station", who, "accepted", "Malee")
    assert story.checkers.findings.counts["forged"] == 2


def test_the_place_of_each_fault_belongs_to_a_part_that_can_fail() -> None:
    """A full disk of the station was looked for at a part named "town" (seeds 28 and 30, one hour)."""
    places = {"point": "merlin", "broker": "1", "path": "merlin>1", "station": "town", "desk": "town"}
    parts = {"point": "agent:merlin", "broker": "broker:1", "path": "agent:merlin", "station": "station"}
    for name, fault in FAULTS.items():
        where = places.get(fault.place, "merlin-1")
        expected = "network" if name.startswith("attack-broker") else parts.get(fault.place, where)
        assert part_of(name, where) == expected, name
    assert part_of("network-cut", "station>1") == "station"
