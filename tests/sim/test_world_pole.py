"""A pole of the virtual zone: what happens to it, what it says of itself, and that no cut of power loses a press."""

from __future__ import annotations

import random

import pytest
from tests.sim.pole_world import AgentNode, Street, key_of

from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT
from sos_sim.trace import Trace
from sos_sim.world.flash import ERASE_US
from sos_sim.world.gpio import local_wire, own_button
from sos_sim.world.loop import Loop
from sos_sim.world.pole import NEAR_WRAP_MS


def looks(street: Street) -> list[object]:
    return [row.fields[0] for row in street.rows("look")]


def test_a_press_goes_from_the_finger_to_the_lamp_and_is_told_row_by_row() -> None:
    street = Street().serve()
    street.press()
    street.until("received")
    (minted,) = street.rows("minted")
    identity, *rest = minted.fields
    assert rest == ["press", True, 0]
    last = street.rows("look")[-3:]
    assert [row.fields for row in last] == [(look, identity) for look in ("pressed", "held", "received")]
    street.run_ms(500)
    assert [row.fields for row in street.rows("finger")] == [(0, "down", 1), (0, "up", 1)]
    assert [row.fields[1] for row in street.rows("loop")] == ["pressed", "idle"] * 4
    assert len(street.agent.presses) == 1 and street.pole.sealed > 5


def test_a_look_is_told_when_the_press_that_it_belongs_to_changes() -> None:
    """A second press within the look of the first one takes the lamp."""
    street = Street().serve()
    street.agent.stages = ()
    street.press()
    street.run_ms(1000)
    street.press()
    street.run_ms(1000)
    told = [row.fields for row in street.rows("look") if row.fields[0] == "pressed"]
    assert len(told) == 2 and told[0][1] != told[1][1] == street.pole.identity_of_lamp()


def test_a_second_of_rest_costs_no_more_than_its_frames() -> None:
    street = Street().serve()
    street.run_ms(3000)  # until the slow inputs are settled
    steps, frames = street.pole.steps, street.wire.frames
    street.run_ms(100_000)
    assert street.pole.steps - steps <= 102 and street.wire.frames - frames <= 102


def test_the_same_seed_makes_the_same_trace() -> None:
    digests = []
    for seed in (1, 1, 2):
        street = Street(seed, 2).serve()
        street.wire.loss, street.wire.noise_per_s = 0.2, 3
        street.press(street.poles[1])
        street.run_ms(5000)
        digests.append(street.trace.digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("cut_us", [*range(27_000, 46_000, 500)])
def test_a_cut_of_power_at_any_moment_of_a_press_loses_nothing_that_was_shown(cut_us: int) -> None:
    street = Street().serve()
    street.pole.finger(0, True)
    street.loop.run(street.loop.now_us + cut_us)
    street.pole.power_cut()
    street.pole.finger(0, False)
    street.run_ms(1000)
    street.serve_again()
    shown = any(row.fields[0] == "pressed" for row in street.rows("look"))
    assert len(street.rows("minted")) == len(set(street.agent.presses)) >= shown


@pytest.mark.parametrize("write", range(6))
def test_a_torn_write_loses_nothing_that_was_shown(write: int) -> None:
    """The power goes inside the writes that a press makes, at drawn bytes; a torn one is never shown as pressed."""
    for seed in range(8):
        street = Street(seed).serve()
        street.press()
        street.loop.run(street.loop.now_us + 200_000 * write // 5)
        street.pole.power_cut(tear=True)
        street.run_ms(600)
        street.press()
        street.run_ms(1500)
        torn = not street.pole.running
        street.pole.power_cut()
        street.run_ms(500)
        street.serve_again()
        shown = {row.fields[1] for row in street.rows("look") if row.fields[0] == "pressed"}
        arrived = {f"pole-1/{incarnation:016x}/{boot}/{press}" for _, incarnation, boot, press in street.agent.presses}
        minted = {row.fields[0] for row in street.rows("minted")}
        assert torn and shown <= arrived <= minted, (seed, write)


def test_another_board_forgets_what_the_flash_alone_held() -> None:
    street = Street().serve()
    street.wire.cut = True
    street.press()
    street.run_ms(500)
    (minted,) = street.rows("minted")
    street.pole.swap_board()
    assert [row.fields for row in street.rows("forgot")] == [minted.fields[:1]] and not street.pole.running
    street.wire.cut = False
    street.serve()
    street.press()
    street.until("received")
    first, second = (str(row.fields[0]).split("/") for row in street.rows("minted"))
    assert first[1] != second[1] and len(street.agent.presses) == 1
    street.run_ms(1000)
    street.pole.lose_flash()
    assert len(street.rows("forgot")) == 1, "what was received is no loss"


def test_a_flash_that_takes_nothing_is_told_and_the_press_still_goes_out() -> None:
    street = Street().serve()
    street.pole.flash.broken = True
    street.press()
    street.until("received")
    assert street.rows("minted")[0].fields[2] is False


def test_a_stuck_byte_of_the_flash_moves_the_press_to_the_next_slot() -> None:
    street = Street().serve()
    journal = street.pole.pole.journal  # type: ignore[union-attr]
    street.pole.flash.stuck.add(journal.base_of(journal.bank) + journal.next * 32 + 5 + 11)
    street.press()
    street.until("received")
    assert street.rows("minted")[0].fields[2] is True


@pytest.mark.parametrize("seed", range(6))
def test_a_clock_that_wraps_is_not_noticed(seed: int) -> None:
    street = Street(seed).serve()
    pole = street.pole
    before = looks(street)
    street.run_ms(NEAR_WRAP_MS + 10_000)
    assert looks(street) == before
    street.press()
    street.until("received")
    assert pole.pole is not None and pole.pole.uptime_ms == pytest.approx(street.loop.now_ms, abs=1000)


def test_half_of_all_clocks_start_near_their_wrap_and_drift_is_kept() -> None:
    streets = [Street(seed).serve() for seed in range(20)]
    near = [street.pole._origin_ms > 0x3FFFFFFF - NEAR_WRAP_MS for street in streets]
    assert 4 < sum(near) < 16
    for street in streets[:3]:
        pole = street.pole
        pole.drift_ppm = 50_000
        for ms in (0, 1, 999, 123_456_789):
            at_us = pole._us(pole._origin_ms + ms)
            street.loop.now_us = at_us
            assert pole._ms() == pole._origin_ms + ms
            street.loop.now_us = at_us - 1
            assert pole._ms() == pole._origin_ms + ms - 1


def test_a_program_that_hangs_is_restarted_by_the_watchdog() -> None:
    street = Street().serve()
    pole = street.pole
    pole.freeze()
    street.run_ms(3000)
    pole.thaw()
    street.run_ms(500)
    assert len(street.rows("up")) == 1 and pole.pole is not None
    pole.freeze()
    street.run_ms(8100)
    assert [row.fields for row in street.rows("up")] == [("power_on",), ("watchdog",)]
    street.until("in_service")


def test_what_was_pressed_while_the_program_hung_makes_no_press() -> None:
    """Nobody looked: what lies between two looks is no contact."""
    street = Street().serve()
    street.pole.freeze()
    street.press(ms=500)
    street.run_ms(1000)
    street.pole.thaw()
    street.run_ms(1000)
    assert not street.rows("minted") and looks(street)[-1] == "in_service"


def test_a_hundred_resets_at_any_moment_lose_no_press() -> None:
    street = Street().serve()
    street.agent.stages = ()
    street.press()
    street.run_ms(100)
    for turn in range(100):
        street.pole.reset("brown_out")
        street.loop.run(street.loop.now_us + 7_919 * turn)
    street.agent.stages = ("held", "received")
    street.until("received", 15_000)
    assert len(set(street.agent.presses)) == 1 and len(street.rows("minted")) == 1


def test_erasing_makes_the_pole_deaf_and_blind_for_its_time() -> None:
    street = Street().serve()
    pole = street.pole
    assert pole.pole is not None
    pole.pole.journal.dirty = 1  # something to erase, as soon as there is rest
    assert street.loop.run(street.loop.now_us + 3_000_000, lambda: pole.flash.erases == 1)
    bad = pole.pole.line.bad
    for expected in (bad, bad + 1):
        street.wire.inject(b"\x00noise\x00", "pole-1")
        street.run_ms(ERASE_US // 1000 + 5)
        assert pole.pole.line.bad == expected
    street.run_ms(1000)
    assert ERASE_US // 1000 - 2 <= pole._board.senses.readings.blind_ms <= ERASE_US // 1000 + 2  # type: ignore[union-attr]
    assert looks(street)[-1] == "in_service"


@pytest.mark.parametrize("echo", [False, True])
def test_two_poles_on_a_pair_are_both_served(echo: bool) -> None:
    street = Street(poles=2)
    street.wire.echo = echo
    street.serve()
    street.run_ms(20_000)
    for pole in street.poles:
        street.press(pole)
    street.until("received")
    assert looks(street).count("out_of_service") == 0 and {press[0] for press in street.agent.presses} == {1, 2}
    assert street.wire.collisions < 30


def test_a_pole_that_wants_to_speak_hears_that_somebody_does() -> None:
    """Its press is ready in the middle of another one's frame, of which nobody has told it yet."""
    street = Street(poles=2).serve()
    street.run_ms(5000)
    before = street.wire.collisions
    stranger = street.wire.attach("stranger", lambda _data: None)
    street.pole.finger(0, True)
    street.run_ms(25)
    stranger.send(b"\x00" + bytes([120] * 120) + b"\x00")
    street.run_ms(15)
    assert street.pole.look == "pressed" and street.wire.collisions == before
    assert street.loop.run(street.loop.now_us + 1_000_000, lambda: street.pole.look == "received")


def test_a_bad_line_is_survived_and_a_cut_one_told() -> None:
    street = Street().serve()
    street.wire.loss = street.wire.flip = 0.2
    street.wire.duplicate, street.wire.noise_per_s, street.wire.delay_us = 0.2, 5, 20_000
    street.press()
    street.until("received")
    street.wire.cut_down = True
    street.run_ms(10_000)
    street.press()
    street.until("not_delivered", 6000)
    street.wire.cut_down = False
    street.until("received")


def test_without_supervision_a_cut_is_a_release_and_a_short_a_press() -> None:
    street = Street(supervised=False).serve()
    street.pole.loop_level(0, OPEN)
    street.run_ms(1000)
    assert not street.rows("loop")
    street.pole.loop_level(0, IDLE)
    street.pole.loop_level(0, SHORT)
    street.run_ms(1000)
    assert len(street.rows("minted")) == 1


def test_wires_and_other_inputs_become_faults_of_the_pole() -> None:
    street = Street().serve()
    pole = street.pole
    for level, name in ((OPEN, "open"), (SHORT, "short"), (IDLE, "idle"), (PRESSED, "pressed"), (IDLE, "idle")):
        pole.loop_level(0, level)
        street.run_ms(5)
        assert street.rows("loop")[-1].fields == (0, name)
    for name, value in (("tamper", 1), ("mains_lost", 1), ("supply_mv", 10_000), ("lamp_draws", 0)):
        pole.sense(name, value)
    street.run_ms(5000)
    assert pole.pole is not None and pole.pole.faults == 0b11110000 and not street.rows("minted")


def test_an_own_button_is_a_pole_whose_cable_takes_no_time() -> None:
    loop, trace = Loop(), Trace(keep=True)
    wire = local_wire(loop, random.Random(1), "local:lobby")
    agent = AgentNode(loop, wire, 1, 1)
    own = own_button(loop, trace, random.Random(2), "lobby", key_of(1), wire)
    own.start()
    assert loop.run(2_000_000, lambda: own.look == "in_service")
    loop.run(2_000_000)
    own.finger(0, True)
    assert loop.run(2_050_000, lambda: own.look == "received")
    pressed, held, received = (row.at_us for row in trace.rows[-3:])
    assert received - pressed < 1000 and pressed <= held and len(agent.presses) == 1  # its flash takes some of it
    own.finger(0, False)
    own.power_cut()
    own.start()
    assert loop.run(5_000_000, lambda: own.look == "in_service") and len(agent.presses) == 1


def test_a_cut_that_was_armed_comes_even_if_the_pole_is_reset_before() -> None:
    street = Street().serve()
    street.pole.power_cut(tear=True)
    street.pole.reset()
    street.run_ms(1000)
    assert not street.pole.running and street.rows("down")[-1].fields == ("power",)
    street.serve()
