"""Steps 4 and 5, the pole's end: says HELLO, answers WHO, takes WELCOME; on a shared pair it speaks in its slot."""

import struct

from sos_wire.frame import EVERYBODY, HELLO, TALK_DOWN, WELCOME, WHO, Frame, build
from sos_wire.handshake import HELLO_BODY, IN_SESSION, NONCE_BYTES, POLE, POLE_TABLE, is_who
from sos_wire.lanes import NEVER, due
from sos_wire.line import TURN_GAP_MS, Line
from sos_wire.link import WHO_WAIT_MS, Link
from sos_wire.talk import Talk
from sos_wire.ticks import ticks_add, ticks_diff

HELLO_MIN_MS = 250
HELLO_SPREAD_MS = 750
HELLO_VALID_MS = 1000  # within a session: how long the answer to a HELLO is waited for, and no other is said
POLE_GAP_MS = 10  # leaves the agent, or the pole it spoke to, the time of a fast commit and a turn of both loops
SLOT_MS = 8  # within that time all others hear that one began, also through a USB adapter or a busy loop
SLOTS = 8  # poles on one pair; of two whose addresses are 8 apart each may meet the other


class PoleLink(Link):
    """See Link. Call ``begin`` once."""

    _table = POLE_TABLE
    _events = {WHO: "who", WELCOME: "welcome", TALK_DOWN: "talk"}

    def __init__(self, address: int, key: bytes, seed: bytes) -> None:
        super().__init__(address, key, seed)
        # To greet with in turn, the last one first. The first one sealed the last HELLO, and so the session it opened.
        self.keys = [key]
        self._hello = b""  # body of the HELLO that may be answered; its first 16 bytes are the nonce
        self._start = (0, 0)
        self._firmware = b""
        self._counter = 0

    def begin(self, incarnation: int, boot: int, firmware: bytes = b"\x00\x00\x00") -> None:
        """Who we are. ``(incarnation, boot)`` must never have been used before."""
        self._move("begin")
        self._start = (incarnation, boot)
        self._firmware = firmware
        self._greet()

    def _lose(self) -> None:
        super()._lose()
        self._greet()

    def _greet(self) -> None:
        """A new nonce: it stays the same until it is answered, so that a lost WELCOME costs no second session."""
        self._counter += 1
        start, version = self._start, self._firmware
        flags = IN_SESSION if self._talk else 0
        self._hello = struct.pack(
            HELLO_BODY, start[0], start[1], self._counter, version[0], version[1], version[2], flags
        )

    def _hear_call(self, event: str, frame: Frame, now: int) -> str:
        self._forget_call(now)
        return self._hear_who(frame, now) if event == "who" else self._hear_welcome(frame, now)

    def _hear_who(self, frame: Frame, now: int) -> str:
        if self._talk and (self._call_at != NEVER or self._called_at != NEVER):
            return "flood"
        if not is_who(frame):
            return "tag"
        self._move("who")
        if self._talk:
            self._greet()
        at = ticks_add(now, self._stream.below(WHO_WAIT_MS + 1) if frame.address == EVERYBODY else 0)
        if self._called_at != NEVER and ticks_diff(self._called_at, at) > 0:
            at = self._called_at
        if self._call_at == NEVER or ticks_diff(self._call_at, at) > 0:
            self._call_at = at
        return ""

    def _hear_welcome(self, frame: Frame, now: int) -> str:
        nonces = frame.body[: 2 * NONCE_BYTES]
        if not self._hello or nonces[:NONCE_BYTES] != self._hello[:NONCE_BYTES] or len(nonces) < 2 * NONCE_BYTES:
            return "handshake"
        if not self._welcome_seal.check(frame.signed, frame.tag):
            return "tag"
        talk = Talk(POLE, self.address, self._master, nonces, self._stream)
        if talk.id != frame.session:
            return "malformed"
        self._move("welcome")
        self._hello = b""
        self._open(talk)
        talk.heard_at = talk.answered_at = now
        talk.urgent = True  # the agent opens when it hears us in this session
        self.heard_at = now
        self.peer_uptime_ms = frame.uptime_ms
        return ""

    def _forget_call(self, now: int) -> None:
        if self._talk and due(self._called_at, now):
            self._hello = b""  # within a session no call is answered late
        super()._forget_call(now)

    def _first_call(self, now: int) -> int:
        return NEVER if self.state == "closed" else super()._first_call(now)

    def _call(self, now: int, uptime_ms: int) -> bytes:
        self._call_at = NEVER
        self._called_at = ticks_add(now, HELLO_VALID_MS if self._talk else HELLO_MIN_MS)
        if self._talk is None:
            self._call_at = ticks_add(now, HELLO_MIN_MS + self._stream.below(HELLO_SPREAD_MS + 1))
        keys = self.keys
        if len(keys) > 1:
            keys.reverse()
            self.use(keys[0])
        return build(HELLO, self.address, 0, 0, uptime_ms, self._hello, self._hello_seal)


class PoleLine(Line):
    """See Line. ``address``: the pole's, which says when it is its turn."""

    def __init__(self, shared: bool, baud: int, address: int) -> None:
        super().__init__(shared, baud)
        self._address = address
        self._spoken_to = False

    def _note(self, frame: Frame, _now: int) -> None:
        if frame.address == self._address and frame.kind == TALK_DOWN:
            self._spoken_to = True

    def _gap_ms(self) -> int:
        if self._spoken_to:
            self._spoken_to = False
            return TURN_GAP_MS
        return POLE_GAP_MS + SLOT_MS * ((self._address - self._heard - 1) % SLOTS)
