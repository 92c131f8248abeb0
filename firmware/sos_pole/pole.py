"""Step 3, pole: a press gets its identity, goes into the journal, then onto the lamp, then to the agent until held.

A core: time, runs of the inputs, bytes from the cable and readings go in; what lamp, sounder, beacon and cable are to
do comes out, with the time until the next step is wanted. It reads no clock and touches no hardware but the flash that
it is given. A step without frames, presses or changes allocates nothing.
"""

from sos_pole.alarm import HELD, RECEIVED, Alarm
from sos_pole.debounce import DEAD, NEVER, READY, STUCK, WAIT, Debounce
from sos_pole.debounce import HELD as DOWN
from sos_pole.journal import MOST_PENDING, Entry, Journal
from sos_pole.keys import Keys
from sos_pole.lamp import TABLE, Player
from sos_pole.notices import Notices
from sos_pole.runs import Runs
from sos_pole.senses import Readings
from sos_wire.lanes import WINDOW
from sos_wire.link import BACKLOG, LIVE
from sos_wire.messages import (
    FAULTS,
    KINDS,
    RESET_CAUSES,
    STAGES,
    Command,
    Press,
    Progress,
    Service,
    Status,
    unpack_down,
)
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.ticks import ticks_diff

VERSION = b"\x00\x01\x00"  # of the firmware; told in the beats
AGAIN_MS = 1000  # a press that arrived and was not held in this time is offered again
STATUS_MS = 2000  # the beats' pace
REST_MS = 1000  # between two steps of the journal's upkeep: its erasing makes the pole blind for some 45 ms
QUIET_MS = 200  # without a byte from the agent, before the journal may erase
_SHORT_WAKE_MS = 2
_CARRY = 1 << 28  # uptime is kept in two small integers: a big one would be made anew each step
_URGENT = ("in_service", "out_of_service", "not_delivered")  # looks; the agent knows the stages itself
_SOURCES = ("press", "silent_press")
_JOURNAL_FAULT = 1 << 8
assert FAULTS[8] == "journal_fault"


class Outputs:
    """What the board is to do after a step. ``wake_ms``: until the next one is wanted, if nothing happens before."""

    def __init__(self) -> None:
        self.lamp: "tuple[int, int, int]" = (0, 0, 0)  # red, green, white in percent
        self.hertz = 0  # of the sounder; 0: silent
        self.beacon = False
        self.send = b""  # bytes for the cable, now
        self.wake_ms = 0
        self.open_repl = False  # the journal is marked: restart


class Pole:
    """One pole. Call ``start`` once, then ``step``. ``buttons``: 1, or 2 with a concealed silent one."""

    def __init__(
        self, journal: Journal, link: PoleLink, line: PoleLine, buttons: int = 1, reset_cause: str = "unknown"
    ) -> None:
        self.journal = journal
        self.link = link
        self.line = line
        self.look = "starting"
        self.out = Outputs()
        self.faults = 0
        self.unfollowed = 0  # messages that were genuine and yet not to be followed
        self.debounces = [Debounce() for _ in range(buttons)]
        self._received: "list[Entry]" = []  # to be released with the next step
        self._pressed: "list[Entry | None]" = [None] * buttons  # whose release is awaited
        self._faults = [0] * buttons  # a mask each, of what its loop has
        self._reset_cause = reset_cause
        self._readings = Readings()
        self._changes = 0
        self._notices = Notices(journal)
        self._service = "starting"
        self._session = 0
        self._up = False
        self._offer = False
        self._up_low = self._up_high = 0
        self._stale = True  # the status is not what the beats carry
        self._failing = False

    def start(self, now: int) -> None:
        """Open the journal and the link; presses that were left are shown and offered again."""
        journal = self.journal
        journal.open()
        self._keys = Keys(journal, self.link)
        self.link.begin(journal.incarnation, journal.boot, VERSION)
        self._now = now
        self._status_at = self._heard_at = self._kept_at = self._offer_at = now
        self._down_at_ms = 0
        self._alarm = Alarm(now)
        self._lamp = Player(TABLE["starting"][0], now)
        self._sound = Player(TABLE["starting"][1], now)
        self._notices.add("pole_restarted", 0, RESET_CAUSES.index(self._reset_cause) + 1, 1)
        if journal.damaged or journal.failing:
            self._notices.add("journal_fault", 0, journal.damaged, 1)
            self.faults |= _JOURNAL_FAULT
            self._failing = journal.failing
        for entry in journal.entries:
            if KINDS[entry.kind - 1] == "press":
                self._alarm.show(entry, True, False, now)

    @property
    def uptime_ms(self) -> int:
        """Since the start, as of the last step; never wraps."""
        return self._up_high * _CARRY + self._up_low

    def step(self, now: int, runs: "tuple[Runs, ...] | list[Runs]", received: bytes, readings: Readings) -> Outputs:
        """One turn. ``runs``: one a button; ``received``: bytes from the cable; ``readings``: looked at each time."""
        self._pass_time(now)
        while self._received:  # one step after the lamp has said so, which need not wait for the flash
            self.journal.release(self._received.pop())
            self._offer = self._stale = True
        self.out.send = b""
        for source in range(len(self.debounces)):
            part = runs[source]
            for index in range(part.count):
                for what in self.debounces[source].feed(part.level[index], part.ms[index]):
                    self._button(source, what, now)
        if received:
            self._hear(received, now)
        self._watch_link(now)
        self._read(readings)
        if self._up:
            self._offer_presses(now)
            self._notices.flush(self.link, self._session)
        self._keep_journal(now)
        self._speak(now)
        self._show(now)
        if self._stale and not self.out.send:  # not in the step that has a press to send: it has to be quick
            self._tell_status(False)
        self.out.wake_ms = self._wake(now)
        return self.out

    def _pass_time(self, now: int) -> None:
        self._up_low += max(0, ticks_diff(now, self._now))
        self._now = now
        if self._up_low >= _CARRY:
            self._up_low -= _CARRY
            self._up_high += 1
            self._heard_at = self._kept_at = now  # no difference of ticks may grow old

    # -- buttons

    def _button(self, source: int, what: str, now: int) -> None:
        if what == "press":
            self._press(source, now)
        elif what == "release":
            entry = self._pressed[source]
            self._pressed[source] = None
            if entry is not None and not entry.counts:
                self._notices.add_detail(entry, self.debounces[source].held_ms)
        elif what == "loop_ok":
            for kind in ("loop_open", "loop_short"):
                if self._faults[source] >> FAULTS.index(kind) & 1:
                    self._fault(source, kind, 0)
        elif what != "down":
            kind, end, _ = what.partition("_end")
            if kind == "loop_open":
                self._fault(source, "loop_short", 0)
            elif kind == "loop_short":
                self._fault(source, "loop_open", 0)
            self._fault(source, "stuck_button" if kind == "stuck" else kind, 0 if end else 1)

    def _press(self, source: int, now: int) -> None:
        kind = _SOURCES[source]
        entry = self.journal.append(KINDS.index(kind) + 1, self.uptime_ms)
        entry.session = self._session if self._up else -1
        self._pressed[source] = entry
        self._offer = True
        self._stale = True
        if kind == "press":
            self._alarm.show(entry, entry.durable, self._in_service(), now)

    def _fault(self, source: int, kind: str, on: int) -> None:
        """A fault of one button's loop began or ended; ``value`` of its notice: which one has it, from 0."""
        bit = 1 << FAULTS.index(kind)
        if (self._faults[source] & bit != 0) == (on != 0):
            return
        self._faults[source] ^= bit
        others = 0
        for mask in self._faults:
            others |= mask
        if others & bit and not on:
            source, on = 1 - source, 1  # the other button has it still: no end yet
        self._notices.add(kind, self.uptime_ms, source, on)
        self._set_fault(bit, others & bit != 0)

    def _set_fault(self, bit: int, on: bool) -> None:
        if (self.faults & bit != 0) != on:
            self.faults ^= bit
            self._tell_status(True)

    # -- the agent

    def _hear(self, received: bytes, now: int) -> None:
        self._heard_at = now
        for frame in self.line.feed(received, now):
            self.link.receive(frame, now)
        self._watch_link(now)  # a new session begins before its messages
        for _lane, payload, _uptime_ms in self.link.take():
            message = unpack_down(payload)
            if isinstance(message, Progress):
                self._follow(message, now)
            elif isinstance(message, Service):
                self._service = message.state
            elif isinstance(message, Command):
                self._obey(message)
            else:
                self.unfollowed += 1

    def _follow(self, message: Progress, now: int) -> None:
        stage = STAGES.index(message.stage) + 1
        entry = self.journal.find(message.incarnation, message.boot, message.press)
        if entry is not None:
            if not entry.closed:
                self.unfollowed += 1  # it was never told
                return
            if stage >= HELD:
                entry.held = True
            if stage >= RECEIVED and entry not in self._received:
                self._received.append(entry)
        self._alarm.progress(message.incarnation, message.boot, message.press, stage, now)

    def _obey(self, message: Command) -> None:
        """Nothing of it while somebody waits for help: the REPL stops the pole, a new key takes the flash some time."""
        if self.journal.entries or self._alarm.entry is not None:
            obeyed = False
        elif message.command == "open_repl":
            obeyed = self.out.open_repl = self.journal.mark()
        else:
            obeyed = self._keys.replace(message.wrapped)
        if not obeyed:
            self.unfollowed += 1
            self._notices.add("command_refused", self.uptime_ms, message.ident, 1)

    def _watch_link(self, now: int) -> None:
        link = self.link
        if link.opened != self._session:
            self._session = link.opened
            if self.journal.entries:
                self.journal.entries[-1].session = link.opened  # it goes before what else was left
            self._keys.opened()
            self._service = "starting"
            self._offer = True
            self._tell_status(False)
        if link.up != self._up:
            self._up = link.up
            if not self._up:
                self._down_at_ms = self.uptime_ms
                self._notices.add("link_lost", self.uptime_ms, 0, 1)
            elif self._session > 1:
                self._notices.add("link_back", self.uptime_ms, self.uptime_ms - self._down_at_ms, 1)

    def _in_service(self) -> bool:
        return self._up and self._service == "in_service"

    def _offer_presses(self, now: int) -> None:
        """Each unreleased press once a session, oldest first, and again if it arrived and was not held in a second."""
        if not self._offer and ticks_diff(now, self._offer_at) < 0:
            return
        self._offer = False
        self._offer_at = (now + AGAIN_MS) & 0x3FFFFFFF
        link = self.link
        for entry in self.journal.entries:
            if not entry.closed:
                if len(self.journal.entries) > MOST_PENDING:
                    continue
                self.journal.close(entry)
            lane = LIVE if entry.session == self._session else BACKLOG
            if entry.offered == self._session:
                if entry.held or link.room(lane) < WINDOW or ticks_diff(now, entry.offered_at) < AGAIN_MS:
                    continue
            elif not link.room(lane):
                self._offer = True  # an acknowledgement makes room, and with it comes a step
                continue
            else:
                entry.held = False  # this session's agent may have lost its disk
            entry.offered = self._session
            entry.offered_at = now
            kind = KINDS[entry.kind - 1]
            press = Press(kind, entry.incarnation, entry.boot, entry.press, entry.at_ms, entry.repeats, entry.restored)
            link.send(lane, press.pack())

    def _speak(self, now: int) -> None:
        link = self.link
        line = self.line
        if link.wake(now) > 0:
            return
        link.watch(now)  # on a pair that somebody else never leaves quiet the agent may be lost all the same
        if ticks_diff(now, self._status_at) >= STATUS_MS:
            self._tell_status(False)
        while line.quiet(now):
            wire = link.poll(now, self.uptime_ms)
            if wire is None:
                break
            line.sent(len(wire), now)
            self.out.send += wire
        self._watch_link(now)

    def _tell_status(self, urgent: bool) -> None:
        self._stale = False
        self._status_at = self._now
        readings = self._readings
        status = Status(
            self.look,
            readings.supply_mv,
            readings.temperature_dc,
            self._reset_cause,
            self.line.bad + self.link.refused,
            readings.blind_ms,
            len(self.journal.entries),
            self.faults,
            VERSION,
        )
        self.link.set_status(status.pack(), urgent)

    # -- the board

    def _read(self, readings: Readings) -> None:
        self._readings = readings
        if readings.changes != self._changes:
            self._changes = readings.changes
            self._fact("tamper", "tamper", readings.tamper)
            self._fact("mains_lost", "mains_back", readings.mains_lost)
            self._fact("battery_low", "battery_low", readings.battery_low)
            self._fact("lamp_fault", "lamp_fault", readings.dead & 1 != 0)
            self._fact("sounder_fault", "sounder_fault", readings.dead & 2 != 0)
        if self.journal.failing and not self._failing:
            self._failing = True
            self._notices.add("journal_fault", self.uptime_ms, 0, 1)
            self._set_fault(_JOURNAL_FAULT, True)

    def _fact(self, began: str, ended: str, on: bool) -> None:
        bit = 1 << FAULTS.index(began)
        if (self.faults & bit != 0) != on:
            value = self._readings.supply_mv if began == "battery_low" else 0
            self._notices.add(began if on else ended, self.uptime_ms, value, 1 if on or ended != began else 0)
            self._set_fault(bit, on)

    def _keep_journal(self, now: int) -> None:
        """Upkeep, only while nobody presses and the line is quiet; while an alarm goes on only to make room."""
        journal = self.journal
        if not journal.due() or ticks_diff(now, self._kept_at) < REST_MS:
            return
        if self._alarm.entry is not None and not journal.nearly_full():
            return
        if ticks_diff(now, self._heard_at) < QUIET_MS or not self.line.quiet(now):
            return
        for debounce in self.debounces:
            if debounce.state != READY and (debounce.state != WAIT or not debounce.fault):
                return
        journal.maintain()
        self._kept_at = now

    # -- the citizen

    def _show(self, now: int) -> None:
        state = self.debounces[0].state  # a button that cannot be pressed gives no service, whoever listens
        able = state != WAIT and state != STUCK and state != DEAD and (state != DOWN or self._alarm.entry is not None)
        look = self._alarm.look(able and self._in_service(), now)
        if look != self.look:
            urgent = look in _URGENT or self.look in _URGENT
            self.look = look
            pattern = TABLE[look]
            self._lamp.play(pattern[0], now)
            self._sound.play(pattern[1], now)
            self._stale = True
            if urgent:
                self._tell_status(True)
        alarming = look not in ("starting", "in_service", "out_of_service") and not self._alarm.tired
        self.out.beacon = alarming
        self._lamp_ms = self._lamp.advance(now)
        self._sound_ms = self._sound.advance(now)
        assert isinstance(self._lamp.value, tuple) and isinstance(self._sound.value, int)
        self.out.lamp = self._lamp.value
        self.out.hertz = self._sound.value if alarming else 0

    def _wake(self, now: int) -> int:
        if self._up != self.link.up or self._received:
            return 0
        wake_ms = self.link.wake(now)
        if wake_ms == 0:
            wake_ms = self.line.wait(now)
        for debounce in self.debounces:
            wake_ms = min(wake_ms, debounce.wake())
        if self.journal.entries and self._up:
            wake_ms = min(wake_ms, max(_SHORT_WAKE_MS, ticks_diff(self._offer_at, now)))
        if self.journal.due():
            wake_ms = min(wake_ms, REST_MS)
        wake_ms = min(wake_ms, self._lamp_ms)
        if self.out.hertz or self.out.beacon:
            wake_ms = min(wake_ms, self._sound_ms)
        return self._alarm.wake(now, min(wake_ms, NEVER))
