"""An agent's end of the cable: handshake and talk with whoever has that pole's key."""

from __future__ import annotations

from tests.fuzz import wire_ends

PACKAGES = ("sos_wire",)
seeds = wire_ends.seeds


def one(data: bytes) -> None:
    wire_ends.play(data, "agent")
