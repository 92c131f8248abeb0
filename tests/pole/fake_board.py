"""A board's modules for CPython: pins, readings and time are variables; what is written is kept."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sos_sim.nor_flash import NorFlash

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "hardware" / "boards"
IDLE_RAW, PRESSED_RAW = 38980, 20900
HEAT_RAW = 14020  # 0.706 V: 27 degrees


class Restarted(Exception):  # noqa: N818  (no error: the board does it)
    """machine.reset was called."""


class FakeBoard:
    """Install with ``install``; then ``build`` does what power does."""

    def __init__(self, folder: Path, name: str = "pico", **changes: Any) -> None:
        self.folder = folder
        self.map: dict[str, Any] = json.loads((BOARDS / f"{name}.json").read_text())
        self.settings = {
            "version": 1,
            "pole": "merlin-1",
            "address": 1,
            "key": "00112233445566778899aabbccddeeff" * 2,
            "link": {"kind": "uart", "baud": 115200},
            "board": self.map,
            **changes,
        }
        self.pins = {10: 0, 11: 1, 12: 1, 18: 1, 21: 1}  # enclosure closed, mains there, lamp and sounder draw
        self.adc = {26: IDLE_RAW, 27: IDLE_RAW, 28: 47_000, 4: HEAT_RAW, 34: IDLE_RAW, 32: 47_000, 33: 30_000}
        self.out: dict[int, int] = {}
        self.sent = b""
        self.come = b""  # bytes that wait in the port
        self.fed = 0
        self.idled = 0
        self.watchdog_ms = 0
        self.now = 1000
        self.cause = 1
        self.flash = NorFlash()
        self.sample: Callable[[object], None] = lambda _: None
        self.timer: object = None

    def install(self, patch: pytest.MonkeyPatch) -> FakeBoard:
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        patch.chdir(self.folder)
        patch.setitem(sys.modules, "machine", self._machine())
        rp2, esp32 = types.ModuleType("rp2"), types.ModuleType("esp32")
        rp2.Flash = lambda start, len: self._device()  # type: ignore[attr-defined]  # noqa: A006
        partition: Any = types.SimpleNamespace(TYPE_DATA=1, find=lambda kind, label: [self._device()])
        esp32.Partition = partition  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "rp2", rp2)
        patch.setitem(sys.modules, "esp32", esp32)
        patch.setattr(time, "ticks_ms", lambda: self.now & 0x3FFFFFFF, raising=False)
        patch.setattr("os.statvfs", lambda path: (4096, 4096, 300))
        return self

    def build(self) -> tuple[Any, Any]:
        """What the board does with power: main.build, from the file as it is."""
        spec = importlib.util.spec_from_file_location("pole_main", ROOT / "firmware" / "main.py")
        assert spec and spec.loader
        main = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(main)
        board, pole = main.build()
        return board, pole

    def run(self, board: Any, pole: Any, ms: int) -> bool:
        """Turns of the loop, a millisecond each; False as soon as one gives the board to the REPL."""
        for _ in range(ms):
            if self.now % 2 == 0:
                self.sample(None)
            if not board.turn(pole):
                return False
            self.now += 1
        return True

    def lamp(self) -> tuple[int, ...]:
        """Percent of red, green, white."""
        return tuple(round(self.out.get(pin, 0) * 100 / 65535) for pin in (13, 14, 15))

    def _device(self) -> Any:
        flash = self.flash

        def read(block: int, into: bytearray, offset: int) -> None:
            into[:] = flash.read(block * 4096 + offset, len(into))

        def write(block: int, page: bytes, offset: int) -> None:
            assert len(page) == 256 and offset % 256 == 0, "the chip programs whole pages"
            flash.program(block * 4096 + offset, page)

        def control(operation: int, argument: int) -> int:
            if operation == 6:
                flash.erase(argument * 4096)
            return {4: flash.size // 4096, 5: 4096}.get(operation, 0)

        return types.SimpleNamespace(readblocks=read, writeblocks=write, ioctl=control)

    def _machine(self) -> types.ModuleType:
        machine: Any = types.ModuleType("machine")
        for part in (*self._pins_and_readings(), *self._time_and_cable()):
            setattr(machine, part.__name__, part)
        machine.PWRON_RESET, machine.WDT_RESET = 1, 3
        machine.reset_cause = lambda: self.cause
        return machine  # type: ignore[no-any-return]

    def _pins_and_readings(self) -> tuple[Any, ...]:
        fake = self

        class Pin:
            IN, OUT, PULL_UP = 0, 1, 2

            def __init__(self, number: int, mode: int = 0, pull: int | None = None, value: int | None = None) -> None:
                self.number = number
                if value is not None:
                    fake.out[number] = value

            def value(self, value: int | None = None) -> int:
                if value is not None:
                    fake.out[self.number] = value
                return fake.pins.get(self.number, 1)

        class ADC:
            CORE_TEMP, ATTN_11DB = 4, 3

            def __init__(self, source: Any) -> None:
                self.number = source.number if isinstance(source, Pin) else source

            def read_u16(self) -> int:
                return fake.adc[self.number]

            def atten(self, value: int) -> None:
                assert value == self.ATTN_11DB

        class PWM:
            def __init__(self, pin: Pin) -> None:
                self.number = pin.number

            def freq(self, hertz: int) -> None:
                assert hertz > 0

            def duty_u16(self, duty: int) -> None:
                fake.out[self.number] = duty

        return Pin, ADC, PWM

    def _time_and_cable(self) -> tuple[Any, ...]:
        fake = self

        class UART:
            def __init__(self, number: int, **options: Any) -> None:
                assert {"baudrate", "tx", "rx", "rxbuf", "txbuf"} == set(options)

            def any(self) -> int:
                return len(fake.come)

            def read(self, count: int) -> bytes:
                taken, fake.come = fake.come[:count], fake.come[count:]
                return taken

            def write(self, data: bytes) -> None:
                fake.sent += data

            def flush(self) -> None:
                assert fake.out[2] == 1, "the driver is on while it sends"

        class Timer:
            PERIODIC = 1

            def __init__(self, number: int) -> None:
                fake.timer = number

            def init(self, *, mode: int, period: int, callback: Callable[[object], None]) -> None:
                assert (mode, period) == (self.PERIODIC, 2)
                fake.sample = callback

        class WDT:
            def __init__(self, timeout: int) -> None:
                fake.watchdog_ms = timeout

            def feed(self) -> None:
                fake.fed += 1

        def reset() -> None:
            raise Restarted

        def idle() -> None:
            fake.idled += 1

        return UART, Timer, WDT, reset, idle
