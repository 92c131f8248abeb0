"""Steps 4 and 5, link: sealed, numbered, sent and sent again until acknowledged; checked, ordered, each message once.

Sans-IO: frames and the time go in, wire bytes and messages come out. One Link per pole at either end of the cable.
"""

import struct

from sos_wire.frame import EVERYBODY, HELLO, TALK_DOWN, TALK_UP, WELCOME, WHO, Frame, build
from sos_wire.handshake import (
    AGENT,
    HELLO_BODY,
    IN_SESSION,
    NONCE_BYTES,
    POLE,
    TABLES,
    Hello,
    is_who,
    named_seal,
    open_hello,
    who,
)
from sos_wire.lanes import NEVER, WINDOW, due, sooner
from sos_wire.seal import Seal, Stream
from sos_wire.talk import BACKLOG, LIVE, MAX_PAYLOAD, MAX_STATUS, Talk
from sos_wire.ticks import ticks_add, ticks_diff

__all__ = ["AGENT", "BACKLOG", "LINK_LOST_MS", "LIVE", "MAX_PAYLOAD", "MAX_STATUS", "POLE", "Link"]

LINK_LOST_MS = 8000  # the lamp says "out of service" within 10 s of losing the agent
HELLO_MIN_MS = 250
HELLO_SPREAD_MS = 750
HELLO_VALID_MS = 1000  # within a session: how long the answer to a HELLO is waited for, and no other is said
WHO_WAIT_MS = 60  # poles that were all asked at once answer spread over as much as eight answers take
WHO_MIN_MS = 250
ASK_MS = 1000  # an agent that hears nothing asks at this pace, plus up to as much again
SILENT_MS = 3000  # a living session is heard at least each 2.25 s; before that no stranger makes us ask
IDLE_MS = 2500  # look at the clock at least so often, so that no difference of ticks grows old
LAST_SEQUENCE = 0x3FFFFFFF  # no big integers on a 32-bit board; 60 years of beats

REFUSALS = (
    "reflected",  # our own direction: an echo
    "address",  # another pole's
    "session",  # of a session that is not ours, or no longer
    "replay",  # a number that we have had
    "tag",  # not sealed with the key it should be
    "malformed",  # sealed and yet not to be read
    "state",  # impossible now
    "handshake",  # a WELCOME that nobody waits for
    "flood",  # asked more often than anybody needs to
    "ack",  # of messages that were never sent
    "window",  # not the next message: one before it was lost
    "full",  # nobody has taken what came before
)
_EVENTS = (
    {WHO: "who", WELCOME: "welcome", TALK_DOWN: "talk"},
    {HELLO: "hello", TALK_UP: "talk"},
)


class Link:
    """One end of the conversation between a pole and its agent.

    ``role``: POLE or AGENT; ``key``: the pole's 32 bytes; ``seed``: 32 fresh random bytes (nonces and jitter).
    A new session empties both windows at both ends: watch ``opened`` and offer again what still matters.
    """

    def __init__(self, role: int, address: int, key: bytes, seed: bytes) -> None:
        assert role in (POLE, AGENT) and 0 <= address < EVERYBODY
        self.address = address
        self.state = "closed"
        self.counts = dict.fromkeys(REFUSALS, 0)
        self.counts["duplicate"] = self.counts["resent"] = 0  # what a lossy line costs; no refusals
        self.opened = 0  # sessions that were opened
        self.losses = 0  # sessions that fell silent
        self.peer: tuple[int, int] = (0, 0)  # agent: incarnation and boot of the pole in the last session
        self.peer_uptime_ms = 0  # in the last genuine frame of a session
        self.heard_at = 0  # agent: that frame; pole: the last answer or acknowledgement
        self.status = b""
        self.peer_status: bytes | None = None  # None until the peer told one in this session
        self._role = role
        self._master = Seal(key)
        self._hello_seal = named_seal(self._master, "sos hello")
        self._welcome_seal = named_seal(self._master, "sos welcome")
        self._stream = Stream(seed)
        self._talk: Talk | None = None
        self._pending: Talk | None = None  # agent: welcomed, but not yet heard in
        self._welcome_due = False
        self._hello = b""  # pole: body of the HELLO that may be answered; its first 16 bytes are the nonce
        self._start = (0, 0)
        self._firmware = b""
        self._counter = 0
        self._stir = True  # something changed since the deadlines were last looked at
        self._wake_at = 0
        self._call_at = NEVER  # pole: next HELLO; agent: next WHO
        self._called_at = NEVER  # until then no other one

    # --- what the owner calls

    @property
    def up(self) -> bool:
        """Whether there is a session in which the peer was heard lately."""
        return self._talk is not None

    @property
    def refused(self) -> int:
        """Frames that were refused, all reasons."""
        return sum([self.counts[reason] for reason in REFUSALS])

    def begin(self, incarnation: int, boot: int, firmware: bytes = b"\x00\x00\x00") -> None:
        """Pole only, once: who we are. ``(incarnation, boot)`` must never have been used before."""
        self._move("begin")
        self._start = (incarnation, boot)
        self._firmware = firmware
        self._greet()

    def set_status(self, payload: bytes, urgent: bool) -> None:
        """What our beats and answers carry from now on; ``urgent``: tell it now, again and again until answered."""
        assert len(payload) <= MAX_STATUS
        self.status = payload
        if urgent and self._talk:
            self._talk.urgent = True
            self._stir = True

    def room(self, lane: int) -> int:
        """How many messages ``send`` would take; 0 without a session."""
        return WINDOW - len(self._talk.lanes[lane].queue) if self._talk else 0

    def send(self, lane: int, payload: bytes) -> bool:
        """Take a message for that lane, to be delivered in order and once, or with the session not at all."""
        assert len(payload) <= MAX_PAYLOAD
        if self._talk is None or self.room(lane) == 0:
            return False
        self._talk.lanes[lane].queue.append(payload)
        self._stir = True
        return True

    def take(self) -> "tuple[tuple[int, bytes, int], ...]":
        """Messages that came, each once: (lane, payload, the peer's uptime when that frame was sent)."""
        talk = self._talk
        if talk is None or not talk.inbox:
            return ()
        taken = tuple(talk.inbox)
        talk.inbox.clear()
        return taken

    def wake(self, now: int) -> int:
        """Milliseconds until ``poll`` may have something, 0 to IDLE_MS."""
        return 0 if self._stir else max(0, min(ticks_diff(self._wake_at, now), IDLE_MS))

    def poll(self, now: int, uptime_ms: int) -> "bytes | None":
        """The next bytes for the wire, if anything is due; to be sent now. Call again until None."""
        if not self._stir and ticks_diff(now, self._wake_at) < 0:
            return None
        wire = self._next(now, uptime_ms)
        self._stir = wire is not None
        if wire is None:
            self._plan(now)
        return wire

    def watch(self, now: int) -> None:
        """Notice that the peer has fallen silent. ``poll`` does so too, but is not called while nobody may speak."""
        talk = self._talk
        if talk and (ticks_diff(now, self.heard_at) >= LINK_LOST_MS or talk.sequence >= LAST_SEQUENCE):
            self._lose()

    def receive(self, frame: Frame, now: int) -> None:
        """Take a frame from the Line; what is not for us, not now, or not genuine is counted and changes nothing."""
        event = _EVENTS[self._role].get(frame.kind)
        if event is None:
            reason = "reflected"
        elif frame.address != self.address and (event != "who" or frame.address != EVERYBODY):
            reason = "address"
        elif event == "talk":
            reason = self._hear_talk(frame, now)
        elif (self.state, event) not in TABLES[self._role]:
            reason = "state"
        elif event == "who":
            reason = self._hear_who(frame, now)
        elif event == "hello":
            reason = self._hear_hello(frame, now)
        else:
            reason = self._hear_welcome(frame, now)
        if reason:
            self.counts[reason] += 1

    # --- state

    def _move(self, event: str) -> None:
        """Step the table; what does not stand in it raises, and nothing has changed."""
        following = TABLES[self._role].get((self.state, event))
        if following is None:
            raise ValueError(event + " in state " + self.state)
        self.state = following
        self._stir = True

    def _open(self, talk: Talk) -> None:
        self._talk = talk
        self.opened += 1
        self.peer = talk.peer
        self.peer_status = None
        self._call_at = NEVER

    def _lose(self) -> None:
        self._move("lost")
        self.losses += 1
        self._talk = None
        self._call_at = NEVER
        if self._role == POLE:
            self._greet()

    def _greet(self) -> None:
        """A new nonce: it stays the same until it is answered, so that a lost WELCOME costs no second session."""
        self._counter += 1
        start, version = self._start, self._firmware
        flags = IN_SESSION if self._talk else 0
        self._hello = struct.pack(
            HELLO_BODY, start[0], start[1], self._counter, version[0], version[1], version[2], flags
        )

    # --- hearing: each returns the reason of a refusal, or nothing

    def _hear_who(self, frame: Frame, now: int) -> str:
        self._forget_call(now)
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
        self._forget_call(now)
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

    def _hear_hello(self, frame: Frame, now: int) -> str:
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

    def _hear_talk(self, frame: Frame, now: int) -> str:
        talk = self._talk
        if talk is None or frame.session != talk.id:
            talk = self._pending
            if talk is None or frame.session != talk.id:
                return self._hear_stray(now)
        reason = talk.hear(frame, now, self.counts)
        if not reason or reason in ("ack", "window", "full"):  # genuine, whatever it says
            if talk is self._pending:
                self._move("first_talk")
                self._pending = None
                self._open(talk)
            else:
                self._move("talk")
            # One wire of the cable may be broken: to hear an agent proves nothing, to be answered by it does.
            if self._role == AGENT or talk.answered_at == now:
                self.heard_at = now
            self.peer_uptime_ms = frame.uptime_ms
            self.peer_status = talk.status
        return reason

    def _hear_stray(self, now: int) -> str:
        """A talk in a session that we do not know: after our own restart the pole must be asked to greet."""
        if self._role == AGENT and (self._talk is None or ticks_diff(now, self.heard_at) >= SILENT_MS):
            self._move("stray")
            self._call_at = now if self._called_at == NEVER else self._called_at
        return "session"

    def _forget_call(self, now: int) -> None:
        """A call that was said long enough ago: another one may be said, and within a session none is answered late."""
        if due(self._called_at, now):
            self._called_at = NEVER
            if self._talk:
                self._hello = b""

    # --- speaking

    def _next(self, now: int, uptime_ms: int) -> "bytes | None":
        self.watch(now)
        talk = self._talk
        self._forget_call(now)
        pending = self._pending
        if pending and self._welcome_due:
            self._welcome_due = False
            return build(WELCOME, self.address, pending.id, 0, uptime_ms, pending.nonces, self._welcome_seal)
        if talk:
            wire = talk.next(now, uptime_ms, self.status, self.counts)
            if wire is not None:
                return wire
        elif self._call_at == NEVER and self.state != "closed":
            self._call_at = ticks_add(now, self._stream.below(WHO_WAIT_MS + 1))
        elif self._call_at == NEVER and self._role == AGENT:
            self._call_at = now
        return self._call(now, uptime_ms) if due(self._call_at, now) else None

    def _call(self, now: int, uptime_ms: int) -> bytes:
        """HELLO or WHO, and when to say the next one."""
        self._call_at = NEVER
        if self._role == AGENT:
            self._called_at = ticks_add(now, WHO_MIN_MS)
            if self._talk is None:
                self._call_at = ticks_add(now, ASK_MS + self._stream.below(ASK_MS))
            return who(self.address, uptime_ms)
        self._called_at = ticks_add(now, HELLO_VALID_MS if self._talk else HELLO_MIN_MS)
        if self._talk is None:
            self._call_at = ticks_add(now, HELLO_MIN_MS + self._stream.below(HELLO_SPREAD_MS + 1))
        return build(HELLO, self.address, 0, 0, uptime_ms, self._hello, self._hello_seal)

    def _plan(self, now: int) -> None:
        """When to look again; nothing is due now."""
        wake_ms = sooner(self._call_at, now, IDLE_MS)
        if self._talk:
            wake_ms = self._talk.soonest(now, wake_ms)
            wake_ms = min(wake_ms, LINK_LOST_MS - ticks_diff(now, self.heard_at))
        self._wake_at = ticks_add(now, max(0, wake_ms))


def _newer(hello: Hello, than: Talk) -> bool:
    """Another incarnation cannot be compared; within one, boot and counter only grow."""
    return hello.incarnation != than.peer[0] or (hello.boot, hello.counter) > (than.peer[1], than.counter)
