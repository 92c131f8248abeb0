"""An outbox on a real SQLite file, driven without a loop: completions come into a list."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sos_agent.core import effects, events
from sos_agent.edge.outbox import Outbox
from sos_agent.edge.reserve import Reserve
from sos_contract.payloads import Identity
from sos_edge.log import Log

E = TypeVar("E")
WAIT_S = 30.0


def small_reserve(folder: Path) -> Reserve:
    """A reserve of four pieces, so that tests do not write 42 MB each."""
    return Reserve(folder, 8 * 1024 * 1024, margin=0)


class Bench:
    """``Outbox`` with ``call_soon`` as a queue that the test empties, so that nothing happens behind its back."""

    def __init__(self, folder: Path, reserve: Callable[[Path], Reserve] = small_reserve) -> None:
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.events: list[events.Event] = []
        self.broken: list[str] = []
        self.outbox = Outbox(
            folder,
            call_soon=self.calls.put,
            deliver=self.events.append,
            broken=self.broken.append,
            log=Log("test", point="p"),
            reserve=reserve,
        )

    def wait(self, count: int = 1) -> list[events.Event]:
        """The next ``count`` completions, in order."""
        while len(self.events) < count:
            self.calls.get(timeout=WAIT_S)()
        taken, self.events[:] = self.events[:count], self.events[count:]
        return taken

    def do(self, effect: effects.StoreEffect, kind: type[E]) -> E:
        """Carry out one effect and take its completion, which must be of ``kind``."""
        self.outbox.carry_out(effect)
        (event,) = self.wait()
        assert isinstance(event, kind), event
        return event


def identity(
    press: int = 1, *, pole: str = "merlin-1", boot: int = 1, incarnation: str = "00000000000000aa"
) -> Identity:
    return Identity(pole=pole, incarnation=incarnation, boot=boot, press=press)


def press(number: int = 1, *, pole: str = "merlin-1", at_ms: int = 5000, repeats: int = 0) -> effects.StoreAlarm:
    return effects.StoreAlarm(identity(number, pole=pole), "press", at_ms, repeats, "boot-a", 70_000 + number)


def notice(
    kind: str = "loop_open", *, on: bool = True, merge: bool = False, pole: str = "merlin-1"
) -> effects.StoreNotice:
    return effects.StoreNotice(pole, kind, on, 0, "boot-a", 80_000, merge=merge)
