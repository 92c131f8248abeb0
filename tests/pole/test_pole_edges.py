"""Exact values of the pole: what notices and status say, which loop is at fault, when it offers, keeps and wakes."""

from __future__ import annotations

import itertools

import pytest
from tests.pole.rig import Rig, in_service

from sos_pole.debounce import CALM_MS, FAULT_MS, STUCK_MS
from sos_pole.journal import MOST_PENDING
from sos_pole.pole import AGAIN_MS, QUIET_MS, REST_MS, Outputs
from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT
from sos_sim.nor_flash import NorFlash
from sos_wire.link import LINK_LOST_MS
from sos_wire.messages import FAULTS, RESET_CAUSES, Press, Progress, Service


def told(rig: Rig, kind: str) -> list[tuple[int, int]]:
    """(value, on) of each notice of that kind, in the order in which the agent heard them."""
    assert rig.agent
    return [(notice.value, notice.on) for notice in rig.agent.notices() if notice.kind == kind]


DEAD = {"lamp_fault": 1, "sounder_fault": 2}  # bits of Readings.dead


def mask(*kinds: str) -> int:
    return sum(1 << FAULTS.index(kind) for kind in kinds)


def test_before_its_first_step_a_pole_shows_and_says_nothing() -> None:
    assert vars(Outputs()) == {
        "lamp": (0, 0, 0), "hertz": 0, "beacon": False, "send": b"", "wake_ms": 0, "open_repl": False,
    }  # fmt: skip


@pytest.mark.parametrize("cause", RESET_CAUSES)
def test_a_start_says_why_it_was(cause: str) -> None:
    rig = Rig()
    rig.power_on(cause)
    rig.run(2_000)
    assert told(rig, "pole_restarted") == [(RESET_CAUSES.index(cause) + 1, 1)]
    assert rig.agent and rig.agent.status.reset_cause == cause
    (notice,) = rig.agent.notices()
    assert (notice.at_ms, notice.boot, notice.number) == (0, 2, 1)


def test_a_damaged_journal_is_a_fault_from_the_start_with_its_count() -> None:
    flash = NorFlash()
    rig = Rig(flash=flash, agent=False)
    for _ in range(3):
        rig.press(ms=40)
    flash.bytes[3 * 32 + 17] ^= 1
    again = Rig(flash=flash)
    again.run(3_000)
    assert told(again, "journal_fault") == [(1, 1)]
    assert again.agent and again.agent.status.faults == mask("journal_fault")


def test_a_flash_that_fails_later_is_told_once() -> None:
    rig = in_service()
    rig.flash.broken = True
    rig.press()
    rig.press()
    assert told(rig, "journal_fault") == [(0, 1)] and rig.pole.faults == mask("journal_fault")


def test_each_loop_has_faults_of_its_own_and_the_status_shows_them_all() -> None:
    """Agent and station know one fault of a kind a pole: the end at one button, told while the other still had it,
    ended it for both. Now the other's number is told."""
    rig = in_service(buttons=2)
    rig.run(300)
    steps = (
        (0, OPEN, mask("loop_open")),
        (1, OPEN, mask("loop_open")),
        (1, SHORT, mask("loop_open", "loop_short")),
        (0, IDLE, mask("loop_short")),
        (1, IDLE, 0),
    )
    for button, level, faults in steps:
        rig.levels[button] = level
        rig.run(CALM_MS + FAULT_MS + 100)
        assert rig.pole.faults == faults and rig.agent and rig.agent.status.faults == faults
    assert told(rig, "loop_open") == [(0, 1), (1, 1), (0, 1), (0, 0)]
    assert told(rig, "loop_short") == [(1, 1), (1, 0)]


def test_a_button_that_sticks_is_told_with_its_number_and_its_end() -> None:
    """A fault whose end is never told stands at the station for ever: those of the buttons did."""
    rig = in_service(buttons=2)
    rig.press(ms=STUCK_MS + 100, button=1, rest_ms=600)
    rig.run(3_000)
    assert told(rig, "stuck_button") == [(1, 1), (1, 0)] and rig.pole.faults == 0
    assert rig.agent and [press.kind for press in rig.agent.presses()] == ["silent_press"]


def test_a_button_that_chatters_is_told_and_its_end() -> None:
    rig = in_service()
    rig.run(300)
    for _ in range(8):
        rig.levels[0] = PRESSED
        rig.run(6)
        rig.levels[0] = IDLE
        rig.run(600)
    assert rig.pole.faults == mask("chatter")
    rig.run(8 * 30_000)
    assert told(rig, "chatter") == [(0, 1), (0, 0)] and rig.pole.faults == 0


@pytest.mark.parametrize(
    ("fact", "began", "ended"),
    [
        ("tamper", ("tamper", 0, 1), ("tamper", 0, 0)),
        ("mains_lost", ("mains_lost", 0, 1), ("mains_back", 0, 1)),
        ("battery_low", ("battery_low", 11_000, 1), ("battery_low", 12_000, 0)),
        ("lamp_fault", ("lamp_fault", 0, 1), ("lamp_fault", 0, 0)),
        ("sounder_fault", ("sounder_fault", 0, 1), ("sounder_fault", 0, 0)),
    ],
)
def test_a_fact_is_told_when_it_begins_and_when_it_ends(
    fact: str, began: tuple[str, int, int], ended: tuple[str, int, int]
) -> None:
    rig = in_service()
    rig.run(500)
    for on, supply_mv, faults in ((True, 11_000, mask(fact)), (False, 12_000, 0)):
        if fact in DEAD:
            rig.readings.dead = DEAD[fact] if on else 0
        else:
            setattr(rig.readings, fact, on)
        rig.readings.supply_mv = supply_mv
        rig.readings.changes += 1
        rig.run(2_500)
        assert rig.pole.faults == faults and rig.agent and rig.agent.status.faults == faults
    assert rig.agent
    assert [(one.kind, one.value, one.on) for one in rig.agent.notices()[1:]] == [began, ended]


def test_an_outage_is_told_with_its_length_and_the_first_session_is_none() -> None:
    rig = in_service()
    rig.run(2_000)
    assert told(rig, "link_back") == [] == told(rig, "link_lost")
    rig.cable = False
    assert rig.run(2 * LINK_LOST_MS, until=lambda: not rig.pole.link.up)
    lost_ms = rig.pole.uptime_ms
    rig.run(5_000)
    rig.cable = True
    assert rig.run(5_000, until=lambda: rig.pole.link.up)
    back_ms = rig.pole.uptime_ms
    rig.run(3_000)
    assert rig.agent
    ends = {notice.kind: (notice.at_ms, notice.value, notice.on) for notice in rig.agent.notices()}
    assert ends["link_lost"] == (lost_ms, 0, 1) and ends["link_back"] == (back_ms, back_ms - lost_ms, 1)


def test_the_status_counts_bad_frames_and_what_waits() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    rig.hear(b"\x05\x41\0\x02\x41\0")
    rig.run(5_000)
    assert (rig.agent.status.bad_frames, rig.agent.status.pending, rig.agent.status.look) == (2, 1, "held")
    assert rig.pole.line.bad == 2 and rig.pole.link.refused == 0


def test_service_is_what_the_agent_said_in_this_session() -> None:
    rig = in_service()
    assert rig.agent
    for service, look in (
        ("station_lost", "out_of_service"),
        ("in_service", "in_service"),
        ("starting", "out_of_service"),
    ):
        rig.agent.tell(Service(service))
        rig.run(50)
        assert rig.pole.look == look
    rig.agent.tell(Service("in_service"))
    rig.run(50)
    silent = rig.new_agent()
    silent.service = "starting"
    assert rig.run(9_000, until=lambda: rig.pole.link.opened == 2) and rig.pole.look == "out_of_service"


def test_a_press_is_offered_again_after_a_second_and_not_before() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ()
    rig.press(ms=40)
    rig.run(4_500)
    at = [at for at, _, message in rig.agent.heard if isinstance(message, Press)]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert len(gaps) >= 3 and all(AGAIN_MS <= gap <= AGAIN_MS + 120 for gap in gaps)


def test_what_waited_for_room_comes_oldest_first_and_each_once() -> None:
    rig = Rig(agent=False)
    for _ in range(12):
        rig.press(ms=40)
    agent = rig.new_agent()
    agent.stages = ("held",)
    rig.run(4_000)
    assert sorted(press.press for press in agent.presses()) == list(range(1, 13))
    assert {press.restored for press in agent.presses()} == {0}
    rig.run(5_000)
    assert len(agent.presses()) == 12 and rig.agent and len(rig.pole.journal.entries) == 12


def test_a_crowds_count_is_told_when_a_single_place_is_free_and_not_before() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    for _ in range(MOST_PENDING + 1):
        rig.press(ms=40)
    rig.run(2_000)
    journal = rig.pole.journal
    assert len(journal.entries) == MOST_PENDING + 1 and not journal.entries[-1].closed
    first = journal.entries[0]
    rig.agent.tell(Progress(first.incarnation, first.boot, first.press, "received"))
    rig.run(500)
    assert len(journal.entries) == MOST_PENDING and journal.entries[-1].closed
    assert rig.agent.presses()[-1].press == MOST_PENDING + 1


def test_upkeep_comes_once_a_second_and_not_within_200_ms_of_a_byte() -> None:
    rig = in_service()
    journal = rig.pole.journal
    for at_ms in range(170):
        journal.release(journal.append(1, at_ms))
    rig.cable = False
    rig.run(300)
    done: list[int] = []
    while journal.due() and len(done) < 5:
        before = (rig.flash.erases, journal.bank)
        rig.run(10)
        if (rig.flash.erases, journal.bank) != before:
            done.append(rig.now)
    gaps = [after - before for before, after in itertools.pairwise(done)]
    assert len(done) == 3 and all(REST_MS <= gap <= REST_MS + 100 for gap in gaps)
    for at_ms in range(170):
        journal.release(journal.append(1, at_ms))
    for _ in range(20):
        rig.hear(b"\5noise\0")
        rig.run(QUIET_MS // 2)
        assert rig.flash.erases == 2
    rig.run(QUIET_MS + REST_MS + 50)
    assert rig.flash.erases == 2 and journal.bank == 0 and journal.dirty, "it has left the bank first"


def test_a_finger_on_the_button_holds_up_the_upkeep_and_a_cut_wire_does_not() -> None:
    for level, erases in ((PRESSED, 0), (OPEN, 2)):
        rig = in_service(buttons=2)
        rig.run(300)
        journal = rig.pole.journal
        for at_ms in range(170):
            journal.release(journal.append(1, at_ms))
        rig.levels[1] = level
        rig.run(STUCK_MS // 10)
        assert rig.flash.erases == erases


def test_an_alarm_that_goes_on_allows_only_the_upkeep_that_makes_room() -> None:
    rig = in_service()
    assert rig.agent
    rig.press(ms=40)
    assert rig.pole.look == "received"
    rig.pole.journal.dirty = 0b10
    rig.run(3_000)
    assert rig.flash.erases == 0
    rig.pole.journal.next = rig.pole.journal.slots() - 90
    rig.run(3_000)
    assert rig.flash.erases >= 1


def test_a_pole_wakes_for_the_next_offer_and_for_its_lamp() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ()
    rig.press(ms=40, rest_ms=300)
    rig.run(200)
    assert 0 <= rig.out.wake_ms <= 200, "pressed flashes each 200 ms"
    rest = in_service()
    rest.run(10_000)
    assert rest.out.wake_ms > 100 and rest.out.send == b""
