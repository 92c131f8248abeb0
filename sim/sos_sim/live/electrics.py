"""What hangs on the pins of a pole's board, by its pin map: loops and switches in, lamp, sounder and beacon out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Loop = Literal["idle", "pressed", "open", "short"]
Levels = dict[str, int]  # by name: adc<pin> raw 16 bits, pin<number> 0 or 1

_FULL_SCALE = 65535
_SUPPLY_MV = 13200  # a 12 V battery on its charger
_ROOM_C = 27.0
_CORE_TEMPERATURE = "adc4"  # the RP2's own sensor
_ESP32_JOURNAL_BYTES = 65536  # the partition of firmware/README.md
_FULL_DUTY = 65535


@dataclass(frozen=True)
class Seen:
    """What a passer-by sees and hears. ``lamp``: red, green, white in percent; ``sounder``: hertz, 0 is silence."""

    lamp: tuple[int, int, int]
    sounder: int
    beacon: bool


class Electrics:
    """``board``: the pin map as it stands in hardware/boards and in settings.json."""

    def __init__(self, board: Mapping[str, Any]) -> None:
        self._board = board
        self.chip = str(board["chip"])
        low, high, top = board["levels"]
        self._loop: dict[Loop, int] = {  # the middle of the range of each
            "short": low // 2,
            "pressed": (low + high) // 2,
            "idle": (high + top) // 2,
            "open": (top + _FULL_SCALE) // 2,
        }

    @property
    def journal_start(self) -> int:
        """Where the journal begins in the flash, and the file system ends."""
        return int(self._board["journal"].get("start", 0))

    @property
    def flash_bytes(self) -> int:
        """Size of the flash that the firmware can reach."""
        return self.journal_start + int(self._board["journal"].get("len", _ESP32_JOURNAL_BYTES))

    def at_rest(self) -> Levels:
        """Levels of a healthy pole that nobody touches."""
        levels = self.tamper(False) | self.mains(True) | self.supply(_SUPPLY_MV) | self.temperature(_ROOM_C)
        for button in ("button", "silent"):
            if button in self._board:
                levels |= self.loop(button, "idle")
        return levels

    def loop(self, name: str, state: Loop) -> Levels:
        """The supervised loop of ``button`` or ``silent``."""
        if name not in self._board:
            raise ValueError(f"this board has no {name}")
        return {f"adc{self._board[name]['adc']}": self._loop[state]}

    def tamper(self, opened: bool) -> Levels:
        return self._switch("tamper", opened)

    def mains(self, present: bool) -> Levels:
        return self._switch("mains", present)

    def supply(self, millivolts: int) -> Levels:
        where = self._board.get("supply")
        if not where:
            return {}
        return {f"adc{where['adc']}": min(_FULL_SCALE, millivolts * (_FULL_SCALE + 1) // where["full_mv"])}

    def temperature(self, celsius: float) -> Levels:
        """RP2040 datasheet: 0.706 V at 27 degrees, 1.721 mV less a degree, 3.3 V full scale."""
        if self.chip != "rp2":
            return {}
        volts = 0.706 - (celsius - 27.0) * 0.001721
        return {_CORE_TEMPERATURE: round(volts / 3.3 * _FULL_SCALE)}

    def _switch(self, name: str, on: bool) -> Levels:
        where = self._board.get(name)
        if not where or "pin" not in where:
            return {}
        active = int(where.get("active", 1))
        return {f"pin{where['pin']}": active if on else 1 - active}

    def senses(self) -> list[dict[str, Any]]:
        """Currents as the board senses them: which level follows which outputs, and with what values; ``broken`` is the
        level that says that nothing is drawn."""
        lamp = [f"pin{self._board['lamp'][colour]}" for colour in ("red", "green", "white")]
        sounder = [f"pin{self._board['sounder']['pin']}"] if "sounder" in self._board else []
        found = []
        for name, outputs in (("lamp", lamp), ("sounder", sounder)):
            where = self._board.get(f"{name}_sense", {})
            said: dict[str, Any] = {"outputs": outputs, "broken": f"{name}_broken"}
            if "pin" in where:
                active = int(where.get("active", 1))
                found.append(said | {"level": f"pin{where['pin']}", "on": active, "off": 1 - active})
            elif "adc" in where:
                found.append(said | {"level": f"adc{where['adc']}", "on": 2 * int(where["least"]), "off": 0})
        return found

    def seen(self, pins: Mapping[str, int]) -> Seen:
        """From the outputs by name: pin<number> is the duty (65535 full), hz<number> the frequency."""
        lamp = self._board["lamp"]
        red, green, white = (
            round(pins.get(f"pin{lamp[colour]}", 0) * 100 / _FULL_DUTY) for colour in ("red", "green", "white")
        )
        sounder = self._board.get("sounder", {}).get("pin")
        beacon = self._board.get("beacon", {}).get("pin")
        return Seen(
            (red, green, white),
            pins.get(f"hz{sounder}", 0) if pins.get(f"pin{sounder}") else 0,
            bool(pins.get(f"pin{beacon}")),
        )
