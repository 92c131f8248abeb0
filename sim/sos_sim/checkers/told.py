"""A fault that lasts is reported as a fault: the station's table has it, whatever it is that a pole cannot do any more.

What is cut, shorted, stuck, open or without mains for so long that it must be told stands in the station's table of
faults by the end of the phase. That is asked where the pole ran all the while, nothing but this was wrong between it
and its agent, and the agent had its disk. What was told once may be lost with a disk, or with an inbox that was
restored: nobody offers a notice again. (That nothing stands open that is over, ``Ground.unsettled`` asks.)
"""

from __future__ import annotations

from collections import Counter

from sos_sim.checkers.base import Findings, Ground, Town, seconds
from sos_sim.checkers.reach import Reach, part_of
from sos_sim.trace import Row, Trace

# A notice that is lost on its way the agent makes good from the beats within 8 s, and a commit.
TOLD_US = 10_000_000
# A contact is stuck after 60 s, and by a crystal that is off.
STUCK_US = 62_000_000
_LEVELS = {"open": "loop_open", "short": "loop_short", "pressed": "stuck_button"}
_SENSES = {"tamper": "tamper", "mains_lost": "mains_lost", "supply_mv": "battery_low"}
_OF_THE_POLE = ("button-", "pole-senses")


class Told:
    """Keeps what must have been told, and asks the station's table at the end of each phase."""

    def __init__(self, trace: Trace, town: Town, ground: Ground, findings: Findings, reach: Reach) -> None:
        self._town = town
        self._ground = ground
        self._findings = findings
        self._reach = reach
        self._since_us: dict[tuple[str, str], int] = {}  # pole and kind -> when it began
        self._own: Counter[str] = Counter()  # pole: faults of it that are nothing but to be told
        self._troubled_us = dict.fromkeys(town.poles, 0)  # when something else was last wrong up to its agent
        self._levels: dict[tuple[str, object], str] = {}
        self._due: dict[tuple[str, str], int] = {}  # pole and kind -> when it had to be told at the latest
        self._before: Counter[tuple[str, str]] = Counter()
        self.demanded = 0
        for kind, hear in (
            ("loop", self._loop), ("fault", self._fault), ("up", self._trouble), ("down", self._trouble),
            ("disk", self._disk), ("phase", self._phase),
        ):  # fmt: skip
            trace.listen(kind, hear)

    def finish(self, _now_us: int) -> None:
        """It is asked where a phase ends."""

    def _ends(self, pole: str, kind: str, now_us: int) -> None:
        since_us = self._since_us.pop((pole, kind), None)
        if since_us is None:
            return
        lasts_us = TOLD_US + (STUCK_US if kind == "stuck_button" else 0)
        if now_us - max(since_us, self._troubled_us[pole]) >= lasts_us and self._clear(pole):
            self._due[pole, kind] = now_us
            self.demanded += 1

    def _clear(self, pole: str) -> bool:
        """Whether nothing else is wrong now, from there to its agent."""
        agent = f"agent:{self._town.point_of[pole]}"
        mates = self._town.mates[pole]
        running = not any(self._reach.is_down(part) for part in (*mates, agent))
        return (
            running and not self._reach.wrong[agent] and all(self._reach.wrong[one] == self._own[one] for one in mates)
        )

    def _loop(self, row: Row) -> None:
        button, level = row.fields
        before = _LEVELS.get(self._levels.get((row.part, button), ""), "")
        now = _LEVELS.get(str(level), "")
        self._levels[row.part, button] = str(level)
        if before and before != now:
            self._ends(row.part, before, row.at_us)
        if now:
            self._since_us.setdefault((row.part, now), row.at_us)

    def _fault(self, row: Row) -> None:
        name, on = str(row.fields[0]), row.fields[1] == "on"
        if not name.startswith(_OF_THE_POLE):
            for pole in self._town.poles_behind(part_of(name, row.part)):
                self._troubled_us[pole] = row.at_us
            return
        self._own[row.part] += 1 if on else -1  # as what is wrong there was counted by now
        kind = _SENSES.get(str(row.fields[2]).removeprefix("what "), "") if name == "pole-senses" else ""
        if kind and on:
            self._since_us[row.part, kind] = row.at_us
        elif name == "pole-senses" and not on:
            for one in _SENSES.values():
                self._ends(row.part, one, row.at_us)

    def _trouble(self, row: Row) -> None:
        for pole in self._town.poles_behind(row.part):
            self._troubled_us[pole] = row.at_us

    def _disk(self, row: Row) -> None:
        self._trouble(row)
        if row.fields[0] not in ("lost", "damaged", "restored"):
            return
        poles = self._town.poles if row.part == "station" else self._town.poles_behind(row.part)
        for of_time in (self._since_us, self._due):
            for key in [one for one in of_time if one[0] in poles]:
                del of_time[key]
        if row.part == "station":
            self._before.clear()

    def _phase(self, row: Row) -> None:
        if row.fields[0] != "end":
            return
        told = self._ground.faults_told()
        for (pole, kind), at_us in self._due.items():
            if told[pole, kind] <= self._before[pole, kind]:
                words = f"{kind} stood until {seconds(at_us)}, and the station was never told"
                self._findings.tell("stuck", row.at_us, words, pole)
        self._due.clear()
        self._before = told
