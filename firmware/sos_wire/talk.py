"""Steps 4 and 5, talk: one session. Messages out and in, acknowledgements, beats, each frame sealed and numbered."""

import struct

from sos_wire.frame import TALK_DOWN, TALK_UP, Frame, build
from sos_wire.handshake import POLE, session_keys
from sos_wire.lanes import MAX_TIMEOUT_MS, NEVER, WINDOW, Lane, Pace, due, sooner
from sos_wire.seal import Seal, Stream
from sos_wire.ticks import ticks_add, ticks_diff

LIVE, BACKLOG = 0, 1
_LANES = (LIVE, BACKLOG)
MAX_PAYLOAD = 88  # a body without the talk's and the message's own fields
MAX_STATUS = 91
POLL, MESSAGE, STATUS, ANSWER = 1, 2, 4, 8  # flags of a talk

BEAT_MS = 2000  # proof of life; leaves time for some twenty repeats before the link counts as lost
BEAT_JITTER_MS = 250
BEAT_REPEAT_MS = 250  # at 30 % frame loss some 23 repeats fit in: all lost once in three months
URGENT_MS = 800  # a pole's lamp may change three times within a second: its news is told once, after the presses
BACKLOG_WAIT_MS = 750  # an idle backlog begins late, jittered: on a shared pair the presses of all poles go first
BACKLOG_REST_MS = 1500  # idle for so long is idle: a backlog that is being worked off is not held up again
LIVE_REPEAT_MS = 100  # a press does not wait longer because the line was slow before ...
LIVE_REPEATS = 4  # ... until so many repeats have shown that the line is slow now, or dead
# The agent's answer to a press is stored first: on most disks it still carries the acknowledgement. A pole has nothing
# to wait for, and on a shared pair it has the turn only right after it was spoken to.
ACK_DELAY_MS = (0, 20)
_TALK = "<BHH"
_TALK_BYTES = 5


class Talk:
    """One end of one session. ``nonces``: the pole's 16 bytes (incarnation, boot, counter) and the agent's 16."""

    def __init__(self, role: int, address: int, master: Seal, nonces: bytes, stream: Stream) -> None:
        self.id, up, down = session_keys(master, nonces)
        fields = struct.unpack_from("<QII", nonces, 0)
        self.peer: tuple[int, int] = (fields[0], fields[1])  # incarnation and boot of the pole
        self.counter: int = fields[2]
        self.nonces = nonces
        self.heard = False  # a genuine frame of this session came
        self.heard_at = 0
        self.answered_at = 0  # when the peer last showed that it hears us: by an answer, or by acknowledging something
        self.uptime_ms = 0  # the peer's, in that frame
        self.status: bytes | None = None  # the peer's
        self.lanes = (Lane(), Lane())
        self.inbox: list[tuple[int, bytes, int]] = []
        self.sequence = 0  # of our last frame
        self.urgent = False  # tell the status soon, and again until it is answered
        self._in_sequence = 0
        self._role = role
        self._address = address
        self._ours, self._theirs = (up, down) if role == POLE else (down, up)
        self._stream = stream
        self._pace = Pace(stream)
        self._answer_due = False
        self._ack_at = NEVER
        self._beat_at = NEVER
        self._beat_tries = 0
        self._beat_sent_at = 0

    def hear(self, frame: Frame, now: int, counts: "dict[str, int]") -> str:
        """Take a frame of this session; returns the reason of a refusal, or nothing."""
        if frame.sequence <= self._in_sequence:
            return "replay"
        if not self._theirs.check(frame.signed, frame.tag):
            return "tag"
        body = frame.body
        flags = body[0] if len(body) >= _TALK_BYTES else MESSAGE | STATUS
        if flags & MESSAGE and (flags & STATUS or len(body) < _TALK_BYTES + 3 or body[_TALK_BYTES] > BACKLOG):
            return "malformed"
        self._in_sequence = frame.sequence
        self.heard = True
        self.heard_at = now
        self.uptime_ms = frame.uptime_ms
        refusal = self._hear_acks(body, now)
        if flags & POLL:
            self._answer_due = True
        if flags & ANSWER:
            self.answered_at = now
            if self._beat_tries:
                self._hear_answer(now)
        if flags & STATUS:
            self.status = body[_TALK_BYTES:]
        elif flags & MESSAGE:
            return self._hear_message(frame, now, counts) or refusal
        return refusal

    def _hear_acks(self, body: bytes, now: int) -> str:
        refusal = ""
        for index in _LANES:
            number = body[1 + 2 * index] | body[2 + 2 * index] << 8
            lane = self.lanes[index]
            waited = len(lane.queue)
            trip_ms = lane.acknowledged(number, now)
            if len(lane.queue) < waited:
                self.answered_at = now
            if trip_ms >= 0:
                self._pace.measured(trip_ms)
            elif trip_ms != NEVER:
                refusal = "ack"
            if lane.resend_at == NEVER and lane.waiting:  # some of the window came through, the rest goes on waiting
                self._arm(index, now)
        return refusal

    def _arm(self, index: int, now: int) -> None:
        lane = self.lanes[index]
        most_ms = LIVE_REPEAT_MS if index == LIVE and lane.tries < LIVE_REPEATS else MAX_TIMEOUT_MS
        lane.resend_at = self._pace.deadline(now, lane.tries, most_ms)

    def _hear_answer(self, now: int) -> None:
        if self._beat_tries == 1:
            self._pace.measured(max(0, ticks_diff(now, self._beat_sent_at)))
        self._beat_tries = 0
        self._beat_at = NEVER
        if self._role == POLE:
            self._beat_at = ticks_add(now, self._stream.about(BEAT_MS, BEAT_JITTER_MS))

    def _hear_message(self, frame: Frame, now: int, counts: "dict[str, int]") -> str:
        body = frame.body
        index = body[_TALK_BYTES]
        lane = self.lanes[index]
        number = body[_TALK_BYTES + 1] | body[_TALK_BYTES + 2] << 8
        ahead = (number - lane.expected) & 0xFFFF
        if ahead:
            if ahead < 0x10000 - WINDOW:
                return "window"
            counts["duplicate"] += 1  # had it: our acknowledgement was lost
            self._ack_at = now
            return ""
        if len(self.inbox) >= 2 * WINDOW:
            return "full"
        lane.expected = (number + 1) & 0xFFFF
        self.inbox.append((index, body[_TALK_BYTES + 3 :], frame.uptime_ms))
        if self._ack_at == NEVER:
            self._ack_at = ticks_add(now, ACK_DELAY_MS[self._role])
        return ""

    def next(self, now: int, uptime_ms: int, status: bytes, counts: "dict[str, int]") -> "bytes | None":
        """The next frame that is due: live messages, then answers and beats, then the backlog, then a bare
        acknowledgement if nothing else carried it."""
        # A pole that hears what is said to others is on a shared pair.
        patient = self._role == POLE and counts["address"] > 0
        if self.urgent:
            self._hurry(now, patient)
        for index in _LANES:
            lane = self.lanes[index]
            if due(lane.resend_at, now):
                lane.timeout()
                counts["resent"] += 1
            if lane.ready and (index == LIVE or not patient or self._may_begin(lane, now)):
                place = lane.next(now)
                if lane.resend_at == NEVER:
                    self._arm(index, now)
                return self._build(
                    MESSAGE, struct.pack("<BH", index, lane.number(place)) + lane.queue[place], uptime_ms
                )
            if index == LIVE and (self._answer_due or due(self._beat_at, now)):
                return self._build_beat(now, uptime_ms, status)
        return self._build(0, b"", uptime_ms) if due(self._ack_at, now) else None

    def _hurry(self, now: int, patient: bool) -> None:
        """Tell the status at once; or, on a shared pair, when presses have gone. That takes the next beat's place,
        unless the last answer is so old that the beat matters more."""
        self.urgent = False
        wait_ms = 0
        if patient and self.heard:
            if ticks_diff(now, self.answered_at) >= BEAT_MS:
                return
            wait_ms = self._stream.about(URGENT_MS, URGENT_MS // 4)
        self._beat_tries = 0
        self._beat_at = ticks_add(now, wait_ms)

    def _may_begin(self, lane: Lane, now: int) -> bool:
        """Whether the backlog may go out: if it rested, a while after it was filled; then until it rests again."""
        if lane.begin_at == NEVER and (lane.rest_at == NEVER or due(lane.rest_at, now)):
            lane.begin_at = ticks_add(now, self._stream.about(BACKLOG_WAIT_MS, BACKLOG_WAIT_MS // 4))
        if lane.begin_at != NEVER and not due(lane.begin_at, now):
            return False
        lane.begin_at = NEVER
        lane.rest_at = ticks_add(now, BACKLOG_REST_MS)
        return True

    def _build_beat(self, now: int, uptime_ms: int, status: bytes) -> bytes:
        flags = STATUS if status else 0
        if self._answer_due:
            self._answer_due = False
            flags |= ANSWER
        if due(self._beat_at, now):
            flags |= POLL
            self._beat_sent_at = now
            self._beat_at = self._pace.deadline(now, self._beat_tries, BEAT_REPEAT_MS)
            self._beat_tries += 1
        return self._build(flags, status, uptime_ms)

    def _build(self, flags: int, rest: bytes, uptime_ms: int) -> bytes:
        self.sequence += 1
        self._ack_at = NEVER
        body = struct.pack(_TALK, flags, self.lanes[LIVE].expected, self.lanes[BACKLOG].expected) + rest
        kind = TALK_UP if self._role == POLE else TALK_DOWN
        return build(kind, self._address, self.id, self.sequence, uptime_ms, body, self._ours)

    def soonest(self, now: int, wake_ms: int) -> int:
        """The smaller of ``wake_ms`` and the time until something is due here."""
        wake_ms = sooner(self._beat_at, now, wake_ms)
        wake_ms = sooner(self._ack_at, now, wake_ms)
        wake_ms = sooner(self.lanes[LIVE].resend_at, now, wake_ms)
        wake_ms = sooner(self.lanes[BACKLOG].begin_at, now, wake_ms)
        return sooner(self.lanes[BACKLOG].resend_at, now, wake_ms)
