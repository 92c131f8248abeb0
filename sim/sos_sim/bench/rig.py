"""A small live site with a real mosquitto, whose wire is watched: what the figures of a press are measured on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from sos_contract import site as sites
from sos_contract.errors import SafezoneError
from sos_contract.payloads import AlarmView, DeskRequest
from sos_contract.resources import data_dir
from sos_edge import mqtt
from sos_pole.debounce import CALM_MS, PRESS_MS
from sos_pole.runs import SAMPLE_MS
from sos_sim.bench.broker import Mosquitto, Tls, certify
from sos_sim.live import layout
from sos_sim.live.child import Child
from sos_sim.live.pair import Hear
from sos_sim.live.pole_host import Change, LivePole
from sos_sim.live.wire import Cable
from sos_station.terminal import Terminal

BAUD = 115_200
# The debounce is over with the sample that makes 30 ms full, each standing for 2 ms. The first sample falls up to 2 ms
# behind the contact: reckoned from the earliest moment that could be, all of that counts against us.
DEBOUNCE_MS = PRESS_MS - SAMPLE_MS
READY_TIMEOUT_S = 30.0
RECEIVED_TIMEOUT_S = 30.0
# The order in which a lamp goes; a later look implies the earlier ones.
STAGES = ("pressed", "held", "received")


class WatchedCable(Cable):
    """A cable that notes when each end began to send, and how many bytes: (seconds, from the pole, bytes)."""

    def __init__(self, path: Path, *, shared: bool) -> None:
        super().__init__(path, baud=BAUD, shared=shared)
        self.talks: list[tuple[float, bool, int]] = []
        self._whole = False

    def attach(self, pole: str, hear: Hear) -> None:
        def heard(data: bytes) -> None:
            # The end of a frame, even if the beginning of the next one came with it: nobody sleeps over that.
            self._whole = b"\0" in data[1:]
            hear(data)

        super().attach(pole, heard)

    @property
    def busy(self) -> bool:
        return not self._whole and super().busy

    def say(self, pole: str, data: bytes, at: float) -> None:
        self.talks.append((at, True, len(data)))
        super().say(pole, data, at)

    def _from_port(self, data: bytes) -> None:
        self.talks.append((time.monotonic(), False, len(data)))
        super()._from_port(data)


def small_site(folder: Path, poles: int, broker: str, tls: Tls | None) -> sites.Site:
    """One point with ``poles`` on one line, shared if there are several; everything in ``folder``."""
    name = sites.Name(th="ทดสอบ", en="Bench")
    line = sites.Line(
        port=str(folder / "ports" / "line"),
        baud=BAUD,
        shared=poles > 1,
        pole=tuple(sites.Pole(id=f"pole-{number}", address=number) for number in range(1, poles + 1)),
    )
    point = sites.Point(id="point", name=name, data=str(folder / "point"), line=(line,))
    files = sites.Tls(ca=str(tls.ca), cert=str(tls.cert), key=str(tls.key)) if tls else None
    station = sites.Station(id="bench", name=name, brokers=(broker,), data=str(folder / "station"), tls=files)
    return sites.Site(version=1, id="bench", name=name, station=station, point=(point,))


def settings_of(pole: sites.Pole, key: bytes, *, shared: bool) -> dict[str, Any]:
    """What is written to the board of that pole."""
    return {
        "version": 1,
        "pole": pole.id,
        "address": pole.address,
        "key": key.hex(),
        "silent_button": False,
        "link": {"kind": "rs485" if shared else "uart", "baud": BAUD},
        "board": json.loads((data_dir("boards") / "pico.json").read_text(encoding="utf-8")),
    }


class Rig:
    """``async with Rig(folder, poles=1, tls=False) as rig``: in service when it is entered, gone when it is left."""

    def __init__(self, folder: Path, *, poles: int = 1, tls: bool = False) -> None:
        self.folder = folder
        self.tls = certify(folder / "tls") if tls else None
        self.broker = Mosquitto(folder / "broker", self.tls)
        self.site = small_site(folder, poles, self.broker.url, self.tls)
        self.site_file = folder / "site.toml"
        words = [sys.executable, "-m", "safezone"]
        where = ["--site", str(self.site_file)]
        self.station = Child("station", [*words, "station", *where], folder / "station.log")
        self.agent = Child("agent", [*words, "agent", *where, "--point", "point"], folder / "agent.log")
        self.poles: list[LivePole] = []
        self.cable: WatchedCable | None = None
        self._terminal: Terminal | None = None

    async def __aenter__(self) -> Rig:
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            await self._start()
            undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _, keys = layout.write(self.site, self.folder)
        line = self.site.point[0].line[0]
        self.cable = WatchedCable(Path(line.port), shared=line.shared)
        for pole in line.pole:
            settings = settings_of(pole, keys[pole.id], shared=line.shared)
            self.poles.append(LivePole(settings, self.folder / "flash" / pole.id, self.cable))
        await self.broker.start()
        await self.station.start()
        await self.agent.start()
        await asyncio.gather(*(pole.start() for pole in self.poles))
        await self.ready()
        await asyncio.sleep(
            2 * CALM_MS / 1000
        )  # after its start a pole must see a button at rest before a press counts

    def data(self, whose: Literal["agent", "station"]) -> Path:
        """Folder with the database of that one."""
        return self.site.point[0].data_path if whose == "agent" else self.site.station.data_path

    async def ready(self) -> None:
        """Until every lamp says *in service*."""
        try:
            await asyncio.gather(*(pole.wait_look("in_service", READY_TIMEOUT_S) for pole in self.poles))
        except TimeoutError as error:
            dead = next((child for child in (self.agent, self.station) if not child.running), self.agent)
            raise SafezoneError(f"the bench's site is not ready: {error}; {dead.name}: {dead.last_words()}") from None

    async def stop(self) -> None:
        """End every process."""
        if self._terminal is not None:
            await self._terminal.__aexit__(None, None, None)
        await asyncio.gather(*(pole.stop() for pole in self.poles), self.agent.stop(), self.station.stop())
        await self.broker.stop()
        if self.cable is not None:
            self.cable.close()

    # --- a press

    async def press(self, pole: LivePole, hold_ms: float) -> Stages:
        """Press, and wait until the lamp says *received*."""
        return await self.press_at(pole, time.monotonic(), hold_ms)

    async def press_at(self, pole: LivePole, at: float, hold_ms: float) -> Stages:
        """The same, at that time of time.monotonic(), or as soon as the pole hears of it."""
        seen = Stages(pole)
        try:
            closed, idle = pole.electrics.loop("button", "pressed"), pole.electrics.loop("button", "idle")
            after_ms = max(0.0, at - time.monotonic()) * 1000
            seen.contact = await pole.play([(after_ms, closed), (after_ms + hold_ms, idle)]) + after_ms / 1000
            async with asyncio.timeout(RECEIVED_TIMEOUT_S):
                await seen.wait()
        except TimeoutError:
            raise SafezoneError(f"{pole.name} was pressed and its lamp shows {pole.look}, not received") from None
        finally:
            seen.end()
        return seen

    # --- the officer

    async def close_alarms(self) -> None:
        """Close every open alarm, as tests: incidents and lists stay short, as at a station where somebody works."""
        for _ in range(100):
            views = await self._ask("list", limit=100)
            if not views:
                return
            newest = {view.incident: view.number for view in views}  # closing one covers its incident's
            for alarm in newest.values():
                await self._ask("close", alarm=str(alarm), disposition="test")
        raise SafezoneError("the bench's station still has open alarms after 100 rounds of closing them")

    async def _ask(self, action: str, **fields: str | int) -> tuple[AlarmView, ...]:
        if self._terminal is None:
            tls = mqtt.Tls(self.tls.ca, self.tls.cert, self.tls.key) if self.tls else None
            self._terminal = Terminal(self.site.station.id, self.site.station.brokers, tls)
            await self._terminal.__aenter__()
        request = {"number": "", "officer": "bench", "action": action, **fields}
        answer = await self._terminal.ask(msgspec.convert(request, DeskRequest))
        if answer.error:
            raise SafezoneError(f"the bench's station refuses: {answer.error}")
        return answer.alarms


def broker_words(broker: Mosquitto, tls: Tls | None) -> list[str]:
    """How the bare processes are told of the broker and of the files for TLS."""
    return [broker.url, *([str(tls.ca), str(tls.cert), str(tls.key)] if tls else ["-", "-", "-"])]


async def said(child: Child, word: str, timeout_s: float) -> str:
    """The first line that a process has printed with that word in it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while True:
                running = child.running
                for line in child.log.read_text(encoding="utf-8").splitlines():
                    if word in line:
                        return line
                if not running:
                    break
                await asyncio.sleep(0.01)
    raise SafezoneError(f"{child.name} never said {word}: {child.last_words()}")


class Stages:
    """When the lamp of a pole reached each stage after a contact, in seconds of time.monotonic()."""

    def __init__(self, pole: LivePole) -> None:
        self.contact = 0.0
        self.at: dict[str, float] = {}
        self._changes: list[Change] = []
        self._received = asyncio.Event()
        self.end: Callable[[], None] = pole.subscribe(self._see)

    def _see(self, change: Change) -> None:
        if change.kind != "look":
            return
        self._changes.append(change)
        if change.value == "received":
            self._received.set()

    async def wait(self) -> None:
        """Until *received* after the contact, which is known by now."""
        while True:
            await self._received.wait()
            for change in self._changes:
                if change.t >= self.contact and change.value in STAGES:
                    # The lamp may go from pressed to received in one turn: then it was held by then, too.
                    for stage in STAGES[: STAGES.index(change.value) + 1]:
                        self.at.setdefault(stage, change.t)
            if "received" in self.at:
                return
            self._received.clear()

    def ms(self, stage: str) -> float:
        """Milliseconds from the first contact to that stage."""
        return (self.at[stage] - self.contact) * 1000
