"""Promise 2, never a lie, at the station: what the officer's screen says is true, a late alarm is shown with its age.

- Each alarm on a screen is in the inbox, at a stage that was true at some time between question and answer. (A terminal
  shows no answer that took longer than 10 s; so that is how old a truth may be.)
- An age is right to within 3 s and one percent: ages are shown in seconds, and a pole has a crystal. It is never older
  than the truth. It may be younger by the way from agent to station, which can only be measured where both clocks are
  set: where one is not, or the network is slow, the age is that at which the agent sent it.
- An age across restarts is reckoned by wall clocks, so that one that is wrong makes it wrong: nobody can know better
  while a clock fault lasts, nor of a press from within 5 min after it (its boot may have been heard before only).
- An alarm that is older than 60 s when it is received is *late*. The same margins hold.
- *unknown* may stand for an age at any time: it claims nothing. (Where it stands without need, ``figures`` count it.)
"""

from __future__ import annotations

from sos_sim.checkers.base import Findings, seconds
from sos_sim.checkers.ledger import Ledger, Press, bare
from sos_sim.trace import Row, Trace

SHOWN_WITHIN_US = 10_000_000
LATE_US = 60_000_000
AGE_US, AGE_PART = 3_000_000, 0.01
# What slows the way from agent to station, or makes it unmeasurable, while it lasts and for as long as a message waits.
_SLOWS = ("broker-", "network-", "station-", "agent-clock", "attack-", "agent-")
_WAY_US = 120_000_000
_CLOCKS = ("agent-clock", "station-clock")
_CLOCK_US = 300_000_000


class Screens:
    """Hears what the station commits and what officers are shown."""

    def __init__(self, trace: Trace, findings: Findings, ledger: Ledger) -> None:
        self._findings = findings
        self._ledger = ledger
        self._slow: set[tuple[str, str]] = set()
        self._slow_until_us = -_WAY_US
        self._clocks = 0  # that are wrong now
        self._clock_us = -_CLOCK_US  # when one was last
        self.unknown = 0
        trace.listen("received", self._received)
        trace.listen("screen", self._screen)
        trace.listen("fault", self._fault)

    def finish(self, _now_us: int) -> None:
        """All is judged as it comes."""

    def _fault(self, row: Row) -> None:
        name = str(row.fields[0])
        if name.startswith(_CLOCKS):
            self._clocks += 1 if row.fields[1] == "on" else -1
            self._clock_us = row.at_us
        if not name.startswith(_SLOWS):
            return
        self._slow_until_us = row.at_us
        if row.fields[1] == "on":
            self._slow.add((row.part, name))
        else:
            self._slow.discard((row.part, name))

    def _lie(self, row: Row, words: str) -> None:
        self._findings.tell("lied", row.at_us, words, row.part)

    def _straight(self, at_us: int) -> bool:
        """Whether the way from agent to station is and was as it should be."""
        return not self._slow and at_us - self._slow_until_us > _WAY_US

    def _received(self, row: Row) -> None:
        identity, _, _, _, _, age_ms, late = row.fields[:7]
        press = self._ledger.find(str(identity), row.at_us)
        if press is None or row.fields[1] == "duplicate":
            return
        self._age(row, press, age_ms)
        true_us = row.at_us - press.minted_us
        if not late and (age_ms is None or (self._straight(row.at_us) and true_us > LATE_US + _margin(true_us))):
            self._lie(row, f"alarm {identity} is {seconds(true_us)} old and not called late")

    def _age(self, row: Row, press: Press, age_ms: object) -> None:
        if age_ms is None:
            self.unknown += 1
            return
        assert isinstance(age_ms, int)
        if self._clocks or press.minted_us < self._clock_us + _CLOCK_US:
            return
        true_us = row.at_us - press.minted_us
        error_us = age_ms * 1000 - true_us
        if error_us > _margin(true_us) or (error_us < -_margin(true_us) and self._straight(row.at_us)):
            self._lie(row, f"alarm {press.identity} is {seconds(true_us)} old and said to be {seconds(age_ms * 1000)}")

    def _screen(self, row: Row) -> None:
        shown = row.fields[0]
        assert isinstance(shown, tuple)
        for identity, stage, age_ms, _late in shown:
            press = self._ledger.presses.get(bare(identity))
            if press is None or press.received_us is None:
                self._lie(row, f"shows alarm {identity}, which no inbox has")
                continue
            if stage not in press.stage_at(row.at_us - SHOWN_WITHIN_US, row.at_us):
                true = press.stages[-1][1]
                self._lie(row, f"shows alarm {identity} as {stage}, and it is {true}")
            self._age(row, press, age_ms)


def _margin(true_us: int) -> int:
    return AGE_US + round(true_us * AGE_PART)
