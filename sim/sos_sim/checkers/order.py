"""In order, per pole: what was pressed first is held first and received first, while nothing is wrong on the way.

A press that waited (in a journal, in an outbox) may be overtaken by one from just now: that is meant. So order is
asked of presses that were made while nothing at all had been wrong between their pole and the station for a while,
and nothing was until the later one was received.
"""

from __future__ import annotations

from sos_sim.checkers.base import Findings, Town
from sos_sim.checkers.ledger import Ledger, Press, bare
from sos_sim.checkers.reach import Reach
from sos_sim.trace import Row, Trace

# Links, connections and passes over the outbox have settled by then.
CALM_US = 60_000_000


class Order:
    """Hears what is held and received."""

    def __init__(self, trace: Trace, town: Town, findings: Findings, ledger: Ledger, reach: Reach) -> None:
        self._town = town
        self._findings = findings
        self._ledger = ledger
        self._reach = reach
        self.compared = 0
        trace.listen("held", self._hear)
        trace.listen("received", self._hear)

    def finish(self, _now_us: int) -> None:
        """All is judged as it comes."""

    def _hear(self, row: Row) -> None:
        press = self._ledger.presses.get(bare(str(row.fields[0])))
        if press is None or row.fields[1] != "new" or press.pole not in self._town.point_of:
            return
        calm_us = self._reach.calm_us(press.pole, row.at_us)
        for earlier in self._before(press):
            if calm_us - CALM_US < row.at_us - earlier.minted_us:
                return
            self.compared += 1
            if (earlier.held_us if row.kind == "held" else earlier.received_us) is None:
                words = f"press {press.identity} is {row.kind} before {earlier.identity}, which was made before it"
                self._findings.tell("lied", row.at_us, words, press.pole)

    def _before(self, press: Press) -> list[Press]:
        """The presses at that pole that came just before."""
        made = self._ledger.by_pole[press.pole]
        index = next((i for i in range(len(made) - 1, -1, -1) if made[i] is press), 0)
        return made[max(0, index - 3) : index][::-1]
