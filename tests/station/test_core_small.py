"""Single promises of the station's core that nothing else looks at."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.station.world import A, World, alarm

from sos_contract import topics
from sos_contract.payloads import (
    CommandAnswer,
    CommandView,
    DeskAnswer,
    DeskRequest,
    Health,
    Notice,
    Receipt,
    decode,
    encode,
)
from sos_station.core import inbox
from sos_station.core.commands import MAX_WORDS, Commands
from sos_station.core.effects import CommandStored, Log, Publish, ReadCommands, SettleCommand, StoreCommand, StoreNotice
from sos_station.core.inbox import MAX_STORES, Inbox
from sos_station.core.records import Stamp

NOW = Stamp(1_800_000_000_000, "synced", "boot-1", 5_000)


def notice(**more: Any) -> Notice:
    fields: dict[str, Any] = {"number": 1, "outbox": "aa", "pole": "merlin-1", "kind": "tamper", "on": True}
    return Notice(**{**fields, **more})


def asked(*_: object) -> int:
    raise AssertionError("not to be asked")


def test_an_incarnation_has_hex_digits_only() -> None:
    for digits, fits in (("0123456789abcdef", True), ("X" * 16, False), ("g" * 16, False), (" " * 16, False)):
        assert (inbox.complaint(alarm(incarnation=digits)) == "") == fits


def test_a_refused_alarm_is_answered_to_the_point_that_offered_it() -> None:
    made = Inbox("betong", {})
    effects = made.alarm(A, "merlin", encode(replace(alarm(), kind="tamper")), NOW)
    (answer,) = (effect for effect in effects if isinstance(effect, Publish))
    assert (answer.broker, answer.topic) == (A, topics.of_point("betong", "merlin", "receipt"))
    said = decode(answer.payload, Receipt)
    assert isinstance(said, Receipt) and said.refused == ((alarm().id, "kind tamper is a notice, not an alarm"),)


def test_when_too_much_is_under_way_each_point_is_told_of_by_name() -> None:
    made = Inbox("betong", {})
    made._stores = MAX_STORES
    for (told,) in (
        made.alarm(A, "merlin", encode(alarm()), NOW),
        made.notice(A, "merlin", encode(notice()), NOW, asked),
    ):
        assert isinstance(told, Log) and dict(told.fields)["point"] == "merlin"
        assert dict(told.fields)["why"] == "too many stores under way; the agent will offer it again"


def test_a_notice_is_stored_with_when_its_fault_was_known_to_be_good() -> None:
    questions: list[tuple[str, str, str]] = []

    def good(point: str, pole: str, kind: str) -> int:
        questions.append((point, pole, kind))
        return 77

    (store,) = Inbox("betong", {}).notice(A, "merlin", encode(notice()), NOW, good)
    assert store == StoreNotice(A, "merlin", notice(), NOW, 77) and questions == [("merlin", "merlin-1", "tamper")]


@pytest.mark.parametrize("leaf", ["probe", "health", "notice", "alarm", "progress_query"])
def test_nonsense_is_told_with_the_point_that_sent_it(leaf: str) -> None:
    world = World()
    world.send(leaf, b"{", point="market")
    told = [dict(log.fields) for log in world.logs if log.text == f"{leaf}_refused"]
    assert [fields["point"] for fields in told] == ["market"] and told[0]["why"]


def test_closing_what_one_has_closed_the_same_way_is_nothing_to_do() -> None:
    world = World()
    world.send("alarm", alarm())
    assert not world.ask("close", 1, disposition="test").error
    assert world.ask("close", 1, disposition="test").hint == "nothing to do"
    assert "stays closed" in world.ask("close", 1, disposition="false").error
    assert "stays closed" in world.ask("close", 1, disposition="test", officer="Anong").error


# -- commands

POLE = {"pole": "merlin-1", "command": "open_repl"}


def commands(*, heard: bool = True) -> Commands:
    made = Commands("betong", {"merlin-1": "merlin"})
    if heard:
        made.heard(
            "merlin",
            Health(session="s.1", uptime_ms=9_000, clock="synced", outbox_waiting=0, disk_ok=True, poles=()),
            NOW,
        )
    return made


def wish(**more: Any) -> DeskRequest:
    return DeskRequest(**{"number": "r1", "officer": "Somchai", "action": "command", **POLE, **more})


def shown(**more: Any) -> CommandView:
    fields: dict[str, Any] = {"id": "r1", "point": "merlin", "officer": "Somchai", "terminal": "t1", "asked_wall_ms": 1}
    return CommandView(**{**fields, **POLE, **more})


def begun(made: Commands) -> StoreCommand:
    (store,) = made.request(A, "t1", wish(), NOW)
    assert isinstance(store, StoreCommand)
    return store


def answers(effects: list[Any]) -> list[DeskAnswer]:
    """What terminal t1 is told through A."""
    mine = [one for one in effects if isinstance(one, Publish) and one.topic == topics.desk_answer("betong", "t1")]
    said: list[Any] = [decode(one.payload, DeskAnswer) for one in mine]
    assert all(one.broker == A for one in mine)
    return said


def said_to_the_point(effects: list[Any]) -> int:
    topic = topics.of_point("betong", "merlin", "command")
    return sum(isinstance(one, Publish) and one.topic == topic for one in effects)


def test_a_command_is_stored_with_whom_to_answer() -> None:
    store = begun(commands())
    assert (store.broker, store.terminal, store.point, store.at) == (A, "t1", "merlin", NOW)
    assert (store.command.id, store.command.terminal, store.command.session) == ("r1", "t1", "s.1")


def test_a_command_that_is_not_on_disk_or_cannot_be_read_is_told_to_who_asked() -> None:
    made = commands()
    (failed,) = answers(made.failed(begun(made), "full"))
    assert failed == DeskAnswer(
        number="r1", error="nothing was done, the station's inbox does not take it: full"
    )  # fmt: skip
    read = ReadCommands(A, "t1", wish(action="commands"), 5)
    assert answers(made.read_failed(read, "why")) == [
        DeskAnswer(number="r1", error="the station cannot read its inbox: why")
    ]


def test_a_number_that_was_another_commands_does_nothing() -> None:
    made = commands()
    store = begun(made)
    effects = made.stored(store, CommandStored(shown(pole="market-1"), False), [A])
    assert [one.error for one in answers(effects)] == ["another command had this number; nothing was done"]
    assert said_to_the_point(effects) == 0


def test_only_an_open_command_that_is_asked_after_by_its_id_is_said_again() -> None:
    made = commands()
    assert said_to_the_point(made.stored(begun(made), CommandStored(shown(), True), [A])) == 1
    for more, rows, times in (
        ({"id": "r1"}, (shown(),), 1),
        ({"id": "r1"}, (shown(outcome="done"),), 0),
        ({}, (shown(),), 0),
        ({"id": "r9"}, (), 0),
    ):
        read = ReadCommands(A, "t1", wish(action="commands", **more), 5)
        effects = made.listed(read, rows, [A])
        assert said_to_the_point(effects) == times and len(answers(effects)) == 1


@pytest.mark.parametrize(
    ("ident", "words", "fits"),
    [("r1", "w" * MAX_WORDS, True), ("r1", "w" * (MAX_WORDS + 1), False), ("", "", False), ("i" * 65, "", False),
     ("i" * 64, "", True), ("r1", "a\nb", False)],
)  # fmt: skip
def test_an_answer_of_a_point_fits_or_not(ident: str, words: str, fits: bool) -> None:
    made = commands()
    answer = CommandAnswer(id=ident, outcome="done", words=words)
    (effect,) = made.answered("merlin", encode(answer), NOW)
    assert (effect == SettleCommand("merlin", answer, NOW)) == fits and made.refused == (not fits)
