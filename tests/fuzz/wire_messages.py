"""What pole and agent tell each other: any bytes are a message or None, and a message says the same again."""

from __future__ import annotations

from tests.fuzz.wire_frame import VECTORS

from sos_wire.messages import unpack, unpack_down, unpack_up

PACKAGES = ("sos_wire",)


def seeds() -> list[bytes]:
    return [bytes.fromhex(message["payload"]) for message in VECTORS["messages"]]


def one(data: bytes) -> None:
    message = unpack(data)
    assert (message is None) == (unpack_down(data) is None and unpack_up(data) is None)
    if message is not None:
        again = unpack(message.pack())
        assert type(again) is type(message) and again.pack() == message.pack()
