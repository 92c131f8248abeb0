"""A point's own button: a pole in the agent's process, whose cable is memory and whose input reads no resistor."""

from __future__ import annotations

import random

from sos_agent.edge.setup import LOCAL_ADDRESS
from sos_sim.trace import Trace
from sos_sim.world.loop import Loop
from sos_sim.world.pole import PoleNode, PoleSpec
from sos_sim.world.wire import Wire

MEMORY_BAUD = 1_000_000_000_000  # bytes take no time


def local_wire(loop: Loop, rng: random.Random, line: str) -> Wire:
    """The cable of an own button: perfect, and done within the instant. ``line``: ``local:<id>``."""
    return Wire(loop, rng, line, MEMORY_BAUD, shared=False)


def own_button(loop: Loop, trace: Trace, rng: random.Random, name: str, key: bytes, wire: Wire) -> PoleNode:
    """The button of that name. It lives and dies with the agent's program: start and cut its power with it. Its flash
    is a file on the agent's disk: ``lose_flash`` when that disk is lost."""
    return PoleNode(loop, trace, rng, PoleSpec(name, LOCAL_ADDRESS, key, "local", supervised=False), wire)
