"""The serial twin tells the agent the same as the real ports on pseudo-terminals, from one script."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import select
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from sos_agent.core import effects, events
from sos_agent.edge import serial
from sos_edge.log import Log
from sos_sim.world.loop import Loop
from sos_sim.world.serial import Serial
from sos_sim.world.wire import Wire

LINES = ("a", "b")  # b's site file has no search patterns
WAIT_S = 5.0
Effect = effects.OpenPort | effects.ClosePort | effects.WriteBytes


class Ports(Protocol):
    """What the script is played on. Ports are called after their lines, or as they are plugged in under."""

    told: list[events.Event]

    async def settle(self, count: int) -> None:
        """Wait until so many events were told in all, and for what might come on top."""

    def carry_out(self, effect: Effect) -> None: ...
    def plug(self, line: str, under: str | None = None) -> None: ...
    def unplug(self, line: str) -> None: ...
    def move(self, line: str, under: str) -> None: ...
    def say(self, line: str, data: bytes) -> None: ...
    def heard(self, line: str) -> bytes: ...  # of something that was said
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Real:
    """Pseudo-terminals; a link in ``home`` is a line's home, each has one in ``other``, where a's search looks."""

    def __init__(self, folder: Path) -> None:
        self.told: list[events.Event] = []
        self._folder = folder
        self._devices: dict[str, str] = {}  # name in the script -> device
        self._plugs: dict[str, tuple[int, list[Path]]] = {}  # line -> the other end, links
        self._bare: dict[str, list[tuple[int, list[Path]]]] = {}  # the same of adapters that its cable was taken off
        for part in ("home", "other"):
            (folder / part).mkdir()
        places = [
            serial.Place("a", str(folder / "home/a"), (str(folder / "other/*"),)),
            serial.Place("b", str(folder / "home/b")),
        ]
        self._ports = serial.Ports(places, deliver=self._deliver, log=Log("test", point="p"))
        for line in LINES:
            self.plug(line)

    def _deliver(self, event: events.Event) -> None:
        names = {device: name for name, device in self._devices.items()}
        if isinstance(event, events.PortsSeen):
            event = events.PortsSeen(tuple(replace(c, port=names[c.port]) for c in event.candidates))
        elif isinstance(event, events.PortClosed):  # some kernels add their own words
            event = events.PortClosed(names[event.port], event.reason.split(" (")[0])
        elif isinstance(event, events.PortOpened | events.PortBytes):
            event = replace(event, port=names[event.port])
        self.told.append(event)

    async def settle(self, count: int) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while len(self.told) < count and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.005)
        await asyncio.sleep(2.5 * serial.LOOK_S)

    def carry_out(self, effect: Effect) -> None:
        device = self._devices.setdefault(effect.port, str(self._folder / effect.port))
        self._ports.carry_out(replace(effect, port=device))

    def plug(self, line: str, under: str | None = None) -> None:
        master, slave = os.openpty()
        name = under or line
        self._devices.pop(name, None)  # so that of two names of one device the later one holds
        self._devices[name] = os.ttyname(slave)
        os.close(slave)
        links = [self._folder / "other" / name, *([] if under else [self._folder / "home" / name])]
        for link in links:
            link.symlink_to(self._devices[name])
        self._plugs[line] = master, links

    def unplug(self, line: str) -> None:
        for master, links in (self._plugs.pop(line), *self._bare.pop(line, [])):
            for link in links:
                link.unlink()
            os.close(master)

    def move(self, line: str, under: str) -> None:
        self._bare.setdefault(line, []).append(self._plugs[line])
        self.plug(line, under)

    def say(self, line: str, data: bytes) -> None:
        os.write(self._plugs[line][0], data)

    def heard(self, line: str) -> bytes:
        master = self._plugs[line][0]
        ready, _, _ = select.select([master], [], [], WAIT_S)  # the kernel hands bytes on in its own time
        return os.read(master, 4096) if ready else b""

    def start(self) -> None:
        self._ports.start()

    def stop(self) -> None:
        self._ports.stop()
        for line in list(self._plugs):
            self.unplug(line)


class Twin:
    """Virtual cables, with somebody at their other ends."""

    def __init__(self) -> None:
        self.told: list[events.Event] = []
        self._loop = Loop()
        wires = {line: Wire(self._loop, random.Random(1), line, 115200, shared=False) for line in LINES}
        self._said = dict.fromkeys(LINES, b"")
        self._ends = {line: wire.attach("pole", partial(self._hear, line)) for line, wire in wires.items()}
        self._serial = Serial(self._loop, random.Random(2), wires, self.told.append, search=("a",))
        self.plug, self.unplug, self.move = self._serial.plug, self._serial.unplug, self._serial.move
        self.carry_out, self.start, self.stop = self._serial.carry_out, self._serial.start, self._serial.stop

    def _hear(self, line: str, data: bytes) -> None:
        self._said[line] += data

    async def settle(self, count: int) -> None:
        self._loop.run(self._loop.now_us + 2_500_000)

    def say(self, line: str, data: bytes) -> None:
        self._ends[line].send(data)

    def heard(self, line: str) -> bytes:
        said, self._said[line] = self._said[line], b""
        return said


async def play(ports: Ports, settle: Callable[[], Coroutine[Any, Any, None]]) -> list[object]:
    """What was told and heard, in order. An event told by ``settle`` has come by the next line."""
    said: list[object] = []

    async def then(*effects_: Effect) -> None:
        for effect in effects_:
            ports.carry_out(effect)
        await settle()

    ports.start()
    await then()
    await then(effects.OpenPort("a", 115200))
    await then(effects.OpenPort("b", 115200))
    ports.say("a", b"\x00\x03\x11\n\r")
    await then(effects.WriteBytes("a", b"\x00\x13\n"), effects.WriteBytes("b", b"to b"))
    said += [ports.heard("a"), ports.heard("b")]
    await then(effects.ClosePort("a"), effects.WriteBytes("a", b"to a closed port"))
    ports.say("b", b"still open")
    await then(effects.OpenPort("a", 115200), effects.ClosePort("a"))  # given up before it was open
    await then(effects.OpenPort("absent", 115200))
    await then(effects.OpenPort("a", 115200))
    ports.unplug("a")
    await then()
    # It is not opened again here: another process may have a pseudo-terminal of that number by now.
    await then(effects.WriteBytes("a", b"to a port that has gone"), effects.ClosePort("a"))
    ports.plug("a", "x1")
    await then()
    await then(effects.OpenPort("x1", 115200))
    ports.say("a", b"found elsewhere")
    await then(effects.WriteBytes("x1", b"hello"))
    said.append(ports.heard("a"))
    ports.unplug("a")
    ports.plug("a")
    await then()
    await then(effects.OpenPort("b", 115200))  # again: as if it had been closed
    await then(effects.WriteBytes("b", b"after opening again"))
    said.append(ports.heard("b"))
    await then(effects.OpenPort("a", 115200))
    ports.move("a", "x2")  # the adapter that it hung on stays, open and silent
    await then(effects.WriteBytes("a", b"to nobody"))
    await then(effects.OpenPort("x2", 115200))
    ports.say("a", b"over the other adapter")
    await then(effects.WriteBytes("x2", b"hello again"))
    said.append(ports.heard("a"))
    ports.unplug("a")
    await then()
    return said


def batches(told: list[events.Event], counts: list[int]) -> list[list[str]]:
    """What was told between two waits. Within one, a look and a plug that is pulled may be noticed in either order."""
    return [sorted(map(str, told[begin:end])) for begin, end in itertools.pairwise([0, *counts])]


def test_the_twin_tells_what_the_real_ports_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "LOOK_S", 0.03)
    twin = Twin()
    ours: list[int] = []
    theirs: list[int] = []

    async def count() -> None:
        await twin.settle(0)
        ours.append(len(twin.told))

    said = asyncio.run(play(twin, count))

    async def real() -> tuple[list[object], list[events.Event]]:
        ports = Real(tmp_path)

        async def settle() -> None:
            await ports.settle(ours[len(theirs)])
            theirs.append(len(ports.told))

        try:
            return await play(ports, settle), ports.told
        finally:
            ports.stop()

    heard, told = asyncio.run(real())
    assert batches(told, theirs) == batches(twin.told, ours) and heard == said
    assert len(told) >= 15 and {type(event) for event in told} == {
        events.PortsSeen, events.PortOpened, events.PortClosed, events.PortBytes
    }  # fmt: skip


def test_a_stopped_program_hears_nothing_and_a_new_one_finds_what_is_plugged_in() -> None:
    twin = Twin()
    twin.start()
    asyncio.run(twin.settle(0))
    twin.carry_out(effects.OpenPort("a", 115200))
    twin.stop()
    twin.unplug("b")
    twin.say("a", b"to nobody")
    asyncio.run(twin.settle(0))
    assert len(twin.told) == 1
    twin.start()
    asyncio.run(twin.settle(0))
    assert twin.told[1:] == [events.PortsSeen((events.Candidate("a", "a", True),))]


def test_a_line_that_takes_nothing_more_costs_bounded_memory() -> None:
    twin = Twin()
    twin.start()
    twin.carry_out(effects.OpenPort("a", 115200))
    asyncio.run(twin.settle(0))
    for _ in range(2000):
        twin.carry_out(effects.WriteBytes("a", bytes(100)))
    dropped = twin._serial.dropped_bytes
    asyncio.run(twin.settle(0))
    assert dropped > 190_000 and len(twin.heard("a")) == 200_000 - dropped


def test_a_cable_that_is_hung_back_is_heard_where_it_was_and_not_where_it_has_been() -> None:
    twin = Twin()
    twin.start()
    twin.carry_out(effects.OpenPort("a", 115200))
    twin.move("a", "x1")
    twin.carry_out(effects.OpenPort("x1", 115200))
    asyncio.run(twin.settle(0))
    twin.move("a")
    twin.say("a", b"at home")
    twin.carry_out(effects.WriteBytes("x1", b"to nobody"))
    twin.carry_out(effects.WriteBytes("a", b"to the pole"))
    asyncio.run(twin.settle(0))
    assert [event for event in twin.told if isinstance(event, events.PortBytes)] == [events.PortBytes("a", b"at home")]
    assert twin.heard("a") == b"to the pole"
