"""A zone of real processes for one test: firmware on a real MicroPython, agents, a broker, the station."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, TypeVar

from sos_contract.errors import SafezoneError, UserError
from sos_contract.payloads import AlarmView
from sos_contract.site import Site, nearest
from sos_sim.live.child import Child
from sos_sim.live.pole_host import Change
from sos_sim.live.zone import Zone
from sos_sim.testing.watch import OFF, Shown, Watch, span
from sos_sim.trace import Row, Trace

Value = TypeVar("Value")
# Anything that is asked of the zone: far beyond a busy machine's worst, so that a test never hangs.
ASK_TIMEOUT_S = 60.0


class LiveZone(Watch):
    """In service when it is there; ``stop`` ends every process. The zone lives in a thread of its own, the test in
    another. ``zone`` is there for who looks closer, in that thread: ``ask(lambda: coroutine)``."""

    def __init__(self, site: Site, folder: Path, timelines: Path) -> None:
        super().__init__(site, site.pole_ids(), timelines)
        self.trace = Trace(keep=True)
        self._began = time.monotonic()
        self._news = threading.Condition()
        self._cut: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live zone", daemon=True)
        self._thread.start()
        with ExitStack() as undo:
            undo.callback(self._end_thread)
            self.zone = self.ask(lambda: self._start(site, folder))
            undo.pop_all()

    async def _start(self, site: Site, folder: Path) -> Zone:
        folder.mkdir(parents=True)
        zone = Zone(site, folder)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(zone.stop)
            await zone.start()
            undo.pop_all()
        for name, pole in zone.poles.items():
            pole.subscribe(self._seen)
            self._seen(Change(name, "look", pole.look, time.monotonic()))
        return zone

    def stop(self) -> None:
        """End every process; nothing is left behind."""
        try:
            self.ask(self.zone.stop)
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ASK_TIMEOUT_S)
        self._loop.close()

    def ask(self, work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Let the zone's thread do that, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(ASK_TIMEOUT_S)

    # --- what is seen

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def rows(self) -> Sequence[Row]:
        return list(self.trace.rows)

    def wait(self, condition: Callable[[], bool], most_s: float) -> bool:
        with self._news:
            return self._news.wait_for(condition, span(most_s))

    def _seen(self, change: Change) -> None:
        if change.kind == "look":
            at_s = max(0.0, change.t - self._began)
            with self._news:
                look = OFF if change.value == "off" else str(change.value)
                self.shown[change.pole].append(Shown(at_s, look))
                self._say(change.pole, "down" if look == OFF else "look", *(["power"] if look == OFF else [look, ""]))
                self._news.notify_all()

    def _say(self, part: str, kind: str, *fields: object) -> None:
        self.trace.say(round(self.now_s * 1e6), kind, part, *fields)

    # --- what people do and what fails

    def press(self, pole: str, ms: int = 150) -> None:
        """A finger closes the contact for so long; comes back when it has closed."""
        self.finger(pole, ms)
        self._say(pole, "finger", 0, "down", 0)
        self.ask(lambda: self.zone.press(pole, ms))

    def cut(self, pole: str) -> None:
        """Cut the cable on which that pole hangs."""
        if self.known(pole) in self._cut:
            raise UserError(f"{pole}: it is cut already")
        self._cut.add(pole)
        self._say(pole, "fault", "wire-cut", "on", "")
        self._call(lambda: self.zone.cut(pole))

    def mend(self, pole: str) -> None:
        """Mend it."""
        if self.known(pole) not in self._cut:
            raise UserError(f"{pole}: it is not cut")
        self._cut.discard(pole)
        self._say(pole, "fault", "wire-cut", "off", "")
        self._call(lambda: self.zone.mend(pole))

    def _call(self, work: Callable[[], object]) -> None:
        async def do() -> None:
            work()

        self.ask(do)

    def down(self, part: str) -> None:
        """``station``, ``broker``, ``agent:POINT`` or a pole is gone: killed, or without power."""
        child = self._child(part)
        self._say(part, "down", "kill")
        self.ask(self.zone.poles[part].power_cut if child is None else child.kill)

    def up(self, part: str) -> None:
        """It is back."""
        child = self._child(part)
        self._say(part, "up", "power_on")
        self.ask(self.zone.poles[part].start if child is None else child.start)

    def _child(self, part: str) -> Child | None:
        """The program of that part; None for a pole. Raises UserError that names the nearest part."""
        children = {"station": self.zone.station, "broker": self.zone.broker}
        children |= {f"agent:{point}": child for point, child in self.zone.agents.items()}
        if part not in children and part not in self.shown:
            raise UserError(f"unknown part '{part}'{nearest(part, (*children, *self.shown))}")
        return children.get(part)

    # --- the officer

    def alarms(self) -> tuple[AlarmView, ...]:
        return self.ask(self.zone.everything)

    def act(self, pole: str, action: str, disposition: str) -> str:
        del disposition  # the live zone's officer closes everything as a test
        try:
            self.ask(lambda: self.zone.officer(pole, action))
        except SafezoneError as error:
            return str(error)
        return ""
