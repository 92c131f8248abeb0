"""What can go wrong around one press: each fault is a short play of what fails before, at and after it.

Each play returns when the first contact was made. Every fault ends by itself: the press must arrive all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sos_sim.live.zone import Zone

AWAY_S = 10.0  # cable, broker and station are away for so long
FROZEN_S = 30.0  # longer than the 20 s in which the lamp must say "out of service"
LOOK_TIMEOUT_S = 20.0
Play = Callable[[Zone, str], Awaitable[float]]


async def none(zone: Zone, pole: str) -> float:
    """Nothing fails."""
    return await zone.press(pole)


async def agent_killed(zone: Zone, pole: str) -> float:
    """The agent is killed before the press and started again after it."""
    agent = zone.agents[zone.point_of(pole)]
    await agent.kill()
    contact = await zone.press(pole)
    await zone.poles[pole].wait_look("pressed", LOOK_TIMEOUT_S)
    await agent.start()
    return contact


async def agent_disk_lost(zone: Zone, pole: str) -> float:
    """The agent loses its disk after it said *held*, while the station is away: only the pole still has the press."""
    agent = zone.agents[zone.point_of(pole)]
    await zone.station.stop()
    contact = await zone.press(pole)
    await zone.poles[pole].wait_look("held", LOOK_TIMEOUT_S)
    await agent.kill()
    zone.lose_disk(zone.point_of(pole))
    await agent.start()
    await zone.station.start()
    return contact


async def cable_cut(zone: Zone, pole: str) -> float:
    """The cable is cut for 10 s, and the press comes meanwhile."""
    zone.cut(pole)
    contact = await zone.press(pole)
    await asyncio.sleep(AWAY_S)
    zone.mend(pole)
    return contact


async def broker_down(zone: Zone, pole: str) -> float:
    """The broker is down for 10 s, and the press comes meanwhile."""
    await zone.broker.kill()
    contact = await zone.press(pole)
    await asyncio.sleep(AWAY_S)
    await zone.broker.start()
    return contact


async def station_down(zone: Zone, pole: str) -> float:
    """The station is down for 10 s, and the press comes meanwhile."""
    await zone.station.kill()
    contact = await zone.press(pole)
    await asyncio.sleep(AWAY_S)
    await zone.station.start()
    return contact


async def station_stopped(zone: Zone, pole: str) -> float:
    """The station is frozen for 30 s: connected, and doing nothing. The press comes once the lamp tells so."""
    loop = asyncio.get_running_loop()
    frozen_at = loop.time()
    zone.station.freeze()
    await zone.poles[pole].wait_look("out_of_service", LOOK_TIMEOUT_S)
    contact = await zone.press(pole)
    await asyncio.sleep(max(0.0, frozen_at + FROZEN_S - loop.time()))
    zone.station.thaw()
    return contact


async def pole_power_cut(zone: Zone, pole: str) -> float:
    """The pole's power is cut the moment its lamp says *pressed*, while the agent is away."""
    agent = zone.agents[zone.point_of(pole)]
    live = zone.poles[pole]
    await agent.kill()
    contact = await zone.press(pole)
    await live.wait_look("pressed", LOOK_TIMEOUT_S)
    await live.power_cut()
    await agent.start()
    await live.start()
    return contact


FAULTS: dict[str, Play] = {
    play.__name__.replace("_", "-"): play
    for play in (
        none,
        agent_killed,
        agent_disk_lost,
        cable_cut,
        broker_down,
        station_down,
        station_stopped,
        pole_power_cut,
    )
}
