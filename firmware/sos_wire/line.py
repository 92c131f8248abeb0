"""Steps 4 and 5, line: one serial port at one end. Bytes become frames, and a shared pair is spoken on in turn.

On a shared pair all hear all. Who wants to speak waits until nothing was heard for a while. It is the turn of the
agent, and of the pole that it has just spoken to: they wait shortest, so that answers meet nobody. The other poles
follow in the order of their addresses, in a ring that begins behind the address that was heard last: each has a slot of
its own, so that poles that all want to speak do so one after the other. A pair that was at rest may be used at once.
Two that began together collide, which is a loss like any other: the frame is said again after a jittered time-out.
"""

from sos_wire.frame import EVERYBODY, TALK_DOWN, Decoder, Frame, parse
from sos_wire.handshake import AGENT
from sos_wire.seal import Stream
from sos_wire.ticks import ticks_add, ticks_diff

TURN_GAP_MS = 1  # the transmitter of the last speaker needs less than a bit time to let go
POLE_GAP_MS = 10  # leaves the agent, or the pole it spoke to, the time of a fast commit and a turn of both loops
SLOT_MS = 8  # within that time all others hear that one began, also through a USB adapter or a busy loop
SLOTS = 8  # poles on one pair; of two whose addresses are 8 apart each may meet the other
STALL_MS = 6  # a frame that stops for so long will not go on: longer than a USB adapter holds bytes back
REPLY_MS = 10  # the agent leaves the pole that it spoke to this long to begin
TURN_MS = 6  # an agent whose answer comes later has missed its turn: poles are about to speak ...
HOLD_MS = 30  # ... so it waits for the next turn, or until the poles that are next would have spoken
CROWD_MS = 200  # two poles heard within that time: several want to speak, and missed turns are not taken
REASONS = ("cobs", "long", "short", "version", "kind", "reflected")


class Line:
    """One end of a serial line. ``address``: a pole's own; without it, its slots are drawn from ``seed`` (32 bytes).

    ``counts``: bad pieces by reason; "reflected" are whole frames of our own direction: an echo of ours, or on a shared
    pair another pole's.
    """

    def __init__(self, shared: bool, baud: int, role: int, seed: bytes, address: int = EVERYBODY) -> None:
        assert baud > 0
        self.shared = shared
        self.counts = dict.fromkeys(REASONS, 0)
        self._baud = baud
        self._role = role
        self._address = address
        self._decoder = Decoder()
        self._stream = Stream(seed)
        self._heard = 0  # address of the last frame, either way
        self._used_at = 0  # when the pair was last heard or spoken on; may lie ahead while we speak
        self._wait_ms = 0  # from then until we may speak
        self._rested = True  # that wait is over
        self._crowded = False  # agent: several poles want to speak
        self._speaker = address  # agent: whom it heard last that was not the one before, and when
        self._speaker_at = 0

    def feed(self, data: bytes, now: int) -> "list[Frame]":
        """Frames of the other direction that ended in ``data``; not yet checked, for any address."""
        frames: list[Frame] = []
        if not data:
            return frames
        ours = False
        for raw in self._decoder.feed(data):
            frame = parse(raw)
            if isinstance(frame, str):
                self.counts[frame] += 1
                continue
            self._heard = frame.address
            if (frame.kind & 1 == 1) == (self._role == AGENT):
                self.counts["reflected"] += 1
            else:
                frames.append(frame)
                ours = ours or (frame.address == self._address and frame.kind == TALK_DOWN)
                if self._role == AGENT and self.shared:
                    self._note_speaker(frame.address, now)
        self.counts["cobs"] = self._decoder.bad["cobs"]
        self.counts["long"] = self._decoder.bad["long"]
        if self.shared and (self._rested or ticks_diff(now, self._used_at) >= 0):
            self._used(now, ours)
        return frames

    def sent(self, count: int, now: int) -> None:
        """Note that ``count`` bytes are being sent from ``now`` on."""
        if self.shared:  # 10 bits a byte
            self._used(ticks_add(now, count * 10000 // self._baud + 1), False)
            if self._role == AGENT:
                self._wait_ms = REPLY_MS

    def quiet(self, now: int) -> bool:
        """Whether we may speak now. A line of our own always lets us."""
        return self.wait(now) == 0

    def wait(self, now: int) -> int:
        """Milliseconds until ``quiet`` may say yes, if nobody else speaks; 0: now. Allocates nothing."""
        if self._rested:
            return 0
        passed_ms = ticks_diff(now, self._used_at)
        left_ms = self._wait_ms - passed_ms
        if left_ms > 0:
            return left_ms
        if self._crowded and TURN_MS < passed_ms < HOLD_MS:
            return HOLD_MS - passed_ms
        if not self._crowded or passed_ms >= HOLD_MS:
            self._rested = True
        return 0

    def _note_speaker(self, address: int, now: int) -> None:
        """Agent: whether poles follow close upon each other. The first of a burst shows nothing, the second all."""
        lately = 0 <= ticks_diff(now, self._speaker_at) < CROWD_MS
        if address != self._speaker:
            self._crowded = lately
            self._speaker = address
            self._speaker_at = now
        elif not lately:
            self._crowded = False

    def _used(self, at: int, ours: bool) -> None:
        """The pair is in use at ``at``; ``ours``: the next turn is ours."""
        self._used_at = at
        self._rested = False
        self._wait_ms = STALL_MS if self._decoder.partial else 0
        if self._role == AGENT or ours:
            self._wait_ms += TURN_GAP_MS
        elif self._address == EVERYBODY:
            self._wait_ms += POLE_GAP_MS + SLOT_MS * self._stream.below(SLOTS)
        else:
            self._wait_ms += POLE_GAP_MS + SLOT_MS * ((self._address - self._heard - 1) % SLOTS)

    @property
    def bad(self) -> int:
        """Pieces that were no frames of ours, for the status."""
        counts = self.counts
        return counts["cobs"] + counts["long"] + counts["short"] + counts["version"] + counts["kind"]
