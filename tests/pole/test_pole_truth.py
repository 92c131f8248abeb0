"""What the lamp may say and when: promise 2, pole's side."""

from __future__ import annotations

from tests.pole.rig import Rig, in_service

from sos_pole.lamp import TABLE
from sos_pole.runs import IDLE, OPEN, PRESSED
from sos_sim.nor_flash import NorFlash
from sos_wire.messages import LOOKS, Progress, Service
from sos_wire.pole_end import PoleLine
from sos_wire.ticks import TICKS_MASK

RESTING = ("starting", "in_service", "out_of_service")


def test_a_press_rises_from_pressed_to_closed_and_back_to_rest() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held", "received")
    at = rig.press()
    assert rig.when("pressed") - at <= 32
    assert rig.pole.look == "received" and rig.out.beacon and not rig.pole.journal.entries
    press = rig.agent.presses()[0]
    for stage in ("accepted", "dispatched", "on_scene"):
        rig.agent.tell(Progress(press.incarnation, press.boot, press.press, stage))
        rig.run(100)
        assert rig.pole.look == stage and rig.out.beacon
    rig.agent.tell(Progress(press.incarnation, press.boot, press.press, "closed"))
    rig.run(100)
    assert rig.pole.look == "in_service" and not rig.out.beacon and rig.out.hertz == 0


def test_stages_never_go_back() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held", "received", "dispatched")
    rig.press()
    press = rig.agent.presses()[0]
    for stage in ("accepted", "held", "received", "pressed"):
        rig.agent.tell(Progress(press.incarnation, press.boot, press.press, stage))
    rig.run(500)
    assert rig.pole.look == "dispatched"


def test_only_what_was_said_for_that_very_press_is_shown() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    press = rig.agent.presses()[0]
    for incarnation, boot, number in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        rig.agent.tell(Progress(press.incarnation ^ incarnation, press.boot + boot, press.press + number, "accepted"))
    rig.run(500)
    assert rig.pole.look == "held" and len(rig.pole.journal.entries) == 1


def test_the_lamp_belongs_to_the_newest_press() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held", "received", "accepted")
    rig.press()
    assert rig.pole.look == "accepted"
    rig.agent.stages = ("held",)
    rig.press()
    assert rig.pole.look == "held"
    first, second = rig.agent.presses()
    rig.agent.tell(Progress(first.incarnation, first.boot, first.press, "closed"))
    rig.run(200)
    assert rig.pole.look == "held"
    rig.agent.tell(Progress(second.incarnation, second.boot, second.press, "received"))
    rig.run(200)
    assert rig.pole.look == "received"


def test_not_received_in_20_s_is_not_delivered_until_it_is() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    at = rig.when("pressed")
    rig.run(25_000)
    assert rig.names()[-2:] == ["held", "not_delivered"]
    assert 19_900 <= rig.when("not_delivered") - at <= 20_050
    press = rig.agent.presses()[0]
    rig.agent.tell(Progress(press.incarnation, press.boot, press.press, "received"))
    rig.run(50)
    assert rig.pole.look == "received"


def test_pressed_while_out_of_service_is_not_delivered_after_5_s() -> None:
    rig = Rig(agent=False)
    rig.run(15_000)
    assert rig.names() == ["starting", "out_of_service"] and rig.when("out_of_service") <= 12_500
    rig.press()
    rig.run(10_000)
    assert rig.names()[-2:] == ["pressed", "not_delivered"]
    assert 4_900 <= rig.when("not_delivered") - rig.when("pressed") <= 5_050
    rig.new_agent()
    rig.run(3000)
    assert rig.pole.look == "received", "it went on trying"


def test_pressing_again_and_again_puts_off_not_delivered_by_nothing() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    at = rig.press()
    while rig.now < at + 30_000:
        rig.press()
    assert rig.names()[-1] == "not_delivered" and 20_000 <= rig.when("not_delivered") - at <= 20_100
    rig.agent.stages = ("held", "received")
    rig.press()
    assert rig.pole.look == "received", "the newest press has the lamp all the same"
    rig.agent.stages = ()
    rig.press()
    assert rig.pole.look == "pressed", "and what was received puts nothing off"


def test_pressing_again_and_again_out_of_service_is_not_delivered_after_5_s() -> None:
    rig = Rig(agent=False)
    rig.run(15_000)
    at = rig.press()
    while rig.now < at + 10_000:
        rig.press()
    assert rig.names()[-1] == "not_delivered" and 5_000 <= rig.when("not_delivered") - at <= 5_100


def test_an_unreceived_press_never_goes_idle_but_falls_silent() -> None:
    rig = Rig(agent=False)
    rig.press()
    rig.run(1_700_000)
    assert rig.pole.look == "not_delivered" and rig.out.beacon
    rig.run(200_000)
    assert rig.pole.look == "not_delivered" and not rig.out.beacon and rig.out.hertz == 0
    assert len(rig.pole.journal.entries) == 1


def test_30_minutes_after_the_last_stage_the_lamp_rests() -> None:
    rig = in_service()
    rig.press()
    assert rig.pole.look == "received"
    rig.run(1_795_000)
    assert rig.pole.look == "received"
    rig.run(10_000)
    assert rig.pole.look == "in_service" and not rig.out.beacon


def test_losing_the_agent_is_shown_within_10_s_and_its_return() -> None:
    rig = in_service()
    rig.run(5000)
    rig.cable = False
    at = rig.now
    rig.run(12_000)
    assert rig.pole.look == "out_of_service" and rig.when("out_of_service") - at <= 10_000
    rig.cable = True
    assert rig.run(3000, until=lambda: rig.pole.look == "in_service")
    rig.run(500)
    assert rig.agent and {"link_lost", "link_back"} <= {notice.kind for notice in rig.agent.notices()}


def test_hearing_an_agent_that_hears_nothing_is_no_service() -> None:
    rig = in_service()
    assert rig.agent
    rig.wire_up = False  # one wire of the cable breaks just as the agent has something to tell, and it tells it again
    at = rig.now
    rig.agent.tell(Service("in_service"))
    rig.run(20_000)
    assert rig.pole.look == "out_of_service" and rig.when("out_of_service") - at <= 10_000


def test_a_pair_that_is_never_quiet_does_not_hide_that_the_agent_is_lost() -> None:
    rig = in_service()
    rig.pole.line = PoleLine(True, 115200, 1)
    rig.cable = False
    for _ in range(5000):  # a transmitter that does not let go: no gap long enough to speak in
        rig.run(2)
        rig.hear(b"\x55")
    assert rig.pole.look == "out_of_service"


def test_the_station_lost_is_shown_at_once_and_no_session_means_service_by_itself() -> None:
    rig = in_service()
    assert rig.agent
    for state, look in (
        ("station_lost", "out_of_service"),
        ("in_service", "in_service"),
        ("starting", "out_of_service"),
    ):
        rig.agent.tell(Service(state))
        rig.run(100)
        assert rig.pole.look == look
    agent = rig.new_agent()
    agent.service = "starting"
    rig.run(5000)
    assert agent.link.up and rig.pole.look == "out_of_service"


def test_a_silent_press_shows_nothing_at_all() -> None:
    rig = in_service(buttons=2)
    assert rig.agent
    rig.agent.stages = ("held", "received", "accepted", "dispatched", "on_scene")
    outs = len(rig.outs)
    rig.press(button=1)
    rig.run(30_000)
    assert len(rig.outs) == outs and rig.pole.look == "in_service"
    assert [press.kind for press in rig.agent.presses()] == ["silent_press"] and not rig.pole.journal.entries


def test_a_silent_press_that_nobody_gets_shows_nothing_either() -> None:
    rig = Rig(buttons=2, agent=False)
    rig.press(button=1)
    rig.run(30_000)
    assert set(rig.names()) <= set(RESTING) and not rig.out.beacon
    rig.power_on()
    rig.run(30_000)
    assert set(rig.names()) <= set(RESTING) and len(rig.pole.journal.entries) == 1


def test_a_silent_press_leaves_an_alarm_alone() -> None:
    rig = in_service(buttons=2)
    assert rig.agent
    rig.agent.stages = ("held", "received")
    rig.press()
    rig.agent.stages = ("held", "received", "accepted")
    rig.press(button=1)
    assert rig.pole.look == "received"


def test_the_journal_is_written_before_the_lamp_says_pressed() -> None:
    rig = in_service()
    rig.cable = False
    rig.run(300)
    rig.levels[0] = PRESSED
    assert rig.run(100, until=lambda: rig.pole.look == "pressed")
    rig.power_on()
    assert len(rig.pole.journal.entries) == 1


def test_a_flash_that_fails_sends_the_press_and_says_pressed_never_held_truly() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ()
    rig.flash.broken = True
    rig.press()
    assert rig.pole.look == "in_service" and not rig.out.beacon, "nothing is said that is not sure"
    press = rig.agent.presses()[0]
    rig.agent.tell(Progress(press.incarnation, press.boot, press.press, "held"))
    rig.run(100)
    assert rig.pole.look == "held" and "pressed" not in rig.names()
    assert "journal_fault" in {notice.kind for notice in rig.agent.notices()}
    assert rig.agent.status.faults & 1 << 8


def test_a_flash_that_fails_without_an_agent_says_not_delivered_after_5_s() -> None:
    rig = in_service()
    rig.flash.broken = True
    rig.cable = False
    at = rig.press()
    rig.run(6000)
    assert "pressed" not in rig.names() and 5000 <= rig.when("not_delivered") - at <= 5100


def test_a_press_found_at_the_start_is_shown_and_brought_home() -> None:
    flash = NorFlash()
    rig = in_service(flash=flash)
    rig.cable = False
    rig.press(ms=40, rest_ms=0)
    rig.power_on("watchdog")
    rig.looks.clear()
    rig.run(1)
    assert rig.pole.look == "pressed"
    rig.run(6000)
    assert rig.names() == ["pressed", "not_delivered"]
    rig.cable = True
    rig.run(3000)
    assert rig.pole.look == "received" and rig.agent
    assert [(press.press, press.boot, press.restored) for press in rig.agent.presses()] == [(1, 1, 1)]


def test_ticks_wrap_in_the_middle_of_it_all() -> None:
    for before in (100, 3000, 10_000, 21_000):
        rig = in_service(start=TICKS_MASK - before - 3000)
        assert rig.agent
        rig.agent.stages = ("held",)
        rig.press()
        rig.run(30_000)
        assert rig.names()[-3:] == ["pressed", "held", "not_delivered"]
        assert 19_900 <= rig.when("not_delivered") - rig.when("pressed") <= 20_050
        assert rig.pole.uptime_ms in (rig.now, rig.now - 1) or rig.now - rig.pole.uptime_ms < 2500


def test_a_cut_wire_shows_no_press_and_is_a_fault() -> None:
    rig = in_service()
    rig.levels[0] = OPEN
    rig.run(1000)
    assert rig.pole.look == "out_of_service" and rig.agent and not rig.agent.presses()
    assert [(n.kind, n.on) for n in rig.agent.notices()][-1:] == [("loop_open", 1)]
    assert rig.agent.status.faults == 1
    rig.levels[0] = IDLE
    rig.run(300)
    assert rig.pole.look == "in_service" and rig.agent.status.faults == 0


def test_in_service_is_said_only_once_a_press_would_count() -> None:
    rig = Rig()
    rig.levels[0] = PRESSED  # leant against since before the power came
    rig.run(5000)
    assert rig.agent and rig.agent.link.up and rig.names() == ["starting"]
    rig.levels[0] = IDLE
    assert rig.run(300, until=lambda: rig.pole.look == "in_service")
    rig.levels[0] = PRESSED
    rig.run(40)
    assert len(rig.agent.presses()) == 1


def test_a_button_held_down_gives_no_service_once_its_press_is_done() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held", "received", "closed")
    rig.levels[0] = PRESSED
    assert rig.run(2000, until=lambda: rig.pole.look == "out_of_service"), "held down it cannot be pressed again"
    rig.run(59_000)
    assert rig.agent.notices()[-1].kind != "stuck_button"
    rig.run(2000)
    assert rig.pole.look == "out_of_service" and rig.agent.notices()[-1].kind == "stuck_button"
    rig.levels[0] = IDLE
    assert rig.run(300, until=lambda: rig.pole.look == "in_service")


def test_every_look_that_the_pole_shows_is_in_the_table() -> None:
    assert set(TABLE) == set(LOOKS)
