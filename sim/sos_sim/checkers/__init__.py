"""Checkers: each holds one promise against everything that happens. They listen to the trace; ``Checkers`` is all of
them."""

from __future__ import annotations

from sos_sim.checkers.base import Finding, Findings, Ground, Town
from sos_sim.checkers.lamp import Lamps
from sos_sim.checkers.ledger import Ledger
from sos_sim.checkers.memory import Memory
from sos_sim.checkers.never_lost import NeverLost
from sos_sim.checkers.never_made_up import NeverMadeUp
from sos_sim.checkers.order import Order
from sos_sim.checkers.progress import Progress
from sos_sim.checkers.prompt import Prompt
from sos_sim.checkers.reach import Reach
from sos_sim.checkers.records import Records
from sos_sim.checkers.screen import Screens
from sos_sim.checkers.supervision import Supervision
from sos_sim.checkers.told import Told
from sos_sim.checkers.touches import Touches
from sos_sim.trace import Trace

__all__ = ["Checkers", "Finding", "Findings", "Ground", "Town"]


class Checkers:
    """All checkers on one trace. The order matters: ledger and reach hear each row first."""

    def __init__(self, trace: Trace, town: Town, ground: Ground) -> None:
        self.findings = Findings()
        self.ledger = Ledger(trace, town)
        self.reach = Reach(trace, town)
        self.touches = Touches(trace, town, ground, self.findings, self.ledger)
        self.never_lost = NeverLost(trace, town, ground, self.findings, self.ledger)
        self.never_made_up = NeverMadeUp(trace, town, self.findings, self.ledger)
        self.lamps = Lamps(trace, town, self.findings, self.ledger)
        self.screens = Screens(trace, town, self.findings, self.ledger)
        self.supervision = Supervision(trace, town, self.findings, self.reach)
        self.prompt = Prompt(trace, town, self.findings, self.ledger, self.reach)
        self.order = Order(trace, town, self.findings, self.ledger, self.reach)
        self.memory = Memory(trace, town, ground, self.findings)
        self.told = Told(trace, town, ground, self.findings, self.reach)
        self.records = Records(ground, self.findings)
        self.progress = Progress(trace, ground, self.findings, self.ledger)

    def finish(self, now_us: int) -> None:
        """The run is over: judge what stands."""
        for checker in (
            self.touches, self.never_lost, self.never_made_up, self.lamps, self.screens, self.supervision, self.prompt,
            self.order, self.memory, self.told, self.records, self.progress,
        ):  # fmt: skip
            checker.finish(now_us)
