"""Fingers on the buttons of a virtual town."""

from __future__ import annotations

from itertools import accumulate

from sos_sim.faults import Field
from sos_sim.faults.button import BOUNCES


def press(field: Field, pole: str, ms: int, like: str = "clean", button: int = 0) -> None:
    """A finger closes that contact for so long, now; it bounces ``like`` that, or as the button's wear has it."""
    node, loop = field.zone.poles[pole], field.loop
    closing, opening = BOUNCES[field.worn.get(pole, like)]
    hold_us, ends = ms * 1000, _flips(opening, 200_000)
    node.finger(button, True, _flips(closing, hold_us - 500))
    field.finger(pole, button, True)
    loop.after(hold_us, lambda: node.finger(button, False, ends))
    loop.after(hold_us + max(ends, default=0) + 1, lambda: field.finger(pole, button, False))


def _flips(spans_us: tuple[int, ...], within_us: int) -> tuple[int, ...]:
    """Times of an even number of flips after the first contact, none later than that."""
    times = [at_us for at_us in accumulate(spans_us) if at_us <= within_us]
    return tuple(times[: len(times) // 2 * 2])
