"""Step 5, lines: bytes of the ports become messages of the poles, and what is to be told becomes frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from sos_agent.core.context import Context
from sos_agent.core.effects import Sealed, WriteBytes
from sos_agent.core.events import PoleConfig
from sos_agent.core.ports import Port, Ports, Seat
from sos_agent.core.uptime import Uptime
from sos_contract.stages import HELD
from sos_wire.agent_end import AgentLink
from sos_wire.frame import HELLO, Frame
from sos_wire.handshake import read_hello
from sos_wire.lanes import WINDOW
from sos_wire.link import IDLE_MS, LIVE
from sos_wire.messages import Command, Progress, Service
from sos_wire.ticks import TICKS_MASK
from sos_wire.wrap import NONCE, wrap

# What a pole can want to hear of: its 64 unreleased presses and the one its lamp shows. Twice that.
ANSWERS_MOST = 128
# On a shared pair an exchange takes some 12 ms, and the slot of the next caller up to 70 more. While presses of several
# poles come closer together than CROWD_MS, all are answered *held* before any is told more.
CROWD_MS = 200
CALM_MS = 150
# Later stages of presses that no lamp shows, under way at a time. While a backlog drains they come by the hundred, 4 ms
# on the wire each: the answers to a new press go first, and wait for one of these at most.
OLD_IN_FLIGHT = 1
# A greeting without an answer is said again unchanged. One that a bad cable spoilt fits no key either, but comes once.
SAME_GREETINGS = 3
ARRIVED_MOST = 2 * WINDOW  # messages that wait until it is settled on which port their pole is
FRAMES_AT_ONCE = 16  # two full windows and what goes with them; more come with the next turn

Press = tuple[str, int, int]  # incarnation, boot, press: an identity within one pole


class Delivered(Struct, frozen=True):
    """A message of a pole, in order, once. ``lane``: 0 live, 1 backlog; ``sealed``: the frame that it came in."""

    pole: str
    lane: int
    payload: bytes
    sealed: Sealed


class Beat(Struct, frozen=True):
    """What a pole says of itself."""

    pole: str
    status: bytes


class Opened(Struct, frozen=True):
    """A session with that pole began."""

    pole: str


class Lost(Struct, frozen=True):
    """Nothing genuine was heard of that pole for too long."""

    pole: str


@dataclass(frozen=True, slots=True)
class Changed:
    """That pole has spoken in a session of the key that was on trial: it is the pole's key from now on."""

    pole: str


Happening = Delivered | Beat | Opened | Lost | Changed


@dataclass(slots=True, eq=False)
class PoleEnd:
    """Our end of the conversation with one pole."""

    config: PoleConfig
    seat: Seat
    link: AgentLink
    key: bytes
    trial: AgentLink | None = None  # greets with a key that is to take the other's place, until one of both is proven
    trial_key: bytes = b""
    trial_due: bool = False  # in this session the pole was not sent it
    commands: list[bytes] = field(default_factory=list)
    due_ms: int = 0
    opened: int = 0  # sessions that were reported
    arrived: list[Delivered] = field(default_factory=list)  # to be delivered
    up: bool = False  # as reported
    heard_ms: int | None = None
    spoken_ms: int = 0
    service_due: bool = True  # in this session it was not told the present service
    # what is to be told: each press's first answer (*held*), and the latest stage after it
    answers: dict[tuple[Press, bool], str] = field(default_factory=dict)
    lamp: Press | None = None  # the press that the pole's lamp shows, as far as we know
    held: dict[Press, None] = field(default_factory=dict)  # told *held* and nothing more, in this session


class Lines:
    """Owns ports and links. ``happenings`` collects what the other parts are to hear."""

    def __init__(self, context: Context, uptime: Uptime) -> None:
        self._context = context
        self._uptime = uptime
        self.ports = Ports(context)
        self.poles: dict[str, PoleEnd] = {}
        self._on: dict[str, dict[int, PoleEnd]] = {}  # line -> address -> pole
        for seat in self.ports.seats.values():
            ends = self._on.setdefault(seat.line.name, {})
            for config in seat.line.poles:
                link = AgentLink(config.address, config.key, context.random.take(32))
                end = PoleEnd(config, seat, link, config.key, due_ms=context.now_ms)
                ends[config.address] = self.poles[config.id] = end
                if config.next:
                    self.try_key(config.id, config.next)
        self.happenings: list[Happening] = []
        self._greeted: dict[str, tuple[bytes, int]] = {}  # pole -> a greeting there that no key fits, how often
        self._service = Service("starting").pack()

    def take(self) -> list[Happening]:
        """What happened since the last call, in order."""
        taken, self.happenings = self.happenings, []
        return taken

    def set_service(self, state: str) -> None:
        """Whether a press would now reach the station: to be told to every pole at once."""
        self._service = Service(state).pack()
        for end in self.poles.values():
            end.service_due = True
            end.due_ms = self._context.now_ms

    def tell(self, pole: str, press: Press, stage: str, *, lamp: bool = False) -> None:
        """Tell a pole how far that press is; the latest stage takes the place of one that was not told yet, except
        that *held* is always told: citizens and technicians see one light after the other. ``lamp``: it is the one
        that the pole's lamp shows."""
        end = self.poles[pole]
        if lamp:
            end.lamp = press
        key = (press, stage == HELD)
        end.answers.pop(key, None)
        end.answers[key] = stage
        if stage == HELD:
            end.held[press] = None
            while len(end.held) > ANSWERS_MOST:
                del end.held[next(iter(end.held))]
        while len(end.answers) > ANSWERS_MOST:
            # Closing a flood tells hundreds at once. A pole offers again what it still has and was not told *held* of;
            # of the others, and of what its lamp shows, nobody would speak again.
            others = [key for key in end.answers if key[0] != end.lamp]
            del end.answers[next((key for key in others if key[0] not in end.held), others[0])]
            self._context.counts["answer_crowded_out"] += 1
        end.due_ms = self._context.now_ms

    def command(self, pole: str, command: Command) -> None:
        """Tell a pole in this session; with the session it is lost."""
        end = self.poles[pole]
        end.commands.append(command.pack())
        end.due_ms = self._context.now_ms

    def try_key(self, pole: str, key: bytes) -> None:
        """That key, which is on our disk, is to take the place of the pole's: it is sent to the pole, in each session
        until there is one of that key. ``Changed`` tells that."""
        end = self.poles[pole]
        if end.trial is None or key != end.trial_key:
            end.trial, end.trial_key = AgentLink(end.config.address, key, self._context.random.take(32)), key
        end.trial_due = True
        end.due_ms = self._context.now_ms

    def drop_trial(self, pole: str, *, but: bytes) -> bool:
        """No other key than that is on trial from now on. False if that cannot be: we have greeted with the other one,
        which may be the only one that the pole still holds."""
        end = self.poles[pole]
        if end.trial is not None and end.trial_key != but:
            if end.trial.state != "closed":
                return False
            end.trial, end.trial_key = None, b""
        return True

    # -- hearing --------------------------------------------------------------------------------------------------

    def received(self, name: str, data: bytes) -> None:
        """Bytes came from that port."""
        port = self.ports.by_name.get(name)
        if port is None or not port.open:
            self._context.counts["bytes_of_no_port"] += 1
            return
        bad = port.wire.bad
        frames = port.wire.feed(data, self._context.now_ms & TICKS_MASK)
        if port.wire.bad != bad and self._context.now_ms < port.seat.calm_ms:
            port.seat.calm_ms = self._context.now_ms + CALM_MS  # callers that met, and will call again
        for frame in frames:
            seat = port.seat
            if seat.port is port and seat.state == "serving":
                end = self._on[seat.line.name].get(frame.address)
                if end is not None and self._take(end, frame)[1]:
                    self.ports.heard(seat, port, fresh=True)
                    self._deliver(end)
                    continue
                if end is not None and end.link.up:
                    continue
            self._hear_stranger(port, frame)

    def _hear_stranger(self, port: Port, frame: Frame) -> None:
        """A frame on a port where nobody of ours was heard of late: whose is it?"""
        known = frame.kind != HELLO
        for seat in self.ports.could_be(port):
            end = self._on[seat.line.name].get(frame.address)
            if end is None or (frame.kind == HELLO and not any(read_hello(frame, key) for key in _keys(end))):
                continue
            known = True
            if seat.port is port and seat.state == "serving":
                continue  # it was asked already
            taken, _ = self._take(end, frame)
            if taken and self.ports.heard(seat, port, fresh=frame.kind != HELLO):
                self._deliver(end)
                return
        if not known:
            self._note_key(port, frame)

    def _note_key(self, port: Port, frame: Frame) -> None:
        """A pole greets at the address of one of ours, but no key of ours fits: told once, until that pole is there."""
        end = self._on[port.seat.line.name].get(frame.address)
        if end is None:
            return
        before, times = self._greeted.get(end.config.id, (b"", 0))
        times = times + 1 if times >= SAME_GREETINGS or frame.body == before else 1
        self._greeted[end.config.id] = frame.body, min(times, SAME_GREETINGS + 1)
        if times == SAME_GREETINGS:
            self._context.log(
                "error", "a pole greets with another key; give both the same one, or mend the address",
                pole=end.config.id, address=frame.address, port=port.name,
            )  # fmt: skip

    def _take(self, end: PoleEnd, frame: Frame) -> tuple[bool, bool]:
        """Give the pole's link a frame, or that of the key on trial what the other one refuses: whether one of them
        took it, and whether it was a genuine one of its session."""
        end.due_ms = self._context.now_ms
        if len(end.arrived) >= ARRIVED_MOST:
            return False, False
        took = _received(end.link, frame, self._context.now_ms)
        _collect(end, frame)
        if not took:
            if end.trial is None or not _received(end.trial, frame, self._context.now_ms):
                return False, False
            if end.trial.up:
                end.link, end.key, end.trial, end.trial_key, end.opened = end.trial, end.trial_key, None, b"", 0
                _collect(end, frame)
                self.happenings.append(Changed(end.config.id))
        link = end.link
        if frame.kind == HELLO or not link.up:
            return True, False
        end.heard_ms = self._context.now_ms
        self._uptime.heard(end.config.id, f"{link.peer[0]:016x}", link.peer[1], link.peer_uptime_ms)
        return True, True

    def _deliver(self, end: PoleEnd) -> None:
        link, pole = end.link, end.config.id
        if link.opened != end.opened:
            # Both windows began anew: what was to be told is asked for again by the pole, which offers what it holds.
            end.opened, end.up, end.service_due = link.opened, True, True
            self._greeted.pop(pole, None)
            end.answers.clear()
            end.held.clear()
            end.commands.clear()
            end.trial_due = end.trial is not None
            self.happenings.append(Opened(pole))
        for message in end.arrived:
            self._note_crowd(end)
            self.happenings.append(message)
        end.arrived.clear()
        if link.peer_status is not None:
            self.happenings.append(Beat(pole, link.peer_status))

    def _note_crowd(self, end: PoleEnd) -> None:
        """Several poles of a shared pair call at once: what is no first answer waits until they have been heard."""
        now, seat = self._context.now_ms, end.seat
        if now < seat.calm_ms or (seat.caller not in ("", end.config.id) and now - seat.called_ms < CROWD_MS):
            seat.calm_ms = now + CALM_MS
        seat.caller, seat.called_ms = end.config.id, now

    # -- speaking -------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Say what is due on every port that may be spoken on; notice links that fell silent."""
        self.ports.pump()
        now = self._context.now_ms
        due = [end for end in self.poles.values() if now >= end.due_ms]
        for end in sorted(due, key=_turn) if len(due) > 1 else due:
            self._speak(end)

    def _speak(self, end: PoleEnd) -> None:
        now = self._context.now_ms
        ticks = now & TICKS_MASK
        port = end.seat.port
        link = end.link
        link.watch(ticks)  # a pair that somebody never leaves quiet must not hide that a pole is lost
        if end.up and not link.up:
            end.up = False
            end.answers.clear()
            end.held.clear()
            self.happenings.append(Lost(end.config.id))
        for _ in range(FRAMES_AT_ONCE):
            wait_ms = port.wire.wait(ticks) if port is not None and port.open else 0
            if wait_ms:
                end.due_ms = now + wait_ms
                return
            self._offer_answers(end)  # not before we may speak: what matters more may come up till then
            self._offer_commands(end)
            data = link.poll(ticks, now - self._context.started_ms)
            if data is None and end.trial is not None:
                data = end.trial.poll(ticks, now - self._context.started_ms)
            if data is None:
                break
            if port is not None and port.open:
                port.wire.sent(len(data), ticks)
                end.spoken_ms = now
                self._context.emit(WriteBytes(port.name, data))
        end.due_ms = now + max(1, min(link.wake(ticks), end.trial.wake(ticks) if end.trial is not None else IDLE_MS))
        if end.answers and now < end.seat.calm_ms:
            end.due_ms = min(end.due_ms, end.seat.calm_ms)

    def _offer_answers(self, end: PoleEnd) -> None:
        if end.service_due and end.link.send(LIVE, self._service):
            end.service_due = False
        if not end.answers:
            return
        calm = self._context.now_ms >= end.seat.calm_ms
        urgent = [key for key in end.answers if key[1] or key[0] == end.lamp]
        for key in sorted(urgent, key=lambda key: key[0] != end.lamp):
            if end.link.room(LIVE) <= 0:
                return
            if key[1] or calm:
                _answer(end, key)
        while calm and end.answers and end.link.room(LIVE) > WINDOW - OLD_IN_FLIGHT:
            _answer(end, next(iter(end.answers)))

    def _offer_commands(self, end: PoleEnd) -> None:
        if end.trial_due and end.link.room(LIVE) > 0:
            end.trial_due = False
            wrapped = wrap(end.key, self._context.random.take(NONCE), end.trial_key)
            end.link.send(LIVE, Command("replace_key", 0, wrapped).pack())
        while end.commands and end.link.send(LIVE, end.commands[0]):
            del end.commands[0]

    def next_due_ms(self) -> int:
        """When ``pump`` may have something to do."""
        return min([self.ports.next_due_ms(), *(end.due_ms for end in self.poles.values())])


def _received(link: AgentLink, frame: Frame, now_ms: int) -> bool:
    refused = link.refused
    link.receive(frame, now_ms & TICKS_MASK)
    return link.refused == refused


def _collect(end: PoleEnd, frame: Frame) -> None:
    """Messages that the link has taken. A frame carries one at most: what is there now came with this one."""
    link = end.link
    if end.arrived and end.arrived[0].sealed.nonces != link.nonces:
        end.arrived.clear()  # with its session it is over; the pole offers again what it holds
    for lane, payload, _ in link.take():
        sealed = Sealed(link.nonces, frame.signed + frame.tag)
        end.arrived.append(Delivered(end.config.id, lane, payload, sealed))


def _keys(end: PoleEnd) -> list[bytes]:
    return [end.key, end.trial_key] if end.trial is not None else [end.key]


def _answer(end: PoleEnd, key: tuple[Press, bool]) -> None:
    """Send that one; there is room."""
    incarnation, boot, number = key[0]
    if not key[1]:
        end.held.pop(key[0], None)
    end.link.send(LIVE, Progress(int(incarnation, 16), boot, number, end.answers.pop(key)).pack())


def _turn(end: PoleEnd) -> tuple[bool, int]:
    """Who is spoken to first on a shared pair: whose press was not answered yet, then who waits longest."""
    return not any(first for _, first in end.answers), end.spoken_ms
