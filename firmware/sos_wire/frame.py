"""Steps 4 and 5, frames: bytes on the wire and back. What is not a frame is counted by reason and never raises.

On the wire: 0x00, the COBS form of (header, body, tag), 0x00. The leading zero ends whatever noise came before.
"""

import struct

from sos_wire.seal import TAG_BYTES, Seal

VERSION = 1
WHO, HELLO, WELCOME, TALK_UP, TALK_DOWN = 1, 2, 3, 4, 5  # odd: from the agent to a pole
EVERYBODY = 0xFFFF
HEADER = "<BBHIIQ"  # version, kind, address, session, sequence, uptime_ms
HEADER_BYTES = 20
MAX_BODY = 96  # a full frame takes 11 ms at 115,200 baud, so that a press never waits longer behind one
MIN_RAW = HEADER_BYTES + TAG_BYTES
MAX_RAW = HEADER_BYTES + MAX_BODY + TAG_BYTES
KINDS_ON_WIRE = 5
_ZERO = b"\x00"


class Frame:
    """One frame as it came: nothing of it is to be believed before its tag was checked."""

    __slots__ = ("address", "body", "kind", "sequence", "session", "signed", "tag", "uptime_ms", "version")

    def __init__(self, raw: bytes) -> None:
        fields = struct.unpack_from(HEADER, raw, 0)
        self.version: int = fields[0]
        self.kind: int = fields[1]
        self.address: int = fields[2]
        self.session: int = fields[3]
        self.sequence: int = fields[4]
        self.uptime_ms: int = fields[5]
        self.signed = raw[:-TAG_BYTES]
        self.body = raw[HEADER_BYTES:-TAG_BYTES]
        self.tag = raw[-TAG_BYTES:]


def parse(raw: bytes) -> "Frame | str":
    """The frame in ``raw`` (COBS undone), or the reason why there is none: short, long, version or kind.

    The next version is understood as well: it may add to the end of bodies, nothing else.
    """
    if len(raw) < MIN_RAW:
        return "short"
    if len(raw) > MAX_RAW:
        return "long"
    if not 1 <= raw[0] <= VERSION + 1:
        return "version"
    if not 1 <= raw[1] <= KINDS_ON_WIRE:
        return "kind"
    return Frame(raw)


def build(kind: int, address: int, session: int, sequence: int, uptime_ms: int, body: bytes, seal: Seal) -> bytes:
    """A sealed frame as it goes on the wire."""
    assert len(body) <= MAX_BODY
    raw = struct.pack(HEADER, VERSION, kind, address, session, sequence, uptime_ms) + body
    return wrap(raw + seal.tag(raw))


def wrap(raw: bytes) -> bytes:
    """COBS of ``raw`` (less than 254 bytes) between two zeros. Every zero becomes the distance to the next one."""
    out = bytearray(b"\x00\x00" + raw + _ZERO)
    last = -1
    while True:
        zero = raw.find(_ZERO, last + 1)
        if zero < 0:
            break
        out[last + 2] = zero - last
        last = zero
    out[last + 2] = len(raw) - last
    return bytes(out)


def unwrap(piece: bytes) -> "bytes | None":
    """Undo COBS of ``piece``, which holds no zero and is not empty; None if it is not one whole block."""
    out = bytearray(piece)
    length = len(piece)
    at = 0
    while True:
        at += piece[at]
        if at >= length:
            break
        out[at] = 0
    return bytes(out)[1:] if at == length else None


class Decoder:
    """Cuts a stream of bytes into raw frames, COBS undone. Holds at most ``limit`` + 1 bytes, whatever comes.

    ``bad`` counts what was thrown away: "long" (no zero within the limit) and "cobs".
    """

    def __init__(self, limit: int = MAX_RAW) -> None:
        self.bad = {"long": 0, "cobs": 0}
        self._limit = limit + 1  # one byte of COBS more than the frame
        self._held = b""
        self._skipping = False

    @property
    def partial(self) -> int:
        """Bytes of an unfinished piece, thrown away ones included as one: more than 0 means that the line is busy."""
        return 1 if self._skipping else len(self._held)

    def feed(self, data: bytes) -> "list[bytes]":
        """Take any bytes; returns the raw frames that ended in them, in order."""
        raws: list[bytes] = []
        start = 0
        while True:
            end = data.find(_ZERO, start)
            if end < 0:
                break
            self._end_piece(data[start:end], raws)
            start = end + 1
        if start < len(data):
            self._hold(data[start:])
        return raws

    def _hold(self, rest: bytes) -> None:
        if self._skipping:
            return
        if len(self._held) + len(rest) > self._limit:
            self._skipping = True
            self._held = b""
            self.bad["long"] += 1
            return
        self._held = self._held + rest if self._held else rest

    def _end_piece(self, rest: bytes, raws: "list[bytes]") -> None:
        if rest:
            self._hold(rest)
        piece = self._held
        self._held = b""
        if self._skipping:
            self._skipping = False
            return
        if not piece:
            return
        raw = unwrap(piece)
        if raw is None:
            self.bad["cobs"] += 1
        else:
            raws.append(raw)
