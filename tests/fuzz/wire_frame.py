"""Bytes from a cable, cut up anyhow: frames or counted reasons, never more memory than the bound."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fuzz.source import Source, piece

from sos_wire.agent_end import AgentLine
from sos_wire.frame import MAX_RAW, VERSION, Decoder, Frame, parse, unwrap, wrap
from sos_wire.handshake import read_hello
from sos_wire.line import Line
from sos_wire.pole_end import PoleLine

PACKAGES = ("sos_wire",)
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/wire.json").read_text(encoding="utf-8"))
WIRES = [bytes.fromhex(frame["wire"]) for frame in VECTORS["frames"]]


def seeds() -> list[bytes]:
    """Each golden frame alone, in two pieces, and all of them."""
    whole = b"".join(WIRES)
    return [
        *(b"\0" + piece(wire) for wire in WIRES),
        *(b"\1" + piece(wire[:9]) + piece(wire[9:]) for wire in WIRES),
        b"\0" + piece(whole),
    ]


def one(data: bytes) -> None:
    source = Source(data)
    flags = source.number()
    decoder = Decoder()
    lines: tuple[Line, ...] = (AgentLine(flags & 1 > 0, 115200), PoleLine(flags & 2 > 0, 9600, 5))
    now = 0
    while source.left:
        cut = source.piece()
        now += source.number()
        for raw in decoder.feed(cut):
            _raw(raw)
        assert decoder.partial <= MAX_RAW + 1
        for line in lines:
            for frame in line.feed(cut, now):
                read_hello(frame, bytes(32))
            assert line.wait(now) >= 0 and line.bad >= 0


def _raw(raw: bytes) -> None:
    assert len(raw) <= MAX_RAW and unwrap(wrap(raw)[1:-1]) == raw
    frame = parse(raw)
    if isinstance(frame, Frame):
        assert frame.signed + frame.tag == raw and 1 <= frame.version <= VERSION + 1
    else:
        assert frame in ("short", "long", "version", "kind")
