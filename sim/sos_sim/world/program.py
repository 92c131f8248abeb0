"""A program on a machine: a core, its edges' twins, and what may happen to all of them at once."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from sos_contract.errors import SafezoneError
from sos_sim.trace import Trace
from sos_sim.world.clock import MachineClock
from sos_sim.world.disk import Disk
from sos_sim.world.loop import Loop
from sos_sim.world.network import Host

# As asyncio's callers do it: both clocks are cut to milliseconds, a timer that comes early would only turn idly.
TIMER_LATE_US = 1_000
# The last lines of the log, for whoever looks into a finding.
LOG_LINES = 200

Call = Callable[[], object]
Crash = Callable[[Any], bool]


class Program:
    """Agent or station. ``crash_at`` is asked before each effect: True, and the program dies there.

    ``handled`` counts events, ``effects`` counts effects by class; ``log`` holds the last lines.
    """

    def __init__(
        self, loop: Loop, trace: Trace, rng: random.Random, part: str, *, clock: MachineClock, disk: Disk, host: Host
    ) -> None:
        self.loop = loop
        self.trace = trace
        self.rng = rng
        self.part = part
        self.clock = clock
        self.disk = disk
        self.host = host
        self.running = False
        self.frozen = False
        self.crash_at: Crash | None = None
        self.handled = 0
        self.effects: Counter[type] = Counter()
        self.log: deque[tuple[int, str]] = deque(maxlen=LOG_LINES)
        self._commits = 0  # of earlier lives
        self._powered = True
        self._life = 0
        self._missed: list[Call] = []  # timers that were due while the program was frozen
        self._timer: list[object] | None = None
        self._timer_ms = 0

    # --- for each kind of program

    def open(self) -> None:
        """Make the edges. Raises SafezoneError where the program could not start."""
        raise NotImplementedError

    def begin(self) -> None:
        """Bring the first events to the core."""
        raise NotImplementedError

    def close(self, how: str) -> None:
        """The store, and what else is neither a timer nor a connection, ends: 'kill', 'power' or 'stop'."""
        raise NotImplementedError

    def hold(self, frozen: bool) -> None:
        """The store, and what else is neither a timer nor a connection, is frozen or thawed."""
        raise NotImplementedError

    def next_timer_ms(self) -> int | None:
        """When the core wants to be called."""
        raise NotImplementedError

    def timer_due(self) -> None:
        """That time has come."""
        raise NotImplementedError

    def say_goodbye(self) -> None:
        """Asked to end: the core's last effects."""
        raise NotImplementedError

    @property
    def commits_of_life(self) -> int:
        """Commits of this run of the program."""
        raise NotImplementedError

    # --- its life

    @property
    def commits(self) -> int:
        """Commits of all runs."""
        return self._commits + (self.commits_of_life if self.running else 0)

    @property
    def now_ms(self) -> int:
        """As the program's core counts."""
        return self.clock.ms(self.loop.now_us)

    def start(self, cause: str = "start") -> bool:
        """Begin a new life. False: refused (another program has the disk, or it cannot be used); ``down`` says why."""
        assert not self.running, f"{self.part} runs already"
        if not self._powered:
            self._powered = True
            self.clock.power_on(self.loop.now_us)
        self._life += 1
        try:
            self.open()
        except SafezoneError as error:
            self._say("down", f"refused: {error}")
            return False
        self.running, self.frozen = True, False
        self._say("up", cause)
        self.begin()
        return True

    def stop(self) -> None:
        """SIGTERM: the program says goodbye and commits what waits."""
        if self.running and not self.frozen:
            self.say_goodbye()
            if self.running:  # it may have died on the way
                self.end("stop", "stop")

    def kill(self, cause: str = "kill") -> None:
        """SIGKILL: the program is gone; the machine and its page cache stay."""
        if self.running:
            self.end("kill", cause)

    def power_cut(self) -> None:
        """The machine is off. The next start is one of the machine, too."""
        if not self._powered:
            return
        self._powered = False
        self.clock.power_cut(self.loop.now_us)
        if self.running:
            self.end("power", "power")
        else:
            self.host.power_cut()

    def freeze(self) -> None:
        """SIGSTOP: what comes meanwhile waits."""
        if self.running and not self.frozen:
            self.frozen = True
            self.hold(True)
            self.host.freeze()
            self._say("down", "freeze")

    def thaw(self) -> None:
        """SIGCONT: it goes on with all that has come, late."""
        if not self.frozen:
            return
        self.frozen = False
        self._say("up", "thaw")
        life = self._life
        missed, self._missed = self._missed, []
        calls: list[Call] = [partial(self.hold, False), self.host.thaw, *missed]
        for go_on in calls:
            if self._life == life:
                go_on()

    def end(self, how: str, cause: str) -> None:
        """The end of this life. ``how`` as for ``close``."""
        self._commits = self.commits
        self.running = False
        self.frozen = False
        self._life += 1
        self._missed.clear()
        if self._timer is not None:
            self.loop.cancel(self._timer)
            self._timer = None
        self.close(how)
        if how == "power":
            self.host.power_cut()
        else:
            self.host.kill()
        self._say("down", cause)

    # --- time

    def later(self, delay_us: int, call: Call) -> list[object]:
        """Call it then if this life goes on, but not while the program is frozen."""
        return self.loop.after(delay_us, partial(self._due, self._life, call))

    def arm_timer(self) -> None:
        """See to it that the core is called when it wants to be."""
        due_ms = self.next_timer_ms()
        if due_ms is None or (self._timer is not None and self._timer_ms <= due_ms):
            return  # a timer that comes too early only looks again
        if self._timer is not None:
            self.loop.cancel(self._timer)
        self._timer_ms = due_ms
        at_us = self.clock.due_us(due_ms) + TIMER_LATE_US
        self._timer = self.later(at_us - self.loop.now_us, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        due_ms = self.next_timer_ms()
        if due_ms is not None and due_ms <= self.now_ms:
            self.timer_due()
        else:
            self.arm_timer()

    def _due(self, life: int, call: Call) -> None:
        if life != self._life:
            return
        if self.frozen:
            self._missed.append(call)
        else:
            call()

    # --- effects

    def carry_out(self, effects: list[Any], does: dict[type, Callable[[Any], object]]) -> bool:
        """Each in its turn; False if the program died on the way."""
        life, counted = self._life, self.effects
        for effect in effects:
            kind = type(effect)
            if self.crash_at is not None and self.crash_at(effect):
                self.trace.say(self.loop.now_us, "boundary", self.part, kind.__name__)
                self.kill("crash")
            if life != self._life:
                return False
            counted[kind] += 1
            does[kind](effect)
        return True

    def note(self, level: str, text: str, fields: tuple[tuple[str, object], ...]) -> None:
        """One line for the log."""
        pairs = " ".join(f"{key}={value}" for key, value in fields)
        self.log.append((self.loop.now_us, f"{level} {text} {pairs}"))

    def _say(self, kind: str, cause: str) -> None:
        self.trace.say(self.loop.now_us, kind, self.part, cause)
