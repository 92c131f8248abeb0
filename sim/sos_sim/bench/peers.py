"""Safezone beside what one would pick instead: a script with pyserial and paho, and Node-RED. The same button, wire and
broker for each; a subscriber at the broker stands for the station.

Beside how fast they are, what becomes of presses while the broker is away and the forwarding process is killed and
started in between.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from sos_contract import site as sites
from sos_contract.errors import SafezoneError
from sos_sim.bench import path
from sos_sim.bench.broker import Mosquitto
from sos_sim.bench.ear import Ear
from sos_sim.bench.figures import Tell, figure, percentile, spread
from sos_sim.bench.peer import node_red
from sos_sim.bench.press import AFTER_OFFICER_S, HOLD_MS, OFFICER_EVERY, REST_S
from sos_sim.bench.rig import Rig, WatchedCable, said, settings_of
from sos_sim.bench.weight import MEGABYTE, Body, weigh
from sos_sim.live.child import Child
from sos_sim.live.layout import free_port
from sos_sim.live.pole_host import LivePole
from sos_station.edge.inbox import FILE_NAME as INBOX

HERE = Path(__file__).resolve().parent / "peer"
TOPIC = "sos/alarm"
START_S = 60.0  # Node-RED takes some seconds on an idle machine
WEIGH_S = 30.0
# The outage: so many presses, one each 1.5 s; the process is killed and started in the middle of it.
OUTAGE_PRESSES, OUTAGE_EVERY_S = 20, 1.5
# How long is waited for what was not heard of yet, of the outage's length: paho tries again after up to 32 s by then.
PATIENCE = 2.0
SETTLE_S = 1.0  # from ready to the first press


@dataclass
class Found:
    """Milliseconds, an entry a press, from the first contact. ``arrived``: how often each press of the outage did."""

    spoke: list[float] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    durable: list[float] = field(default_factory=list)
    lamp: list[float] = field(default_factory=list)
    body: Body = field(default_factory=Body)
    presses: int = 0
    arrived: Counter[int] = field(default_factory=Counter)

    def ways(self) -> list[float]:
        """From the first byte sent to its arrival."""
        return [heard - spoke for heard, spoke in zip(self.heard, self.spoke, strict=True)]


@dataclass
class Side:
    """One of those that are compared, running. ``press`` adds a press to what is found and rests; ``arrived``: the
    number of each press that the station has, as often as it has it."""

    pole: LivePole
    broker: Mosquitto
    process: Child
    press: Callable[[Found], Awaitable[None]]
    arrived: Callable[[], list[int]]


# --- ours


async def start_ours(folder: Path, undo: AsyncExitStack) -> Side:
    """A site of our own."""
    rig = await undo.enter_async_context(Rig(folder))
    ear = await _listen(undo, rig.broker, path.topics(rig))
    chance, presses = random.Random(1), 0

    async def press(found: Found) -> None:
        nonlocal presses
        marks = await path.press(rig, ear)
        if marks is not None:
            found.spoke.append((marks.spoke - marks.contact) * 1000)
            found.heard.append((marks.alarm - marks.contact) * 1000)
            found.durable.append((marks.receipt - marks.contact) * 1000)
            found.lamp.append((marks.received - marks.contact) * 1000)
        presses += 1
        if presses % OFFICER_EVERY == 0:
            await rig.close_alarms()
            await rig.ready()
            await asyncio.sleep(AFTER_OFFICER_S)
        await asyncio.sleep(HOLD_MS / 1000 + chance.uniform(*REST_S))

    def arrived() -> list[int]:
        with closing(sqlite3.connect(f"file:{rig.data('station') / INBOX}?mode=ro", uri=True)) as inbox:
            return [number for (number,) in inbox.execute("SELECT press FROM alarm")]

    return Side(rig.poles[0], rig.broker, rig.agent, press, arrived)


# --- theirs

Make = Callable[[Path, Path, int], tuple[Child, str]]  # folder, serial port and the broker's port -> as `plain`


def plain(folder: Path, port: Path, broker: int) -> tuple[Child, str]:
    """The forwarder of some lines, and what it says when it is ready."""
    command = [sys.executable, str(HERE / "forward.py"), str(port), "127.0.0.1", str(broker), TOPIC]
    return Child("the plain forwarder", command, folder / "forward.log"), "ready"


def of_node_red(command: list[str]) -> Make:
    """Node-RED, started with that command."""

    def make(folder: Path, port: Path, broker: int) -> tuple[Child, str]:
        node_red.write(folder / "user", port, broker, TOPIC, free_port())
        return Child("Node-RED", [*command, "--userDir", str(folder / "user")], folder / "node-red.log"), "Connected to"

    return make


async def node_red_of(bench: str, tell: Tell) -> Make | None:
    """Node-RED, installed if need be. Where it cannot be had, a row says so, and why."""
    try:
        return of_node_red(await node_red.find())
    except SafezoneError as error:
        tell(figure(bench, f"left out: Node-RED ({error})", "peers", 1))
        return None


async def start_theirs(folder: Path, undo: AsyncExitStack, make: Make) -> Side:
    """The plain script on a live pole, a forwarder, and a subscriber that stands for the station."""
    folder.mkdir()
    broker = Mosquitto(folder / "broker", None, persistent=True)
    undo.push_async_callback(broker.stop)
    await broker.start()
    ear = await _listen(undo, broker, [TOPIC])
    cable = WatchedCable(folder / "ports" / "line", shared=False)
    undo.callback(cable.close)
    settings = settings_of(sites.Pole(id="plain", address=1), bytes(32), shared=False)
    pole = LivePole(settings, folder / "flash", cable, files={"/main.py": HERE / "main.py"})
    undo.push_async_callback(pole.stop)
    process, word = make(folder, cable.port.path, broker.port)
    undo.push_async_callback(process.stop)
    await process.start()
    await said(process, word, START_S)
    await pole.start()
    await asyncio.sleep(SETTLE_S)
    chance = random.Random(1)

    async def press(found: Found) -> None:
        ear.heard.clear()
        cable.talks.clear()
        contact = await tap(pole)
        if not await ear.wait(lambda: ear.first(TOPIC, contact) is not None, START_S):
            raise SafezoneError(f"a press did not reach the subscriber; {process.name}: {process.last_words()}")
        spoke = next(at for at, up, _ in cable.talks if up and at > contact)
        found.spoke.append((spoke - contact) * 1000)
        found.heard.append(((ear.first(TOPIC, contact) or 0.0) - contact) * 1000)
        await asyncio.sleep(HOLD_MS / 1000 + chance.uniform(*REST_S))

    return Side(pole, broker, process, press, lambda: [int(line.split()[1]) for _, _, line in ear.heard])


async def _listen(undo: AsyncExitStack, broker: Mosquitto, topics: list[str]) -> Ear:
    ear = Ear(broker.port, topics)
    undo.push_async_callback(ear.stop)
    await ear.start()
    return ear


async def tap(pole: LivePole) -> float:
    """Press and let go, whatever comes of it; when the contact was."""
    return await pole.press(HOLD_MS)


# --- what is done with each


async def measure(side: Side, count: int) -> Found:
    """``count`` presses, the process at rest, and the outage."""
    found = Found()
    for _ in range(count):
        await side.press(found)
    (found.body,) = await weigh([side.process.pid], min(WEIGH_S, count))
    found.presses = min(OUTAGE_PRESSES, count)
    await _outage(side, found, count)
    return found


async def _outage(side: Side, found: Found, before: int) -> None:
    """``before``: the number of the last press before it."""
    await side.broker.stop()
    for number in range(found.presses):
        if number == found.presses // 2:
            await side.process.kill()
            await side.process.start()
        await tap(side.pole)
        await asyncio.sleep(OUTAGE_EVERY_S)
    await side.broker.start()

    def late() -> Counter[int]:
        return Counter(number for number in side.arrived() if number > before)

    until = time.monotonic() + PATIENCE * found.presses * OUTAGE_EVERY_S
    while len(late()) < found.presses and time.monotonic() < until:
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE_S)  # one that comes twice comes soon
    found.arrived = late()


def tell_of(name: str, found: Found, beside: Found | None, tell: Tell) -> None:
    """Its rows, each beside the plain way."""

    def row(what: str, unit: str, of: Callable[[Found], float], count: int = 1) -> None:
        floor = of(beside) if beside else None
        tell(figure("peers", f"{name}: {what}", unit, of(found), count=count, floor=floor))

    count = len(found.heard)
    what = f"{name}: first contact to the station has it"
    for one in spread("peers", what, found.heard, beside.heard if beside else ()):
        tell(one)
    row("first byte sent to the station has it, median", "ms", lambda one: percentile(one.ways(), 0.5), count)
    for what, values in (("the station's disk", found.durable), ("the lamp", found.lamp)):
        if values:
            whole = f"{name}: first contact to {what}, median"
            tell(figure("peers", whole, "ms", percentile(values, 0.5), count=len(values)))
    row("memory, PSS", "MB", lambda one: one.body.pss / MEGABYTE)
    row("idle processor", "%", lambda one: one.body.share * 100)
    row("presses lost in the outage", "presses", lambda one: one.presses - len(one.arrived), found.presses)
    row("presses that came twice", "presses", lambda one: one.arrived.total() - len(one.arrived), found.presses)


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` presses on each side."""
    sides: list[tuple[str, Callable[[Path, AsyncExitStack], Awaitable[Side]]]] = [
        ("plain", lambda place, undo: start_theirs(place, undo, plain)),
        ("Safezone", start_ours),
    ]
    make = await node_red_of("peers", tell)
    if make is not None:
        sides.append(("Node-RED", lambda place, undo: start_theirs(place, undo, make)))
    beside: Found | None = None
    for name, start in sides:
        async with AsyncExitStack() as undo:
            found = await measure(await start(folder / name, undo), count)
        if not found.heard:
            raise SafezoneError(f"bench peers: {name}: no press arrived in time; try again while the machine does less")
        tell_of(name, found, beside, tell)
        beside = beside or found
