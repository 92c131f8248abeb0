"""PROTOCOL.md is true: its drawings are current, and its worked example is what the code says, byte for byte."""

from __future__ import annotations

import re

import pytest
from tests.wire import reference
from tests.wire.draw_protocol import PROTOCOL, drawn
from tests.wire.pair import frames_of

from sos_wire.agent_end import AgentLink
from sos_wire.frame import HEADER, HEADER_BYTES, MAX_BODY, MAX_RAW
from sos_wire.handshake import who
from sos_wire.link import LIVE, Link
from sos_wire.messages import Command, Press, Progress, Status, unpack
from sos_wire.pole_end import PoleLink
from sos_wire.seal import Stream
from sos_wire.talk import MAX_PAYLOAD, MAX_STATUS
from sos_wire.wrap import unwrap, wrap

TEXT = PROTOCOL.read_text(encoding="utf-8")
EXAMPLE, REPLACED = TEXT.split("## A worked example")[1].split("## A key is replaced")
BLOCKS = re.findall(r"```\n(.*?)```", EXAMPLE, re.DOTALL)


def fields(block: str) -> dict[str, str]:
    """Label and hex digits of each line; lines that begin with blanks go on."""
    found: dict[str, str] = {}
    label = ""
    for line in block.splitlines():
        if not line.startswith(" "):
            label, line = re.split(r"  +", line, maxsplit=1)
        found[label] = found.get(label, "") + re.sub(r"\(.*\)| ", "", line)
    return found


KEYS = fields(BLOCKS[0])
FRAMES = [(fields(block), re.findall(r"\((\w+) key\)", block)[0]) for block in BLOCKS[1:]]


def test_drawings_are_current() -> None:
    assert drawn(TEXT) == TEXT, "run: .venv/bin/python -m tests.wire.draw_protocol"


def test_keys_of_the_example() -> None:
    key, nonces = bytes.fromhex(KEYS["pole's key"]), bytes.fromhex(KEYS["nonces"])
    number, up, down = reference.session_keys(key, nonces)
    assert (f"{number:08x}", up.hex(), down.hex()) == (KEYS["session"], KEYS["up key"], KEYS["down key"])
    assert reference.derive(key, "sos hello").hex() == KEYS["hello key"]
    assert reference.derive(key, "sos welcome").hex() == KEYS["welcome key"]


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_frame_of_the_example(number: int) -> None:
    """Header, body and tag make the wire bytes, worked out without the code; and the code reads them."""
    frame, key_name = FRAMES[number]
    key = bytes(32) if key_name == "zero" else bytes.fromhex(KEYS[f"{key_name} key"])
    signed = bytes.fromhex(frame["header"] + frame.get("body", ""))
    assert reference.digest(key, signed)[:8].hex() == frame["tag"]
    assert reference.wire(signed, key).hex() == frame["wire"]
    (read,) = frames_of(bytes.fromhex(frame["wire"]))
    assert read.signed == signed and read.tag.hex() == frame["tag"]


class Drawn(Stream):
    """An agent's stream of which the first nonce is that of the example."""

    def take(self, count: int) -> bytes:
        return bytes(range(0xA0, 0xB0)) if count == 16 else super().take(count)


def test_the_code_says_the_example() -> None:
    """Two real Links hold the conversation of the example, at its times."""
    wires = [bytes.fromhex(frame["wire"]) for frame, _key in FRAMES]
    key = bytes.fromhex(KEYS["pole's key"])
    pole, agent = PoleLink(2, key, bytes(32)), AgentLink(2, key, bytes(32))
    agent._stream = Drawn(bytes(32))
    pole.begin(0x1122334455667788, 3, b"\0\1\0")
    status = Status("in_service", 12100, 315, "power_on", blind_ms=40, version=b"\0\1\0")
    pole.set_status(status.pack(), False)
    assert who(uptime_ms=5000) == wires[0]

    def hear(link: Link, wire: bytes, now: int) -> None:
        for frame in frames_of(wire):
            link.receive(frame, now)
        assert link.refused == 0

    assert pole.poll(1400, 1400) is None  # not yet
    hear(pole, wires[0], 1400)
    said = [pole.poll(1500, 1500)]
    hear(agent, wires[1], 5003)
    said.append(agent.poll(5003, 5003))
    hear(pole, wires[2], 1510)
    said.append(pole.poll(1510, 1510))
    hear(agent, wires[3], 5020)
    said.append(agent.poll(5020, 5020))
    hear(pole, wires[4], 1520)
    assert pole.send(LIVE, Press("press", 0x1122334455667788, 3, 7, 60_000).pack())
    said.append(pole.poll(1530, 60_012))
    hear(agent, wires[5], 5040)
    ((_lane, payload, uptime_ms),) = agent.take()
    press = unpack(payload)
    assert isinstance(press, Press) and (press.press, uptime_ms) == (7, 60_012)
    assert agent.send(LIVE, Progress(press.incarnation, press.boot, press.press, "held").pack())
    said.append(agent.poll(5045, 63_520))
    hear(pole, wires[6], 1540)
    said.append(pole.poll(1540, 60_031))
    hear(agent, wires[7], 5060)
    assert [wire.hex() if wire else "" for wire in said] == [wire.hex() for wire in wires[1:]]
    assert agent.room(LIVE) == pole.room(LIVE) == 4 and pole.up and agent.up


def test_the_wrapped_key_of_the_example() -> None:
    """Worked out without the code; and the code wraps and unwraps it so."""
    key = bytes.fromhex(KEYS["pole's key"])
    told = {
        name: bytes.fromhex(digits)
        for name, digits in fields(re.findall(r"```\n(.*?)```", REPLACED, re.DOTALL)[0]).items()
    }
    said = told["nonce"] + told["mixed"]
    assert reference.derive(key, "sos wrap", told["nonce"]) == told["stream"]
    assert bytes(a ^ b for a, b in zip(told["stream"], told["new key"], strict=True)) == told["mixed"]
    assert (
        reference.derive(key, "sos wrap") == told["tag key"]
        and reference.digest(told["tag key"], said)[:8] == told["tag"]
    )
    assert wrap(key, told["nonce"], told["new key"]) == said + told["tag"]
    assert unwrap(key, said + told["tag"]) == told["new key"]
    message = unpack(told["message"])
    assert isinstance(message, Command) and message.pack() == told["message"]
    assert (message.command, message.ident, message.wrapped) == ("replace_key", 5, said + told["tag"])


def test_limits_fit_each_other() -> None:
    assert MAX_PAYLOAD == MAX_BODY - 8 and MAX_STATUS == MAX_BODY - 5
    assert HEADER_BYTES + MAX_BODY + 8 == MAX_RAW < 254
    assert HEADER.startswith("<")
