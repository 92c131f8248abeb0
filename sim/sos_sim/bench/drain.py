"""Alarms that were held through an outage, once the station is back: until all are receipted, beside a bare drain.

Agent, mosquitto and station are the real ones; the alarms lie in the agent's own outbox, as it stores them. While they
drain, the live pole is pressed again and again: a new press goes first.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from sos_agent.app import now_ms, timebase
from sos_agent.core import effects
from sos_agent.edge.outbox import FILE_NAME as OUTBOX
from sos_contract.errors import SafezoneError
from sos_contract.payloads import Identity
from sos_sim.bench.broker import Mosquitto
from sos_sim.bench.figures import Reach, Tell, figure, spread
from sos_sim.bench.outbox import Ours
from sos_sim.bench.press import AFTER_OFFICER_S, HOLD_MS, OFFICER_EVERY, REST_S, sizes
from sos_sim.bench.rig import DEBOUNCE_MS, Rig, Stages, broker_words, said
from sos_sim.bench.weight import busy_s
from sos_sim.live.child import Child
from sos_station.edge.inbox import FILE_NAME as INBOX

POLES = ("pole-1", "pole-2", "pole-3", "pole-4")  # the first is the live one
INCARNATION = "00000000000000ff"  # of flashes that were begun anew since
EVERY_MS = 8_640  # 10,000 presses in a day
# Presses before the outage: one for so many alarms, 30 at most.
USUAL_EVERY, USUAL_MOST = 100, 30
LOOK_S = 0.05  # how often the outbox is asked what still waits
GROUP = 500  # stores that wait together while the outbox is filled
# Far above what is to be reached: 100 alarms a second, and what it takes to start.
LEAST_RATE, START_S = 100, 60.0


@dataclass
class Drained:
    """Seconds and milliseconds. ``usual`` and ``during``: presses, from the first contact to *received*. ``rows``: what
    the station holds, in the order in which it received it."""

    took_s: float
    rate: float
    usual: list[float]
    during: list[float]
    rows: list[tuple[str, str, int]]
    busy_us: dict[str, float]  # processor an alarm, by process


async def fill(folder: Path, count: int) -> None:
    """``count`` alarms of the last hours into the outbox of an agent that does not run, the poles in turn."""
    ours, base, now = Ours(folder), timebase(), now_ms()
    try:
        for first in range(0, count, GROUP):
            alarms = []
            for number in range(first, min(first + GROUP, count)):
                identity = Identity(POLES[number % len(POLES)], INCARNATION, 1, number + 1)
                at_ms = max(0, now - (count - number) * EVERY_MS)
                alarms.append(effects.StoreAlarm(identity, "press", number + 1, 0, base, at_ms))
            await ours.carry_out(alarms)
    finally:
        ours.outbox.close()


def waiting(folder: Path) -> int:
    """Alarms without a receipt in that outbox."""
    with closing(sqlite3.connect(f"file:{folder / OUTBOX}?mode=ro", uri=True)) as outbox:
        return int(outbox.execute("SELECT count(*) FROM alarm WHERE receipted_ms IS NULL").fetchone()[0])


def received(folder: Path) -> list[tuple[str, str, int]]:
    """Pole, incarnation and press of all that the station holds, in the order in which it received them."""
    with closing(sqlite3.connect(f"file:{folder / INBOX}?mode=ro", uri=True)) as inbox:
        return inbox.execute("SELECT pole, incarnation, press FROM alarm ORDER BY number").fetchall()


def check(rows: Sequence[tuple[str, str, int]], count: int) -> None:
    """Each of the ``count`` held alarms once, and those of a pole in order. Raises SafezoneError."""
    held = [(pole, press) for pole, incarnation, press in rows if incarnation == INCARNATION]
    if sorted(press for _, press in held) != list(range(1, count + 1)):
        raise SafezoneError(f"of {count} held alarms the station has {len(set(held))}, in {len(held)} rows")
    for pole in POLES:
        for one, other in pairwise(press for name, press in held if name == pole):
            if one > other:
                raise SafezoneError(f"press {other} of {pole} was received after press {one}")


@asynccontextmanager
async def outage(folder: Path, count: int, usual: list[float]) -> AsyncIterator[Rig]:
    """A site whose station is away, and whose agent holds ``count`` alarms. ``usual`` gets the presses before."""
    async with Rig(folder) as rig:
        for number in range(min(USUAL_MOST, max(1, count // USUAL_EVERY))):
            usual.append(await press(rig, random.Random(number)))
            if number % OFFICER_EVERY == OFFICER_EVERY - 1:
                await settle(rig)
        await settle(rig)
        await rig.station.stop()
        await rig.agent.stop()
        await fill(rig.data("agent"), count)
        await rig.agent.start()
        await rig.poles[0].wait_look("out_of_service", START_S)
        yield rig


async def settle(rig: Rig) -> None:
    """Nothing open, and the pole at rest."""
    await rig.close_alarms()
    await rig.ready()
    await asyncio.sleep(AFTER_OFFICER_S)


async def press(rig: Rig, chance: random.Random) -> float:
    """One press, and the rest behind it; milliseconds from the first contact to *received*."""
    seen: Stages = await rig.press(rig.poles[0], HOLD_MS)
    rest = seen.contact + HOLD_MS / 1000 + chance.uniform(*REST_S) - time.monotonic()
    await asyncio.sleep(max(0.0, rest))
    return seen.ms("received")


async def measure(folder: Path, count: int) -> Drained:
    """The drain, with presses during it; checked."""
    found = Drained(0.0, 0.0, [], [], [], {})
    async with outage(folder, count, found.usual) as rig:
        began = time.monotonic()
        agent = psutil.Process(rig.agent.pid)
        before_s = busy_s(agent)
        await rig.station.start()
        pressing = asyncio.ensure_future(_press_on(rig, found.during))
        try:
            async with asyncio.timeout(START_S + count / LEAST_RATE):
                # The held ones, that is; a press that has just come may wait, too.
                while waiting(rig.data("agent")) > len(POLES):
                    await asyncio.sleep(LOOK_S)
                found.took_s = time.monotonic() - began
            spent = {"agent": busy_s(agent) - before_s, "station": busy_s(psutil.Process(rig.station.pid))}
            found.busy_us = {name: spent_s / count * 1e6 for name, spent_s in spent.items()}
        except TimeoutError:
            raise SafezoneError(f"{waiting(rig.data('agent'))} of {count} alarms still wait") from None
        finally:
            pressing.cancel()
            await asyncio.gather(pressing, return_exceptions=True)
        await asyncio.sleep(1)
        found.rows = received(rig.data("station"))
    found.rate = count / found.took_s
    check(found.rows, count)
    return found


async def _press_on(rig: Rig, during: list[float]) -> None:
    """Press until cancelled; what ends before that counts."""
    chance = random.Random(1)
    await rig.ready()
    while True:
        during.append(await press(rig, chance))


async def bare(folder: Path, count: int) -> float:
    """Seconds that the floor takes for as many, on a broker of its own."""
    folder.mkdir()
    broker = Mosquitto(folder / "broker", None)
    words = [sys.executable, "-m", "sos_sim.bench.floor_many"]
    where = broker_words(broker, None)
    size = sizes()
    receipts, alarms = [str(size.receipt), str(folder / "b")], [str(count), str(size.alarm), str(folder / "a")]
    station = Child("floor station", [*words, "station", *receipts, *where], folder / "b.log")
    sender = Child("floor agent", [*words, "sender", *alarms, *where], folder / "a.log")
    await broker.start()
    try:
        await station.start()
        await said(station, "ready", START_S)
        await sender.start()
        return float((await said(sender, "took", START_S + count / LEAST_RATE)).split()[1])
    finally:
        await sender.stop()
        await station.stop()
        await broker.stop()


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` held alarms."""
    found = await measure(folder / "site", count)
    bare_s = await bare(folder / "floor", count)
    reach = Reach(most=10) if count == 10_000 else None
    what = "station started to all receipted"
    tell(figure("drain", what, "s", found.took_s, count=count, floor=bare_s, reach=reach))
    tell(figure("drain", "drained", "alarms/s", found.rate, count=count, floor=count / bare_s, more=True))
    for name, busy_us in found.busy_us.items():
        tell(figure("drain", f"processor of the {name}, an alarm", "us", busy_us, count=count))
    if found.during:  # of a short drain there may be none
        twice = Reach(times=2)
        for what, less in (("first contact", 0.0), ("end of debounce", DEBOUNCE_MS)):
            during, usual = ([one - less for one in presses] for presses in (found.during, found.usual))
            for one in spread("drain", f"{what} to received during it", during, usual, median=twice, p99=twice):
                tell(one)
