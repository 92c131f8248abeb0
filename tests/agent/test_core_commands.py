"""Commands at the agent: each refusal in words and counted, each command once, each answered."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.agent.core_peers import key_of
from tests.agent.core_world import World, config

from sos_agent.core import effects
from sos_agent.core.commands import ANSWERS_MOST, OUTCOME_MS, VALID_MOST_MS
from sos_contract import payloads
from sos_contract.payloads import Command, CommandAnswer, Health
from sos_contract.site import KEY_BYTES
from sos_wire.wrap import NONCE, fingerprint, wrap

NEW, OTHER = bytes(range(KEY_BYTES)), bytes(range(64, 64 + KEY_BYTES))
KEY = key_of("p1")
BEGAN_MS = 1_000_000


def ready(world: World | None = None) -> World:
    world = world or World(now_ms=BEGAN_MS)
    world.start()
    world.until(lambda: all(pole.services[-1:] == ["in_service"] for pole in world.poles.values()), 5_000)
    world.until(lambda: bool(published(world, "health", Health)))
    return world


def published(world: World, leaf: str, kind: type[Any]) -> list[Any]:
    said = [one for one in world.effects_of(effects.Publish) if one.topic.endswith(f"/merlin/{leaf}")]
    return [payloads.decode(one.payload, kind) for one in said]


def a_command(world: World, what: str = "open_repl", **more: Any) -> Command:
    """A good one, as the station makes it from the agent's health."""
    session = published(world, "health", Health)[-1].session
    until_ms = world.now_ms - BEGAN_MS + 30_000
    fields = {"id": "c1", "session": session, "until_ms": until_ms, "pole": "p1", "command": what}
    return Command(**{**fields, "officer": "Somchai", "terminal": "desk", **more})


def a_key(world: World, new: bytes = NEW, under: bytes = KEY, **more: Any) -> Command:
    wrapped = wrap(under, b"n" * NONCE, new).hex()
    return a_command(world, "replace_key", **{"wrapped": wrapped, "check": fingerprint(new), **more})


def say(world: World, command: Command, *, retained: bool = False, ms: int = 500) -> list[tuple[str, str]]:
    """What the agent answers within that time: outcome and words."""
    before = len(published(world, "command_answer", CommandAnswer))
    world.from_station("command", command, retained=retained)
    world.run(ms)
    return [(one.outcome, one.words) for one in published(world, "command_answer", CommandAnswer)[before:]]


def counts(world: World) -> dict[str, int]:
    assert world.agent is not None
    return {name: count for name, count in world.agent.counts.items() if name.startswith("command_")}


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("session", {"session": "feedfeedfeedfeed.1"}),
        ("session", {"session": ""}),
        ("expired", {"until_ms": 0}),
        ("expired", {"until_ms": 2**60}),
        ("pole", {"pole": "p9"}),
        ("command", {"command": "explode"}),
        ("key", {"command": "replace_key"}),
        ("key", {"command": "replace_key", "wrapped": "zz" * 56, "check": fingerprint(NEW)}),
        ("key", {"command": "replace_key", "wrapped": wrap(OTHER, b"n" * NONCE, NEW).hex(), "check": fingerprint(NEW)}),
        ("key", {"command": "replace_key", "wrapped": wrap(KEY, b"n" * NONCE, NEW).hex(), "check": fingerprint(OTHER)}),
    ],
)
def test_what_is_refused_is_told_in_words_counted_and_reaches_no_pole(reason: str, change: dict[str, Any]) -> None:
    world = ready()
    ((outcome, words),) = say(world, a_command(world, **change))
    assert outcome == "refused" and len(words) > 20
    assert counts(world) == {f"command_{reason}": 1}
    assert not world.poles["p1"].commands and not world.keys


def test_a_retained_command_and_nonsense_are_refused() -> None:
    world = ready()
    ((outcome, words),) = say(world, a_command(world), retained=True)
    assert outcome == "refused" and "kept by a broker" in words
    world.from_station("command", b'{"v":1}')
    world.from_station("command", b"\xff")
    world.run(100)
    assert counts(world) == {"command_retained": 1, "command_unreadable": 2} and not world.poles["p1"].commands


def test_a_pole_that_is_not_heard_and_one_that_is_at_it_are_told_so() -> None:
    world = ready()
    assert say(world, a_command(world)) == []
    assert say(world, a_command(world, id="c2"))[0][0] == "refused"
    world.poles["p1"].powered = False
    world.run(60_000)
    assert "does not hear that pole" in say(world, a_command(world, id="c3"))[0][1]
    assert counts(world) == {"command_busy": 1, "command_silent": 1}
    assert len(world.poles["p1"].commands) == 1


def test_the_own_button_takes_no_commands() -> None:
    given = config()
    line = given.lines[0]
    own = replace(line.poles[0], supervised=False)
    world = ready(World(replace(given, lines=(replace(line, poles=(own,)),)), now_ms=BEGAN_MS))
    assert say(world, a_command(world))[0][0] == "refused" and counts(world) == {"command_pole": 1}


def test_the_repl_is_open_once_the_pole_has_fallen_silent_and_the_same_command_again_is_only_answered_again() -> None:
    world = ready()
    command = a_command(world)
    assert say(world, command) == [] and say(world, command) == [], "under way"
    (told,) = world.poles["p1"].commands
    assert told.command == "open_repl" and told.ident > 0
    world.poles["p1"].powered = False
    world.run(12_000)
    (answer,) = published(world, "command_answer", CommandAnswer)
    assert (answer.id, answer.outcome) == ("c1", "done") and "REPL is open" in answer.words
    world.poles["p1"].restart(world.now_ms)
    world.wake_poles()
    world.run(3_000)
    assert say(world, command) == [("done", answer.words)]
    assert len(world.poles["p1"].commands) == 1 and counts(world) == {"command_again": 2}


def test_a_pole_that_refuses_says_which_and_one_that_says_nothing_is_not_waited_for_without_end() -> None:
    world = ready()
    say(world, a_command(world))
    pole = world.poles["p1"]
    pole.notice("command_refused", world.now_ms, value=pole.commands[0].ident + 1)
    world.wake_poles()
    world.run(500)
    assert not published(world, "command_answer", CommandAnswer), "of another command"
    pole.notice("command_refused", world.now_ms, value=pole.commands[0].ident)
    world.wake_poles()
    world.run(500)
    (answer,) = published(world, "command_answer", CommandAnswer)
    assert answer.outcome == "refused" and "somebody waits for help" in answer.words
    assert not [one for one in world.station.notices if one.kind == "command_refused"], "whoever asked is told"
    say(world, a_command(world, id="c2"), ms=OUTCOME_MS + 1_000)
    assert published(world, "command_answer", CommandAnswer)[-1].outcome == "failed"


def test_a_key_is_on_disk_before_the_pole_hears_of_it_and_the_old_one_until_it_is_proven() -> None:
    world = ready()
    pole = world.poles["p1"]
    pole.takes_keys = False
    assert say(world, a_key(world)) == []
    assert world.keys == {"p1": (KEY, NEW)} and [one.command for one in pole.commands] == ["replace_key"]
    pole.takes_keys = True
    say(world, a_key(world, id="c2"))  # refused: it is under way
    world.run(OUTCOME_MS)
    assert published(world, "command_answer", CommandAnswer)[-1].outcome == "failed"
    ((outcome, words),) = say(world, a_key(world, id="c3"), ms=6_000)
    assert outcome == "done" and fingerprint(NEW) in words
    assert world.keys == {"p1": (NEW, b"")} and pole.link.up
    assert say(world, a_key(world, id="c4"), ms=1_000)[0][0] == "done", "asked again, it is done already"


def test_nothing_is_sent_where_the_disk_does_not_take_it() -> None:
    world = ready()
    world.store.failing = "Read-only file system"
    ((outcome, words),) = say(world, a_key(world))
    assert outcome == "failed" and "Read-only file system" in words
    assert not world.poles["p1"].commands and not world.keys


def test_another_key_takes_the_place_of_one_that_the_pole_never_greeted_with() -> None:
    world = ready()
    pole = world.poles["p1"]
    pole.takes_keys = False
    say(world, a_key(world), ms=OUTCOME_MS + 1_000)
    pole.takes_keys = True
    answers = say(world, a_key(world, OTHER, id="c2"), ms=6_000)
    assert answers[-1][0] == "done" and world.keys == {"p1": (OTHER, b"")}


def test_a_key_that_was_welcomed_is_given_up_for_no_other_since_the_pole_may_hold_nothing_else() -> None:
    world = ready()
    pole = world.poles["p1"]
    world.from_station("command", a_key(world))
    assert world.agent is not None and world.agent._run is not None
    end = world.agent._run.lines.poles["p1"]
    world.until(lambda: end.trial is not None and end.trial.state == "welcoming", 6_000)
    pole.powered = pole.takes_keys = False
    world.run(OUTCOME_MS)
    pole.restart(world.now_ms)
    world.wake_poles()
    world.run(5_000)
    assert pole.link.up and pole.link.keys == [KEY]
    assert say(world, a_key(world, OTHER, id="c2"))[0][0] == "refused" and counts(world) == {"command_changing": 1}
    assert world.keys == {"p1": (KEY, NEW)}
    pole.takes_keys = True
    assert say(world, a_key(world, id="c3"), ms=6_000)[-1][0] == "done", "the same one goes on"


def test_a_flood_of_commands_is_refused_and_the_good_ones_of_before_stay_answered() -> None:
    world = ready()
    for number in range(ANSWERS_MOST + 5):
        world.from_station("command", a_command(world, id=f"f{number}", pole="p9"))
    world.run(200)
    assert counts(world) == {"command_pole": ANSWERS_MOST, "command_crowded": 5}
    assert say(world, a_command(world, id="f0", pole="p9"))[0][0] == "refused"
    assert counts(world)["command_again"] == 1
    world.run(VALID_MOST_MS)
    assert say(world, a_command(world, id="later")) == []
