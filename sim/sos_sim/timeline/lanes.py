"""Which lane a row belongs to, in which order the lanes stand, and which of them a finding may have to do with."""

from __future__ import annotations

from collections.abc import Iterable

from sos_contract.site import Site
from sos_sim.trace import Row

SCENARIO, OFFICERS, STATION = "scenario", "officers", "station"
_AT_THE_AGENT = ("held", "pole_lost")  # their part is the point, whose agent it is
_AT_THE_DESK = ("screen", "asked")
_OURS = ("agent", "wire")
_NOWHERE = {"station": STATION, "officer": OFFICERS}  # kinds of fault that name no place


class Lanes:
    """The lanes of a town. Without ``site`` parts stand as they come, and all of them are near."""

    def __init__(self, site: Site | None = None) -> None:
        self._agents: dict[str, str] = {}  # point -> its agent's lane
        self._agent_of: dict[str, str] = {}  # pole -> that of its point
        self._mates: dict[str, tuple[str, ...]] = {}  # pole -> all on its line
        self._way: list[str] = [SCENARIO, "town"]
        for point in site.point if site is not None else ():
            agent = self._agents[point.id] = f"agent:{point.id}"
            groups = [tuple(pole.id for pole in line.pole) for line in point.line]
            groups += [(point.button.id,)] if point.button is not None else []
            for group in groups:
                self._mates |= dict.fromkeys(group, group)
                self._agent_of |= dict.fromkeys(group, agent)
                self._way += [*group, *(f"wire:{pole}" for pole in group)]
            self._way.append(agent)

    def of(self, row: Row) -> str:
        """The lane of a row: its part, but that what ails a cable has the cable's."""
        if row.kind in _AT_THE_AGENT:
            return f"agent:{row.part}"
        if row.kind in _AT_THE_DESK:
            return OFFICERS
        if row.kind == "fault":
            return self._of_fault(row.part, str(row.fields[0]))
        return row.part

    def of_part(self, part: str) -> str:
        """The lane of a part by itself: a point is its agent."""
        return self._agents.get(part, part)

    def _of_fault(self, part: str, name: str) -> str:
        """Faults name places: a point, a broker's number, host>broker, the first pole of a line."""
        of = name.partition("-")[0]
        if part == "town" and of in _NOWHERE:
            return _NOWHERE[of]
        if of == "wire" and part in self._mates:
            return f"wire:{part}"
        if ">" in part:
            return f"path:{part}"
        if part.isdigit():
            return f"broker:{part}"
        return self._agents.get(part, part)

    def near(self, part: str, poles: Iterable[str]) -> set[str]:
        """Lanes on the way of a finding at ``part`` about presses of ``poles``; all the town's if it is about no pole
        or point."""
        found = {part, *poles}
        named = [pole for pole in self._mates if pole in found]
        for pole in named:
            found |= {*self._mates[pole], *(f"wire:{mate}" for mate in self._mates[pole]), self._agent_of[pole]}
        agents = {lane for lane in self._agents.values() if lane in found or lane.partition(":")[2] in found}
        for agent in agents:
            point = agent.partition(":")[2]
            found |= {agent, *(f"path:{point}>{broker}" for broker in range(10))}
        if not agents:
            return set(self._way)
        return found | {lane for lane in self._way if lane not in self._mates and lane.partition(":")[0] not in _OURS}

    def may_matter(self, lane: str, near: set[str]) -> bool:
        """Poles, wires and agents that are not near do not; everything between the agents and the officers does."""
        return lane in near or (lane not in self._way and not self._far_path(lane))

    def _far_path(self, lane: str) -> bool:
        kind, _, rest = lane.partition(":")
        return kind == "path" and rest.partition(">")[0] in self._agents

    def order(self, wanted: Iterable[str]) -> list[str]:
        """As a press travels: scenario, of each point poles, wires and agent, then paths, brokers, station, desk."""
        last = ("path", "broker", STATION, OFFICERS)

        def place(lane: str) -> tuple[int, int, str]:
            if lane in self._way:
                return 0, self._way.index(lane), ""
            for index, beginning in enumerate(last):
                if lane.startswith(beginning):
                    return 2, index, lane
            return 1, lane.startswith("agent:"), ""

        return sorted(dict.fromkeys(wanted), key=place)
