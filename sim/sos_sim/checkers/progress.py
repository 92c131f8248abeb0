"""Progress: once nothing fails any more, everything that was pressed arrives, and the town is well again, in time.

At the end of each phase of progress (the row ``phase end``) every press that was minted and has no excuse must be in
the inbox, all alarms must be settled, all machines must run and every lamp must be in service (or speak of a press
whose last copy was destroyed: it says for half an hour what was true, since nobody can tell it more). What is not so
is *stuck*, and the finding says where it waits and for what.
"""

from __future__ import annotations

from sos_sim.checkers.base import Findings, Ground, seconds
from sos_sim.checkers.ledger import Ledger
from sos_sim.trace import Row, Trace

# Presses of the last moments are on their way.
FRESH_US = 10_000_000


class Progress:
    """Asks at the end of each phase of progress."""

    def __init__(self, trace: Trace, ground: Ground, findings: Findings, ledger: Ledger) -> None:
        self._ground = ground
        self._findings = findings
        self._ledger = ledger
        self.demanded = 0
        trace.listen("phase", self._phase)

    def finish(self, _now_us: int) -> None:
        """Progress is demanded where a phase of it ends, nowhere else."""

    def stuck(self, now_us: int) -> list[str]:
        """What should have come right by now, each with the reason why it has not."""
        return [*self._waiting(now_us), *self._ground.unsettled(self._ledger.orphans())]

    def _waiting(self, now_us: int) -> list[str]:
        words = []
        for press in self._ledger.outstanding.values():
            if press.excuse or now_us - press.minted_us < FRESH_US:
                continue
            where = self._ground.whereabouts(press.identity)
            if where:
                words.append(f"press {press.identity} of {seconds(press.minted_us)} waits in {', '.join(where)}")
        return words

    def _phase(self, row: Row) -> None:
        if row.fields[0] != "end":
            return
        self.demanded += 1
        for words in self.stuck(row.at_us):
            self._findings.tell("stuck", row.at_us, words, "scenario")
