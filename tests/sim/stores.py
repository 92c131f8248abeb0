"""The stores' twins on a disk of their own, driven by a loop that the test moves."""

from __future__ import annotations

import random
from typing import Any

from tests.agent.outbox_kit import press
from tests.station.test_edge_inbox import store

from sos_agent.core import effects as fx
from sos_sim.trace import Trace
from sos_sim.world.disk import Disk
from sos_sim.world.inbox import Inbox
from sos_sim.world.loop import Loop
from sos_sim.world.outbox import Outbox
from sos_station.core import effects as sfx
from sos_station.core import events as sev

SECOND_US = 1_000_000
WALL_MS = 1_800_000_000_000


class Stores:
    """``open_outbox`` and ``open_inbox`` begin a new life on the same disks."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = Loop()
        self.trace = Trace(keep=True)
        self.rng = random.Random(seed)
        self.said: list[str] = []
        self.disk = Disk(random.Random(seed + 1), self.said.append)
        self.told: list[Any] = []
        self.broken: list[str] = []

    def open_outbox(self) -> Outbox:
        self.outbox = Outbox(
            self.loop, self.rng, self.disk, self.told.append, trace=self.trace, point="p", broken=self.broken.append
        )
        return self.outbox

    def open_inbox(self) -> Inbox:
        self.inbox = Inbox(self.loop, self.rng, self.disk, self.told.append, trace=self.trace, wall_ms=WALL_MS)
        return self.inbox

    def pass_us(self, span_us: int = SECOND_US) -> list[Any]:
        """Let time pass; what was told meanwhile."""
        self.loop.run(self.loop.now_us + span_us)
        told, self.told[:] = list(self.told), []
        return told

    def do(self, *todo: fx.StoreEffect) -> list[Any]:
        for effect in todo:
            self.outbox.carry_out(effect)
        return self.pass_us()

    def presses(self) -> list[int]:
        """Press numbers in the outbox, waiting or not, in the order of their rows."""
        assert self.disk.file is not None
        return [row[0] for row in self.disk.file.execute("SELECT press FROM alarm ORDER BY rowid")]

    def keep(self, *todo: sfx.StoreEffect) -> list[tuple[Any, Any]]:
        for effect in todo:
            self.inbox.store(effect)
        return results(self.pass_us())


def results(told: list[Any]) -> list[tuple[Any, Any]]:
    """(effect, outcome) of what was committed; (effect, reason) of what was not."""
    found: list[tuple[Any, Any]] = []
    for event in told:
        if isinstance(event, sev.Committed):
            found += event.results
        elif isinstance(event, sev.CommitFailed):
            found += [(effect, event.reason) for effect in event.effects]
    return found


__all__ = ["SECOND_US", "WALL_MS", "Stores", "press", "results", "store"]
