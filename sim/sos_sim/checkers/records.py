"""Never a lie, later: whatever befell a town, the ledgers of station and agents hold, and their tables say the same."""

from __future__ import annotations

from sos_sim.checkers.base import Findings, Ground


class Records:
    """Looks at the end of a run: a record once written stays, so that a gap would be there still."""

    def __init__(self, ground: Ground, findings: Findings) -> None:
        self._ground = ground
        self._findings = findings

    def finish(self, now_us: int) -> None:
        """The run is over: every record must hold."""
        for part, words in self._ground.ledgers():
            self._findings.tell("lied", now_us, f"its ledger does not hold: {words}", part)
