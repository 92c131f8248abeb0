"""The plain pole: a debounced button, and a line on the serial port for each press. Runs on MicroPython only.

On a board the body of ``turn`` stands in a ``while True``; the live pole's host calls it, to collect memory between.
"""

# mypy: ignore-errors
import time

from machine import ADC, UART

BUTTON, BAUD = 26, 115200
PRESSED = (10400, 30000)  # of the loop with its resistor
DEBOUNCE_MS = 30  # as ours
POLL_MS = 1


class Script:
    """All that there is: it knows no identity but a count from 1, and keeps nothing."""

    def __init__(self) -> None:
        self.button = ADC(BUTTON)
        self.uart = UART(0, BAUD)
        self.level = self.pressed = False
        self.since = time.ticks_ms()
        self.presses = 0

    def turn(self, _: object) -> bool:
        """Look at the button once."""
        now = time.ticks_ms()
        level = PRESSED[0] < self.button.read_u16() < PRESSED[1]
        if level != self.level:
            self.level, self.since = level, now
        elif level != self.pressed and time.ticks_diff(now, self.since) >= DEBOUNCE_MS:
            self.pressed = level
            if level:
                self.presses += 1
                self.uart.write(f"press {self.presses}\n")
        return True

    def due_ms(self, _now: int) -> int:
        """When to look again."""
        return POLL_MS


def build() -> tuple:
    """What the host asks for: a board that is turned, and what it turns."""
    return Script(), None
