"""``safezone sim press``: starts the site without a screen, presses once, and tells each stage that the lamp showed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_contract.site import Site
from sos_sim.live.faults import Play
from sos_sim.live.pole_host import Change
from sos_sim.live.zone import Zone

# What a lamp can show that somebody may wait for, in the order of a press without faults.
STAGES = ("pressed", "held", "received", "accepted", "dispatched", "on_scene")
_ACTIONS = {"accepted": "accept", "dispatched": "dispatch", "on_scene": "arrive"}
_AS_OFFICER_S = 0.2  # the officer of the simulator looks at the screen five times a second


@dataclass(frozen=True)
class Seen:
    """The lamp began to show ``stage`` so many milliseconds after the first contact."""

    stage: str
    ms: float


async def press_once(
    site: Site, pole: str, until: str, timeout_s: float, play: Play, tell: Callable[[Seen], None], broker: str = ""
) -> None:
    """Press ``pole`` in a fresh zone and tell each look of its lamp from then on, until it shows ``until``.

    ``timeout_s`` counts from the first contact. Raises SafezoneError when the time is over.
    """
    site.find_pole(pole)
    with tempfile.TemporaryDirectory(prefix="safezone-") as folder:
        zone = Zone(site, Path(folder), broker=broker)
        try:
            await zone.start()
            await _press(zone, pole, until, timeout_s, play, tell)
        finally:
            await zone.stop()


async def _press(zone: Zone, pole: str, until: str, timeout_s: float, play: Play, tell: Callable[[Seen], None]) -> None:
    seen: asyncio.Queue[Change] = asyncio.Queue()
    zone.poles[pole].subscribe(lambda change: seen.put_nowait(change) if change.kind == "look" else None)
    officer = asyncio.ensure_future(_officer(zone, pole)) if until in _ACTIONS else None
    playing = asyncio.ensure_future(play(zone, pole))
    try:
        contact = await _contact(zone, pole, playing)
        looks = []
        while True:
            left = contact + timeout_s - time.monotonic()
            change = await asyncio.wait_for(seen.get(), max(0.0, left))
            if change.t < contact or change.value == "off":
                continue
            looks.append(change.value)
            tell(Seen(change.value, round((change.t - contact) * 1000, 1)))
            if change.value == until:
                return
    except TimeoutError:
        shown = ", ".join(looks) if looks else "nothing new"
        raise SafezoneError(f"{pole} did not show '{until}' within {timeout_s:g} s; its lamp showed: {shown}") from None
    finally:
        for task in (playing, officer):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (playing, officer) if task is not None), return_exceptions=True)


async def _contact(zone: Zone, pole: str, playing: asyncio.Future[float]) -> float:
    """When the button closed: the play goes on after that. Raises what the play raises before."""
    made: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def heard(pole_name: str, t: float) -> None:
        if pole_name == pole and not made.done():
            made.set_result(t)

    zone.on_contact(heard)
    await asyncio.wait({made, playing}, return_when=asyncio.FIRST_COMPLETED)
    return made.result() if made.done() else playing.result()


async def _officer(zone: Zone, pole: str) -> None:
    """Takes the alarm on through its stages, as soon as the station has it."""
    while True:
        await asyncio.sleep(_AS_OFFICER_S)
        look = zone.poles[pole].look
        action = {"received": "accept", "accepted": "dispatch", "dispatched": "arrive"}.get(look)
        if action:
            with suppress(SafezoneError):  # no answer: the officer looks again, and acts again
                await zone.officer(pole, action)
