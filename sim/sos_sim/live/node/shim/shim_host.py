"""What the worker calls: build the firmware once, turn it, fire its timers, look after its memory."""

# mypy: ignore-errors
# Runs on MicroPython only; the names that it imports are modules of the interpreter or of board.mjs.
import gc
import time

import machine
import shim_system

_SHORTEST_MS = 1
_made: list = []


def prepare(chip: str, reset_cause: int) -> None:
    """Make the modules of this chip's port."""
    shim_system.install(chip)
    machine._BOOT["cause"] = reset_cause


def build() -> None:
    """Do as the board does at power-on, up to the loop."""
    import main

    _made.extend(main.build())


def turn() -> int:
    """One turn of the firmware's loop. Milliseconds until the next is due; -1 when it wants the prompt."""
    board = _made[0]
    if not board.turn(_made[1]):
        return -1
    return max(_SHORTEST_MS, board.due_ms(time.ticks_ms()))


def fire(number: int, calls: int) -> None:
    """A timer was due so many times."""
    machine._timers[number]._fire(calls)


def collect() -> None:
    """Free memory; it happens when this call is over, at top level."""
    gc.collect()


def used() -> int:
    """Bytes in use."""
    return gc.mem_alloc()
