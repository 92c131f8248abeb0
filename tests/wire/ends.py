"""Both ends of a cable, by role."""

from __future__ import annotations

from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.handshake import AGENT, POLE
from sos_wire.line import Line
from sos_wire.link import Link
from sos_wire.pole_end import PoleLine, PoleLink

LINKS: dict[int, type[Link]] = {POLE: PoleLink, AGENT: AgentLink}


def line_of(role: int, shared: bool, baud: int, address: int) -> Line:
    """The line of a pole with that address, or of the agent."""
    return PoleLine(shared, baud, address) if role == POLE else AgentLine(shared, baud)
