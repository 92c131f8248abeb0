"""Wrapping milliseconds: a clock of 30 bits, as MicroPython's ``ticks_ms`` on a 32-bit board.

Only differences of less than half the period (6.2 days) mean anything, so every time that is kept here is a deadline
that is looked at within seconds. All values in between stay below 2^30, so that a board makes no big integers of them.
"""

TICKS_MASK = 0x3FFFFFFF
_HALF = 0x20000000


def ticks_diff(a: int, b: int) -> int:
    """How many milliseconds ``a`` is after ``b`` (negative: before), from -2^29 to 2^29 - 1."""
    return (((a - b) & TICKS_MASK) ^ _HALF) - _HALF


def ticks_add(a: int, delta_ms: int) -> int:
    """The tick ``delta_ms`` after ``a``."""
    return ((a & TICKS_MASK) + delta_ms) & TICKS_MASK
