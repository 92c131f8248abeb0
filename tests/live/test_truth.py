"""The lamp says only what is true, and in time: promise 2 with real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.live.small_site import POINT, POLE, running_zone

from sos_sim.live.zone import Zone

pytestmark = pytest.mark.live

# The promises' own figures, in seconds; not times of this machine.
AGENT_LOST_S, STATION_LOST_S, NOT_DELIVERED_S = 10.0, 20.0, 20.0


async def agent_killed(zone: Zone) -> None:
    await zone.agents[POINT].kill()


async def agent_frozen(zone: Zone) -> None:
    zone.agents[POINT].freeze()


async def cable_cut(zone: Zone) -> None:
    zone.cut(POLE)


async def broker_killed(zone: Zone) -> None:
    await zone.broker.kill()


async def broker_frozen(zone: Zone) -> None:
    zone.broker.freeze()


async def station_killed(zone: Zone) -> None:
    await zone.station.kill()


async def station_frozen(zone: Zone) -> None:
    zone.station.freeze()


CASES: list[tuple[Callable[[Zone], Awaitable[None]], float]] = [
    (agent_killed, AGENT_LOST_S),
    (agent_frozen, AGENT_LOST_S),
    (cable_cut, AGENT_LOST_S),
    (broker_killed, STATION_LOST_S),
    (broker_frozen, STATION_LOST_S),
    (station_killed, STATION_LOST_S),
    (station_frozen, STATION_LOST_S),
]


@pytest.mark.parametrize(("fault", "within_s"), CASES, ids=[case[0].__name__ for case in CASES])
def test_lamp_says_out_of_service_in_time(fault: Callable[[Zone], Awaitable[None]], within_s: float) -> None:
    async def scene() -> None:
        async with running_zone() as zone:
            await fault(zone)
            began = time.monotonic()
            await zone.poles[POLE].wait_look("out_of_service", within_s)
            assert time.monotonic() - began <= within_s

    asyncio.run(scene())


def test_undelivered_press_says_so_and_turns_to_received_the_moment_it_is_true() -> None:
    async def scene() -> None:
        async with running_zone() as zone:
            pole = zone.poles[POLE]
            await zone.station.kill()
            contact = await zone.press(POLE)
            shown = await pole.wait_look("not_delivered", NOT_DELIVERED_S + 5)
            assert shown - contact <= NOT_DELIVERED_S + 0.5
            await zone.station.start()
            await pole.wait_look("received", 15)
            (alarm,) = await zone.alarms()
            assert alarm.stage == "received"

    asyncio.run(scene())


def test_two_presses_are_two_alarms_of_one_incident_and_one_accept_covers_both() -> None:
    async def scene() -> None:
        async with running_zone() as zone:
            pole = zone.poles[POLE]
            await zone.press(POLE, 100)
            await pole.wait_look("received", 10)
            await asyncio.sleep(0.6)
            await zone.press(POLE, 100)
            async with asyncio.timeout(10):
                while len(alarms := await zone.alarms()) < 2:
                    await asyncio.sleep(0.1)
            assert len({alarm.incident for alarm in alarms}) == 1
            assert len({alarm.id for alarm in alarms}) == 2
            await pole.wait_look("received", 10)
            await zone.officer(POLE, "accept")
            await pole.wait_look("accepted", 10)
            assert {alarm.stage for alarm in await zone.alarms()} == {"accepted"}
            await zone.officer(POLE, "close")
            assert zone._last_alarm(POLE).startswith("closed")
            await pole.wait_look("in_service", 10)

    asyncio.run(scene())


def test_cut_button_wire_is_a_fault_and_never_a_press() -> None:
    async def scene() -> None:
        async with running_zone() as zone:
            await zone.toggle_loop(POLE)
            async with asyncio.timeout(15):
                while "loop_open" not in {fault.kind for fault in await zone.faults()}:
                    await asyncio.sleep(0.2)
            await zone.toggle_loop(POLE)
            async with asyncio.timeout(15):
                while "loop_open" in {fault.kind for fault in await zone.faults()}:
                    await asyncio.sleep(0.2)
            assert not await zone.everything()
            contact = await zone.press(POLE)
            assert await zone.poles[POLE].wait_look("received", 10) > contact

    asyncio.run(scene())


def test_port_that_comes_back_under_another_name_is_found_again() -> None:
    async def scene() -> None:
        async with running_zone() as zone:
            cable, pole = zone.cables[POLE], zone.poles[POLE]
            cable.unplug()
            await pole.wait_look("out_of_service", AGENT_LOST_S)
            cable.replug(cable.port.path.with_name(f"{POINT}-other"))
            await pole.wait_look("in_service", 15)
            await zone.press(POLE)
            await pole.wait_look("received", 10)

    asyncio.run(scene())
