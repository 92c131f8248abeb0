"""The point's own button, beacon and siren on GPIO: a pole like any other, whose cable is memory.

The same debounce, journal and link as in the pole's firmware, so the same promises. The pin's level is what counts:
edges only wake the sampler, because kernels lose trailing edges and bounce times swallow presses. While anything moves,
the level is read every 2 ms as on the board; at rest every 100 ms, so that a level of whose edge nobody told is found.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sos_agent.edge.record import Recorder
from sos_agent.edge.setup import LOCAL_ADDRESS, LOCAL_BAUD
from sos_contract.site import Button
from sos_edge.files import replace
from sos_edge.log import Log
from sos_pole.journal import SECTOR, Flash, Journal
from sos_pole.pole import Pole
from sos_pole.runs import BLIND_MS, IDLE, PRESSED, SAMPLE_MS, Runs
from sos_pole.senses import Readings
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.ticks import TICKS_MASK

REST_MS = 100  # ten looks a second cost 0.15 % of a core; a finger's press lasts longer even if its edge gets lost
CALM_MS = 300  # longer than the debounce's 250 ms of release: until then it needs every sample
RETRY_S = 10.0  # after the pins could not be had
FLASH_BYTES = 4 * SECTOR  # two banks of two sectors: 64 presses and room


class FileFlash(Flash):
    """The journal's flash in a file: programming clears bits only and is on disk before it returns."""

    def __init__(self, path: Path, size: int = FLASH_BYTES) -> None:
        """A file of another size is moved aside. Raises OSError if it cannot be written."""
        self.size = size
        if path.exists() and path.stat().st_size != size:
            path.rename(path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}"))
        if not path.exists():
            replace(path, b"\xff" * size)  # whole or not at all: on a full disk it is tried every RETRY_S
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def read(self, address: int, count: int) -> bytes:
        return os.pread(self._fd, count, address)

    def program(self, address: int, data: bytes) -> None:
        old = self.read(address, len(data))
        os.pwrite(self._fd, bytes(a & b for a, b in zip(old, data, strict=True)), address)
        os.fdatasync(self._fd)

    def erase(self, address: int) -> None:
        assert address % SECTOR == 0
        os.pwrite(self._fd, b"\xff" * SECTOR, address)
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class Contact:
    """Makes runs of looks at a pin. ``runs`` is emptied by whoever took them (``count = 0``)."""

    def __init__(self, now_ms: int, level: int) -> None:
        self.runs = Runs()
        self.blind_ms = 0
        self._at_ms = now_ms
        self._level = level
        self._moved_ms = now_ms
        self._edge_ms: int | None = None

    def edge(self, now_ms: int) -> None:
        """There was an edge: from the first one on the old level is no longer certain. The last look saw older ones."""
        if self._edge_ms is None and now_ms > self._at_ms:
            self._edge_ms = now_ms
        self._moved_ms = now_ms

    def look(self, level: int, now_ms: int) -> None:
        """The pin has this level now. The time since the last look is given to the level that it had.

        Up to an edge it is the old one's, after it the new one's. A change without an edge after a hole makes the hole
        IDLE: it never turns a touch into a press.
        """
        ms = now_ms - self._at_ms
        edge_ms, self._edge_ms = self._edge_ms, None
        if ms <= 0:
            self._edge_ms = edge_ms
            return
        if level == self._level and edge_ms is None:
            self._add(level, ms)
        elif edge_ms is not None and level != self._level:
            before_ms = min(max(edge_ms - self._at_ms, 0), ms)
            self._add(self._level, before_ms)
            self._add(level, ms - before_ms)
        elif ms <= BLIND_MS:
            self._add(level, ms)
        else:
            # There and back, or a change of which nobody told: nobody looked long enough to say more.
            self._add(IDLE, ms - SAMPLE_MS)
            self._add(level, SAMPLE_MS)
            self.blind_ms += ms - SAMPLE_MS
        if level != self._level:
            self._moved_ms = now_ms
        self._level, self._at_ms = level, now_ms

    def rests(self, now_ms: int) -> bool:
        """Nothing moved for a while."""
        return now_ms - self._moved_ms >= CALM_MS

    def _add(self, level: int, ms: int) -> None:
        if ms > 0 and not self.runs.add(level, ms):
            self.blind_ms += ms


def _lgpio_errors() -> tuple[type[Exception], ...]:
    """lgpio's own error derives from nothing that could be caught without naming it."""
    found = getattr(sys.modules.get("lgpio"), "error", None)
    return () if found is None else (found,)


class Pins:
    """The three pins, by gpiozero. ``factory`` is injected; None: lgpio, or what GPIOZERO_PIN_FACTORY names."""

    def __init__(self, button: Button, factory: Any = None) -> None:  # noqa: ANN401 - gpiozero has no types
        """Raises OSError with the reason in words if the pins cannot be had."""
        import gpiozero

        self._had: list[Any] = []  # the last one is let go of first

        def take(kind: Any, gpio: int | None, **how: Any) -> Any:  # noqa: ANN401
            if gpio is None:
                return None
            self._had.append(kind(gpio, pin_factory=factory, **how))
            return self._had[-1]

        try:
            if factory is None and "GPIOZERO_PIN_FACTORY" not in os.environ:
                from gpiozero.pins.lgpio import LGPIOFactory

                factory = LGPIOFactory()
                self._had.append(factory)
            self._button = take(gpiozero.Button, button.gpio, pull_up=True, bounce_time=None)
            self._beacon = take(gpiozero.DigitalOutputDevice, button.beacon_gpio)
            self._siren = take(gpiozero.DigitalOutputDevice, button.siren_gpio)
        except ImportError as error:
            raise OSError(f"{error}; install safezone[pi]") from None
        except (OSError, ValueError, gpiozero.GPIOZeroError, *_lgpio_errors()) as error:
            self.close()
            why = str(error) or type(error).__name__
            raise OSError(f"{why}; is this a Raspberry Pi, and is the agent's user in group gpio?") from None

    def watch(self, moved: Callable[[int], None]) -> None:
        """``moved`` is called, in a thread of the library, at each edge, with how long ago the edge was, in ms: a
        process that was stopped hears of it late, the kernel dated it."""

        def told(button: Any) -> None:  # noqa: ANN401
            age_s = button.active_time or button.inactive_time or 0  # one of them is None
            moved(int(max(0, age_s) * 1000))  # below 0: a kernel that dates edges by another clock

        self._button.when_activated = told
        self._button.when_deactivated = told

    def level(self) -> int:
        """PRESSED or IDLE, read now."""
        return PRESSED if self._button.value else IDLE

    def show(self, *, beacon: bool, siren: bool) -> None:
        for device, on in ((self._beacon, beacon), (self._siren, siren)):
            if device is not None:
                device.value = on

    def close(self) -> None:
        while self._had:
            self._had.pop().close()


class OwnButton:
    """A pole in this process; a ``LocalPort`` for the agent. The siren sounds in the rhythm of the pole's sounder."""

    def __init__(
        self,
        pins: Pins,
        flash: Flash,
        key: bytes,
        record: Callable[[int], object] = lambda _level: None,
        failed: Callable[[OSError], object] | None = None,
    ) -> None:
        """``record`` hears each change of the contact's level, as it was looked at; ``failed``, that the flash could
        not be read: nothing is done any more."""
        self._record = record
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._pins = pins
        self._flash = flash
        self._line = PoleLine(False, LOCAL_BAUD, LOCAL_ADDRESS)
        link = PoleLink(LOCAL_ADDRESS, key, os.urandom(32))
        self._pole = Pole(Journal(flash, os.urandom(16)), link, self._line, 1, "power_on")
        self._readings = Readings()
        self._received = bytearray()
        self._heard: Callable[[bytes], None] | None = None
        self._shown = (False, False)
        now_ms = _now_ms()
        self._level = pins.level()
        self._contact = Contact(now_ms, self._level)
        self._step_at_ms = now_ms
        self._pole.start(now_ms & TICKS_MASK)
        self._stopped = False
        self._timer = self._loop.call_soon(self._turn)
        pins.watch(self._moved)

    def open(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard

    def write(self, data: bytes) -> None:
        self._received += data
        self._wake()

    def close(self) -> None:
        self._heard = None
        self._received.clear()

    def stop(self) -> None:
        """Let go of the pins: beacon and siren are off."""
        self._stopped = True
        self._timer.cancel()
        self._pins.close()

    def _moved(self, age_ms: int) -> None:
        # Dated here: the loop may be busy for longer than a press.
        self._loop.call_soon_threadsafe(self._edge, _now_ms() - age_ms)

    def _edge(self, now_ms: int) -> None:
        self._contact.edge(now_ms)
        self._wake()

    def _wake(self) -> None:
        self._timer.cancel()
        if not self._stopped:  # an edge may be on its way from the library's thread
            self._timer = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now_ms = _now_ms()
        contact = self._contact
        level = self._pins.level()
        if level != self._level:
            self._level = level
            self._record(level)
        contact.look(level, now_ms)
        # At rest runs are kept until the pole wants its step, so that a quiet button costs only the looks.
        active = not contact.rests(now_ms)
        if active or self._received or now_ms >= self._step_at_ms:
            try:
                self._step(now_ms)
            except OSError as error:
                if self._failed is None:
                    raise
                self._failed(error)
                return
        due_ms = SAMPLE_MS if active else min(REST_MS, max(1, self._step_at_ms - now_ms))
        self._timer = self._loop.call_later(due_ms / 1000, self._turn)

    def _step(self, now_ms: int) -> None:
        received = bytes(self._received)
        self._received.clear()
        self._readings.blind_ms = self._contact.blind_ms
        out = self._pole.step(now_ms & TICKS_MASK, (self._contact.runs,), received, self._readings)
        self._contact.runs.count = 0
        self._step_at_ms = now_ms + out.wake_ms
        if out.send and self._heard is not None:
            self._loop.call_soon(self._heard, out.send)
        shown = (out.beacon, out.hertz > 0)
        if shown != self._shown:
            self._shown = shown
            self._pins.show(beacon=shown[0], siren=shown[1])


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class OwnButtonKeeper:
    """Opens the own button, tries again while its pins or its journal cannot be had, and hands it to ``add`` once it is
    there. ``drop`` hears that it is there no more, and why."""

    def __init__(
        self,
        button: Button,
        folder: Path,
        key: bytes,
        *,
        add: Callable[[OwnButton], None],
        drop: Callable[[str], object],
        log: Log,
        factory: Any = None,  # noqa: ANN401
        record: Recorder | None = None,
    ) -> None:
        self._button = button
        self._record = record
        self._folder = folder
        self._key = key
        self._add = add
        self._drop = drop
        self._log = log
        self._factory = factory
        self._own: OwnButton | None = None
        self._flash: FileFlash | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open()

    def _open(self) -> None:
        try:
            pins = Pins(self._button, self._factory)
        except OSError as error:
            self._fail(f"GPIO not usable: {error}")
            return
        record = (lambda _level: None) if self._record is None else partial(self._record.level, self._button.id)
        flash = None
        try:
            flash = FileFlash(self._folder / f"{self._button.id}.journal")
            self._own = OwnButton(pins, flash, self._key, record, self._lose)
        except OSError as error:  # to open it is to read it: a bad sector of it must not end the poles' agent
            pins.close()
            if flash is not None:
                flash.close()
            self._fail(f"journal not usable: {error}")
            return
        self._flash = flash
        self._log.outage_over("gpio", "own button is there", pole=self._button.id)
        self._add(self._own)

    def _lose(self, error: OSError) -> None:
        """It was open, and a sector of its journal has gone bad, or the disk: the poles' agent goes on."""
        self._let_go()
        self._fail(f"journal not usable: {error}")
        self._drop(str(error))

    def _fail(self, why: str) -> None:
        self._log.outage("gpio", "own button out of service", level="error", pole=self._button.id, why=why)
        self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._open)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()

    def _let_go(self) -> None:
        if self._own is not None:
            self._own.stop()
        if self._flash is not None:
            self._flash.close()
        self._own = self._flash = None
