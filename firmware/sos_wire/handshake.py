"""Steps 4 and 5, handshake: who may open a session, when, and the keys that both ends derive for it.

The tables are the state machine of both roles. What we do ourselves ("begin", "lost") must stand in them, or it raises
and changes nothing; what the peer says and does not stand there is refused and counted.
"""

import struct

from sos_wire.frame import EVERYBODY, HELLO, WHO, Frame, build
from sos_wire.seal import KEY_BYTES, Seal

POLE, AGENT = 0, 1

POLE_TABLE = {
    ("closed", "begin"): "greeting",
    ("greeting", "who"): "greeting",
    ("greeting", "welcome"): "open",
    ("open", "who"): "open",
    ("open", "welcome"): "open",
    ("open", "talk"): "open",
    ("open", "lost"): "greeting",
}
AGENT_TABLE = {
    ("closed", "hello"): "welcoming",
    ("closed", "stray"): "closed",
    ("welcoming", "hello"): "welcoming",
    ("welcoming", "stray"): "welcoming",
    ("welcoming", "first_talk"): "open",
    ("open", "hello"): "renewing",
    ("open", "stray"): "open",
    ("open", "talk"): "open",
    ("open", "lost"): "closed",
    ("renewing", "hello"): "renewing",
    ("renewing", "stray"): "renewing",
    ("renewing", "talk"): "renewing",
    ("renewing", "first_talk"): "open",
    ("renewing", "lost"): "welcoming",
}
TABLES = (POLE_TABLE, AGENT_TABLE)
OWN_EVENTS = ("begin", "lost")

HELLO_BODY = "<QIIBBBB"  # incarnation, boot, counter, firmware version (3), flags
HELLO_BYTES = 20
NONCE_BYTES = 16
IN_SESSION = 1  # flag of HELLO: only an answer to WHO, the pole has a session

_OPEN_SEAL = Seal(bytes(KEY_BYTES))  # of WHO: a checksum, for who asks has no key yet


class Hello:
    """What a pole says of itself; sealed, but perhaps an old one played again."""

    def __init__(self, body: bytes) -> None:
        fields = struct.unpack_from(HELLO_BODY, body, 0)
        self.incarnation: int = fields[0]
        self.boot: int = fields[1]
        self.counter: int = fields[2]
        self.firmware = body[16:19]
        self.in_session = bool(fields[6] & IN_SESSION)
        self.nonce = body[:NONCE_BYTES]


def session_keys(master: Seal, nonces: bytes) -> "tuple[int, Seal, Seal]":
    """The session's number and the seals of its two directions, up and down, from the pole's and the agent's nonce."""
    number: int = struct.unpack_from("<I", derived(master, "sos session", nonces), 0)[0]
    return number, Seal(derived(master, "sos up", nonces)), Seal(derived(master, "sos down", nonces))


def derived(master: Seal, label: str, data: bytes) -> bytes:
    """As ``seal.derive``, with the key's pads already made."""
    return master.digest(label.encode() + b"\x00" + data)


def named_seal(master: Seal, label: str) -> Seal:
    """The seal of handshake frames."""
    return Seal(derived(master, label, b""))


def who(address: int = EVERYBODY, uptime_ms: int = 0) -> bytes:
    """The question "who is there?", ready for the wire: to one address, or to all poles on the line."""
    return build(WHO, address, 0, 0, uptime_ms, b"", _OPEN_SEAL)


def is_who(frame: Frame) -> bool:
    """Whether that WHO came unharmed. Anybody can make one."""
    return _OPEN_SEAL.check(frame.signed, frame.tag)


def read_hello(frame: Frame, key: bytes) -> "Hello | None":
    """The HELLO of the pole with that key, or None: how a pole is recognised on a port that nobody knows yet."""
    return open_hello(frame, named_seal(Seal(key), "sos hello"))


def open_hello(frame: Frame, seal: Seal) -> "Hello | None":
    """As ``read_hello``, with the seal already made."""
    if frame.kind != HELLO or len(frame.body) < HELLO_BYTES or not seal.check(frame.signed, frame.tag):
        return None
    return Hello(frame.body)
