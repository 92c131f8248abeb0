"""The checkers of what has to be said at once, of what screens leave out and of faults that nobody tells can fail."""

from __future__ import annotations

from collections import deque

import pytest
from tests.sim.checked import Story, identity

from sos_pole.debounce import Debounce
from sos_sim.nor_flash import NorFlash
from sos_sim.world.board import UnseenPole

# --- while all is well


@pytest.mark.parametrize(("look", "found"), [("pressed", {}), ("out_of_service", {"lied": 1}), (None, {"lied": 1})])
def test_a_press_has_the_lamp_within_a_second_whatever_is_wrong(look: str | None, found: dict[str, int]) -> None:
    story = Story(lit=False)
    story.say(5, "down", "agent:a", "kill")
    story.say(6, "look", "a-1", "out_of_service", "")
    story.say(6, "look", "a-2", "out_of_service", "")
    who = story.mint(10)
    if look is not None:
        story.say(10.5, "look", "a-1", look, who)
    story.ground.stored.add(who)
    assert story.end(12, progress=False) == found


@pytest.mark.parametrize("out", [("down", "power"), ("fault", "pole-hangs", "on", "")])
def test_a_pole_that_cannot_say_anything_need_not(out: tuple[str, ...]) -> None:
    story = Story(lit=False)
    who = story.mint(10)
    story.say(10.1, out[0], "a-1", *out[1:])
    story.ground.stored.add(who)
    assert story.end(12, progress=False) == {}


@pytest.mark.parametrize(
    ("look", "trouble", "found"),
    [("received", False, {}), ("held", False, {"lied": 1}), ("not_delivered", False, {"lied": 1}),
     ("not_delivered", True, {})],
)  # fmt: skip
def test_a_lamp_keeps_up_with_what_is_true(look: str, trouble: bool, found: dict[str, int]) -> None:
    story = Story()
    if trouble:
        story.say(90, "fault", "a-1", "wire-noise", "on", "")
    who = story.through(100)
    story.say(101, "look", "a-1", look, who)
    assert story.end(130) == found


@pytest.mark.parametrize(("told_s", "found"), [(104.0, {}), (107.0, {"lied": 1}), (None, {"lied": 1})])
def test_a_lamp_goes_back_to_idle_soon_after_the_last_stage(told_s: float | None, found: dict[str, int]) -> None:
    story = Story()
    who = story.through(100)
    story.say(100.1, "look", "a-1", "received", who)
    story.ask(101, "close", 1, 1)
    story.say(101.1, "stage", "station", who, "closed", "Malee")
    if told_s is not None:
        story.say(told_s, "look", "a-1", "in_service", "")
    assert story.end(130) == found


@pytest.mark.parametrize(("received_s", "found"), [(104.0, {}), (108.0, {"lied": 1})])
def test_a_press_arrives_within_seconds_when_nothing_is_wrong(received_s: float, found: dict[str, int]) -> None:
    story = Story()
    who = story.mint(100)
    story.received(received_s, who, age_ms=round(received_s * 1000) - 100_000)
    story.say(received_s, "look", "a-1", "received", who)
    assert story.end(110) == found


@pytest.mark.parametrize(
    ("why", "found"),
    [((), {"lied": 1}), (("loop", "a-1", 0, "pressed"), {}), (("fault", "station", "station-hangs", "on", ""), {})],
)
def test_out_of_service_has_a_cause(why: tuple[object, ...], found: dict[str, int]) -> None:
    story = Story()
    if why:
        story.say(99, str(why[0]), str(why[1]), *why[2:])
    story.say(100, "look", "a-1", "out_of_service", "")
    assert story.end(102, progress=False) == found


# --- alarms, incidents and officers


@pytest.mark.parametrize(
    ("closed", "incident", "found"), [(False, 1, {}), (False, 2, {"lied": 1}), (True, 2, {}), (True, 1, {"lied": 1})]
)
def test_a_press_joins_the_incident_that_is_open_at_its_pole(
    closed: bool, incident: int, found: dict[str, int]
) -> None:
    story = Story()
    first = story.through(10)
    if closed:
        story.ask(11, "close", 1, 1)
        story.say(12, "stage", "station", first, "closed", "Malee")
    second = story.mint(15, press=2)
    story.received(15.1, second, number=2, incident=incident)
    assert story.end(20) == found


@pytest.mark.parametrize(("found_s", "found"), [(11.5, {}), (11.9, {"forged": 1}), (31.5, {"forged": 1})])
def test_what_was_cut_while_it_was_written_is_found_at_the_next_start_or_never(
    found_s: float, found: dict[str, int]
) -> None:
    """Each power cut near a touch excused one press made up at that pole, at any time later."""
    story = Story()
    story.say(10.0, "loop", "a-1", 0, "pressed")
    story.say(10.035, "down", "a-1", "power")
    story.say(10.2, "loop", "a-1", 0, "idle")
    story.say(11, "up", "a-1", "power_on")
    if found_s > 30:
        story.say(30, "down", "a-1", "soft")
        story.say(31, "up", "a-1", "soft")
    story.say(found_s, "minted", "a-1", identity(), "press", True, 0)
    story.received(found_s + 1, identity(), age_ms=round(found_s * 1000) - 9_000)
    assert {name: count for name, count in story.end(found_s + 2).items() if name == "forged"} == found


def test_repeats_are_told_as_they_were_counted() -> None:
    story = Story()
    story.mint(10)
    story.say(11, "minted", "a-1", identity(), "press", True, 1)
    story.received(12, identity(), age_ms=1_900, repeats=1)
    assert "repeats" not in story.words
    story.received(13, identity(), verdict="duplicate", age_ms=2_900)
    assert "was received with 0 repeats, and it has 1" in story.words


@pytest.mark.parametrize(
    ("officer", "action", "newest", "stage", "found"),
    [
        ("Malee", "accept", 2, "accepted", {}),
        ("Somchai", "accept", 2, "accepted", {"forged": 1}),  # another one is recorded
        ("Malee", "accept", 1, "accepted", {"forged": 1}),  # it was not on the screen
        ("Malee", "accept", 9, "accepted", {}),
        ("Malee", "dispatch", 2, "dispatched", {"forged": 2}),  # nobody accepted it, nor is its incident that far
        ("Malee", "accept", 2, "dispatched", {"forged": 1}),  # and the incident is not that far
    ],
)
def test_an_officer_moves_what_was_on_the_screen_by_the_step_asked_for(
    officer: str, action: str, newest: int, stage: str, found: dict[str, int]
) -> None:
    story = Story()
    story.through(10)
    who = story.through(11, press=2)
    story.ask(12, action, 1, newest, officer=officer)
    story.say(12.1, "stage", "station", who, stage, "Malee")
    assert story.end(14) == found


@pytest.mark.parametrize(("shown", "found"), [("accepted", {}), ("", {}), ("on_scene", {"forged": 1})])
def test_a_request_moves_what_stood_where_the_screen_showed_it(shown: str, found: dict[str, int]) -> None:
    story = Story()
    who = story.through(10)
    story.ask(12, "accept", 1, 1, shown="received")
    story.say(12.1, "stage", "station", who, "accepted", "Malee")
    story.ask(13, "close", 1, 1, shown=shown)
    story.say(13.1, "stage", "station", who, "closed", "Malee")
    assert story.end(14) == found


def test_what_a_screen_names_as_newest_covers_nothing_that_comes_later() -> None:
    story = Story()
    story.through(10)
    story.ask(12, "accept", 1, 1_000)
    late = story.through(13, press=2)
    story.say(13.1, "stage", "station", late, "accepted", "Malee")
    assert story.end(14) == {"forged": 1}


def test_an_accept_takes_a_press_to_where_its_incident_is() -> None:
    story = Story()
    first, second = story.through(10), story.through(11, press=2)
    for at_s, action, stage in ((12, "accept", "accepted"), (13, "dispatch", "dispatched")):
        story.ask(at_s, action, 1, 1)
        story.say(at_s + 0.1, "stage", "station", first, stage, "Malee")
    story.ask(14, "accept", 2, 2)
    story.say(14.1, "stage", "station", second, "dispatched", "Malee")
    assert story.end(15) == {}


# --- screens


@pytest.mark.parametrize(
    ("line", "found"),
    [(("press", 1, 1, 0), {}), (("silent_press", 1, 1, 0), {"lied": 1}), (("press", 1, 2, 0), {"lied": 1}),
     (("press", 2, 1, 0), {"lied": 1}), (("press", 1, 1, 3), {"lied": 1})],
)  # fmt: skip
def test_a_screen_says_what_the_alarm_is(line: tuple[object, ...], found: dict[str, int]) -> None:
    story = Story()
    who = story.through(10)
    other = story.through(10.5, "b-1", press=2)
    shown = ((who, "received", 5_000, False, *line), (other, "received", 4_500, False, "press", 2, 2, 0))
    story.say(15, "screen", "Malee", shown, "show", 0, 14_900_000)
    assert story.end(16) == found


@pytest.mark.parametrize(("age_ms", "late", "found"), [(5_000, False, 0), (None, False, 1), (5_000, True, 1)])
def test_a_screen_says_how_old_an_alarm_is_and_whether_it_came_late(age_ms: int | None, late: bool, found: int) -> None:
    story = Story()
    who = story.through(400)
    story.say(400.1, "look", "a-1", "received", who)
    story.screen(405, (who, "received", age_ms, late))
    assert story.end(406).get("lied", 0) == found


@pytest.mark.parametrize(
    ("power", "found"), [(False, {"lied": 1}), (True, {})], ids=["it was held in its boot", "the agent was off since"]
)
def test_unknown_is_no_age_where_the_agent_knows_it(power: bool, found: dict[str, int]) -> None:
    story = Story()
    who = story.mint(10)
    story.held(10.1, who)
    if power:
        story.say(10.2, "down", "agent:a", "power")
        story.say(12, "up", "agent:a", "start")
    story.received(13, who, age_ms=None, late=True)
    assert story.end(14) == found


@pytest.mark.parametrize(("age_ms", "late"), [(59_000, True), (61_000, False)])
def test_late_is_what_is_older_than_a_minute(age_ms: int, late: bool) -> None:
    story = Story()
    story.say(90, "fault", "a-1", "wire-noise", "on", "")
    who = story.mint(100)
    story.say(120, "look", "a-1", "not_delivered", who)
    story.received(100 + age_ms / 1000, who, age_ms=age_ms, late=late)
    assert story.end(170) == {"lied": 1}
    assert "called late" in story.words


@pytest.mark.parametrize(
    ("shown", "asked_for", "asked_s", "found"),
    [
        ((1, 2), "open", 14.0, {}),
        ((2, 1), "open", 14.0, {"lied": 1}),  # out of order
        ((1,), "open", 14.0, {"lied": 1}),  # the other pole is left out
        ((1,), "list", 14.0, {}),  # a list of another sort
        ((1,), "open", 10.1, {}),  # asked for before the other one came
        ((), "open", 14.0, {"lied": 2}),
    ],
)
def test_the_list_of_open_incidents_leaves_none_out(
    shown: tuple[int, ...], asked_for: str, asked_s: float, found: dict[str, int]
) -> None:
    story = Story()
    alarms = {1: story.through(10), 2: story.through(11, "b-1", press=2)}
    lines = [(alarms[number], "received", 15_000 - 10_000 - (number - 1) * 1_000, False) for number in shown]
    story.screen(15, *lines, asked_for=asked_for, asked_s=asked_s)
    assert story.end(16) == found


@pytest.mark.parametrize(("shown", "found"), [(2, {}), (1, {"lied": 1})])
def test_the_list_shows_the_press_that_waits(shown: int, found: dict[str, int]) -> None:
    story = Story()
    alarms = {1: (story.through(10), "accepted", 5_000), 2: (story.through(11, press=2), "received", 4_000)}
    story.ask(12, "accept", 1, 1)
    story.say(12.1, "stage", "station", alarms[1][0], "accepted", "Malee")
    who, stage, age_ms = alarms[shown]
    story.screen(15, (who, stage, age_ms, False), asked_for="open")
    assert story.end(16) == found


# --- supervision, faults and memory


@pytest.mark.parametrize(
    "fault", [("station", "station-disk-failing"), ("1", "broker-swallows"), ("station>1", "network-half-cut")]
)
@pytest.mark.parametrize(("out_s", "found"), [(119.9, {}), (121.0, {"lied": 3})])
def test_a_station_that_nobody_can_reach_or_that_cannot_commit_is_gone(
    fault: tuple[str, str], out_s: float, found: dict[str, int]
) -> None:
    story = Story()
    story.say(100, "fault", fault[0], fault[1], "on", "direction cut_up")
    for pole in ("a-1", "a-2", "b-1"):
        story.say(out_s, "look", pole, "out_of_service", "")
    assert story.end(out_s + 1, progress=False) == found


def test_a_point_that_only_cannot_hear_the_station_is_heard_there() -> None:
    story = Story()
    story.say(100, "fault", "b>1", "network-half-cut", "on", "direction cut_down")
    story.say(112, "look", "b-1", "out_of_service", "")
    assert story.end(140, progress=False) == {}


@pytest.mark.parametrize(
    ("held", "noise", "found"), [(False, False, {"lied": 2}), (True, False, {}), (False, True, {})]
)
def test_an_agent_whose_disk_takes_no_press_promises_no_service(held: bool, noise: bool, found: dict[str, int]) -> None:
    story = Story()
    story.say(20, "fault", "a", "agent-disk-failing", "on", "")
    story.say(40, "look", "b-1", "in_service", "")  # another point's
    who = story.mint(50)
    story.ground.stored.add(who)
    if held:
        story.held(51, who)
    if noise:
        story.say(52, "fault", "a-1", "wire-noise", "on", "")
    story.say(60.1, "look", "a-1", "in_service", "")
    assert story.end(61, progress=False) == found


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("lasts_s", "also", "due"),
    [(15, (), True), (5, (), False), (15, ("down", "agent:a", "kill"), False),
     (15, ("fault", "a-1", "wire-noise", "on", ""), False)],
)  # fmt: skip
def test_a_fault_that_lasts_is_told(told: bool, lasts_s: float, also: tuple[str, ...], due: bool) -> None:
    story = Story()
    story.say(10, "fault", "a-1", "button-cut", "on", "")
    story.say(10, "loop", "a-1", 0, "open")
    story.say(10.1, "look", "a-1", "out_of_service", "")
    if also:
        story.say(14, also[0], also[1], *also[2:])
    story.say(10 + lasts_s, "loop", "a-1", 0, "idle")
    story.say(10 + lasts_s, "fault", "a-1", "button-cut", "off", "")
    story.ground.told["a-1", "loop_open"] = int(told)
    story.end(40)
    assert ("never told" in story.words) == (due and not told)


def test_a_fault_that_is_felt_is_told_and_again_the_next_time() -> None:
    story = Story()
    for at_s in (10, 50):
        story.say(at_s, "fault", "a-1", "pole-senses", "on", "what mains_lost")
        story.say(at_s + 20, "fault", "a-1", "pole-senses", "off", "what mains_lost")
        story.ground.told["a-1", "mains_lost"] = 1
        story.say(at_s + 30, "phase", "scenario", "end")
    assert story.words == "mains_lost stood until 70.000 s, and the station was never told"


@pytest.mark.parametrize("restored_s", [25, 35])
def test_what_was_told_may_go_with_the_inbox(restored_s: int) -> None:
    """Also while it lasts: it was over before the restored station was back (seeds 94, 103 and 121, one hour)."""
    story = Story()
    for at_s, what in sorted(((10, "on"), (restored_s, "restored"), (30, "off"))):
        if what == "restored":
            story.say(at_s, "disk", "station", what)
        else:
            story.say(at_s, "fault", "a-1", "pole-senses", what, "what tamper")
    assert "never told" not in (story.end(40) and story.words)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_button_is_stuck_a_minute_after_the_start_of_its_pole(restarts: bool) -> None:
    """It was held for longer, and the pole was reset meanwhile (seed 120, one hour)."""
    story = Story()
    story.say(10, "fault", "a-1", "button-stuck", "on", "")
    story.say(10, "loop", "a-1", 0, "pressed")
    if restarts:
        story.say(40, "up", "a-1", "soft")
    story.say(90, "loop", "a-1", 0, "idle")
    story.say(90, "fault", "a-1", "button-stuck", "off", "")
    story.say(120, "phase", "scenario", "end")
    assert ("stuck_button stood" in story.words) == (not restarts)


@pytest.mark.parametrize(("part", "found"), [("a-1", True), ("agent:a", False)])
def test_a_pole_has_less_room_than_an_agent(part: str, found: bool) -> None:
    story = Story()
    story.ground.core[part] = [deque(range(200))]
    assert ("memory grows" in (story.end(10) and story.words)) == found


def test_the_flash_beneath_a_journal_is_no_memory() -> None:
    """The bytes that were stuck in one, which the world keeps, were called a leak of its pole (seed 23407794, half an
    hour)."""
    flash = NorFlash()
    flash.stuck = set(range(200))
    story = Story()
    story.ground.core["a-1"] = [flash]
    assert "memory grows" not in (story.end(10) and story.words)


def test_a_twin_that_stands_for_one_of_ours_is_looked_into() -> None:
    """No pole of a town ever was: its class is of the simulator (found by a leak that was planted)."""
    core = UnseenPole.__new__(UnseenPole)
    core.debounces = [Debounce() for _ in range(200)]
    story = Story()
    story.ground.core["a-1"] = core
    assert "200 things in debounces: memory grows" in (story.end(10) and story.words)
