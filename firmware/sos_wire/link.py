"""Steps 4 and 5, link: sealed, numbered, sent and sent again until acknowledged; checked, ordered, each message once.

Sans-IO: frames and the time go in, wire bytes and messages come out. One Link per pole at either end of the cable. Here
stands what both ends do alike; what only one does stands in ``pole_end`` and ``agent_end``.
"""

from sos_wire.frame import EVERYBODY, Frame
from sos_wire.handshake import POLE, named_seal
from sos_wire.lanes import NEVER, WINDOW, due, sooner
from sos_wire.seal import Seal, Stream
from sos_wire.talk import BACKLOG, LIVE, MAX_PAYLOAD, MAX_STATUS, Talk
from sos_wire.ticks import ticks_add, ticks_diff

__all__ = ["BACKLOG", "LINK_LOST_MS", "LIVE", "MAX_PAYLOAD", "MAX_STATUS", "Link"]

LINK_LOST_MS = 8000  # the lamp says "out of service" within 10 s of losing the agent
WHO_WAIT_MS = 60  # poles that were all asked at once answer spread over as much as eight answers take
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


class Link:
    """One end of the conversation between a pole and its agent: a ``PoleLink`` or an ``AgentLink``.

    ``key``: the pole's 32 bytes; ``seed``: 32 fresh random bytes (nonces and jitter).
    A new session empties both windows at both ends: watch ``opened`` and offer again what still matters.
    """

    role = POLE
    _table: "dict[tuple[str, str], str]" = {}  # the role's state machine
    _events: "dict[int, str]" = {}  # kind of frame -> event; a kind that is not there goes the other way

    def __init__(self, address: int, key: bytes, seed: bytes) -> None:
        assert 0 <= address < EVERYBODY
        self.address = address
        self.state = "closed"
        self.counts = dict.fromkeys(REFUSALS, 0)
        self.counts["duplicate"] = self.counts["resent"] = 0  # what a lossy line costs; no refusals
        self.refused = 0  # frames, for all reasons
        self.opened = 0  # sessions that were opened
        self.losses = 0  # sessions that fell silent
        self.peer: tuple[int, int] = (0, 0)  # agent: incarnation and boot of the pole in the last session
        self.peer_uptime_ms = 0  # in the last genuine frame of a session
        self.heard_at = 0  # agent: that frame; pole: the last answer or acknowledgement
        self.status = b""
        self.peer_status: bytes | None = None  # None until the peer told one in this session
        self.use(key)
        self._stream = Stream(seed)
        self._talk: Talk | None = None
        self._stir = True  # something changed since the deadlines were last looked at
        self._wake_at = 0
        self._call_at = NEVER  # pole: next HELLO; agent: next WHO
        self._called_at = NEVER  # until then no other one

    # --- what the owner calls

    def use(self, key: bytes) -> None:
        """Greet with that key from now on; a session that is open goes on with its own."""
        self._master = Seal(key)
        self._hello_seal = named_seal(self._master, "sos hello")
        self._welcome_seal = named_seal(self._master, "sos welcome")

    @property
    def up(self) -> bool:
        """Whether there is a session in which the peer was heard lately."""
        return self._talk is not None

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
        self.watch(now)
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
        event = self._events.get(frame.kind)
        if event is None:
            reason = "reflected"
        elif frame.address != self.address and (event != "who" or frame.address != EVERYBODY):
            reason = "address"
        elif event == "talk":
            reason = self._hear_talk(frame, now)
        elif (self.state, event) not in self._table:
            reason = "state"
        else:
            reason = self._hear_call(event, frame, now)
        if reason:
            self.counts[reason] += 1
            self.refused += 1

    # --- state

    def _move(self, event: str) -> None:
        """Step the table; what does not stand in it raises, and nothing has changed."""
        following = self._table.get((self.state, event))
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

    # --- hearing: each returns the reason of a refusal, or nothing

    def _hear_call(self, event: str, frame: Frame, now: int) -> str:
        """A frame of the handshake, for us and possible now."""
        raise NotImplementedError

    def _hear_talk(self, frame: Frame, now: int) -> str:
        talk = self._talk
        if talk is None or frame.session != talk.id:
            return self._hear_other(frame, now)
        return self._hear_in(talk, "talk", frame, now)

    def _hear_other(self, _frame: Frame, _now: int) -> str:
        """A talk that is not of our session."""
        return "session"

    def _hear_in(self, talk: Talk, event: str, frame: Frame, now: int) -> str:
        reason = talk.hear(frame, now, self.counts)
        if not reason or reason in ("ack", "window", "full"):  # genuine, whatever it says
            self._move(event)
            if talk is not self._talk:
                self._open(talk)
            # One wire of the cable may be broken: to hear an agent proves nothing, to be answered by it does.
            if self.role != POLE or talk.answered_at == now:
                self.heard_at = now
            self.peer_uptime_ms = frame.uptime_ms
            self.peer_status = talk.status
        return reason

    def _forget_call(self, now: int) -> None:
        """A call that was said long enough ago: another one may be said."""
        if due(self._called_at, now):
            self._called_at = NEVER

    # --- speaking

    def _next(self, now: int, uptime_ms: int) -> "bytes | None":
        talk = self._talk
        self._forget_call(now)
        if talk:
            wire = talk.next(now, uptime_ms, self.status, self.counts)
            if wire is not None:
                return wire
        elif self._call_at == NEVER:
            self._call_at = self._first_call(now)
        return self._call(now, uptime_ms) if due(self._call_at, now) else None

    def _first_call(self, now: int) -> int:
        """Without a session: when to call. Spread, for others may have lost theirs at the same time."""
        return ticks_add(now, self._stream.below(WHO_WAIT_MS + 1))

    def _call(self, now: int, uptime_ms: int) -> bytes:
        """HELLO or WHO, and when to say the next one."""
        raise NotImplementedError

    def _plan(self, now: int) -> None:
        """When to look again; nothing is due now."""
        wake_ms = sooner(self._call_at, now, IDLE_MS)
        if self._talk:
            wake_ms = self._talk.soonest(now, wake_ms)
            wake_ms = min(wake_ms, LINK_LOST_MS - ticks_diff(now, self.heard_at))
        self._wake_at = ticks_add(now, max(0, wake_ms))
