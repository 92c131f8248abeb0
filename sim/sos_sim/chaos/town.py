"""The live town of a campaign: the zone, a real broker, a path for each program, disks; and what is done to them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_contract.site import Site
from sos_sim.bench.broker import Mosquitto
from sos_sim.chaos.disks import Disks, make_disks
from sos_sim.chaos.plan import Act, line_name
from sos_sim.chaos.resources import POLE
from sos_sim.chaos.witness import Witness
from sos_sim.live.child import Child
from sos_sim.live.network import FAIR, HOST, Weather
from sos_sim.live.network import Path as NetPath
from sos_sim.live.spoil import Spoil
from sos_sim.live.wire import Cable
from sos_sim.live.zone import Zone

TORN_WITHIN_S = 3.0  # an armed power cut waits for a write to the flash; then the power goes all the same
RESTART_S = 2.0  # as systemd's RestartSec= in agent/systemd
GREEDY_S = 0.2
_LAG_STEP_S, _LAMPS_STEP_S = 0.05, 0.5
_BOUNCE_MS = (1.5, 1.0)
_DEAF = ("mute_up", "mute_down", "refuse", "hole")


class Town:
    """``async with Town(site, folder) as town``: in service when it is entered, gone when it is left."""

    def __init__(self, site: Site, folder: Path, *, disks: Callable[..., Disks] = make_disks, bug: str = "") -> None:
        """``bug``: one to plant in agents and station, which is then to be found."""
        self.site = site
        self.folder = folder
        self.broker = Mosquitto(folder / "broker", None)
        self.paths: dict[str, NetPath] = {}
        self.deaths: list[tuple[float, str, str]] = []  # programs that ended by themselves, with their last words
        self.kills = self.stops = self.torn = self.presses = 0
        self._make_disks = disks
        self._bug = bug
        self.down: set[str] = set()  # programs that are meant to be down
        self._starved: set[str] = set()  # whose disk is full, or was a moment ago
        self._undo = contextlib.AsyncExitStack()
        self._chores: list[asyncio.Task[None]] = []
        self._names = 0
        self._do: Mapping[str, Callable[[Act], Awaitable[None]]] = {
            "kill": self._kill, "tear": self._tear, "stop": self._stop, "wire": self._wire, "cut": self._cut,
            "unplug": self._unplug, "net": self._net, "disk": self._disk, "officer": self._officer,
            "press": self._press,
        }  # fmt: skip

    async def __aenter__(self) -> Town:
        async with contextlib.AsyncExitStack() as undo:
            await self._start(undo)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._undo.aclose()

    async def _start(self, undo: contextlib.AsyncExitStack) -> None:
        programs = ["station", *(point.id for point in self.site.point)]
        self.disks = self._make_disks({name: self.folder / name for name in programs}, self._pid)
        undo.callback(self.disks.close)
        for program in programs:
            path = self.paths[program] = NetPath(self.broker.port)
            await path.start()
            undo.push_async_callback(path.stop)
        undo.push_async_callback(self.broker.stop)
        await self.broker.start()
        via = {program: f"mqtt://{HOST}:{path.port}" for program, path in self.paths.items()}
        self.zone = Zone(self.site, self.folder, broker=self.broker.url, via=via)
        undo.push_async_callback(self.zone.stop)
        for child in (self.zone.station, *self.zone.agents.values()) if self._bug else ():
            python, minus_m, *words = child.command
            child.command = [python, minus_m, "sos_sim.chaos.bugged", self._bug, *words]
        await self.zone.start()
        self.children: dict[str, Child] = {"station": self.zone.station, "broker": self.broker.child}
        self.children |= {f"agent:{point}": child for point, child in self.zone.agents.items()}
        self.lines = {
            line_name(point.id, number): self.zone.cables[line.pole[0].id]
            for point in self.site.point
            for number, line in enumerate(point.line)
        }
        self.witness = Witness(self.site, self.folder, self.zone.poles, self.zone.journal)
        self._chores = [
            asyncio.ensure_future(chore) for chore in (self._watch_lag(), self._watch_lamps(), self._supervise())
        ]
        undo.push_async_callback(self._end_chores)

    async def _end_chores(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    def _pid(self, program: str) -> int:
        child = self.children["station" if program == "station" else f"agent:{program}"]
        return child.pid if child.running else 0

    def pids(self) -> dict[str, int]:
        """Everything that runs, by name."""
        found = {name: child.pid for name, child in self.children.items() if child.running}
        return found | {f"{POLE}{name}": pole.pid for name, pole in self.zone.poles.items() if pole.running}

    # --- chores

    async def _watch_lag(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LAG_STEP_S)
            now = time.monotonic()
            late_s = now - before - _LAG_STEP_S
            if late_s > _LAG_STEP_S:
                self.witness.seen.lag.samples.append((now, late_s))

    async def _watch_lamps(self) -> None:
        while True:
            await asyncio.sleep(_LAMPS_STEP_S)
            self.witness.look_for_stale(time.monotonic())

    async def _supervise(self) -> None:
        """As systemd does: who ended by itself is started again."""
        while True:
            await asyncio.sleep(RESTART_S)
            for name, child in self.children.items():
                if name in self.down or child.running:
                    continue
                if name.removeprefix("agent:") not in self._starved:
                    self.deaths.append((time.monotonic(), name, child.last_words()))
                await child.start()

    # --- acts

    async def act(self, act: Act) -> None:
        """Carry that out, to its end."""
        await self._do[act.what](act)

    def _gone(self, part: str, why: str, gone: bool) -> None:
        change = self.witness.seen.outages.begin if gone else self.witness.seen.outages.end
        change(part, why, time.monotonic())

    async def _kill(self, act: Act) -> None:
        self.kills += 1
        if act.where.startswith("pole:"):
            pole = self.zone.poles[act.where.removeprefix("pole:")]
            self._gone(act.where, "power", True)
            await pole.kill()
            await asyncio.sleep(act.for_s)
            await pole.start()
            return
        child = self.children[act.where]
        self.down.add(act.where)
        await child.kill()
        self._gone(act.where, "killed", True)
        if act.arg("disk") == "lost":
            point = act.where.removeprefix("agent:")
            self.witness.remember(point)
            self.disks.lose(point)
        await asyncio.sleep(act.for_s)
        self._gone(act.where, "killed", False)
        await child.start()
        self.down.discard(act.where)

    async def _tear(self, act: Act) -> None:
        self.kills += 1
        pole = self.zone.poles[act.where.removeprefix("pole:")]
        pole.arm_power_cut("program", int(act.number("nth")), int(act.number("byte")))
        try:
            await asyncio.wait_for(pole.wait_off(), TORN_WITHIN_S)
            self.torn += 1
        except TimeoutError:
            self._gone(act.where, "power", True)
            await pole.kill()
        await asyncio.sleep(act.for_s)
        await pole.start()

    async def _stop(self, act: Act) -> None:
        name = act.where.removeprefix("pole:")
        what = self.zone.poles[name] if act.where.startswith("pole:") else self.children[act.where]
        if not what.running:  # it takes its time to come up again
            return
        self.stops += 1
        what.freeze()
        self._gone(act.where, "stopped", True)
        await asyncio.sleep(act.for_s)
        self._gone(act.where, "stopped", False)
        what.thaw()

    async def _wire(self, act: Act) -> None:
        cable = self._cable(act)
        cable.weather(Spoil(**{name: float(value) for name, value in act.args}))
        self._gone(f"weather:{act.where}", "weather", True)
        await asyncio.sleep(act.for_s)
        self._gone(f"weather:{act.where}", "weather", False)
        cable.weather(Spoil())

    def _cable(self, act: Act) -> Cable:
        return self.lines[act.where]

    async def _cut(self, act: Act) -> None:
        cable = self._cable(act)
        cable.cut(None, act.arg("direction"))  # type: ignore[arg-type]  # the plan draws from the very words
        self._gone(f"line:{act.where}", "cut", True)
        await asyncio.sleep(act.for_s)
        self._gone(f"line:{act.where}", "cut", False)
        cable.mend()

    async def _unplug(self, act: Act) -> None:
        cable = self._cable(act)
        cable.unplug()
        self._gone(f"line:{act.where}", "unplugged", True)
        await asyncio.sleep(act.for_s)
        self._gone(f"line:{act.where}", "unplugged", False)
        self._names += 1
        point = act.where.partition("/")[0]
        other = cable.port.path.with_name(f"{point}-again-{self._names}")
        cable.replug(other if act.arg("as") == "other" else None)

    async def _net(self, act: Act) -> None:
        path, (what, value) = self.paths[act.where], act.args[0]
        if what == "reset":
            path.reset()
            return
        await path.become(Weather(**{what: value if what in ("late_s", "bytes_per_s") else True}))  # type: ignore[arg-type]
        part = f"path:{act.where}" if what in _DEAF else f"slow:{act.where}"
        self._gone(part, what, True)
        await asyncio.sleep(act.for_s)
        self._gone(part, what, False)
        await path.become(FAIR)

    async def _disk(self, act: Act) -> None:
        self._starved.add(act.where)
        until = time.monotonic() + act.for_s
        self.disks.fill(act.where)
        self._gone(f"disk:{act.where}", "full", True)
        while time.monotonic() < until:
            await asyncio.sleep(min(GREEDY_S, max(0.0, until - time.monotonic())))
            if act.number("greedy"):
                self.disks.fill(act.where)
        self._gone(f"disk:{act.where}", "full", False)
        self.disks.free(act.where)
        await asyncio.sleep(2 * RESTART_S)
        self._starved.discard(act.where)

    async def _officer(self, act: Act) -> None:
        with contextlib.suppress(SafezoneError):  # nobody answers, or there is nothing to act on
            await self.zone.officer(act.where, str(act.arg("action")))

    async def _press(self, act: Act) -> None:
        """A finger; at a pole without power nothing comes of it."""
        pole, button = self.zone.poles[act.where], str(act.arg("button", "button"))
        ms, task = act.number("ms"), asyncio.current_task()
        assert task is not None
        if not pole.running:
            return
        try:
            at_s = await pole.press(ms, [_BOUNCE_MS] * int(act.number("bounce")), button)
        except (SafezoneError, TimeoutError):
            return
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            return  # the power went before the finger was felt
        self.presses += 1
        kind = "silent_press" if button == "silent" else "press"
        self.witness.touched(act.where, kind, at_s, at_s + ms / 1000, brief=ms < 30)
