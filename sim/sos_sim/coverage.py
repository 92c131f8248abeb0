"""What a run has visited: rows of state tables, crashes at effects, kinds of fault; and what a campaign has to.

The tables are those of the product. While a run is recorded, each is replaced by one that tells of each of its rows
when it is first looked up; they behave alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sos_agent.core.brokers import BROKER
from sos_agent.core.health import DISK
from sos_agent.core.ports import SEAT
from sos_agent.core.progress import QUERY
from sos_agent.core.supervision import POLE_LINK, SERVICE
from sos_pole import debounce
from sos_sim.faults import FAULTS
from sos_sim.faults.agent import AGENT_EFFECTS, STATION_EFFECTS
from sos_station.core import brokers, counter, desk, points
from sos_wire.agent_end import AgentLink
from sos_wire.pole_end import PoleLink

Visit = Callable[[str, str, str], object]

# machine -> (whose attribute the table is, the attribute)
_TABLES: dict[str, tuple[object, str]] = {
    **{f"agent {table.name}": (table, "rows") for table in (SEAT, POLE_LINK, SERVICE, BROKER, QUERY, DISK)},
    "station point": (points, "TABLE"),
    "station broker": (brokers, "TABLE"),
    "station desk": (desk, "STAGE_TABLE"),
    "station counter": (counter, "FLOW"),
    "wire pole": (PoleLink, "_table"),
    "wire agent": (AgentLink, "_table"),
}
_DEBOUNCE = "pole debounce"
# On average over a campaign.
KINDS_A_RUN, PRESSES_AN_HOUR = 3, 100
# Rows that a campaign may miss, and why.
EXCUSED: dict[tuple[str, str, str], str] = {
    ("agent broker", "connecting", "overdue"): "an edge ends its attempt before, unless it hung",
    ("station broker", "connecting", "timeout"): "an edge ends its attempt before, unless it hung",
    ("agent line", "serving", "elsewhere"): "two cables of one point change places: tests/agent/test_core_ports.py",
    ("station broker", "down", "down"): "the edge tells of no end that we made, and of each other one once",
    ("pole debounce", "trying", "fault"): "the first bad sample ends the attempt, 100 ms before it makes a fault",
}


class _Recording(dict[Any, Any]):
    """A table that tells what is looked up in it, each row once."""

    def __init__(self, rows: Mapping[Any, Any], machine: str, visit: Visit) -> None:
        super().__init__(rows)
        self._seen: set[Any] = set()
        self._machine = machine
        self._visit = visit

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401  (whatever the table has)
        value = super().__getitem__(key)
        self._tell(key)
        return value

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401
        if key in self:
            self._tell(key)
        return super().get(key, default)

    def _tell(self, key: Any) -> None:  # noqa: ANN401
        if key not in self._seen:
            self._seen.add(key)
            state, event = key if isinstance(key, tuple) else ("", key)
            self._visit(self._machine, state, event)


@contextmanager
def recording(visit: Visit) -> Iterator[None]:
    """While it lasts, ``visit(machine, state, event)`` hears of each row when it is first used."""
    before = {machine: getattr(owner, name) for machine, (owner, name) in _TABLES.items()}
    states = dict(debounce.TABLE)
    for machine, (owner, name) in _TABLES.items():
        setattr(owner, name, _Recording(before[machine], machine, visit))
    for state, rows in states.items():
        debounce.TABLE[state] = _Recording(rows, _DEBOUNCE, _of_state(visit, state))
    try:
        yield
    finally:
        for machine, (owner, name) in _TABLES.items():
            setattr(owner, name, before[machine])
        debounce.TABLE.update(states)


def _of_state(visit: Visit, state: str) -> Visit:
    return lambda machine, _, event: visit(machine, state, event)


def wanted() -> set[str]:
    """All that a campaign has to have visited, as ``Coverage`` words it."""
    rows = {f"row {machine}: {state}, {event}" for machine, state, event in all_rows()}
    crashes = {f"crash agent: {one.__name__}" for one in AGENT_EFFECTS}
    crashes |= {f"crash station: {one.__name__}" for one in STATION_EFFECTS}
    return rows | crashes | {f"fault {name}" for name in FAULTS}


def all_rows() -> list[tuple[str, str, str]]:
    """(machine, state, event) of every row of every table that is not excused."""
    rows = [
        (machine, state, event) for machine, (owner, name) in _TABLES.items() for state, event in getattr(owner, name)
    ]
    rows += [(_DEBOUNCE, state, event) for state, seen in debounce.TABLE.items() for event in seen]
    return [row for row in rows if row not in EXCUSED]
