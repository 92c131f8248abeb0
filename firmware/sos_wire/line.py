"""Steps 4 and 5, line: one serial port at one end. Bytes become frames, and a shared pair is spoken on in turn.

On a shared pair all hear all. Whoever wants to speak waits until nothing was heard for a while: the agent shortest,
so that its answer comes before the next pole; a pole by a slot drawn anew whenever the pair was used. Two that draw the
same slot collide, which is a loss like any other: the frame is said again after a jittered time-out.
"""

from sos_wire.frame import Decoder, Frame, parse
from sos_wire.handshake import AGENT
from sos_wire.seal import Stream
from sos_wire.ticks import ticks_add, ticks_diff

AGENT_GAP_MS = 1  # the transmitter of the last speaker needs less than a bit time to let go
POLE_GAP_MS = 5  # leaves the agent the time of a commit and a turn of its loop to answer first
SLOT_MS = 2  # a pole's loop hears within 2 ms that another one began
SLOTS = 16  # eight poles that want to speak at once: two draw the first slot in one of four rounds
STALL_MS = 6  # a frame that stops for so long will not go on: longer than a USB adapter holds bytes back
REASONS = ("cobs", "long", "short", "version", "kind", "reflected")


class Line:
    """One end of a serial line. ``seed``: 32 bytes that no other end has, for the slots.

    ``counts``: bad pieces by reason; "reflected" are whole frames of our own direction: an echo of ours, or on a shared
    pair another pole's.
    """

    def __init__(self, shared: bool, baud: int, role: int, seed: bytes) -> None:
        assert baud > 0
        self.shared = shared
        self.counts = dict.fromkeys(REASONS, 0)
        self._baud = baud
        self._role = role
        self._decoder = Decoder()
        self._stream = Stream(seed)
        self._used_at = 0  # when the pair was last heard or spoken on; may lie ahead while we speak
        self._wait_ms = 0  # from then until we may speak
        self._rested = True  # that wait is over

    def feed(self, data: bytes, now: int) -> "list[Frame]":
        """Frames of the other direction that ended in ``data``; not yet checked, for any address."""
        frames: list[Frame] = []
        if not data:
            return frames
        for raw in self._decoder.feed(data):
            frame = parse(raw)
            if isinstance(frame, str):
                self.counts[frame] += 1
            elif (frame.kind & 1 == 1) == (self._role == AGENT):
                self.counts["reflected"] += 1
            else:
                frames.append(frame)
        self.counts["cobs"] = self._decoder.bad["cobs"]
        self.counts["long"] = self._decoder.bad["long"]
        if self.shared and (self._rested or ticks_diff(now, self._used_at) >= 0):
            self._used(now)
        return frames

    def sent(self, count: int, now: int) -> None:
        """Note that ``count`` bytes are being sent from ``now`` on."""
        if self.shared:  # 10 bits a byte
            self._used(ticks_add(now, count * 10000 // self._baud + 1))

    def quiet(self, now: int) -> bool:
        """Whether we may speak now. A line of our own always lets us."""
        return self.wait(now) == 0

    def wait(self, now: int) -> int:
        """Milliseconds until ``quiet`` may say yes, if nobody else speaks; 0: now. Allocates nothing."""
        if self._rested:
            return 0
        left_ms = self._wait_ms - ticks_diff(now, self._used_at)
        if left_ms > 0:
            return left_ms
        self._rested = True
        return 0

    def _used(self, at: int) -> None:
        self._used_at = at
        self._rested = False
        if self._decoder.partial:
            self._wait_ms = STALL_MS
            if self._role != AGENT:
                self._wait_ms += POLE_GAP_MS
        elif self._role == AGENT:
            self._wait_ms = AGENT_GAP_MS
        else:
            self._wait_ms = POLE_GAP_MS + SLOT_MS * self._stream.below(SLOTS)

    @property
    def bad(self) -> int:
        """Pieces that were no frames of ours, for the status."""
        counts = self.counts
        return counts["cobs"] + counts["long"] + counts["short"] + counts["version"] + counts["kind"]
