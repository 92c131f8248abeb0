"""What is run on CPython and on the pole's MicroPython alike, on the real sos_wire; the outputs must be the same text.

MicroPython's subset. Vectors come in as text, lines of text go out.
"""

# mypy: disable-error-code="type-arg"
# MicroPython has no typing module, and reads annotations only to forget them.

import json

from sos_wire import messages
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.frame import Decoder, Frame, build, parse, wrap
from sos_wire.handshake import named_seal, session_keys
from sos_wire.link import BACKLOG, LIVE
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.seal import Seal, Stream
from sos_wire.ticks import ticks_add, ticks_diff

FIELDS = {
    "Press": ("kind", "incarnation", "boot", "press", "pressed_at_ms", "repeats", "restored"),
    "Detail": ("incarnation", "boot", "press", "held_ms"),
    "Notice": ("kind", "incarnation", "boot", "number", "at_ms", "value", "on"),
    "Status": (
        "look",
        "supply_mv",
        "temperature_dc",
        "reset_cause",
        "bad_frames",
        "blind_ms",
        "pending",
        "faults",
        "version",
    ),
    "Progress": ("incarnation", "boot", "press", "stage"),
    "Service": ("state",),
    "Command": ("command", "ident", "wrapped"),
}


def keys(vectors: dict) -> list:
    """All keys of the handshake, as lines."""
    given = vectors["keys"]
    master = Seal(bytes.fromhex(given["key"]))
    number, up, down = session_keys(master, bytes.fromhex(given["nonces"]))
    seals = {
        "none": Seal(bytes(32)),
        "hello": named_seal(master, "sos hello"),
        "welcome": named_seal(master, "sos welcome"),
        "up": up,
        "down": down,
    }
    return [number, seals]


def frames(vectors: dict) -> list:
    """Each frame built, and read back."""
    number, seals = keys(vectors)
    lines = ["session " + str(number)]
    for v in vectors["frames"]:
        body = bytes.fromhex(v["body"])
        seal = seals[v["key"]]
        if v["version"] == 1:
            built = build(v["kind"], v["address"], v["session"], v["sequence"], v["uptime_ms"], body, seal)
            lines.append("built " + built.hex())
        for whole in (True, False):
            lines += [told(parse(raw), seal) for raw in decode(Decoder(), bytes.fromhex(v["wire"]), whole)]
    return lines


def told(frame: "Frame | str", seal: Seal) -> str:
    """A frame in words."""
    if isinstance(frame, str):
        return "refused " + frame
    return "read %d %d %d %d %d %d %s %s" % (  # noqa: UP031 (one text for both interpreters)
        frame.version,
        frame.kind,
        frame.address,
        frame.session,
        frame.sequence,
        frame.uptime_ms,
        frame.body.hex() or "-",  # MicroPython: b"".hex() is b""
        "genuine" if seal.check(frame.signed, frame.tag) else "forged",
    )


def decode(decoder: Decoder, data: bytes, whole: bool) -> list:
    """Raw frames in ``data``, fed at once or byte by byte."""
    if whole:
        return decoder.feed(data)
    raws = []
    for at in range(len(data)):
        raws += decoder.feed(data[at : at + 1])
    return raws


def streams(vectors: dict) -> list:
    """Each stream, whole and byte by byte: what comes out and what is thrown away."""
    lines = []
    for v in vectors["streams"]:
        for whole in (True, False):
            decoder = Decoder()
            raws = decode(decoder, bytes.fromhex(v["bytes"]), whole)
            told_raws = " ".join([raw.hex() for raw in raws])
            lines.append("%d %d [%s]" % (decoder.bad["long"], decoder.bad["cobs"], told_raws))  # noqa: UP031
    return lines


def all_messages(vectors: dict) -> list:
    """Each message packed and unpacked, and what is none."""
    lines = []
    for v in vectors["messages"]:
        message = messages.unpack(bytes.fromhex(v["payload"]))
        assert message is not None
        name = message.__class__.__name__
        fields = []
        for field in FIELDS[name]:
            value = getattr(message, field)
            fields.append((value.hex() or "-") if isinstance(value, bytes) else str(value))
        lines.append(name + " " + " ".join(fields) + " = " + message.pack().hex())
    return lines + [str(messages.unpack(bytes.fromhex(v["payload"]))) for v in vectors["not_messages"]]


def arithmetic() -> list:
    """Ticks over the wrap, and the byte stream."""
    lines = []
    for a in (0, 1, 0x1FFFFFFF, 0x20000000, 0x3FFFFFFF):
        others = (0, 5, 0x1FFFFFFF, 0x20000000, 0x3FFFFFFF)
        lines += [str(ticks_diff(a, b)) + " " + str(ticks_add(a, b)) for b in others]
    stream = Stream(bytes(range(32)))
    lines.append(stream.take(100).hex() + " " + str([stream.below(n) for n in (1, 2, 3, 1000, 1 << 24)]))
    lines.append(wrap(bytes(range(64))).hex())
    return lines


def conversation() -> list:
    """Two Links with fixed seeds, over the wrap of the ticks, with every fifth frame lost: each byte that they say."""
    pole = PoleLink(7, bytes(range(32)), b"p" * 32)
    agent = AgentLink(7, bytes(range(32)), b"a" * 32)
    ends = ((pole, PoleLine(False, 115200, 1)), (agent, AgentLine(False, 115200)))
    pole.begin(1 << 63, 9, b"\x01\x02\x03")
    lines = []
    said = 0
    for now_ms in range(0, 12000, 3):
        now = (now_ms + 0x3FFFF000) & 0x3FFFFFFF
        if now_ms in (3000, 6000):
            for press in range(4):
                pole.send(press & 1, messages.Press("press", 1 << 63, 9, press, now_ms).pack())
        for index in (0, 1):
            link = ends[index][0]
            other, line = ends[1 - index]
            while True:
                wire = link.poll(now, now_ms + 0x3FFFFFF0)
                if wire is None:
                    break
                said += 1
                lines.append("%d %d %s" % (now_ms, index, wire.hex()))  # noqa: UP031
                for frame in line.feed(wire, now) if said % 5 else ():
                    other.receive(frame, now)
        for lane, payload, uptime_ms in agent.take():
            lines.append("took %d %s %d" % (lane, payload.hex(), uptime_ms))  # noqa: UP031
            agent.send(LIVE if lane == LIVE else BACKLOG, payload)
        for lane, payload, uptime_ms in pole.take():
            lines.append("back %d %s %d" % (lane, payload.hex(), uptime_ms))  # noqa: UP031
    return lines + [link.state + " " + str(sorted(link.counts.items())) for link in (pole, agent)]


def run(text: str) -> list:
    """All of it, line by line."""
    vectors = json.loads(text)
    return frames(vectors) + streams(vectors) + all_messages(vectors) + arithmetic() + conversation()
