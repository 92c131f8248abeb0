"""Draws ``agent/STATES.md`` from the state tables of agent and station: ``.venv/bin/python -m tests.draw_states``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sos_agent.core.brokers import BROKER
from sos_agent.core.health import DISK
from sos_agent.core.ports import SEAT
from sos_agent.core.progress import QUERY
from sos_agent.core.supervision import POLE_LINK, SERVICE
from sos_station.core import brokers, desk, points

STATES = Path(__file__).parents[1] / "agent/STATES.md"
HEAD = """# States

Drawn from the tables in the code; a test holds them to it. An event of our own that a table does not list raises and
changes nothing. Those of the wire are in [PROTOCOL.md](../firmware/sos_wire/PROTOCOL.md).
"""


def diagram(title: str, file: str, rows: Mapping[tuple[str, str], str]) -> str:
    """One table as a Mermaid state diagram; events that change nothing are left out."""
    arrows = [f"    {_id(state)} --> {_id(after)}: {event}" for (state, event), after in rows.items() if state != after]
    return "\n".join([f"## {title}", "", f"`{file}`", "", "```mermaid", "stateDiagram-v2", *arrows, "```", ""])


def _id(state: str) -> str:
    return state.replace(" ", "_").replace("-", "_") or "none"


def page() -> str:
    """The whole file."""
    drawn = [HEAD]
    for table, file in (
        (SEAT, "ports"),
        (POLE_LINK, "supervision"),
        (SERVICE, "supervision"),
        (BROKER, "brokers"),
        (QUERY, "progress"),
        (DISK, "health"),
    ):
        rows = {key: after for key, (after, _) in table.rows.items()}
        drawn.append(diagram(f"Agent: {table.name}", f"sos_agent/core/{file}.py", rows))
    drawn.append(diagram("Station: stage of an alarm", "sos_station/core/desk.py", desk.STAGE_TABLE))
    drawn.append(diagram("Station: a point", "sos_station/core/points.py", points.TABLE))
    drawn.append(diagram("Station: a broker", "sos_station/core/brokers.py", brokers.TABLE))
    return "\n".join(drawn)


if __name__ == "__main__":
    STATES.write_text(page(), encoding="utf-8")
