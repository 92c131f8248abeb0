"""Ages: how old a press is, across restarts of pole, program and machine, and whatever the clock does."""

from __future__ import annotations

import pytest
from tests.agent.core_world import World

from sos_agent.core import effects, events
from sos_contract.payloads import Alarm, Identity


def ready(world: World) -> World:
    world.start()
    world.until(lambda: all(pole.services[-1:] == ["in_service"] for pole in world.poles.values()), 5_000)
    world.run(1_000)
    return world


def seen(world: World, press: Identity) -> Alarm:
    return next(alarm for alarm in reversed(world.station.seen) if alarm.id == press)


def age_of(world: World, press: Identity, within_ms: int = 30_000) -> int | None:
    world.until(lambda: any(alarm.id == press for alarm in world.station.seen), within_ms)
    return seen(world, press).age_ms


def test_a_live_press_is_milliseconds_old() -> None:
    world = ready(World())
    age = age_of(world, world.press())
    assert age is not None
    assert 0 <= age <= 20
    assert world.station.seen[-1].lane == "live"


def test_a_press_from_before_the_poles_restart() -> None:
    world = ready(World())
    world.ports["/dev/home"] = None
    press = world.press()
    pressed_ms = world.now_ms
    world.run(20_000)
    world.poles["p1"].restart(world.now_ms)
    world.run(20_000)
    world.ports["/dev/home"] = "/dev/home"
    world.wake_poles()
    age = age_of(world, press)
    assert age is not None
    assert abs(age - (world.now_ms - pressed_ms)) <= 250


@pytest.mark.parametrize("quality", ["synced", "unset"])
def test_a_press_from_before_the_restart_of_pole_and_program_needs_no_clock(quality: str) -> None:
    world = ready(World(quality=quality))
    world.crash()
    press = world.press()
    pressed_ms = world.now_ms
    world.run(20_000)
    world.poles["p1"].restart(world.now_ms)
    world.run(5_000)
    world.start()
    age = age_of(world, press)
    assert age is not None
    assert abs(age - (world.now_ms - pressed_ms)) <= 250
    assert seen(world, press).clock == quality


def reboot(world: World, off_ms: int, quality: str, timebase: str = "linux-2") -> None:
    """The machine and the pole lose power together; the pole's journal stays."""
    press_by_key = world.poles["p1"].journal
    world.reboot(timebase, 5_000, off_ms)
    world.quality = quality
    world.poles["p1"].boot += 1
    world.poles["p1"].power_on(world.now_ms)
    assert world.poles["p1"].journal is press_by_key
    world.wake_poles()
    world.start()


def test_a_press_from_before_the_machines_restart_needs_the_clock() -> None:
    world = ready(World())
    world.store.failing = "disk I/O error"
    press = world.press()
    pressed_wall_ms = world.wall_ms + world.now_ms
    world.run(5_000)
    world.store.failing = ""
    reboot(world, off_ms=600_000, quality="holdover")
    age = age_of(world, press)
    assert age is not None
    assert abs(age - (world.wall_ms + world.now_ms - pressed_wall_ms)) <= 250
    assert seen(world, press).clock == "holdover", "the worse of both clocks"


def test_an_age_unknown_for_want_of_a_clock_is_known_once_it_is_set() -> None:
    world = ready(World())
    world.station.up = False
    press = world.press()
    pressed_wall_ms = world.wall_ms + world.now_ms
    world.until(lambda: world.stage(press) == "held")
    world.station.mute_receipts = True
    reboot(world, off_ms=60_000, quality="unset")
    world.station_comes_back()
    assert age_of(world, press) is None
    assert seen(world, press).lane == "backlog"
    world._give(events.Clock(world.wall_ms + world.now_ms, "synced"))
    world.until(lambda: seen(world, press).age_ms is not None, 30_000)
    age = seen(world, press).age_ms
    assert age is not None
    assert abs(age - (world.wall_ms + world.now_ms - pressed_wall_ms)) <= 250


def test_a_clock_set_late_mends_the_ages_of_its_whole_time_base() -> None:
    world = ready(World(quality="unset"))
    world.station.up = False
    world.until(lambda: world.poles["p1"].services[-1] == "station_lost")
    press = world.press()
    pressed_wall_ms = world.wall_ms + world.now_ms
    world.run(30_000)
    world._give(events.Clock(world.wall_ms + world.now_ms, "synced"))
    world.run(10_000)
    reboot(world, off_ms=3_600_000, quality="synced")
    world.station_comes_back()
    age = age_of(world, press)
    assert age is not None
    assert abs(age - (world.wall_ms + world.now_ms - pressed_wall_ms)) <= 250


def test_a_worse_clock_after_a_restart_of_the_program_mends_no_time_base() -> None:
    """The clock was set wrong by hand; an agent that was started anew then took its word for a time base of which the
    outbox knew better, and after the machine's restart the press had another age."""
    world = ready(World())
    world.station.up = False
    world.until(lambda: world.poles["p1"].services[-1] == "station_lost")
    press = world.press()
    pressed_wall_ms = world.wall_ms + world.now_ms
    world.run(5_000)
    world.crash()
    world.wall_ms, world.quality = world.wall_ms - 86_400_000, "holdover"
    world.start()
    world.run(30_000)
    world.wall_ms += 86_400_000
    reboot(world, off_ms=3_600_000, quality="synced")
    world.station_comes_back()
    age = age_of(world, press)
    assert age is not None
    assert abs(age - (world.wall_ms + world.now_ms - pressed_wall_ms)) <= 250
    assert seen(world, press).clock == "synced"


def test_a_boot_that_was_never_heard_has_no_age_and_is_no_live_press() -> None:
    world = World()
    press = world.press()
    world.run(1_000)
    world.poles["p1"].restart(world.now_ms)
    world.start()
    assert age_of(world, press) is None
    assert seen(world, press).lane == "backlog"


def test_jumps_of_the_clock_do_not_touch_ages_within_a_time_base() -> None:
    world = ready(World())
    world.station.mute_receipts = True
    press = world.press()
    pressed_ms = world.now_ms
    for jump_ms in (86_400_000, -7 * 86_400_000):
        world._give(events.Clock(world.wall_ms + world.now_ms + jump_ms, "synced"))
        world.run(12_000)
        alarm = seen(world, press)
        assert alarm.age_ms is not None
        assert alarm.age_ms <= world.now_ms - pressed_ms
        assert abs(alarm.sent_wall_ms - (world.wall_ms + world.now_ms + jump_ms)) <= 12_000
    stored = [effect for effect in world.store.log if isinstance(effect, effects.StoreTimebase)]
    assert len(stored) == 3


def test_a_pole_that_outlived_its_agents_machine_dates_its_press_without_a_clock() -> None:
    """A Pi without a clock lost its power while the pole kept its own: what the pole's uptime said was not asked, and
    a press of a minute ago reached the officer as one of unknown age."""
    world = ready(World(quality="unset"))
    world.station.up = False
    press = world.press()
    pressed_ms = world.now_ms
    world.until(lambda: world.stage(press) == "held")
    world.crash()
    world.timebase = "linux-2"
    world.run(60_000)
    world.start()
    world.run(5_000)
    world.station_comes_back()
    age = age_of(world, press)
    assert age is not None
    assert abs(age - (world.now_ms - pressed_ms)) <= 250


def test_a_clock_that_says_the_press_was_tomorrow_says_nothing() -> None:
    world = ready(World())
    world.store.failing = "disk I/O error"
    press = world.press()
    world.run(2_000)
    world.store.failing = ""
    reboot(world, off_ms=-86_400_000, quality="synced")
    assert age_of(world, press) is None


def test_the_disk_hears_of_a_boot_once() -> None:
    world = ready(World())
    world.run(3_600_000)
    stored = [type(effect) for effect in world.store.log if isinstance(effect, effects.StoreBoot)]
    assert len(stored) == 1
    assert len([effect for effect in world.store.log if isinstance(effect, effects.StoreTimebase)]) == 1


def test_boots_are_bounded() -> None:
    world = ready(World())
    for _ in range(70):
        world.poles["p1"].restart(world.now_ms)
        world.wake_poles()
        world.run(2_500)
    assert world.agent is not None
    assert world.agent._run is not None
    boots = world.agent._run.uptime._boots["p1"]
    assert len(boots) == 64
    assert max(boot for _, boot in boots) == world.poles["p1"].boot
