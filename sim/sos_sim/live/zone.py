"""A live zone: every pole, cable, agent, broker and the station of a site as real processes, in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sos_contract.errors import SafezoneError
from sos_contract.payloads import AlarmView, DeskAnswer, DeskRequest, FaultView
from sos_contract.resources import data_dir
from sos_contract.site import Line, Point, Pole, Site
from sos_edge import check
from sos_sim.live import layout
from sos_sim.live.child import Child
from sos_sim.live.health import HealthWatch
from sos_sim.live.pole_host import Change, LivePole
from sos_sim.live.wire import Cable
from sos_station.terminal import Terminal

READY_TIMEOUT_S = 30.0  # a site is up in 4 s on an idle machine; a busy one gets a chance
MOST_NOTES = 500
OFFICER = "simulator"
# Looks that say what has become of an alarm; the others say how the pole is.
_STAGES = ("pressed", "held", "received", "accepted", "dispatched", "on_scene", "not_delivered")
# Where the simulator's poles find their pins: the board that the documentation begins with.
BOARD = "pico"


@dataclass(frozen=True)
class Note:
    """A line of the log: something that happened, when, and at which pole (or "" for the zone)."""

    t: float
    wall_s: float
    pole: str
    text: str


@dataclass(frozen=True)
class Row:
    """A pole as the panel shows it. ``rgb`` in percent, as the pins say at this moment.

    ``link``: what its agent tells the station of it: up, lost, or unknown while no agent can be heard.
    """

    pole: str
    look: str
    rgb: tuple[int, int, int]
    sounder: bool
    beacon: bool
    link: str
    cable: bool
    agent: bool
    alarm: str


class Zone:
    """Starts, disturbs and ends a site. All methods belong to one event loop; errors are SafezoneError."""

    def __init__(
        self, site: Site, folder: Path, *, broker: str = "", board: str = BOARD, via: Mapping[str, str] | None = None
    ) -> None:
        """``broker``: the URL of one that runs already; else an embedded one is started. ``via``: the URL under which
        a program reaches it instead, by ``station`` or the point's id."""
        self.folder = folder
        self._own_broker = not broker
        self._kept = None if broker else layout.KeptPort()
        self.broker_url = broker or f"mqtt://127.0.0.1:{self._kept.number if self._kept else 0}"
        self.site = layout.localise(site, folder, self.broker_url)
        self.notes: deque[Note] = deque(maxlen=MOST_NOTES)
        self.poles: dict[str, LivePole] = {}
        self.cables: dict[str, Cable] = {}
        self.agents: dict[str, Child] = {}
        self._point_of: dict[str, str] = {}
        self._cut: set[str] = set()
        self._loop_cut: set[str] = set()
        self._frozen = False
        self._contact: dict[str, float] = {}
        self._last: dict[str, tuple[str, float]] = {}
        self._listeners: list[Callable[[Note], None]] = []
        self._on_contact: list[Callable[[str, float], None]] = []
        self._board = json.loads((data_dir("boards") / f"{board}.json").read_text(encoding="utf-8"))
        port = str(urlsplit(self.broker_url).port or 1883)
        self.broker = self._child("broker", "-m", "sos_sim.live.broker", "--port", port)
        self._via = dict(via or {})
        self.station = self._child("station", "-m", "safezone", "station", "--site", self._site_file("station"))
        for point in self.site.point:
            words = ("-m", "sos_agent", self._site_file(point.id), point.id)
            self.agents[point.id] = self._child(f"agent {point.id}", *words)
        self._terminal: Terminal | None = None
        self._health = HealthWatch(self.site.station.id, self.broker_url)

    def _site_file(self, program: str) -> str:
        return str(self.folder / (f"site-{program}.toml" if program in self._via else "site.toml"))

    def _child(self, name: str, *words: str) -> Child:
        log = self.folder / "logs" / f"{name.replace(' ', '-')}.log"
        return Child(name, [sys.executable, *words], log)

    # --- life

    async def start(self) -> None:
        """Start everything at once; comes back when every lamp says *in service*, and so the station has answered."""
        began = time.monotonic()
        if not self._own_broker:
            why = await check.broker(self.broker_url, f"sos-sim-{os.getpid()}")
            if why:
                raise SafezoneError(why)
        _, keys = layout.write(self.site, self.folder)
        for program, url in self._via.items():
            Path(self._site_file(program)).write_text(layout.dump(layout.reached(self.site, url)), encoding="utf-8")
        if self._own_broker:
            await self.broker.start()
        await self.station.start()
        for point in self.site.point:
            for line in point.line:
                self._lay(point, line, keys)
        self._health.start()
        children = [self.agents[point.id].start() for point in self.site.point]
        await asyncio.gather(*children, *(pole.start() for pole in self.poles.values()))
        await self._ready()
        self.note("", f"in service after {time.monotonic() - began:.1f} s")

    def _lay(self, point: Point, line: Line, keys: dict[str, bytes]) -> None:
        cable = Cable(Path(line.port), baud=line.baud, shared=line.shared)
        for pole in line.pole:
            self._point_of[pole.id] = point.id
            self.cables[pole.id] = cable
            live = LivePole(self._settings(line, pole, keys[pole.id]), self.folder / "flash" / pole.id, cable)
            live.subscribe(self._seen)
            self.poles[pole.id] = live

    @property
    def journal(self) -> dict[str, int]:
        """Where the journal lies in each pole's flash: ``start`` and ``len`` in bytes."""
        return {"start": 0, **self._board["journal"]}

    def _settings(self, line: Line, pole: Pole, key: bytes) -> dict[str, object]:
        return {
            "version": 1,
            "pole": pole.id,
            "address": pole.address,
            "key": key.hex(),
            "silent_button": pole.silent_button,
            "link": {"kind": "rs485" if line.shared else "uart", "baud": line.baud},
            "board": self._board,
        }

    async def _ready(self) -> None:
        waiting = [pole.wait_look("in_service", READY_TIMEOUT_S) for pole in self.poles.values()]
        try:
            await asyncio.gather(*waiting)
        except TimeoutError as error:
            raise SafezoneError(f"the zone is not ready: {error}; {self._suspect()}") from None

    def _suspect(self) -> str:
        children = [self.station, *self.agents.values(), *([self.broker] if self._own_broker else [])]
        for child in children:
            if not child.running:
                return f"{child.name} has ended: {child.last_words()}"
        return f"the station said last: {self.station.last_words()}"

    async def stop(self) -> None:
        """End every process; nothing is left behind."""
        await self._hang_up()
        self._health.close()
        poles = [pole.stop() for pole in self.poles.values()]
        await asyncio.gather(*poles, *(agent.stop() for agent in self.agents.values()), self.station.stop())
        await self.broker.stop()
        if self._kept is not None:
            self._kept.close()
        for cable in set(self.cables.values()):
            cable.close()

    # --- what is seen

    def listen(self, listener: Callable[[Note], None]) -> None:
        """``listener`` is told each note."""
        self._listeners.append(listener)

    def on_contact(self, listener: Callable[[str, float], None]) -> None:
        """``listener`` is told pole and time of each first contact."""
        self._on_contact.append(listener)

    def note(self, pole: str, text: str, t: float = 0.0) -> None:
        """Write a line into the log; ``t`` in seconds of time.monotonic(), now by default."""
        now = time.monotonic()
        t = t or now
        note = Note(t, time.time() - (now - t), pole, text)
        self.notes.append(note)
        for listener in self._listeners:
            listener(note)

    def _seen(self, change: Change) -> None:
        pole = change.pole
        if change.kind == "look":
            since = self._contact.get(pole)
            after = ""
            if since is not None and change.value in _STAGES:
                after = f"  {(change.t - since) * 1000:.0f} ms after contact"
                self._last[pole] = (str(change.value), change.t)
            self.note(pole, f"lamp {str(change.value).replace('_', ' ')}{after}", change.t)
            if change.value == "in_service":
                self._contact.pop(pole, None)
        elif change.kind in ("crash", "repl"):
            self.note(pole, f"{change.kind} {change.value or ''}", change.t)
        elif change.kind == "power":
            self.note(pole, "power on" if change.value else "power off", change.t)

    def rows(self) -> list[Row]:
        """One a pole, in the order of the site file."""
        return [
            Row(
                pole=name,
                look=pole.look,
                rgb=pole.lamp,
                sounder=pole.sounder > 0,
                beacon=pole.beacon,
                link=self._health.link(name),
                cable=name not in self._cut,
                agent=self.agents[self._point_of[name]].running,
                alarm=self._last_alarm(name),
            )
            for name, pole in self.poles.items()
        ]

    def _last_alarm(self, pole: str) -> str:
        if pole not in self._last:
            return ""
        stage, t = self._last[pole]
        return f"{stage.replace('_', ' ')}, {time.monotonic() - t:.0f} s ago"

    def link(self, pole: str) -> str:
        """What its agent tells of that pole's link: up, lost, or unknown while no agent can be heard."""
        return self._health.link(pole)

    async def lose_link(self, pole: str, timeout_s: float) -> None:
        """Until the agent has told that the pole's link is lost. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self._health.link(pole) != "lost":
                await asyncio.sleep(0.05)

    def services(self) -> dict[str, str]:
        """State of broker and station in a word."""
        broker = "elsewhere" if not self._own_broker else "up" if self.broker.running else "down"
        station = "down" if not self.station.running else "frozen" if self._frozen else "up"
        return {"broker": broker, "station": station}

    def point_of(self, pole: str) -> str:
        """The reporting point at which a pole hangs."""
        self.site.find_pole(pole)
        return self._point_of[pole]

    # --- what is done to it

    async def press(self, pole: str, hold_ms: float = 200.0) -> float:
        """Press a pole's button; when the contact closed first, in seconds of time.monotonic()."""
        contact = await self.poles[pole].press(hold_ms)
        self._contact[pole] = contact
        self.note(pole, f"button pressed for {hold_ms:.0f} ms", contact)
        for listener in self._on_contact:
            listener(pole, contact)
        return contact

    async def toggle_cable(self, pole: str) -> None:
        """Cut the pole's wire, or mend it."""
        if pole in self._cut:
            self.mend(pole)
        else:
            self.cut(pole)

    def cut(self, pole: str) -> None:
        """Cut the pole's wire."""
        self._cut.add(pole)
        self.cables[pole].cut(pole)
        self.note(pole, "cable cut")

    def mend(self, pole: str) -> None:
        """Mend the pole's wire."""
        self._cut.discard(pole)
        self.cables[pole].mend(pole)
        self.note(pole, "cable mended")

    async def toggle_loop(self, pole: str) -> None:
        """Cut the loop of the pole's button, or mend it."""
        self._loop_cut ^= {pole}
        broken = pole in self._loop_cut
        self.poles[pole].set_button("open" if broken else "idle")
        self.note(pole, "button loop cut" if broken else "button loop mended")

    async def toggle_power(self, pole: str) -> None:
        """Cut the pole's power, or restore it."""
        live = self.poles[pole]
        await (live.power_cut() if live.running else live.start())

    async def toggle_agent(self, pole: str) -> None:
        """Stop the agent of the pole's point, or start it."""
        await self._toggle(self.agents[self._point_of[pole]])

    async def toggle_station(self) -> None:
        """Stop the station program, or start it."""
        self._frozen = False
        await self._toggle(self.station)

    async def toggle_broker(self) -> None:
        """Stop the broker, or start it."""
        if not self._own_broker:
            raise SafezoneError(f"the broker {self.broker_url} is not ours to stop")
        await self._toggle(self.broker)

    async def toggle_freeze(self) -> None:
        """Freeze the station (SIGSTOP: connected and doing nothing), or thaw it."""
        self._frozen = not self._frozen
        if self._frozen:
            self.station.freeze()
        else:
            self.station.thaw()
        self.note("", f"station {'frozen' if self._frozen else 'thawed'}")

    async def _toggle(self, child: Child) -> None:
        if child.running:
            await child.stop()
        else:
            await child.start()
        self.note("", f"{child.name} {'started' if child.running else 'stopped'}")

    def lose_disk(self, point: str) -> None:
        """The agent's disk is gone; it must not run meanwhile."""
        shutil.rmtree(self.folder / point)
        (self.folder / point).mkdir()
        self.note("", f"disk of agent {point} lost")

    # --- the officer

    async def officer(self, pole: str, action: str) -> None:
        """Carry out ``action`` on the newest open alarm of a pole, as the officer ``simulator``."""
        open_alarms = [alarm for alarm in await self.alarms() if alarm.id.pole == pole]
        if not open_alarms:
            raise SafezoneError(f"{pole} has no open alarm")
        newest = max(open_alarms, key=lambda alarm: alarm.number)
        number = newest.number
        disposition = "test" if action == "close" else ""
        answer = await self._ask(action, alarm=str(number), seen=newest.newest, disposition=disposition)
        self.note(pole, f"! {answer.error}" if answer.error else f"officer: {action} alarm {number}")
        if action == "close" and not answer.error:  # which the lamp shows by being in service
            self._last[pole] = ("closed", time.monotonic())

    async def alarms(self) -> tuple[AlarmView, ...]:
        """The open alarms, as the station tells them to a terminal."""
        return (await self._ask("list", limit=100)).alarms

    async def everything(self) -> tuple[AlarmView, ...]:
        """All alarms, closed ones too."""
        return (await self._ask("list", limit=100, everything=True)).alarms

    async def faults(self) -> tuple[FaultView, ...]:
        """The open faults, as the station tells them to a terminal."""
        return (await self._ask("notices", limit=100)).faults

    async def _ask(self, action: str, **fields: str | int | bool) -> DeskAnswer:
        if self._terminal is None:
            self._terminal = Terminal(self.site.station.id, self.site.station.brokers)
            await self._terminal.__aenter__()
        request = {"number": "", "officer": OFFICER, "action": action, **fields}
        try:
            return await self._terminal.ask(DeskRequest(**request))  # type: ignore[arg-type]
        except SafezoneError:
            await self._hang_up()
            raise

    async def _hang_up(self) -> None:
        if self._terminal is not None:
            await self._terminal.__aexit__(None, None, None)
            self._terminal = None


def desk_words(zone: Zone) -> str:
    """What to type in another terminal to be the officer."""
    return f"{_command()} alarms list --site {zone.folder / 'site.toml'}"


def _command() -> str:
    """What calls this program: its name where the shell finds it, else the way by which it was called."""
    called = sys.argv[0]
    found = shutil.which("safezone")
    if Path(called).name != "safezone" or (found and Path(found).resolve() == Path(called).resolve()):
        return "safezone"
    return called
