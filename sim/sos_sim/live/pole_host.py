"""A live pole as the simulator holds it: its power, its inputs, what its pins say, and the cable on which it hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sos_contract.errors import SafezoneError
from sos_pole.lamp import look_of
from sos_sim.live import firmware
from sos_sim.live.control import Event, PoleProcess
from sos_sim.live.electrics import Electrics, Loop
from sos_sim.live.wire import Cable, UsbCable

BOARD_HEAP_BYTES = 243 * 1024  # free after boot on an RP2040
START_TIMEOUT_S = 20.0  # 0.1 s on an idle machine; eight of them on two busy cores take seconds
_MOST_LOG_LINES = 1000
OFF: Literal["off"] = "off"


@dataclass(frozen=True)
class Change:
    """Something that was seen on a pole. ``t``: seconds of time.monotonic(), taken where it happened.

    ``kind`` and ``value``: look (name) · lamp ((r, g, w) in percent) · sounder (hertz) · beacon (bool) ·
    input (levels by name) · started (reset cause) · reset (cause) · crash (text) · repl (None) · flash (the event) ·
    power (bool) · log (line).
    """

    pole: str
    kind: str
    value: Any
    t: float


class LivePole:
    """One pole: one process, one flash file, one end of a cable. All methods belong to one event loop."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        flash: Path,
        cable: Cable | UsbCable,
        *,
        files: Mapping[str, Path] | None = None,
        heap_bytes: int = BOARD_HEAP_BYTES,
        ticks_ms: int = 0,
    ) -> None:
        """``settings``: the board's settings.json. ``files``: the firmware, the installed one by default.

        ``ticks_ms``: what the board's tick counter shows at power-on; it wraps at 2**30.
        """
        self.name = str(settings["pole"])
        self.settings = dict(settings)
        self.flash = flash
        self.cable = cable
        self.electrics = Electrics(settings["board"])
        self.lamp = (0, 0, 0)
        self.look: str = OFF
        self.sounder = 0
        self.beacon = False
        self.log: list[str] = []
        self._files = dict(files or firmware.files())
        self._heap_bytes = heap_bytes
        self._ticks_ms = ticks_ms
        self._usb = settings["link"]["kind"] == "usb"
        self._process = PoleProcess(self._heard)
        self._levels: dict[str, int] = self.electrics.at_rest()
        self._pins: dict[str, int] = {}
        self._subscribers: list[Callable[[Change], None]] = []
        self._answers: dict[int, asyncio.Future[Event]] = {}
        self._asked = 0
        self._boot = 0  # the start that was last seen, 0 while there is none
        self._usb_text = b""
        self._watcher: asyncio.Task[None] | None = None

    # Power

    @property
    def running(self) -> bool:
        return self._process.running

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> None:
        """Switch on; comes back when the firmware has its loop. Raises SafezoneError when it never gets there."""
        if self.running:
            return
        self.cable.attach(self.name, self._from_cable)
        started = asyncio.ensure_future(self.wait_for(lambda c: c.kind in ("started", "crash"), START_TIMEOUT_S))
        process = self._process = PoleProcess(self._heard)
        await process.start(
            {
                "settings": self.settings,
                "files": [[name, str(path)] for name, path in self._files.items()],
                "flash": str(self.flash.absolute()),
                "flash_size": self.electrics.flash_bytes,
                "files_size": self.electrics.journal_start,
                "chip": self.electrics.chip,
                "heap": self._heap_bytes,
                "ticks_ms": self._ticks_ms,
                "inputs": self._levels,
                "senses": self.electrics.senses(),
            }
        )
        self._watcher = asyncio.ensure_future(self._watch(process))
        self._tell("power", True)
        await asyncio.wait({started, self._watcher}, return_when=asyncio.FIRST_COMPLETED)
        why = process.complaint() or "the process ended"
        if started.done() and not started.exception():
            if started.result().kind == "started":
                return
            why = str(started.result().value).splitlines()[-1]
        elif started.done():
            why = f"no sign of life within {START_TIMEOUT_S:.0f} s"
        started.cancel()
        await self.kill()
        raise SafezoneError(f"pole {self.name} did not start: {why}")

    async def stop(self) -> None:
        """Switch off, for good: gently, since nothing is to be proved by it."""
        await self._process.stop()
        await self._ended()

    async def kill(self) -> None:
        """SIGKILL of the process: to the board, its power is gone."""
        await self._process.kill()
        await self._ended()

    def freeze(self) -> None:
        """SIGSTOP: the process stands still, and its lamp as it was."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self.running:
            os.kill(self.pid, signal.SIGCONT)

    async def power_cut(self) -> None:
        """Cut the power now."""
        await self.kill()

    def arm_power_cut(self, during: Literal["program", "erase"] = "program", nth: int = 1, byte: int = 0) -> None:
        """Cut the power inside the ``nth`` flash operation of that kind from now on, behind ``byte`` bytes of it."""
        self._process.send({"op": "power_cut", "during": during, "nth": nth, "byte": byte})

    async def wait_off(self) -> None:
        """Until the power is gone, and everybody has been told."""
        await self._process.wait()
        await self._ended()

    async def restart(self) -> None:
        """Cut the power and give it back."""
        await self.power_cut()
        await self.start()

    async def _ended(self) -> None:
        if self._watcher is not None:
            await self._watcher

    async def _watch(self, process: PoleProcess) -> None:
        await process.wait()
        self.cable.hush(self.name)
        if self.cable.power_cycles_port:
            self.cable.unplug()
        self._pins.clear()
        self._pins_changed(time.monotonic())
        for answer in self._answers.values():
            answer.cancel()
        self._answers.clear()
        self._tell("power", False)

    # Inputs

    def set_button(self, state: Loop) -> None:
        """The SOS button's loop: idle, pressed, open (cut) or short."""
        self._set(self.electrics.loop("button", state))

    def set_silent(self, state: Loop) -> None:
        """The concealed button's loop."""
        self._set(self.electrics.loop("silent", state))

    async def press(
        self, duration_ms: float = 300.0, bounce: Sequence[tuple[float, float]] = (), button: str = "button"
    ) -> float:
        """Press for so long; returns the time of the first contact. The process itself keeps the times.

        ``bounce``: (milliseconds closed, milliseconds open) before it stays closed; part of the duration.
        """
        closed, open_ = self.electrics.loop(button, "pressed"), self.electrics.loop(button, "idle")
        steps, at = [(0.0, closed)], 0.0
        for on_ms, off_ms in bounce:
            steps += [(at + on_ms, open_), (at + on_ms + off_ms, closed)]
            at += on_ms + off_ms
        steps.append((duration_ms, open_))
        return await self.play(steps)

    async def play(self, steps: Sequence[tuple[float, Mapping[str, int]]]) -> float:
        """Levels by name at milliseconds from now; returns the time from which they count."""
        answer = await self._ask({"op": "play", "steps": [[ms, dict(levels)] for ms, levels in steps]})
        for _, levels in steps:
            self._levels.update(levels)
        return float(answer["t0"])

    def set_tamper(self, opened: bool) -> None:
        """The enclosure's switch."""
        self._set(self.electrics.tamper(opened))

    def set_mains(self, present: bool) -> None:
        self._set(self.electrics.mains(present))

    def set_supply(self, millivolts: int) -> None:
        """The battery's voltage."""
        self._set(self.electrics.supply(millivolts))

    def set_temperature(self, celsius: float) -> None:
        self._set(self.electrics.temperature(celsius))

    def set_lamp_broken(self, broken: bool) -> None:
        """A dead lamp draws no current, whatever its pins say."""
        self._set({"lamp_broken": int(broken)})

    def set_sounder_broken(self, broken: bool) -> None:
        """As a dead lamp."""
        self._set({"sounder_broken": int(broken)})

    def _set(self, levels: Mapping[str, int]) -> None:
        self._levels.update(levels)
        self._process.send({"op": "set", "inputs": dict(levels)})

    # What is seen

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """``callback`` is told each change; call what is returned to end it."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    async def wait_for(self, wanted: Callable[[Change], bool], timeout_s: float) -> Change:
        """The next change that is wanted. Raises TimeoutError."""
        found: asyncio.Future[Change] = asyncio.get_running_loop().create_future()

        def look(change: Change) -> None:
            if not found.done() and wanted(change):
                found.set_result(change)

        end = self.subscribe(look)
        try:
            return await asyncio.wait_for(found, timeout_s)
        finally:
            end()

    async def wait_look(self, look: str, timeout_s: float) -> float:
        """Until the lamp shows it; returns when it began to, or now if it does already. Raises TimeoutError."""
        if self.look == look:
            return time.monotonic()
        try:
            return (await self.wait_for(lambda c: c.kind == "look" and c.value == look, timeout_s)).t
        except TimeoutError:
            raise TimeoutError(f"{self.name}: the lamp shows {self.look}, not {look}, after {timeout_s:g} s") from None

    async def stats(self) -> Event:
        """``heap``: bytes in use by the firmware after a collection; ``lost``: received bytes that found no room."""
        return await self._ask({"op": "stats"})

    async def _ask(self, line: Event) -> Event:
        if not self.running:
            raise SafezoneError(f"pole {self.name} is switched off")
        self._asked += 1
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._answers[self._asked] = answer
        self._process.send({**line, "id": self._asked})
        return await asyncio.wait_for(answer, START_TIMEOUT_S)

    def _tell(self, kind: str, value: object, t: float | None = None) -> None:
        change = Change(self.name, kind, value, time.monotonic() if t is None else t)
        for callback in list(self._subscribers):
            callback(change)

    def _heard(self, event: Event) -> None:
        """An event of the process."""
        match event:
            case {"ev": "output", "pins": pins, "t": t}:
                self._pins.update(pins)
                self._pins_changed(t)
            case {"ev": "uart" | "usb" as channel, "hex": data, "t": t}:
                self._sent(channel, bytes.fromhex(data), t)
            case {"ev": "playing" | "stats", "id": number}:
                answer = self._answers.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(event)
            case {"ev": "input", "inputs": levels, "t": t}:
                self._tell("input", levels, t)
            case {"ev": "hush"}:
                self.cable.hush(self.name)
            case {"ev": "started" | "reset" as kind, "cause": cause, "t": t}:
                self._boot = int(event.get("boot", 0))
                self._power_cycled(kind)
                self._tell(kind, cause, t)
            case {"ev": "crash" | "broken" as kind, "text": text, "t": t}:
                self._note(f"{kind}: {text}", t)
                self._tell("crash", text, t)
            case {"ev": kind, "t": t}:
                self._tell(kind, event, t)

    def _power_cycled(self, kind: str) -> None:
        if kind == "reset":
            self._pins.clear()
            self._pins_changed(time.monotonic())
            self.cable.hush(self.name)
        if self.cable.power_cycles_port:
            self.cable.unplug() if kind == "reset" else self.cable.replug()

    def _sent(self, channel: str, data: bytes, t: float) -> None:
        if channel == "uart" or self._usb:
            self.cable.say(self.name, data, t)
            return
        *lines, self._usb_text = (self._usb_text + data).split(b"\n")
        for line in lines:
            self._note(line.decode(errors="replace").rstrip(), t)

    def _note(self, line: str, t: float) -> None:
        self.log.append(line)
        del self.log[:-_MOST_LOG_LINES]
        self._tell("log", line, t)

    def _from_cable(self, data: bytes) -> None:
        if self._usb:
            self._process.send({"op": "usb", "hex": data.hex(), "boot": self._boot})
        else:
            self._process.send({"op": "uart", "hex": data.hex(), "more": self.cable.busy})

    def _pins_changed(self, t: float) -> None:
        """What the pins say now; the look follows from the lamp's colour alone."""
        seen = self.electrics.seen(self._pins)
        for kind, value in (("lamp", seen.lamp), ("sounder", seen.sounder), ("beacon", seen.beacon)):
            if getattr(self, kind) != value:
                setattr(self, kind, value)
                self._tell(kind, value, t)
        look = (look_of(seen.lamp) or self.look) if self.running and any(seen.lamp) else self.look
        if not self.running:
            look = OFF
        if look != self.look:
            self.look = look
            self._tell("look", look, t)
