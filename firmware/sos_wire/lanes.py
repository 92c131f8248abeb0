"""Steps 4 and 5, lanes: messages in order, each once, go back N; and how long to wait before saying something again."""

from sos_wire.seal import Stream
from sos_wire.ticks import ticks_add, ticks_diff

WINDOW = 4  # messages on the way per lane: covers two wire lengths and keeps a pole's buffers under 1 KB
NEVER = -1  # no deadline; ticks are never negative

FIRST_TIMEOUT_MS = 150  # before anything was measured: an exchange at 19,200 baud with the peer's 10 ms of patience
MIN_TIMEOUT_MS = 50  # below, the agent's delayed answer and two turns of a loop look like a loss
MAX_TIMEOUT_MS = 800  # with its jitter of a quarter: said again within a second


class Lane:
    """One lane, both directions. Out: up to WINDOW messages. In: the number that is expected next."""

    def __init__(self) -> None:
        self.queue: list[bytes] = []
        self.expected = 0  # the next number to come in
        self.resend_at = NEVER
        self.tries = 0  # time-outs since the last progress
        self.begin_at = NEVER  # what was idle may have to wait until then
        self.rest_at = NEVER  # from then on it is idle again
        self._base = 0  # number of queue[0]
        self._sent = 0  # of the queue, in this round
        self._reached = 0  # of the queue, ever: what the peer may acknowledge
        self._timed = NEVER  # number whose round trip is being measured
        self._timed_at = 0

    @property
    def ready(self) -> bool:
        """Whether a message may go out now. After a time-out one message feels the way."""
        return self._sent < (1 if self.tries else WINDOW) and self._sent < len(self.queue)

    def next(self, now: int) -> int:
        """Note that the next ready message is sent at ``now``; its place in the queue."""
        place = self._sent
        self._sent = place + 1
        if self._reached < self._sent:
            self._reached = self._sent
            if self._timed == NEVER:
                self._timed = self.number(place)
                self._timed_at = now
        return place

    def number(self, place: int) -> int:
        """The number on the wire of the message at that place."""
        return (self._base + place) & 0xFFFF

    def timeout(self) -> None:
        """Nothing came back: begin again with the oldest."""
        self._sent = 0
        self._timed = NEVER  # Karn: the answer to a repeated message cannot be told from that to the first
        self.tries += 1
        self.resend_at = NEVER

    def acknowledged(self, number: int, now: int) -> int:
        """The peer expects ``number`` next. Returns the round trip in ms if one was measured, NEVER if nothing was,
        -2 if the peer cannot know that number (and nothing changes)."""
        done = (number - self._base) & 0xFFFF
        if done == 0:
            return NEVER
        if done > self._reached:
            return -2
        measured = NEVER
        if self._timed != NEVER and (self._timed - self._base) & 0xFFFF < done:
            measured = max(0, ticks_diff(now, self._timed_at))
            self._timed = NEVER
        del self.queue[:done]
        self._base = number
        self._sent = max(0, self._sent - done)
        self._reached -= done
        self.tries = 0
        self.resend_at = self.begin_at = NEVER  # there may be nothing left that waits
        return measured

    @property
    def waiting(self) -> bool:
        """Whether something that was sent in this round is not acknowledged."""
        return self._sent > 0


class Pace:
    """The time-out, learnt from round trips as TCP does (RFC 6298), with a jitter of a quarter so that poles that
    collided on a shared pair do not collide again."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._smooth_ms = 0
        self._spread_ms = 0
        self.timeout_ms = FIRST_TIMEOUT_MS

    def measured(self, trip_ms: int) -> None:
        """Learn one round trip (never of something that was said twice)."""
        if self._smooth_ms == 0:
            self._smooth_ms = trip_ms
            self._spread_ms = trip_ms // 2
        else:
            self._spread_ms = (3 * self._spread_ms + abs(self._smooth_ms - trip_ms)) // 4
            self._smooth_ms = (7 * self._smooth_ms + trip_ms) // 8
        self.timeout_ms = max(MIN_TIMEOUT_MS, min(self._smooth_ms + 4 * self._spread_ms, MAX_TIMEOUT_MS))

    def deadline(self, now: int, tries: int, most_ms: int) -> int:
        """When to say it again: later by a time-out with each second try, up to ``most_ms``, jittered."""
        wait_ms = min(self.timeout_ms * (1 + tries // 2), most_ms)
        return ticks_add(now, self._stream.about(wait_ms, wait_ms // 4))


def due(deadline: int, now: int) -> bool:
    """Whether there is such a deadline and it has come."""
    return deadline != NEVER and ticks_diff(now, deadline) >= 0


def sooner(deadline: int, now: int, wake_ms: int) -> int:
    """The smaller of ``wake_ms`` and the time until the deadline, if there is one."""
    return wake_ms if deadline == NEVER else min(wake_ms, ticks_diff(deadline, now))
