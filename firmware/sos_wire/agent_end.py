"""Steps 4 and 5, the agent's end: asks WHO, hears HELLO, says WELCOME; on a shared pair it has the first turn.

Nothing of it is on a pole.
"""

from sos_wire.frame import EVERYBODY, HELLO, TALK_UP, WELCOME, Frame, build
from sos_wire.handshake import AGENT, AGENT_TABLE, NONCE_BYTES, Hello, open_hello, who
from sos_wire.lanes import NEVER
from sos_wire.line import Line
from sos_wire.link import Link
from sos_wire.talk import Talk
from sos_wire.ticks import ticks_add, ticks_diff

WHO_MIN_MS = 250
ASK_MS = 1000  # an agent that hears nothing asks at this pace, plus up to as much again
SILENT_MS = 3000  # a living session is heard at least each 2.25 s; before that no stranger makes us ask
REPLY_MS = 10  # the pole that was spoken to has this long to begin
TURN_MS = 6  # who answers later has missed the turn: poles are about to speak ...
HOLD_MS = 30  # ... so it waits for the next turn, or until the poles that are next would have spoken
CROWD_MS = 200  # two poles heard within that time: several want to speak, and missed turns are not taken


class AgentLink(Link):
    """See Link. It calls by itself until it hears its pole."""

    role = AGENT
    _table = AGENT_TABLE
    _events = {HELLO: "hello", TALK_UP: "talk"}

    def __init__(self, address: int, key: bytes, seed: bytes) -> None:
        super().__init__(address, key, seed)
        self._pending: Talk | None = None  # welcomed, but not yet heard in
        self._welcome_due = False

    @property
    def nonces(self) -> bytes:
        """Of the session, both ends': with the pole's key they tell what its frames were sealed with."""
        return self._talk.nonces if self._talk else b""

    def _hear_call(self, _event: str, frame: Frame, now: int) -> str:
        hello = open_hello(frame, self._hello_seal)
        if hello is None:
            return "tag"
        talk, pending = self._talk, self._pending
        if talk and not _newer(hello, talk):
            return "replay"
        if pending and hello.nonce == pending.nonces[:NONCE_BYTES]:
            self._welcome_due = True  # our WELCOME was lost: the same one again
            self._stir = True
            return ""
        if pending and not _newer(hello, pending):
            return "replay"
        if talk and hello.in_session and ticks_diff(now, self.heard_at) < SILENT_MS:
            return ""  # it answers a question that somebody asked, and is well in this session
        self._move("hello")
        nonces = hello.nonce + self._stream.take(NONCE_BYTES)
        self._pending = Talk(AGENT, self.address, self._master, nonces, self._stream)
        self._welcome_due = True
        return ""

    def _hear_other(self, frame: Frame, now: int) -> str:
        talk = self._pending
        if talk is None or frame.session != talk.id:
            return self._hear_stray(now)
        reason = self._hear_in(talk, "first_talk", frame, now)
        if self._talk is talk:
            self._pending = None
        return reason

    def _hear_stray(self, now: int) -> str:
        """A talk in a session that we do not know: after our own restart the pole must be asked to greet."""
        if self._talk is None or ticks_diff(now, self.heard_at) >= SILENT_MS:
            self._move("stray")
            self._call_at = now if self._called_at == NEVER else self._called_at
        return "session"

    def _next(self, now: int, uptime_ms: int) -> "bytes | None":
        pending = self._pending
        if pending and self._welcome_due:
            self._welcome_due = False
            return build(WELCOME, self.address, pending.id, 0, uptime_ms, pending.nonces, self._welcome_seal)
        return super()._next(now, uptime_ms)

    def _first_call(self, now: int) -> int:
        return now if self.state == "closed" else super()._first_call(now)

    def _call(self, now: int, uptime_ms: int) -> bytes:
        self._called_at = ticks_add(now, WHO_MIN_MS)
        self._call_at = NEVER
        if self._talk is None:
            self._call_at = ticks_add(now, ASK_MS + self._stream.below(ASK_MS))
        return who(self.address, uptime_ms)


class AgentLine(Line):
    """See Line. It lets poles that follow close upon each other finish before it takes a turn that it has missed."""

    role = AGENT

    def __init__(self, shared: bool, baud: int) -> None:
        super().__init__(shared, baud)
        self._crowded = False  # several poles want to speak
        self._speaker = EVERYBODY  # whom we heard last that was not the one before, and when
        self._speaker_at = 0

    def sent(self, count: int, now: int) -> None:
        super().sent(count, now)
        self._wait_ms = REPLY_MS

    def wait(self, now: int) -> int:
        if self._crowded and not self._rested:
            passed_ms = ticks_diff(now, self._used_at)
            if self._wait_ms <= passed_ms < HOLD_MS:
                return 0 if passed_ms <= TURN_MS else HOLD_MS - passed_ms
        return super().wait(now)

    def _note(self, frame: Frame, now: int) -> None:
        """Whether poles follow close upon each other. The first of a burst shows nothing, the second all."""
        lately = 0 <= ticks_diff(now, self._speaker_at) < CROWD_MS
        if frame.address != self._speaker:
            self._crowded = lately
            self._speaker = frame.address
            self._speaker_at = now
        elif not lately:
            self._crowded = False


def _newer(hello: Hello, than: Talk) -> bool:
    """Another incarnation cannot be compared; within one, boot and counter only grow."""
    return hello.incarnation != than.peer[0] or (hello.boot, hello.counter) > (than.peer[1], than.counter)
