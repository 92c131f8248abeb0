"""Promise 2, never a lie, at the station: what the officer's screen says is true, a late alarm is shown with its age.

- Each alarm on a screen is in the inbox, at a stage that was true at some time between question and answer, with the
  kind and the repeats of its press; the newest alarm that it names of its incident is one of that pole.
- The list of open incidents leaves none out: of each pole it shows an open alarm if one was open from question to
  answer, and one that waits for an officer if such a one was. What comes first comes first, as ``incidents`` says it.
- An age is right to within 3 s and one percent: ages are shown in seconds, and a pole has a crystal. It is never older
  than the truth. It may be younger by the way from agent to station, which can only be measured where both clocks are
  set: where one is not, or the network is slow, the age is that at which the agent sent it. It is never younger than
  the press was when its agent got it, unless the agent heard its pole late, which makes the boot seem younger.
- An age across restarts is reckoned by wall clocks, so that one that is wrong makes it wrong: nobody can know better
  while a clock fault lasts, nor of a press from within 5 min after it (its boot may have been heard before only).
- An alarm that is older than 60 s when it is received, or of unknown age, is *late*, and no other; its screen says so.
- *unknown* may stand for an age where nobody can know it: of a press that the agent did not get within the boot in
  which it was made, or whose agent has lost its power since; on a screen, where a clock is or was wrong.
"""

from __future__ import annotations

from collections import Counter

from sos_contract.stages import RECEIVED
from sos_sim.checkers.base import Findings, Town, seconds
from sos_sim.checkers.ledger import Ledger, Press, bare
from sos_sim.checkers.reach import part_of
from sos_sim.trace import Row, Trace
from sos_station.core.incidents import queue

LATE_US = 60_000_000
AGE_US, AGE_PART = 3_000_000, 0.01
# What slows the way from agent to station, or makes it unmeasurable, while it lasts and for as long as a message waits.
_SLOWS = ("broker-", "network-", "station-", "agent-clock", "attack-", "agent-")
_WAY_US = 120_000_000
# What lets an agent hear its pole late, and so take a boot for younger.
_STALLS = ("agent-frozen", "agent-disk-", "wire-delay", "pole-deaf", "pole-hangs", "pole-drifts")
_WITHOUT_POWER = ("agent-power-cut", "agent-clock-unset", "agent-disk-lost", "agent-disk-damaged")
_CLOCKS = ("agent-clock", "station-clock")
_CLOCK_US = 300_000_000
# An alarm on a screen, as the trace has it: identity, stage, age, late, kind, number, newest, repeats.
_Line = tuple[str, str, int | None, bool, str, int, int, int]


class Screens:
    """Hears what the station commits and what officers are shown."""

    def __init__(self, trace: Trace, town: Town, findings: Findings, ledger: Ledger) -> None:
        self._town = town
        self._findings = findings
        self._ledger = ledger
        self._slow: set[tuple[str, str]] = set()
        self._slow_until_us = -_WAY_US
        self._clocks = 0  # that are wrong now
        self._clock_us = -_CLOCK_US  # when one was last
        self._knowable: dict[str, bool] = {}  # identity: its agent got it within its boot, and has had power since
        self._told: dict[str, tuple[int | None, bool]] = {}  # identity -> age and late, as the inbox has them
        self._got_us: dict[str, int] = {}  # identity -> when an agent had it first
        self._stalls: Counter[str] = Counter()  # pole -> what lets its agent hear it late now
        self._stalled_us = dict.fromkeys(town.poles, -_WAY_US)  # when something did last
        self._numbers: dict[int, set[str]] = {}  # alarm's number -> the poles that had it, in one inbox or another
        self.unknown = 0
        for kind, hear in (
            ("held", self._held), ("down", self._down), ("received", self._received), ("screen", self._screen),
            ("fault", self._fault),
        ):  # fmt: skip
            trace.listen(kind, hear)

    def finish(self, _now_us: int) -> None:
        """All is judged as it comes."""

    def _fault(self, row: Row) -> None:
        name = str(row.fields[0])
        if name.startswith(_CLOCKS):
            self._clocks += 1 if row.fields[1] == "on" else -1
            self._clock_us = row.at_us
        if name in _WITHOUT_POWER:
            self._forgets(row.part)  # its program may have been down before
        if name.startswith(_STALLS):
            for pole in self._town.poles_behind(part_of(name, row.part)):
                self._stalls[pole] += 1 if row.fields[1] == "on" else -1
                self._stalled_us[pole] = row.at_us
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

    def _held(self, row: Row) -> None:
        press = self._ledger.find(str(row.fields[0]), row.at_us)
        if press is not None and row.fields[1] == "new":
            self._got_us.setdefault(press.identity, row.at_us)
            up_us = self._ledger.up_since_us.get(press.pole)
            self._knowable[press.identity] = up_us is not None and up_us <= press.minted_us and not press.unsaid

    def _down(self, row: Row) -> None:
        """An agent without power loses its time base: what it knew is known by wall clocks alone."""
        if row.fields[0] == "power" and row.part.startswith("agent:"):
            self._forgets(row.part.removeprefix("agent:"))

    def _forgets(self, point: str) -> None:
        for pole in self._town.poles:
            if self._town.point_of[pole] == point:
                self._knowable.update((press.identity, False) for press in self._ledger.by_pole[pole])

    def _received(self, row: Row) -> None:
        identity, verdict, number, _, _, age_ms, late = row.fields[:7]
        press = self._ledger.find(str(identity), row.at_us)
        if press is None or verdict == "duplicate":
            return
        assert isinstance(number, int) and (age_ms is None or isinstance(age_ms, int))
        self._numbers.setdefault(number, set()).add(press.pole)
        self._told[press.identity] = age_ms, bool(late)
        self._age(row, press, age_ms)
        true_us = row.at_us - press.minted_us
        if age_ms is None and self._knowable.get(press.identity):
            self._lie(row, f"alarm {identity} is of unknown age, and its agent knew that it is {seconds(true_us)} old")
        if late != (age_ms is None or age_ms * 1000 > LATE_US):
            self._lie(row, f"alarm {identity}, said to be {_of_age(age_ms)}, is {'' if late else 'not '}called late")
        elif not late and self._straight(row.at_us) and true_us > LATE_US + _margin(true_us):
            self._lie(row, f"alarm {identity} is {seconds(true_us)} old and not called late")

    def _age(self, row: Row, press: Press, age_ms: int | None) -> None:
        if age_ms is None:
            self.unknown += 1
            return
        if self._clocks or press.minted_us < self._clock_us + _CLOCK_US:
            return
        true_us = row.at_us - press.minted_us
        error_us = age_ms * 1000 - true_us
        if error_us > _margin(true_us) or (error_us < -_margin(true_us) and self._straight(row.at_us)):
            self._lie(row, f"alarm {press.identity} is {seconds(true_us)} old and said to be {seconds(age_ms * 1000)}")
            return
        heard_well = not self._stalls[press.pole] and press.minted_us > self._stalled_us[press.pole] + _WAY_US
        least_us = self._got_us.get(press.identity, press.minted_us) - press.minted_us
        if heard_well and age_ms * 1000 < least_us - _margin(least_us):
            words = f"was {seconds(least_us)} old when its agent got it and is said to be {seconds(age_ms * 1000)}"
            self._lie(row, f"alarm {press.identity} {words}")

    def _screen(self, row: Row) -> None:
        shown, asked_for, more, asked_us = row.fields
        assert isinstance(shown, tuple) and isinstance(asked_us, int)
        for identity, stage, age_ms, late, kind, number, newest, repeats in shown:
            press = self._ledger.presses.get(bare(identity))
            if press is None or press.received_us is None:
                self._lie(row, f"shows alarm {identity}, which no inbox has")
                continue
            if stage not in press.stage_at(asked_us, row.at_us):
                true = press.stages[-1][1]
                self._lie(row, f"shows alarm {identity} as {stage}, and it is {true}")
            if (kind, repeats) != (press.kind, press.repeats) and not press.unsaid:
                is_ = f"{press.kind} with {press.repeats} repeats"
                self._lie(row, f"shows alarm {identity} as {kind} with {repeats} repeats, and it is a {is_}")
            for one in (number, newest):
                if press.pole not in self._numbers.get(one, ()):
                    self._lie(row, f"shows alarm {identity} with number {one}, which is none of its pole")
            self._shown_age(row, press, age_ms, late)
        if asked_for == "open" and not more:
            self._complete(row, shown, asked_us)

    def _shown_age(self, row: Row, press: Press, age_ms: int | None, late: bool) -> None:
        told_ms, was_late = self._told[press.identity]
        self._age(row, press, age_ms)
        if age_ms is None and told_ms is not None and not self._clocks and press.minted_us > self._clock_us + _CLOCK_US:
            self._lie(row, f"shows alarm {press.identity} of unknown age, and it was {_of_age(told_ms)} when it came")
        if late != was_late:
            self._lie(row, f"shows alarm {press.identity} as {'late' if late else 'not late'}, and it came otherwise")

    def _complete(self, row: Row, shown: tuple[_Line, ...], asked_us: int) -> None:
        """The list has what was there all the while, in its order."""
        places = [(queue(stage, kind, late), number) for _, stage, _, late, kind, number, _, _ in shown]
        if places != sorted(places):
            self._lie(row, "shows a list whose first is not the one that most needs an officer")
        stages: dict[str, set[str]] = {}
        for identity, stage, *_ in shown:
            stages.setdefault(identity.split("/", 1)[0], set()).add(stage)
        for press in self._ledger.open_at(asked_us):
            seen = stages.get(press.pole, set())
            if not seen:
                self._lie(row, f"shows no alarm of {press.pole}, and {press.identity} is open")
            elif press.stages[-1][1] == RECEIVED and RECEIVED not in seen:
                self._lie(row, f"shows no alarm of {press.pole} that waits, and {press.identity} does")


def _of_age(age_ms: int | None) -> str:
    return "of unknown age" if age_ms is None else f"{seconds(age_ms * 1000)} old"


def _margin(true_us: int) -> int:
    return AGE_US + round(true_us * AGE_PART)
