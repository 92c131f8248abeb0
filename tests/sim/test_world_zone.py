"""The assembled zone: service, a press to the officer and back, crashes at each boundary, faults of each machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sos_contract.payloads import DeskAnswer
from sos_contract.site import Line, Name, Point, Pole, Site, Station, find_site, read_site
from sos_sim.trace import Row, Trace
from sos_sim.world.program import Program
from sos_sim.world.zone import Zone

BETONG = read_site(find_site("betong"))
NAME = Name(th="-", en="-")
POLE, POINT = "gate-1", "gate"
SMALL = Site(
    version=1,
    id="small",
    name=NAME,
    station=Station(id="small", name=NAME, brokers=("mqtt://a:1883",)),
    point=(Point(id=POINT, name=NAME, line=(Line(port="/dev/gate", pole=(Pole(id=POLE, address=1),)),)),),
)


def served(site: Site = SMALL, seed: int = 1, **more: Any) -> Zone:
    """A zone whose lamps all say that somebody is there."""
    zone = Zone(site, seed, Trace(keep=True), **more)
    zone.start()
    assert zone.run_until(zone.in_service, 20)
    return zone


def touch(zone: Zone, pole: str = POLE) -> None:
    """A finger, for a fifth of a second."""
    zone.poles[pole].finger(0, True)
    zone.loop.after(200_000, lambda: zone.poles[pole].finger(0, False))


def looks(zone: Zone, look: str, pole: str = POLE) -> Callable[[], bool]:
    return lambda: zone.poles[pole].look == look


def rows(zone: Zone, kind: str) -> list[Row]:
    return [row for row in zone.trace.rows if row.kind == kind]


def received_once(zone: Zone) -> None:
    """Each press that was minted stands in the inbox, and none of them twice."""
    minted = {row.fields[0] for row in rows(zone, "minted")}
    fresh = [row.fields[0] for row in rows(zone, "received") if row.fields[1] == "new"]
    assert minted == set(fresh) and len(fresh) == len(minted)


def test_betong_is_in_service_within_seconds_and_a_press_goes_to_an_officer_and_back() -> None:
    zone = served(BETONG)
    assert zone.loop.now_us < 5_000_000
    began_us = zone.loop.now_us
    touch(zone, "ts-centre-1")
    assert zone.run_until(looks(zone, "received", "ts-centre-1"), 2)
    assert zone.loop.now_us - began_us < 200_000
    answers: list[DeskAnswer | None] = []
    zone.terminal("malee").ask("accept", then=answers.append)
    assert zone.run_until(looks(zone, "accepted", "ts-centre-1"), 2)
    (answer,) = answers
    assert answer is not None and answer.alarms[0].officer == "malee" and not zone.terminal("malee").busy
    kinds = [row.kind for row in zone.trace.rows if row.kind in ("minted", "held", "received", "stage", "screen")]
    assert kinds == ["minted", "held", "received", "stage", "screen"]
    (screen,) = rows(zone, "screen")
    assert screen.part == "malee" and screen.fields[0][0][:2] == (rows(zone, "minted")[0].fields[0], "accepted")  # type: ignore[index]
    counters = zone.counters()
    assert counters["frames"] > 20 and counters["commits"] > 10 and counters["messages"] > 50
    assert counters["steps"] > counters["frames"]


def _eventful(seed: int) -> str:
    """A digest of a run in which much happens."""
    zone = served(BETONG, seed, brokers=2)
    touch(zone, "market-1")
    zone.wires["/dev/serial/by-id/usb-sos-clock-tower"].loss = 0.3
    touch(zone, "clock-tower-1")
    zone.run_s(0.5)
    zone.station.power_cut()
    zone.agents["market"].kill()
    touch(zone, "merlin-1")
    zone.run_s(3)
    zone.station.start()
    zone.agents["market"].start()
    zone.brokers["1"].kill()
    zone.run_s(20)
    zone.terminal("malee").ask("list")
    zone.run_s(5)
    return zone.trace.digest


def test_one_seed_gives_one_trace_in_every_process_and_another_seed_another() -> None:
    digest = _eventful(3)
    assert _eventful(3) == digest != _eventful(4)
    program = "from tests.sim.test_world_zone import _eventful; print(_eventful(3))"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.strip() == digest


# --- crashes


class CrashAt:
    """Dies before the effect of that number, counted from now."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, effect: Any) -> bool:
        self.left -= 1
        return self.left < 0


def _crash(zone: Zone, program: Program, number: int, end: str) -> str:
    """Press, die before effect ``number`` of ``program``, start again; the class of that effect, or nothing."""

    def die(effect: Any) -> bool:
        if not crash(effect):
            return False
        if end == "power_cut":
            zone.trace.say(zone.loop.now_us, "boundary", program.part, type(effect).__name__)
            program.power_cut()
        return end == "kill"

    crash = CrashAt(number)
    program.crash_at = die
    touch(zone)
    zone.run_s(1.5)
    if program.running:
        return ""
    (boundary,) = rows(zone, "boundary")
    program.crash_at = None
    assert program.start("systemd")
    return str(boundary.fields[0])


@pytest.mark.parametrize("end", ["kill", "power_cut"])
@pytest.mark.parametrize("which", ["agent", "station"])
def test_a_crash_at_any_boundary_loses_and_doubles_nothing(which: str, end: str) -> None:
    seen: set[str] = set()
    for number in range(40):
        zone = served()
        zone.run_s(8)  # until nothing but the press is to be told
        program = zone.agents[POINT] if which == "agent" else zone.station
        boundary = _crash(zone, program, number, end)
        assert zone.run_until(looks(zone, "received"), 30), f"before effect {number}, {boundary}"
        received_once(zone)
        if not boundary:
            break
        seen.add(boundary)
    assert {"StoreAlarm", "Publish", *(["WriteBytes", "MarkReceipted"] if which == "agent" else [])} <= seen


@pytest.mark.parametrize("verb", ["kill", "power_cut", "freeze"])
@pytest.mark.parametrize("which", ["agent", "station"])
def test_an_outage_is_seen_on_the_lamp_and_what_was_pressed_meanwhile_arrives_late(which: str, verb: str) -> None:
    zone = served()
    program: Program = zone.agents[POINT] if which == "agent" else zone.station
    getattr(program, verb)()
    assert zone.run_until(looks(zone, "out_of_service"), 10 if which == "agent" else 20)
    touch(zone)
    assert zone.run_until(looks(zone, "not_delivered"), 21)
    zone.run_s(60)
    if verb == "freeze":
        program.thaw()
    else:
        assert program.start()
    assert zone.run_until(looks(zone, "received"), 15)
    received_once(zone)
    row = rows(zone, "received")[0]
    assert row.fields[6] is True, "it is shown as late"
    assert 60_000 <= int(str(row.fields[5])) <= 90_000, "with its age"


def test_supervision_notes_the_loss_of_a_point_and_of_a_pole_and_their_end() -> None:
    zone = served()
    zone.poles[POLE].power_cut()
    assert zone.run_until(lambda: bool(rows(zone, "pole_lost")), 10)
    zone.poles[POLE].start()
    assert zone.run_until(zone.in_service, 10)
    began_us = zone.loop.now_us
    zone.agents[POINT].kill()
    assert zone.run_until(lambda: rows(zone, "point_lost")[-1].fields == (POINT, "on"), 20)
    assert zone.loop.now_us > began_us
    zone.agents[POINT].start()
    assert zone.run_until(zone.in_service, 10)
    zone.run_s(1)
    # What the agent saw, and then what the pole tells of the time in which there was no agent.
    assert [row.fields for row in rows(zone, "pole_lost")] == [(POLE, "on"), (POLE, "off")] * 2
    assert [row.fields for row in rows(zone, "point_lost")] == [(POINT, "off"), (POINT, "on"), (POINT, "off")]
    assert {row.part for row in rows(zone, "pole_lost")} == {POINT}


def test_a_frozen_agent_hears_late_what_fits_into_the_kernels_buffers() -> None:
    zone = served()
    agent = zone.agents[POINT]
    agent.freeze()
    handled = agent.handled
    zone.wires["/dev/gate"].noise_per_s = 400
    zone.run_s(8)
    zone.wires["/dev/gate"].noise_per_s = 0
    assert agent.handled == handled
    kept = sum(len(event.data) for event in agent._queue if hasattr(event, "data"))
    assert 3500 < kept <= 4096
    agent.thaw()
    assert agent.handled > handled
    assert zone.run_until(zone.in_service, 20)


def test_of_two_agents_on_one_outbox_the_second_is_refused_until_the_first_has_gone() -> None:
    zone = served()
    second = zone.second_agent(POINT)
    assert not second.start()
    assert rows(zone, "down")[-1].fields == ("refused: another agent uses this folder; stop it, or name another one",)
    assert zone.agents[POINT].running
    zone.agents[POINT].kill()
    assert second.start()
    touch(zone)
    assert zone.run_until(looks(zone, "received"), 20)


def test_the_timers_of_a_program_end_with_it() -> None:
    zone = served()
    agent = zone.agents[POINT]
    told: list[int] = []
    agent.clock.wall_ms = lambda now_us: told.append(now_us) or 1_800_000_000_000 + now_us // 1000  # type: ignore[method-assign, func-returns-value]
    for _ in range(4):
        agent.kill()
        assert agent.start()
        zone.run_s(3)
    told.clear()
    zone.run_s(100)
    assert len(set(told)) == 10, "the clock is read each 10 s, once"


def test_a_stop_in_order_says_goodbye_and_keeps_what_waited() -> None:
    zone = served()
    touch(zone)
    assert zone.run_until(lambda: bool(rows(zone, "minted")), 1)
    zone.run_s(0.008)
    zone.agents[POINT].stop()
    zone.station.stop()
    zone.run_s(1)
    assert [b'"online":false' in kept for topic, kept in zone.brokers["1"].retained.items() if "state" in topic] == [
        True, True,
    ]  # fmt: skip
    assert zone.station.start() and zone.agents[POINT].start()
    assert zone.run_until(looks(zone, "received"), 20)
    received_once(zone)


# --- the desk


def test_a_terminal_hears_nothing_from_a_station_that_is_off_and_asks_again_until_it_answers() -> None:
    zone = served(brokers=2)
    answers: list[DeskAnswer | None] = []
    zone.station.kill()
    zone.terminal("malee").ask("list", then=answers.append)
    zone.run_s(4.9)
    assert answers == [] and zone.terminal("malee").busy
    zone.run_s(0.2)
    assert answers == [None]
    zone.terminal("malee").ask("list", then=answers.append)
    zone.run_s(2)
    assert zone.station.start()
    zone.run_s(2)
    assert isinstance(answers[1], DeskAnswer) and answers[1].error == ""
    zone.terminal("malee").close()


def test_officers_at_two_terminals_see_the_same_alarm_and_the_second_accept_is_told_so() -> None:
    zone = served()
    touch(zone)
    assert zone.run_until(looks(zone, "received"), 2)
    answers: list[DeskAnswer | None] = []
    for name in ("malee", "somchai"):
        zone.terminal(name).ask("accept", alarm=1, then=answers.append)
    zone.run_s(2)
    assert len(answers) == 2 and all(answer is not None for answer in answers)
    assert len(rows(zone, "stage")) == 1
    assert sorted(bool(answer.error) for answer in answers if answer) == [False, True]
