"""Steps 4 and 5, line: one serial port at one end. Bytes become frames, and a shared pair is spoken on in turn.

On a shared pair all hear all. Who wants to speak waits until nothing was heard for a while. It is the turn of the
agent, and of the pole that it has just spoken to: they wait shortest, so that answers meet nobody. The other poles
follow in the order of their addresses, in a ring that begins behind the address that was heard last: each has a slot of
its own, so that poles that all want to speak do so one after the other. A pair that was at rest may be used at once.
Two that began together collide, which is a loss like any other: the frame is said again after a jittered time-out.
"""

from sos_wire.frame import Decoder, Frame, parse
from sos_wire.handshake import POLE
from sos_wire.ticks import ticks_add, ticks_diff

TURN_GAP_MS = 1  # the transmitter of the last speaker needs less than a bit time to let go
STALL_MS = 6  # a frame that stops for so long will not go on: longer than a USB adapter holds bytes back
REASONS = ("cobs", "long", "short", "version", "kind", "reflected")


class Line:
    """One end of a serial line: a ``PoleLine`` or an ``AgentLine``.

    ``counts``: bad pieces by reason; "reflected" are whole frames of our own direction: an echo of ours, or on a shared
    pair another pole's.
    """

    role = POLE

    def __init__(self, shared: bool, baud: int) -> None:
        assert baud > 0
        self.shared = shared
        self.counts = dict.fromkeys(REASONS, 0)
        self._baud = baud
        self._decoder = Decoder()
        self._heard = 0  # address of the last frame, either way
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
                continue
            self._heard = frame.address
            if frame.kind & 1 == self.role:  # odd: from the agent
                self.counts["reflected"] += 1
            else:
                frames.append(frame)
                self._note(frame, now)
        self.counts["cobs"] = self._decoder.bad["cobs"]
        self.counts["long"] = self._decoder.bad["long"]
        if self._rested or ticks_diff(now, self._used_at) >= 0:
            self._used(now)
        return frames

    def sent(self, count: int, now: int) -> None:
        """Note that ``count`` bytes are being sent from ``now`` on."""
        self._used(ticks_add(now, count * 10000 // self._baud + 1))  # 10 bits a byte

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

    def _note(self, frame: Frame, now: int) -> None:
        """A frame of the other direction was heard."""

    def _gap_ms(self) -> int:
        """How long to wait behind what was heard."""
        return TURN_GAP_MS

    def _used(self, at: int) -> None:
        """The line is in use at ``at``; one of our own is not waited for."""
        if self.shared:
            self._used_at = at
            self._rested = False
            self._wait_ms = self._gap_ms() + (STALL_MS if self._decoder.partial else 0)

    @property
    def bad(self) -> int:
        """Pieces that were no frames of ours, for the status."""
        counts = self.counts
        return counts["cobs"] + counts["long"] + counts["short"] + counts["version"] + counts["kind"]
