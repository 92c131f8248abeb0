"""Never lost, never made up, pole's side: what is offered when, in which lane, and when it is let go."""

from __future__ import annotations

import random

import pytest
from tests.pole.rig import Rig, in_service

from sos_pole.journal import MOST_PENDING
from sos_pole.runs import IDLE, OPEN, PRESSED
from sos_sim.nor_flash import NorFlash, PowerCut
from sos_wire.lanes import WINDOW
from sos_wire.link import BACKLOG, LIVE
from sos_wire.messages import Command, Press, Progress


def lanes(rig: Rig) -> list[tuple[int, int]]:
    """(lane, press number) of every press that the agent heard."""
    assert rig.agent
    return [(lane, message.press) for _, lane, message in rig.agent.heard if isinstance(message, Press)]


def test_a_press_that_is_not_held_in_a_second_is_offered_again_the_same() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ()
    rig.press()
    rig.run(3500)
    heard = rig.agent.presses()
    assert 3 <= len(heard) <= 5 and len({press.pack() for press in heard}) == 1
    rig.agent.tell(Progress(heard[0].incarnation, heard[0].boot, heard[0].press, "held"))
    rig.run(3000)
    assert len(rig.agent.presses()) <= len(heard) + 1


def test_a_held_press_is_offered_again_to_a_new_session_and_let_go_at_received() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    rig.run(5000)
    assert len(rig.agent.presses()) == 1 and len(rig.pole.journal.entries) == 1
    again = rig.new_agent()  # its disk is lost
    again.stages = ()
    rig.run(4000)
    assert len(again.presses()) >= 2, "and again, as this one has not held it"
    assert rig.pole.look == "held"
    again.tell(Progress(again.presses()[0].incarnation, 1, 1, "received"))
    rig.run(100)
    assert not rig.pole.journal.entries and rig.pole.look == "received"
    last = rig.new_agent(b"c" * 32)
    rig.run(12_000)
    assert last.link.up and not last.presses()


def test_any_later_stage_lets_go_too() -> None:
    for stage in ("accepted", "dispatched", "on_scene", "closed"):
        rig = in_service()
        assert rig.agent
        rig.agent.stages = (stage,)
        rig.press()
        assert not rig.pole.journal.entries


def test_the_lamp_says_received_before_the_flash_is_written_and_a_power_cut_between_costs_nothing() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    (press,) = rig.agent.presses()
    before = bytes(rig.flash.bytes)
    rig.agent.tell(Progress(press.incarnation, press.boot, press.press, "received"))
    assert rig.run(1000, lambda: rig.pole.look == "received")
    assert bytes(rig.flash.bytes) == before
    cut = Rig(flash=NorFlash(content=before))
    rig.run(10)
    assert bytes(rig.flash.bytes) != before and not rig.pole.journal.entries
    cut.run(3000)
    assert cut.agent
    assert {(one.incarnation, one.boot, one.press) for one in cut.agent.presses()} == {
        (press.incarnation, press.boot, press.press)
    }
    assert not cut.pole.journal.entries


def test_what_waited_comes_oldest_first_behind_the_newest_and_the_new_overtake() -> None:
    rig = Rig(agent=False)
    for _ in range(10):
        rig.press()
    agent = rig.new_agent()
    agent.stages = ("held",)
    rig.run(2000)
    order = lanes(rig)
    assert [number for lane, number in order if lane == BACKLOG] == list(range(1, 10))
    assert [number for lane, number in order if lane == LIVE] == [10]
    assert order[0] == (LIVE, 10)
    rig.press()
    assert lanes(rig)[-1] == (LIVE, 11)


def test_what_waited_stays_in_order_while_the_newest_of_it_are_received() -> None:
    """Each time the newest was released the one before it became the newest: a backlog longer than the window drained
    from both ends, and the officers' numbers ran backwards (seeds 3005 and 3007, half an hour)."""
    rig = Rig(agent=False)
    for _ in range(3 * WINDOW):
        rig.press()
    agent = rig.new_agent()
    agent.stages = ("held", "received")
    rig.run(20_000)
    assert not rig.pole.journal.entries
    assert [number for lane, number in lanes(rig) if lane == LIVE] == [3 * WINDOW]
    assert [number for lane, number in lanes(rig) if lane == BACKLOG] == list(range(1, 3 * WINDOW))


def test_a_crowd_is_counted_and_the_count_told_once_when_there_is_room() -> None:
    rig = Rig(agent=False)
    for _ in range(MOST_PENDING + 6):
        rig.press(ms=40)
    agent = rig.new_agent()
    agent.stages = ("held",)
    rig.run(6000)
    assert len({press.press for press in agent.presses()}) == MOST_PENDING, "not before there is room"
    first = agent.presses()[0]
    agent.stages = ("held", "received")
    agent.tell(Progress(first.incarnation, first.boot, 1, "received"))
    agent.tell(Progress(first.incarnation, first.boot, 2, "received"))
    rig.run(500)
    told = [press for press in agent.presses() if press.press == MOST_PENDING + 1]
    assert [press.repeats for press in told] == [5]
    rig.press()
    assert agent.presses()[-1].press == MOST_PENDING + 2 and agent.presses()[-1].repeats == 0


def test_a_progress_for_a_count_that_was_never_told_is_refused() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    for _ in range(MOST_PENDING + 2):
        rig.press(ms=40)
    rig.run(1000)
    counting = rig.pole.journal.entries[-1]
    rig.agent.tell(Progress(counting.incarnation, counting.boot, counting.press, "received"))
    rig.run(100)
    assert counting in rig.pole.journal.entries and rig.pole.unfollowed == 1


def test_how_long_it_was_held_follows_the_press() -> None:
    rig = in_service()
    assert rig.agent
    rig.press(ms=1234)
    rig.run(300)
    assert [(detail.press, detail.held_ms) for detail in rig.agent.details()] == [(1, 1234)]
    waiting = Rig(agent=False)
    waiting.press(ms=500)
    agent = waiting.new_agent()
    agent.stages = ()
    waiting.run(4000)
    assert not agent.details(), "not before the agent has the press"
    press = agent.presses()[0]
    agent.tell(Progress(press.incarnation, press.boot, press.press, "held"))
    waiting.run(300)
    assert [detail.held_ms for detail in agent.details()] == [500]


def test_notices_are_told_once_in_a_session_and_again_if_it_broke() -> None:
    rig = in_service()
    assert rig.agent
    rig.run(500)
    assert [notice.kind for notice in rig.agent.notices()] == ["pole_restarted"]
    rig.cable = False
    rig.readings.tamper = True
    rig.run(500)
    rig.readings.mains_lost = True
    rig.run(500)
    agent = rig.new_agent()
    rig.cable = True
    rig.run(12_000)
    kinds = [notice.kind for notice in agent.notices()]
    assert kinds.count("tamper") == 1 and kinds.count("mains_lost") == 1
    assert agent.status.faults == (1 << 4) | (1 << 5)
    rig.readings.mains_lost = False
    rig.run(500)
    assert agent.notices()[-1].kind == "mains_back" and agent.status.faults == 1 << 4


def test_what_happened_last_while_nobody_listened_is_told_last() -> None:
    rig = in_service()
    rig.cable = False
    for level in (OPEN, IDLE, OPEN):
        rig.levels[0] = level
        rig.run(5000)
    rig.cable = True
    rig.run(3000)
    assert rig.agent
    assert [notice.on for notice in rig.agent.notices() if notice.kind == "loop_open"][-1] == 1


def test_many_notices_are_bounded_and_never_in_a_presss_way() -> None:
    rig = Rig(agent=False)
    for index in range(100):
        rig.readings.tamper = index % 2 == 0
        rig.readings.mains_lost = index % 3 == 0
        rig.run(20)
    rig.press()
    agent = rig.new_agent()
    rig.run(3000)
    assert len(agent.notices()) <= 16
    first = next(index for index, (_, lane, _) in enumerate(agent.heard) if lane == LIVE)
    assert all(lane == BACKLOG for _, lane, _ in agent.heard[:first]) and first <= 4


def test_the_status_tells_what_the_pole_is() -> None:
    rig = in_service()
    rig.readings.supply_mv, rig.readings.temperature_dc, rig.readings.blind_ms = 12_345, 281, 7
    rig.run(5000)
    assert rig.agent
    status = rig.agent.status
    assert (status.supply_mv, status.temperature_dc, status.blind_ms) == (12_345, 281, 7)
    assert (status.look, status.reset_cause, status.pending, status.version) == (
        "in_service",
        "power_on",
        0,
        b"\x00\x01\x00",
    )


def test_the_repl_opens_by_a_sealed_command_when_nobody_waits() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    rig.agent.tell(Command("open_repl", 1))
    rig.run(200)
    assert not rig.out.open_repl and rig.pole.unfollowed == 1, "not while somebody waits for help"
    press = rig.agent.presses()[0]
    for stage in ("received", "closed"):
        rig.agent.tell(Progress(press.incarnation, press.boot, press.press, stage))
    rig.run(200)
    rig.agent.tell(Command("open_repl", 2))
    assert rig.run(200, until=lambda: rig.out.open_repl)
    rig.power_on("watchdog")
    assert rig.pole.journal.marked
    rig.power_on()
    assert not rig.pole.journal.marked


def test_upkeep_waits_for_rest() -> None:
    rig = in_service()
    assert rig.agent
    journal = rig.pole.journal
    for at_ms in range(170):
        journal.release(journal.append(1, at_ms))
    assert journal.due()
    rig.agent.stages = ("held",)
    rig.press(ms=40)
    rig.run(5000)
    assert rig.flash.erases == 0
    rig.agent.tell(Progress(journal.incarnation, journal.boot, rig.agent.presses()[0].press, "closed"))
    rig.run(5000)
    assert rig.flash.erases == 2 and not journal.due()


def test_at_rest_a_step_a_second_is_enough() -> None:
    rig = in_service()
    rig.run(5000)
    before = rig.steps
    rig.run(60_000)
    assert rig.steps - before < 60 * 4, "beats, their answers, nothing else"


def test_a_genuine_message_that_makes_no_sense_is_counted() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.link.send(LIVE, b"\xff\x00")
    rig.agent.link.send(LIVE, b"")
    rig.agent.link.send(LIVE, Press("press", 1, 1, 1, 0).pack())
    rig.run(200)
    assert rig.pole.unfollowed == 3 and rig.pole.look == "in_service"


@pytest.mark.parametrize("seed", range(12))
def test_shown_presses_arrive_whatever_happens(seed: int) -> None:
    """Cuts of cable, agents and power at random, inside flash writes too; then all is well, and all must come in."""
    chance = random.Random(seed)
    flash = NorFlash()
    rig = Rig(flash=flash, buttons=2)
    shown: set[tuple[int, int, int]] = set()
    got: dict[tuple[int, int, int], set[tuple[int, int]]] = {}
    agents = [rig.agent]

    def look() -> None:
        entry = rig.pole._alarm.entry
        if entry is not None and rig.pole.look == "pressed":
            shown.add((entry.incarnation, entry.boot, entry.press))

    for _ in range(60):
        what = chance.choice(("press", "press", "silent", "cable", "agent", "power", "tear", "wait"))
        try:
            if what in ("press", "silent"):
                button = 1 if what == "silent" else 0
                rig.levels[button] = PRESSED
                rig.run(chance.randint(1, 80))
                rig.levels[button] = IDLE
                look()
                rig.run(chance.randint(1, 600))
            elif what == "cable":
                rig.cable = not rig.cable
            elif what == "agent":
                agent = rig.new_agent(bytes([chance.randint(0, 255)]) * 32)
                agents.append(agent)
                agent.stages = chance.choice(((), ("held",), ("held", "received")))
            elif what == "power":
                rig.power_on()
            elif what == "tear":
                flash.tear_at = flash.writes + chance.randint(0, 70)
            rig.run(chance.randint(1, 1500))
        except PowerCut:
            flash.tear_at = None
            rig.power_on()
        look()
    flash.tear_at = None
    rig.cable = True
    agents.append(rig.new_agent())
    rig.run(30_000)
    for heard in agents:
        assert heard
        for press in heard.presses():
            identity = (press.incarnation, press.boot, press.press)
            got.setdefault(identity, set()).add((press.pressed_at_ms, press.repeats))
    assert shown <= set(got), "never lost"
    assert all(len(contents) == 1 for contents in got.values()), "the same message each time"
    assert not rig.pole.journal.entries


def test_somebody_who_presses_on_and_on_finds_room_in_the_journal() -> None:
    """Nothing was erased while an alarm was shown: the 494th of a child's presses, one a second, found no room."""
    rig = in_service()
    journal = rig.pole.journal
    while not (journal.dirty and journal.slots() - journal.next < 8):
        journal.release(journal.append(1, rig.pole.uptime_ms))
    for _ in range(40):
        rig.levels[0] = PRESSED
        rig.run(100)
        rig.levels[0] = IDLE
        rig.run(900)
        assert rig.pole.look == "received"
    assert rig.names().count("pressed") == 40, "written down, each of them"
    assert rig.agent is not None and len(rig.agent.presses()) == 40 and not journal.entries
