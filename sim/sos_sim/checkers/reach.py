"""What can surely not be reached, as the rows ``up``, ``down`` and ``fault`` tell it: the truth about who is there.

Only what is certain counts: a cut cable, a machine that does not run, a path on which every packet vanishes in one
direction, a broker that passes nothing on, a station that cannot commit. Loss, noise and slowness leave everything
uncertain, and nothing is claimed while they last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sos_sim.checkers.base import Town
from sos_sim.trace import Row, Trace

# Faults of the scenario whose ``where`` is a pole, and during which its line carries nothing for sure in one direction.
HALF_CUT = "wire-half-cut"
CUTS = ("wire-cut", HALF_CUT, "wire-unplugged")
# Faults whose ``where`` is "host>broker", and during which nothing passes for sure.
PARTITION = "network-cut"
# Faults during which that is so in one direction, so that nothing is answered; or during which a broker, or the
# station, is there and of no use.
HALF_PARTITION = "network-half-cut"
SWALLOWS = "broker-swallows"
UNWRITTEN = ("station-disk-full", "station-disk-failing", "station-disk-hangs")

Hear = Callable[[int], None]


class Reach:
    """``agent_gone_us[pole]``, ``station_gone_us[point]``: since when the pole cannot have an agent, the agent no
    station; None: perhaps it has. ``point_gone_us[point]``: since when nothing of that point can come to the station.
    ``watch`` is called before each change and ``changed`` after it."""

    def __init__(self, trace: Trace, town: Town) -> None:
        self._town = town
        self.agent_gone_us: dict[str, int | None] = dict.fromkeys(town.poles)
        self.station_gone_us: dict[str, int | None] = dict.fromkeys(town.points)
        self.point_gone_us: dict[str, int | None] = dict.fromkeys(town.points)
        line = {pole: (*town.mates[pole], f"agent:{town.point_of[pole]}") for pole in town.poles}
        others = "station", "network", *(f"broker:{broker}" for broker in town.brokers)
        self._way = {pole: (*parts, *others) for pole, parts in line.items()}
        self.station_sees_us: int | None = None  # since when the station surely runs and has all brokers
        self.troubled_us: dict[str, int] = dict.fromkeys(town.poles, 0)  # when something of its path was last wrong
        self.wrong: Counter[str] = Counter()  # what is wrong, by part
        self._down: set[str] = {f"agent:{point}" for point in town.points} | {"station"} | set(town.poles)
        self._down |= {f"broker:{broker}" for broker in town.brokers}
        self._cut: Counter[str] = Counter()  # pole, or host>broker
        self._useless: Counter[str] = Counter()  # host>broker, broker's part, or station
        self._one_way: Counter[str] = Counter()  # pole: cuts of these that leave the way to the agent open
        self._down_only: set[str] = set()
        self._watchers: list[Hear] = []
        self._changed: list[Hear] = []
        for kind, hear in (("up", self._up), ("down", self._gone), ("fault", self._fault), ("disk", self._disk)):
            trace.listen(kind, hear)

    def listen(self, before: Hear, after: Hear) -> None:
        """Call these around each change, with the time."""
        self._watchers.append(before)
        self._changed.append(after)

    def is_down(self, part: str) -> bool:
        """Whether that machine is known not to run."""
        return part in self._down

    def line_cut(self, pole: str) -> bool:
        """Whether the pole's line surely carries nothing in one direction."""
        return any(self._cut[mate] for mate in self._town.mates[pole])

    def unheard(self, pole: str) -> bool:
        """Whether the agent surely hears nothing of that pole. Of one that only cannot hear its agent, it does."""
        return any(self._cut[mate] > self._one_way[mate] for mate in self._town.mates[pole])

    def calm_us(self, pole: str, now_us: int) -> int:
        """For how long nothing at all has been wrong on the way from that pole to the station; 0: something is."""
        parts = self._way[pole]
        if any(part in self._down for part in parts) or any(self.wrong[part] for part in parts):
            return 0
        return now_us - self.troubled_us[pole]

    def _change(self, at_us: int, part: str, change: Callable[[], object]) -> None:
        for watch in self._watchers:
            watch(at_us)
        change()
        for pole in self._town.poles:
            if part in self._way[pole]:
                self.troubled_us[pole] = at_us
            gone = f"agent:{self._town.point_of[pole]}" in self._down or self.line_cut(pole)
            if gone != (self.agent_gone_us[pole] is not None):
                self.agent_gone_us[pole] = at_us if gone else None
        for point in self._town.points:
            open_ = [broker for broker in self._town.brokers if self._carries(point, broker)]
            gone = not any(self._answers(point, broker) for broker in open_)
            if gone != (self.station_gone_us[point] is not None):
                self.station_gone_us[point] = at_us if gone else None
            if (not open_) != (self.point_gone_us[point] is not None):
                self.point_gone_us[point] = None if open_ else at_us
        for tell in self._changed:
            tell(at_us)

    def _carries(self, point: str, broker: str) -> bool:
        """Whether something could come from that point to the station through that broker."""
        if {"station", f"agent:{point}", f"broker:{broker}"} & self._down:
            return False
        return not self._cut[f"{point}>{broker}"] and not self._cut[f"station>{broker}"]

    def _answers(self, point: str, broker: str) -> bool:
        """Whether, if something came there, it could be answered after a commit."""
        places = "station", f"broker:{broker}", f"{point}>{broker}", f"station>{broker}"
        return not any(self._useless[place] for place in places)

    def _up(self, row: Row) -> None:
        self._change(row.at_us, row.part, lambda: self._down.discard(row.part))

    def _gone(self, row: Row) -> None:
        if str(row.fields[0]).startswith("refused"):
            return  # one that did not come up, perhaps beside one that runs
        self._change(row.at_us, row.part, lambda: self._down.add(row.part))

    def _disk(self, row: Row) -> None:
        self._change(row.at_us, row.part, lambda: None)

    def _fault(self, row: Row) -> None:
        name, step = str(row.fields[0]), 1 if row.fields[1] == "on" else -1
        part = part_of(name, row.part)

        def change() -> None:
            self.wrong[part] += step
            if name in CUTS or name == PARTITION:
                self._cut[row.part] += step
            if name == HALF_PARTITION:
                self._useless[row.part] += step
            if name == SWALLOWS or name in UNWRITTEN:
                self._useless[part] += step
            if name == HALF_CUT and (row.part in self._down_only or str(row.fields[2]).endswith("down")):
                self._one_way[row.part] += step
                self._down_only ^= {row.part}

        self._change(row.at_us, part, change)


def part_of(name: str, where: str) -> str:
    """The part of the trace that a fault's place belongs to."""
    if ">" in where:
        host = where.split(">", 1)[0]
        return host if host == "station" else f"agent:{host}"
    if name.startswith("agent-"):
        return f"agent:{where}"
    if name.startswith("station-"):
        return "station"
    if name.startswith("broker-"):
        return f"broker:{where}"
    return "network" if name.startswith("attack-broker") else where
