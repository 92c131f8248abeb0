"""Promise 2, never a lie, in time: who is lost is said to be lost, within the promised seconds.

- A lamp says *in service* for at most 10 s after its agent surely was gone (stopped, frozen, without power, or one wire
  of the cable cut), and for at most 20 s after no broker could carry anything to the station any more. (One whose
  program hung says it once that goes on, or the watchdog has bitten.) Nor for more than 10 s after a press was offered
  to an agent whose disk takes no write, while nothing else was wrong between them: it has found out then.
- The agent notes a lost pole within 10 s, and the station a lost point within 20 s. (A pole that cannot hear its agent
  is heard by it still, and is not lost to it until it falls silent.) To note it, the agent must itself
  run, have a disk that takes notes and have run for 10 s; the station must see its brokers. (While no broker is up, or
  something is wrong on its own side, it knows nothing of its points, and says so of itself. A replayed or delayed
  message is taken for a sign of life: whoever can publish in a point's name is past the broker's lock.)
- Nobody is called lost while nothing at all was wrong on its path for a minute; and the station calls no point lost
  any more at the end of a phase of progress, when all are well.

The margin is what the world needs for one step: a commit and a frame.
"""

from __future__ import annotations

from collections import Counter

from sos_sim.checkers.base import Findings, Town, seconds
from sos_sim.checkers.reach import Reach
from sos_sim.trace import Row, Trace

AGENT_LOST_US, STATION_LOST_US = 10_000_000, 20_000_000
# A frame of the lamp's news, a step, and a commit of the finding that shares its disk with others.
STEP_US = 200_000
# After its start, or after a broker came back: back-off, a connection that hangs, and a commit.
SIGHT_US = 30_000_000
CALM_US = 60_000_000
# An agent that had no room looks each minute whether there is some again, and only then takes notes.
DISK_US = 90_000_000
_GONE = {
    "link_lost": "agent was gone",
    "station_lost": "station was out of reach",
    "disk_failing": "agent's disk took nothing",
}


class Supervision:
    """Measures each loss at its end; ``longest_us`` are the figures for scenario files."""

    def __init__(self, trace: Trace, town: Town, findings: Findings, reach: Reach) -> None:
        self._town = town
        self._findings = findings
        self._reach = reach
        self._look: dict[str, tuple[str, int]] = dict.fromkeys(town.poles, ("", 0))
        self._hung: set[str] = set()  # poles whose program stands still, and the lamp with it
        self._lost: dict[str, bool] = {}  # pole or point, as it was noted
        self._gone_us: dict[str, int | None] = {}  # since when it should be noted
        self._failing: Counter[str] = Counter()  # point: faults of its disk that take no write
        self._unheld_us: dict[str, tuple[str, int]] = {}  # point -> pole and time of a press that its disk did not take
        self._disk_us: dict[str, int] = {}  # point -> when its disk was last wrong
        self._sight_us = 0  # when something that the notes need was last wrong
        self._told: set[tuple[str, int]] = set()
        self.longest_us = {"link_lost": 0, "station_lost": 0}
        for kind, hear in (
            ("look", self._looks), ("up", self._pole), ("down", self._pole), ("point_lost", self._note),
            ("pole_lost", self._note), ("minted", self._minted), ("held", self._held),
        ):  # fmt: skip
            trace.listen(kind, hear)
        trace.listen("phase", self._phase)
        trace.listen("disk", self._hazy)
        trace.listen("fault", self._hazy)
        trace.listen("fault", self._hang)
        reach.listen(self._judge, self._changed)

    def finish(self, now_us: int) -> None:
        """Judge what stands."""
        self._judge(now_us)

    def _phase(self, row: Row) -> None:
        if row.fields[0] == "end":
            for point in self._town.points:
                if self._lost.get(point):
                    self._findings.tell("lied", row.at_us, f"{point} is called lost still, and it is well", "station")

    # --- lamps

    def _looks(self, row: Row) -> None:
        self._judge_lamp(row.part, row.at_us)
        self._look[row.part] = str(row.fields[0]), row.at_us

    def _pole(self, row: Row) -> None:
        if row.part in self._look:
            self._judge_lamp(row.part, row.at_us)
            self._look[row.part] = "", row.at_us
            self._hung.discard(row.part)

    def _hang(self, row: Row) -> None:
        if row.fields[0] != "pole-hangs":
            return
        self._judge_lamp(row.part, row.at_us)
        if row.fields[1] == "on":
            self._hung.add(row.part)
        elif row.part in self._hung:
            self._hung.discard(row.part)
            self._look[row.part] = self._look[row.part][0], row.at_us + STEP_US

    def _judge_lamp(self, pole: str, now_us: int) -> None:
        look, since_us = self._look[pole]
        if look != "in_service" or pole in self._hung:
            return
        point = self._town.point_of[pole]
        for name, gone_us, bound_us in (
            ("link_lost", self._reach.agent_gone_us[pole], AGENT_LOST_US),
            ("station_lost", self._reach.station_gone_us[point], STATION_LOST_US),
            ("disk_failing", self._unheld_us.get(point, ("", None))[1], AGENT_LOST_US),
        ):
            if gone_us is None:
                continue
            if name in self.longest_us:
                self.longest_us[name] = max(self.longest_us[name], now_us - max(gone_us, since_us))
            if now_us > max(gone_us + bound_us + STEP_US, since_us) and (pole + name, gone_us) not in self._told:
                self._told.add((pole + name, gone_us))
                words = f"in service at {seconds(now_us)}, and its {_GONE[name]} since {seconds(gone_us)}"
                self._findings.tell("lied", gone_us + bound_us, words, pole)

    # --- disks

    def _minted(self, row: Row) -> None:
        point = self._town.point_of[row.part]
        if self._failing[point] and point not in self._unheld_us and self._offers(row.part):
            self._unheld_us[point] = row.part, row.at_us

    def _offers(self, pole: str) -> bool:
        """Whether what is pressed there surely comes to an agent that runs and of which only the disk is ill."""
        point, reach = self._town.point_of[pole], self._reach
        parts = (*self._town.mates[pole], agent := f"agent:{point}")
        return not any(map(reach.is_down, parts)) and all(
            reach.wrong[part] == (self._failing[point] if part == agent else 0) for part in parts
        )

    def _held(self, row: Row) -> None:
        self._unheld_us.pop(row.part, None)

    # --- notes

    def _hazy(self, row: Row) -> None:
        if row.kind == "fault" and row.fields[0] == "agent-disk-failing":
            self._failing[row.part] += 1 if row.fields[1] == "on" else -1
        if str(row.fields[0]).startswith("agent-disk"):
            self._disk_us[row.part] = row.at_us
        if row.part.startswith("station") or str(row.fields[0]).startswith(
            ("broker", "network", "attack-broker", "agent-disk")
        ):
            self._judge(row.at_us)
            self._sight_us = row.at_us
            self._gone_us.clear()

    def _note(self, row: Row) -> None:
        who = str(row.fields[0])
        self._judge(row.at_us)
        lost = row.fields[1] == "on"
        poles = [who] if row.kind == "pole_lost" else [p for p in self._town.poles if self._town.point_of[p] == who]
        # What a full disk did not take is noted once it does, with the time at which it was.
        late = row.at_us - self._disk_us.get(row.part, -DISK_US) < DISK_US
        if lost and not late and all(self._reach.calm_us(pole, row.at_us) > CALM_US for pole in poles):
            self._findings.tell("lied", row.at_us, f"{who} is called lost, and nothing was wrong", row.part)
        self._lost[who] = lost

    def _judge(self, now_us: int) -> None:
        for pole in self._town.poles:
            self._judge_lamp(pole, now_us)
        for who, since_us in self._gone_us.items():
            bound_us = AGENT_LOST_US if who in self._look else STATION_LOST_US
            if since_us is None or self._lost.get(who) or now_us <= since_us + bound_us + STEP_US:
                continue
            if (who, since_us) not in self._told:
                self._told.add((who, since_us))
                words = f"{who} was gone since {seconds(since_us)}, and nobody noted it"
                self._findings.tell("lied", since_us + bound_us, words, who)

    def _changed(self, now_us: int) -> None:
        """What should be noted from now on, and what need not be any more."""
        reach, town = self._reach, self._town
        self._unheld_us = {point: since for point, since in self._unheld_us.items() if self._offers(since[0])}
        for pole in town.poles:
            agent = f"agent:{town.point_of[pole]}"
            gone = not reach.is_down(agent) and (reach.is_down(pole) or reach.unheard(pole))
            since_us = max(now_us, self._disk_us.get(town.point_of[pole], -DISK_US) + DISK_US)
            self._expect(pole, since_us if gone and not reach.wrong[agent] else None)
        sees = not reach.is_down("station") and not any(reach.is_down(f"broker:{b}") for b in town.brokers)
        if not sees or any(
            reach.wrong[part] for part in ("station", "network", *(f"broker:{b}" for b in town.brokers))
        ):
            self._sight_us = now_us
            sees = False
        for point in town.points:
            gone = sees and reach.point_gone_us[point] is not None
            self._expect(point, max(now_us, self._sight_us + SIGHT_US - STATION_LOST_US) if gone else None)

    def _expect(self, who: str, since_us: int | None) -> None:
        if since_us is None or self._gone_us.get(who) is None:
            self._gone_us[who] = since_us
