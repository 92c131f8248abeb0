"""Single promises about lines: who is spoken to first, what is told first, what proves that a pole is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.agent.core_world import World, config

from sos_agent.core import effects, events
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.events import Contents, Started
from sos_agent.core.lines import ANSWERS_MOST, Lines, _turn
from sos_agent.core.ports import Port
from sos_agent.core.uptime import Uptime
from sos_contract.payloads import Identity
from sos_wire import messages
from sos_wire.agent_end import AgentLine
from sos_wire.frame import HELLO, TALK_UP


def lines() -> tuple[Lines, Context]:
    shared = Context(config(), Started(bytes(32), "linux", Contents("aa", 0, 0)), 5_000)
    return Lines(shared, Uptime(shared, ())), shared


class Ear:
    """A link that is up, takes what it is given and remembers it."""

    up, refused, peer, peer_uptime_ms = True, 0, (7, 1), 100

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.sent: list[Any] = []

    def receive(self, frame: Any, _now: int) -> None:
        self.heard.append(frame)

    def take(self) -> tuple[()]:
        return ()

    def room(self, _lane: int) -> int:
        return 4

    def send(self, _lane: int, payload: bytes) -> bool:
        self.sent.append(messages.unpack(payload))
        return True


def test_a_greeting_within_a_session_proves_nothing_and_a_talk_does() -> None:
    part, shared = lines()
    end: Any = part.poles["p1"]
    end.link = Ear()
    for kind, genuine in ((HELLO, False), (TALK_UP, True)):
        frame: Any = SimpleNamespace(kind=kind)
        assert part._take(end, frame) == (True, genuine)
        assert end.heard_ms == (shared.now_ms if genuine else None)
    end.link.up, end.heard_ms = False, None
    frame = SimpleNamespace(kind=TALK_UP)
    assert part._take(end, frame) == (True, False) and end.heard_ms is None


def test_the_first_answer_of_the_press_that_the_lamp_shows_goes_first() -> None:
    part, _ = lines()
    end: Any = part.poles["p1"]
    end.link, end.service_due = Ear(), False
    for number in (1, 2, 3):
        part.tell("p1", ("aa", 1, number), "held", lamp=number == 2)
    part._offer_answers(end)
    assert [(one.press, one.stage) for one in end.link.sent] == [(2, "held"), (1, "held"), (3, "held")]


def test_who_waits_for_a_first_answer_is_spoken_to_before_who_waits_longer() -> None:
    part, _ = lines()
    end = part.poles["p1"]
    end.spoken_ms = 9_000
    part.tell("p1", ("aa", 1, 1), "received")
    later = _turn(end)
    part.tell("p1", ("aa", 1, 2), "held")
    assert _turn(end) < (True, 0) < later


def test_a_stage_told_anew_is_the_last_to_be_crowded_out() -> None:
    part, shared = lines()
    for number in range(ANSWERS_MOST):
        part.tell("p1", ("aa", 1, number), "received")
    part.tell("p1", ("aa", 1, 0), "accepted")
    part.tell("p1", ("aa", 1, 999), "received")
    kept = part.poles["p1"].answers
    assert len(kept) == ANSWERS_MOST and shared.counts["answer_crowded_out"] == 1
    assert kept[("aa", 1, 0), False] == "accepted" and (("aa", 1, 1), False) not in kept


def test_a_press_that_was_told_held_is_told_the_rest_however_many_others_are_closed() -> None:
    """A pole offers no more, in a session, what was told *held*. Its *received* was crowded out by stages of presses
    that the pole had not any more: it kept the press, and its place in the flash, until its next session."""
    part, _ = lines()
    end: Any = part.poles["p1"]
    end.link, end.service_due = Ear(), False
    waits, newest = ("aa", 1, 1), ("aa", 1, 2)
    part.tell("p1", waits, "held")
    part._offer_answers(end)
    part.tell("p1", waits, "received")
    part.tell("p1", newest, "received", lamp=True)
    for number in range(3, 3 + 2 * ANSWERS_MOST):
        part.tell("p1", ("aa", 1, number), "closed")
    assert len(end.answers) == ANSWERS_MOST and {(waits, False), (newest, False)} <= set(end.answers)
    part._offer_answers(end)
    assert not end.answers and not end.held


def test_a_pole_without_a_port_wakes_nobody_each_millisecond() -> None:
    part, shared = lines()
    part.pump()
    assert part.poles["p1"].due_ms - shared.now_ms >= 250


def test_a_greeting_on_another_port_is_counted_each_time() -> None:
    part, shared = lines()
    (seat,) = part.ports.seats.values()
    here, there = (Port(name, seat, AgentLine(False, 115200), True) for name in ("/dev/home", "/dev/other"))
    assert part.ports.heard(seat, here, fresh=True)
    seat.port = here
    for _ in range(2):
        assert not part.ports.heard(seat, there, fresh=False)
    assert shared.counts["greeting_elsewhere"] == 2 and seat.port is here


def test_what_poles_say_of_themselves_is_kept_under_their_names() -> None:
    world = World()
    world.start()
    world.run(5_000)
    assert world.agent and world.agent._run
    assert set(world.agent._run.health._status) == {"p1"}


def test_a_receipt_of_nothing_lets_no_refused_alarm_go() -> None:
    _, shared = lines()
    part = Courier(shared, Uptime(shared, ()), 1)
    part._refused[1] = 99_000
    mark = effects.MarkReceipted((Identity("p1", "aa", 1, 5),), "linux", 5_000)
    part.receipted(events.Receipted(mark, ()))
    assert part._refused == {1: 99_000}


def test_an_alarm_on_disk_shows_that_the_disk_takes_alarms_though_no_station_receipts() -> None:
    world = World()
    world.start()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 5_000)
    world.station.up = False
    world.store.failing = "I/O error"
    world.press()
    world.run(1_500)
    assert world.agent and world.agent._run and world.agent._run.health.disk == "failing"
    world.store.failing, world.store.full = "", True
    world.run(3_000)
    assert world.agent._run.health.disk == "full"
