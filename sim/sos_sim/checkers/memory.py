"""Bounded memory: nothing in a core grows with time or with what others send.

Every container that can be reached from a core is counted, each kind of place against its own limit; a place that has
none of its own may hold ``USUAL``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from sos_pole.journal import Flash
from sos_sim.checkers.base import Findings, Ground, Town
from sos_sim.trace import Row, Trace

# Desk answers kept and refused alarms remembered: 1,024 each, the largest of the ordinary places.
USUAL = 1_100
# A pole has the heap of a small board: 64 presses that wait, those that count the others, and some room.
OF_A_POLE = 96
# The station's faults, each kind of each pole; and all objects that it has of one.
A_POLE, OBJECTS_A_POLE = 16, 200
# The station's stores under way.
LIMITS = {"_held": 5_000}
MOST_OBJECTS = 50_000
# What a core is made of. All else is the world's, or a message, whose size has its limit.
_OURS = ("sos_pole", "sos_wire", "sos_agent", "sos_station")
# Not looked into: what holds nothing, and the flash beneath a journal, which is the world's, though a class of ours.
_CLOSED = (int, float, str, bytes, type, type(None), Flash)


def sizes(core: object, most: int = MOST_OBJECTS) -> Iterator[tuple[str, int]]:
    """All containers within ``core``: the path of attributes to it, and how many things are in it."""
    seen: set[int] = set()
    todo: list[tuple[str, object]] = [("", core)]
    for _ in range(most):
        if not todo:
            return
        path, thing = todo.pop()
        if id(thing) in seen or isinstance(thing, _CLOSED) or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            yield path, len(thing)
            todo += [(path + "[]", value) for value in thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset, deque)):
            yield path, len(thing)
            todo += [(path + "[]", value) for value in thing]
        elif any(kind.__module__.startswith(_OURS) for kind in type(thing).__mro__):  # a twin may stand for one of ours
            todo += [(f"{path}.{name}", value) for name, value in _attributes(thing)]
    yield "(objects)", most


def _attributes(thing: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)


class Memory:
    """Looks at the end of each phase, when all has been seen."""

    def __init__(self, trace: Trace, town: Town, ground: Ground, findings: Findings) -> None:
        self._poles = frozenset(town.poles)
        self._usual = USUAL + A_POLE * len(town.poles)
        self._most = MOST_OBJECTS + OBJECTS_A_POLE * len(town.poles)
        self._ground = ground
        self._findings = findings
        self.largest = 0
        trace.listen("phase", self._phase)

    def finish(self, now_us: int) -> None:
        """The last look."""
        self._look(now_us)

    def _phase(self, row: Row) -> None:
        self._look(row.at_us)

    def _look(self, now_us: int) -> None:
        for part, core in self._ground.cores():
            usual = OF_A_POLE if part in self._poles else self._usual
            for path, size in sizes(core, self._most):
                self.largest = max(self.largest, size)
                if size > LIMITS.get(path.rsplit(".", 1)[-1], usual):
                    self._findings.tell("stuck", now_us, f"{size} things in {path.lstrip('.')}: memory grows", part)
