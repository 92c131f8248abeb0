"""A pole of the virtual zone: the real core and journal on the board's twin, its flash, its clock and its cable."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sos_pole.board import WATCHDOG_MS
from sos_pole.journal import Entry, Journal
from sos_pole.pole import Outputs, Pole
from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT
from sos_sim.nor_flash import PowerCut
from sos_sim.trace import Trace
from sos_sim.world.board import NEVER_MS, Board, UnseenPole
from sos_sim.world.flash import BoardFlash
from sos_sim.world.loop import Loop
from sos_sim.world.wire import Wire
from sos_wire.messages import KINDS
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.ticks import TICKS_MASK

BOOT_US = 300_000  # the interpreter, and importing 40 KB of compiled modules
MOST_DRIFT_PPM = 50  # a crystal's 30 ppm, and its age
RXBUF_BYTES = 1024  # of the port, as sos_pole.ports asks for it
NEAR_WRAP_MS = 120_000  # half of all clocks start so near to their wrap
LEVELS = ("idle", "pressed", "open", "short")  # names of sos_pole.runs' levels


@dataclass(frozen=True, slots=True)
class PoleSpec:
    """What does not change: who it is and how it is wired.

    ``link``: uart, rs485, usb, or local, whose cable is memory and loses nothing; ``buttons``: 1 or 2.

    Without supervision an input sees a cut wire as released and a short as pressed.
    """

    id: str
    address: int
    key: bytes
    link: str = "uart"
    buttons: int = 1
    baud: int = 115200
    supervised: bool = True


class PoleNode:
    """One pole and the hands of whoever touches it. ``pole`` is its core while it runs, ``look`` what its lamp says.

    ``drift_ppm`` is drawn; set another one only while it has no power. ``flash.broken`` and ``flash.stuck`` are its
    flash's faults. ``sealed`` counts frames said, ``steps`` the core's steps; ``faults_us`` is when what it says of its
    own faults changed last.
    """

    def __init__(self, loop: Loop, trace: Trace, rng: random.Random, spec: PoleSpec, wire: Wire) -> None:
        self.spec = spec
        self.flash = BoardFlash()
        self.running = False
        self.pole: Pole | None = None
        self.look = ""
        self.sealed = 0
        self.steps = 0
        self.faults_us = 0
        self._faults = 0
        self.drift_ppm = rng.randint(-MOST_DRIFT_PPM, MOST_DRIFT_PPM)
        self.wraps_in_ms: int | None = None  # at the next start the clock is so long before its wrap; None: drawn
        self.senses: dict[str, int] = {}
        self._loop = loop
        self._trace = trace
        self._rng = rng
        self._end = wire.attach(spec.id, self._hear)
        self._shared = wire.shared
        self._contacts = [IDLE] * spec.buttons  # as fingers and bounce have them
        self._wires = [IDLE] * spec.buttons  # OPEN or SHORT while the loop is
        self._touches = [0] * spec.buttons
        self._board: Board | None = None
        self._timer: list[object] | None = None
        self._origin_us = 0  # the board's clock was ``_origin_ms`` then
        self._origin_ms = 0
        self._busy_us = 0  # the flash is being written until then
        self._deaf_us = 0
        self._received = b""
        self._turning = self._frozen = False
        self._fed_us = 0
        self._lamp_entry: Entry | None = None
        self._minted: dict[str, tuple[bool, int]] = {}  # identity -> durable, repeats

    # -- power

    def start(self, cause: str = "power_on") -> None:
        """Power is there, or the chip was reset: it starts; ``cause`` is one of sos_wire.messages.RESET_CAUSES."""
        if self.running:
            return
        self.running = True
        self._frozen = False
        self._received = b""
        now_us = self._loop.now_us
        self._origin_us = self._fed_us = now_us
        near = self._rng.random() < 0.5
        self._origin_ms = (
            TICKS_MASK + 1 - self._rng.randrange(NEAR_WRAP_MS) if near else self._rng.randrange(TICKS_MASK)
        )
        if self.wraps_in_ms is not None:
            self._origin_ms, self.wraps_in_ms = TICKS_MASK + 1 - self.wraps_in_ms, None
        self._trace.say(now_us, "up", self.spec.id, cause)
        self._end.deaf = True
        self._timer = self._loop.at(now_us + BOOT_US, partial(self._boot, cause))

    def power_cut(self, tear: bool = False) -> None:
        """The power goes: now, or with ``tear`` inside the next write to the flash, at a drawn byte."""
        if not self.running:
            return
        if tear:
            self.flash.tear_next = self._rng.random()
        else:
            self._stop("power")

    def reset(self, cause: str = "soft") -> None:
        """The chip is reset, whatever it was doing, and starts again."""
        if self.running:
            self._stop(cause)
            self.start(cause)

    def kill(self) -> None:
        """The watchdog bites."""
        self.reset("watchdog")

    def freeze(self) -> None:
        """The program hangs; the watchdog, which runs from the first turn on, bites 8 s after the last step."""
        if self._board is None or self._frozen:
            return
        now_us = self._loop.now_us
        if self._busy_us > now_us:
            self._loop.at(self._busy_us, self.freeze)
            return
        self._frozen = True
        self._board.blind(self._ms(), NEVER_MS)
        self._cancel()
        self._timer = self._loop.at(self._fed_us + WATCHDOG_MS * 1000, self.kill)

    def thaw(self) -> None:
        """The program goes on, if the watchdog has not bitten yet."""
        if self._board is not None and self._frozen:
            self._frozen = False
            self._cancel()
            self._board.blind(self._ms(), self._ms())
            self._turn()

    def deafen(self, span_us: int) -> None:
        """The processor looks away for so long: what comes meanwhile is lost."""
        if self.running and self.spec.link != "local":
            self._deaf_us = max(self._deaf_us, self._loop.now_us + span_us)
            self._end.deaf = True
            self._loop.at(self._deaf_us, self._listen)

    def _listen(self) -> None:
        if self._board is not None and self._loop.now_us >= self._deaf_us:
            self._end.deaf = False

    def swap_board(self) -> None:
        """Another board with the same key and nothing in its flash; the pole has to be started again."""
        if self.running:
            self._stop("power")
        self._forget()
        self.flash = BoardFlash()

    def lose_flash(self) -> None:
        """All that was in the flash is gone, between two starts."""
        self.swap_board()

    # -- touching it

    def finger(self, button: int, down: bool, bounce_us: Sequence[int] = ()) -> None:
        """A finger closes or opens the contact, which then flips again after each of ``bounce_us`` (an even number)."""
        assert len(bounce_us) % 2 == 0
        self._touches[button] += down
        way = "down" if down else "up"
        self._trace.say(self._loop.now_us, "finger", self.spec.id, button, way, self._touches[button])
        level = PRESSED if down else IDLE
        self._contact(button, level)
        for after_us in bounce_us:
            level = IDLE if level == PRESSED else PRESSED
            self._loop.after(after_us, partial(self._contact, button, level))

    def loop_level(self, button: int, level: int) -> None:
        """The wires: OPEN, SHORT, or whole again with the contact as it is (IDLE) or closing without a finger (PRESSED,
        until IDLE)."""
        before = self._level(button)
        self._wires[button] = level if level in (OPEN, SHORT) else IDLE
        if level in (IDLE, PRESSED):
            self._contacts[button] = level
        self._changed(button, before)

    def sense(self, name: str, value: int) -> None:
        """The other inputs: tamper, mains_lost (0 or 1), supply_mv, lamp_draws (1: it lights)."""
        self.senses[name] = value
        if self._board is not None:
            self._board.feel(name, value, self._ms())
            self._plan()

    def holds(self, incarnation: int, boot: int, press: int) -> bool:
        """Whether that press lies here unreleased: in the running journal, or in the flash of a pole that is off."""
        journal = self.pole.journal if self.pole is not None else None
        if journal is None:
            journal = Journal(BoardFlash(self.flash.size, bytes(self.flash.bytes)), bytes(16))
            journal.open()
        return journal.find(incarnation, boot, press) is not None

    @property
    def blind_ms(self) -> int:
        """Milliseconds in which nobody looked at the button, since this start."""
        return 0 if self._board is None else self._board.senses.readings.blind_ms

    def identity_of_lamp(self) -> str:
        """The press that the lamp belongs to, or nothing."""
        return "" if self._lamp_entry is None else self._identity(self._lamp_entry)

    def _contact(self, button: int, level: int) -> None:
        before = self._level(button)
        self._contacts[button] = level
        self._changed(button, before)

    def _level(self, button: int) -> int:
        """What the board's input reads."""
        level = self._wires[button] or self._contacts[button]
        if self.spec.supervised or level in (IDLE, PRESSED):
            return level
        return PRESSED if level == SHORT else IDLE

    def _changed(self, button: int, before: int) -> None:
        level = self._level(button)
        if level == before:
            return
        self._trace.say(self._loop.now_us, "loop", self.spec.id, button, LEVELS[level])
        if self._board is not None:
            self._board.change(button, level, self._ms(up=True))
            self._plan()

    # -- its clock

    def _ms(self, *, up: bool = False) -> int:
        """The board's clock, which drifts; ``up``: the next whole millisecond, if none begins now."""
        own_us = (self._loop.now_us - self._origin_us) * (1_000_000 + self.drift_ppm)
        return self._origin_ms + (-(-own_us // 1_000_000_000) if up else own_us // 1_000_000_000)

    def _us(self, board_ms: int) -> int:
        """The world's time at which the board's clock reaches that."""
        return self._origin_us - (board_ms - self._origin_ms) * -1_000_000_000 // (1_000_000 + self.drift_ppm)

    # -- running

    def _boot(self, cause: str) -> None:
        """As firmware/main.py does."""
        rng, spec = self._rng, self.spec
        journal = Journal(self.flash, rng.randbytes(16))
        link = PoleLink(spec.address, spec.key, rng.randbytes(32))
        line = PoleLine(spec.link == "rs485", spec.baud, spec.address)
        pole = UnseenPole(journal, link, line, spec.buttons, cause)
        try:
            pole.start(self._ms() & TICKS_MASK)
        except PowerCut:
            self._stop("power")
            return
        self.pole = pole
        self._note_presses(pole)
        self._note_look(pole)
        self._busy_us = self._loop.now_us + self.flash.take_busy_us()
        self._timer = self._loop.at(self._busy_us, partial(self._first_turn, pole))

    def _first_turn(self, pole: Pole) -> None:
        levels = [self._level(button) for button in range(self.spec.buttons)]
        self._board = board = Board(pole, levels, self._ms(up=True), self.senses)
        if pole.journal.marked or board.asks_for_repl():
            self._stop("repl")
            return
        self._listen()
        self._plan()

    def _stop(self, cause: str) -> None:
        self._cancel()
        self.running = False
        self.pole = self._board = None
        self.look = ""
        self._lamp_entry = None
        if cause == "power":
            self.flash.power_gone()
        self._end.hush()
        self._trace.say(self._loop.now_us, "down", self.spec.id, cause)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None

    def _hear(self, data: bytes) -> None:
        if self._board is None:
            return
        if self._turning:
            self._received += data
        elif self._frozen or self._busy_us > self._loop.now_us:
            self._received = (self._received + data)[:RXBUF_BYTES]
        else:
            self._received += data
            self._turn()

    def _turn(self) -> None:
        board = self._board
        assert board is not None
        self._turning = True
        now_ms = self._ms()
        if self._shared:
            self._received += self._end.pull()
        received, self._received = self._received, b""
        try:
            out = board.turn(now_ms, received)
        except PowerCut:
            self._turning = False
            self._note_presses(board.pole)
            self._stop("power")
            return
        self._turning = False
        if out is None:
            self._plan()
            return
        now_us = self._loop.now_us
        self._fed_us = now_us
        self.steps += 1
        if board.pole.journal.entries:
            self._note_presses(board.pole)
        busy_us = self.flash.take_busy_us()
        if busy_us:
            self._busy_us = now_us + busy_us
            self.deafen(busy_us)
            board.blind(now_ms, now_ms - (-busy_us // 1000))
            self._cancel()
            self._timer = self._loop.at(self._busy_us, partial(self._carry_out, out, now_ms))
        else:
            self._carry_out(out, now_ms)

    def _carry_out(self, out: Outputs, now_ms: int) -> None:
        board, pole = self._board, self.pole
        assert board is not None and pole is not None
        board.show(out, now_ms)
        if pole.faults != self._faults:
            self._faults, self.faults_us = pole.faults, self._loop.now_us
        if pole.look != self.look or pole._alarm.entry is not self._lamp_entry:
            self._note_look(pole)
        if out.send:
            self.sealed += out.send.count(0) // 2
            self._end.send(out.send)
        if out.open_repl:
            self.reset("watchdog")  # machine.reset() of an RP2 lets the watchdog do it
            return
        self._plan()

    def _plan(self) -> None:
        """The next turn."""
        board = self._board
        if board is None or self._frozen or self._turning:
            return
        due_us = self._us(board.next_ms())
        if self._busy_us > self._loop.now_us:
            return  # the step is not carried out yet
        self._cancel()
        self._timer = self._loop.at(due_us, self._turn)

    # -- what is to be told

    def _identity(self, entry: Entry) -> str:
        return f"{self.spec.id}/{entry.incarnation:016x}/{entry.boot}/{entry.press}"

    def _note_presses(self, pole: Pole) -> None:
        """Presses that got their identity, or stand for one more, since the last look."""
        for entry in pole.journal.entries:
            identity = self._identity(entry)
            known = self._minted.get(identity)
            now = (entry.durable, entry.repeats)
            if known != now:
                self._minted[identity] = now
                if known is None or entry.repeats != known[1]:
                    kind = KINDS[entry.kind - 1]
                    self._trace.say(self._loop.now_us, "minted", self.spec.id, identity, kind, *now)

    def _note_look(self, pole: Pole) -> None:
        self.look = pole.look
        self._lamp_entry = pole._alarm.entry
        self._trace.say(self._loop.now_us, "look", self.spec.id, self.look, self.identity_of_lamp())

    def _forget(self) -> None:
        """The flash goes, and with it what it alone held."""
        journal = Journal(BoardFlash(self.flash.size, bytes(self.flash.bytes)), bytes(16))
        journal.open()
        for entry in journal.entries:
            self._trace.say(self._loop.now_us, "forgot", self.spec.id, self._identity(entry))
