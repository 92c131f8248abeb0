"""Commands at the station: recorded with who asked, said while they are good, settled once by the right point."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.station.world import A, B, World

from sos_contract import topics
from sos_contract.payloads import Command, CommandAnswer, DeskAnswer, Health, encode
from sos_station.core.commands import HEALTH_GOOD_MS, OPEN_MOST, VALID_MS
from sos_station.core.events import Message
from sos_station.core.faults import KEEP_MS
from sos_wire.wrap import WRAPPED

POLE = "merlin-1"
KEY = {"wrapped": "0" * 2 * WRAPPED, "check": "c" * 16}


def healthy(world: World | None = None, *, retained: bool = False) -> World:
    world = world or World()
    health = Health(session="a1.1", uptime_ms=7_000, clock="synced", outbox_waiting=0, disk_ok=True, poles=())
    world.send("health", health, retained=retained)
    return world


def ask(world: World, command: str = "open_repl", **more: Any) -> DeskAnswer:
    return world.ask("command", pole=more.pop("pole", POLE), command=command, **more)


def said(world: World) -> list[Command]:
    return world.told("command", Command)


def test_a_command_is_recorded_and_then_said_with_who_asked_and_its_end_in_the_agent_s_uptime() -> None:
    world = healthy()
    world.pass_ms(5_000)
    world.slow_disk = True
    request = world.request("command", pole=POLE, command="open_repl")
    world.handle(Message(A, topics.desk_request("betong", "t1"), encode(request), False))
    assert not said(world), "it is not on disk yet"
    world.slow_disk = False
    world.commit()
    (view,) = world.ask("commands").commands
    assert (view.pole, view.point, view.command, view.officer, view.terminal) == (
        POLE, "merlin", "open_repl", "Somchai", "t1",
    )  # fmt: skip
    assert (view.outcome, view.asked_wall_ms) == ("", world.wall_ms)
    (command,) = {one.id: one for one in said(world)}.values()
    assert (command.session, command.until_ms) == ("a1.1", 7_000 + 5_000 + VALID_MS)
    assert (command.id, command.officer, command.terminal, command.pole) == (view.id, "Somchai", "t1", POLE)
    assert all(not sent.retain for sent in world.sent if sent.topic.leaf == "command")


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("no pole 'nobody-1'", {"pole": "nobody-1"}),
        ("no command 'explode'", {"command": "explode"}),
        ("who acts?", {"officer": ""}),
        ("takes no key", KEY),
        ("takes a wrapped key", {"command": "replace_key"}),
        ("takes a wrapped key", {"command": "replace_key", "wrapped": "0" * 30, "check": "c" * 16}),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_said_to_nobody(words: str, more: dict[str, Any]) -> None:
    world = healthy()
    answer = ask(world, **more)
    assert words in answer.error and not answer.commands
    assert not said(world) and not world.ask("commands").commands


def test_without_health_of_late_no_command_could_expire_so_none_is_made() -> None:
    world = healthy(retained=True)  # kept by a broker: nobody knows how old that uptime is
    world.probe(session="a1.1")  # and that the same run still lives does not tell it either
    assert "has not told of late" in ask(world).error
    healthy(world)
    assert not ask(world).error
    world.pass_ms(HEALTH_GOOD_MS + 1_000)
    assert "has not told of late" in ask(world).error
    world.start()
    assert "has not told of late" in ask(world).error


def test_the_same_request_again_is_said_again_and_recorded_once() -> None:
    world = healthy()
    request = world.request("command", pole=POLE, command="replace_key", **KEY)
    assert world.put(request).commands == world.put(request).commands
    assert len(world.ask("commands").commands) == 1
    assert len({one.id for one in said(world)}) == 1
    before = len(said(world))
    (view,) = world.ask("commands", id=request.number).commands
    assert len(said(world)) > before and view.outcome == "", "asked after: said again, for it may be lost"
    assert (
        "another command had this number"
        in world.put(world.request("command", pole=POLE, command="open_repl", number=request.number)).error
    )


def test_no_key_is_kept() -> None:
    world = healthy()
    wrapped = "ab" * WRAPPED
    assert not ask(world).error
    ask(world, "replace_key", wrapped=wrapped, check="c" * 16)
    assert said(world)[-1].wrapped == wrapped
    assert wrapped not in "\n".join(world.disk.iterdump())


def test_the_first_answer_of_the_right_point_is_what_came_of_it() -> None:
    world = healthy()
    (view,) = ask(world).commands
    for point, outcome in (("ts-centre", "done"), ("merlin", "refused"), ("merlin", "done")):
        answer = CommandAnswer(id=view.id, outcome=outcome, words=f"{point} {outcome}")  # type: ignore[arg-type]
        world.send("command_answer", answer, point=point)
    (shown,) = world.ask("commands", id=view.id).commands
    assert (shown.outcome, shown.words, shown.answered_wall_ms) == ("refused", "merlin refused", world.wall_ms)
    assert [log.text for log in world.logs if log.text.startswith("command")] == ["command_asked", "command_refused"]
    count = len(said(world))
    world.ask("commands", id=view.id)
    assert len(said(world)) == count, "what is settled is not said again"


def test_who_asked_and_what_came_of_it_stand_in_the_ledger() -> None:
    world = healthy()
    (view,) = ask(world, "replace_key", **KEY).commands
    for outcome in ("failed", "done"):  # the second one is none
        world.send("command_answer", CommandAnswer(id=view.id, outcome=outcome, words="so it is"))
    rows = world.disk.execute("SELECT kind, body FROM ledger WHERE kind LIKE 'command%' ORDER BY number").fetchall()
    assert [(kind, json.loads(body)) for kind, body in rows] == [
        ("command", {
            "id": view.id, "pole": POLE, "point": "merlin", "command": "replace_key", "officer": "Somchai",
            "terminal": "t1", "check": KEY["check"],
        }),
        ("command_ended", {"id": view.id, "outcome": "failed", "words": "so it is"}),
    ]  # fmt: skip
    world.wall_ms += KEEP_MS + 24 * 3_600_000
    world.start()
    world.pass_ms(10)
    left = world.disk.execute("SELECT body FROM ledger WHERE kind LIKE 'command%'").fetchall()
    assert not [body for (body,) in left if body is not None], "forgotten with the faults"


def test_answers_that_do_not_fit_are_counted() -> None:
    world = healthy()
    for payload in (
        b"{}",
        CommandAnswer(id="", outcome="done", words=""),
        CommandAnswer(id="x", outcome="done", words="\0"),
    ):
        world.send("command_answer", payload)
    assert world.station.commands.refused == 3
    world.send("command_answer", CommandAnswer(id="nobody asked", outcome="done", words="so what"))
    assert not world.ask("commands").commands


def test_a_command_that_the_disk_does_not_take_is_not_said() -> None:
    world = healthy()
    world.full_disk = True
    assert "nothing was done" in ask(world).error and not said(world)


def test_a_command_that_nobody_was_to_carry_out_is_not_carried_out_when_its_request_comes_again() -> None:
    """A terminal sends it each second through each broker until it is answered; a disk may fail for the first only."""
    world = healthy(World(brokers=(A, B)))
    request = world.request("command", pole=POLE, command="open_repl")

    def send(broker: str) -> None:
        world.handle(Message(broker, topics.desk_request("betong", "t1"), encode(request), False))

    world.slow_disk = world.full_disk = True
    send(A)
    begun, world.stores = world.stores, []  # the commit that is under way; what comes meanwhile shares the next one
    send(B)
    behind, world.stores = world.stores, begun
    world.commit()
    assert "nothing was done" in world.answers()[-1].error
    world.slow_disk = world.full_disk = False
    world.stores = behind
    world.commit()
    send(B)
    assert not said(world) and not world.ask("commands").commands
    answers = [one for one in world.answers() if one.number == request.number]
    assert len(answers) == 2 and answers[0] == answers[1]
    for number in range(OPEN_MOST):
        assert ask(world, pole="nobody-1", number=f"n{number}").error
    assert len(world.station.commands._undone) == OPEN_MOST, "bounded"
    send(A)
    assert len({one.id for one in said(world)}) == 1, "so much later it would be another one"


def test_a_command_that_was_refused_is_not_carried_out_when_its_request_comes_again() -> None:
    world = World()
    request = world.request("command", pole=POLE, command="open_repl")
    assert "has not told of late" in world.put(request).error
    healthy(world)
    assert "has not told of late" in world.put(request).error and not said(world)


def test_a_command_that_is_on_disk_is_answered_whenever_its_request_comes_again() -> None:
    world = healthy()
    request = world.request("command", pole=POLE, command="open_repl")
    assert world.put(request) == world.put(request) and not world.station.commands._storing
    assert len({one.id for one in said(world)}) == 1


def test_the_record_outlives_the_program_and_is_forgotten_with_the_faults() -> None:
    world = healthy()
    (view,) = ask(world).commands
    world.start()
    (shown,) = world.ask("commands").commands
    assert shown == view and world.ask("commands", id="unknown").error
    world.wall_ms += KEEP_MS + 24 * 3_600_000
    world.start()
    world.pass_ms(10)
    assert not world.ask("commands").commands


def test_a_retained_answer_is_none() -> None:
    world = healthy()
    (view,) = ask(world).commands
    world.send("command_answer", CommandAnswer(id=view.id, outcome="done", words="long ago"), retained=True)
    assert world.ask("commands", id=view.id).commands[0].outcome == ""


def test_a_point_says_command_answer_and_hears_command() -> None:
    assert "command_answer" in topics.FROM_POINT and "command" in topics.TO_POINT
    assert "command" not in topics.RETAINED and "command_answer" not in topics.RETAINED
