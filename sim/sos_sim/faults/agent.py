"""Faults of the computer at a reporting point: its program, its power, its disk, its clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sos_agent.core import effects as agent_effects
from sos_sim.faults.base import RESTART_US, Fault, Knob, Turns
from sos_sim.faults.seldom import SELDOM
from sos_sim.world.agent import AgentNode
from sos_sim.world.program import Program
from sos_station.core import effects as station_effects

AGENT_EFFECTS: tuple[type, ...] = agent_effects.Effect.__args__
STATION_EFFECTS: tuple[type, ...] = station_effects.Effect.__args__


class Programs(Fault):
    """A fault of a program: at ``part``, an agent or the station."""

    @property
    def part(self) -> str:
        """As the trace names it."""
        return f"agent:{self.where}" if self.place == "point" else "station"

    @property
    def program(self) -> Program:
        """The node."""
        node = self.field.machine(self.part)
        assert isinstance(node, Program)
        return node


class Stops(Programs):
    """The program is stopped by ``stop`` and started again at the end."""

    lasts_s = (0.2, 60.0)

    def stop(self) -> Callable[[], object]:
        """How it is stopped."""
        raise NotImplementedError

    def begin(self) -> None:
        self.field.hold(self.part, self, self.stop())

    def end(self) -> None:
        self.field.let(self.part, self)


class Crashes(Programs):
    """The program dies between two effects: before the n-th effect of a class, and again after each restart, some
    times; systemd starts it again."""

    lasts_s = (10.0, 90.0)
    often = 3.0
    classes: ClassVar[tuple[type, ...]] = ()
    knobs: ClassVar[dict[str, Knob]] = {"effect": ("Publish",), "after": (0, 6), "times": (1, 3)}

    def begin(self) -> None:
        seldom = SELDOM.get(self.word("effect"))
        self._left = int(self.number("after")) if seldom is None else 0
        self._times = int(self.number("times"))
        self._mine = self._crash_here
        self.program.crash_at = self._mine
        if seldom is not None and seldom.at_starts:
            self.field.hold(self.part, self, self.program.kill)
            self.field.loop.after(RESTART_US, lambda: self.field.let(self.part, self))

    def _crash_here(self, effect: object) -> bool:
        if type(effect).__name__ != self.word("effect") or self._times <= 0:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = int(self.number("after"))
        self._times -= 1
        self.field.hold(self.part, self)
        self.field.loop.after(RESTART_US, lambda: self.field.let(self.part, self))
        return True

    def end(self) -> None:
        if self.program.crash_at is self._mine:
            self.program.crash_at = None
        self._times = 0


class _OnTheDisk(Programs, Turns):
    """Sets an attribute of the program's disk."""

    def things(self) -> list[object]:
        return [self.program.disk]


class AgentKilled(Stops):
    """The agent's program is killed; the machine and its page cache stay. It starts again after a while."""

    name = "agent-killed"
    place = "point"
    often = 2.0

    def stop(self) -> Callable[[], object]:
        return self.program.kill


class AgentStopped(Stops):
    """The agent's program is told to end and does so in order, for an update."""

    name = "agent-stopped"
    place = "point"
    often = 0.5

    def stop(self) -> Callable[[], object]:
        return self.program.stop


class AgentPowerCut(Stops):
    """The machine has no power: what the program had written and not synced may be gone, whole commits only. It starts
    with a new time base, and nobody tells the brokers."""

    name = "agent-power-cut"
    place = "point"
    often = 2.0

    def stop(self) -> Callable[[], object]:
        return self.program.power_cut


class AgentFrozen(Stops):
    """The program stands still (SIGSTOP, or a machine that swaps) while its connections stand, and then goes on with
    all that came meanwhile."""

    name = "agent-frozen"
    place = "point"
    lasts_s = (0.5, 60.0)

    def stop(self) -> Callable[[], object]:
        return self.program.freeze


class AgentCrash(Crashes):
    name = "agent-crash"
    place = "point"
    knobs: ClassVar[dict[str, Knob]] = {
        "effect": tuple(one.__name__ for one in AGENT_EFFECTS), "after": (0, 6), "times": (1, 3),
    }  # fmt: skip


AgentCrash.__doc__ = """The agent dies between two effects: before the n-th effect of a class that its core asked for,
    and again after its restarts, some times. systemd starts it again after 2 s."""


class AgentTwice(Programs):
    """A second agent of the same point is started on the same machine, by hand. The lock must refuse it."""

    name = "agent-twice"
    place = "point"
    lasts_s = (1.0, 5.0)

    def begin(self) -> None:
        self._second: AgentNode | None = None
        if self.program.running:
            self._second = self.field.zone.second_agent(self.where)
            assert not self._second.start("by hand"), "two agents on one outbox"

    def end(self) -> None:
        pass  # it was refused, and has gone


class AgentDiskSlow(_OnTheDisk):
    """Each commit of the agent takes longer by some tenths of a second: a worn card."""

    name = "agent-disk-slow"
    place = "point"
    attribute = "slow_us"
    knobs: ClassVar[dict[str, Knob]] = {"by_ms": (50, 1500)}
    lasts_s = (10.0, 90.0)

    def value(self) -> object:
        return int(self.number("by_ms")) * 1000


class AgentDiskFull(_OnTheDisk):
    """The agent's disk is full: presses go into the room that was reserved for them, notices wait."""

    name = "agent-disk-full"
    place = "point"
    attribute = "full"
    lasts_s = (10.0, 120.0)


class AgentDiskFailing(_OnTheDisk):
    """The agent's disk takes no write and gives no read. Nothing may be called held, and no service be promised."""

    name = "agent-disk-failing"
    place = "point"
    attribute = "failing"
    lasts_s = (2.0, 60.0)


class AgentDiskHangs(_OnTheDisk):
    """The agent's disk does not answer at all, and then does."""

    name = "agent-disk-hangs"
    place = "point"
    attribute = "hang"
    lasts_s = (1.0, 40.0)
    often = 0.5


class AgentDiskLost(Stops):
    """The agent's card is dead and replaced by an empty one. Poles still have what was not received."""

    name = "agent-disk-lost"
    place = "point"
    lasts_s = (3.0, 60.0)

    def stop(self) -> Callable[[], object]:
        return self.program.power_cut

    def begin(self) -> None:
        super().begin()
        self.program.disk.lose()
        if self.program.own is not None:  # type: ignore[attr-defined]
            self.program.own.lose_flash()  # type: ignore[attr-defined]


class AgentDiskDamaged(Stops):
    """The outbox's file is damaged: it is moved aside at the next start, and counts as lost."""

    name = "agent-disk-damaged"
    place = "point"
    lasts_s = (2.0, 20.0)
    often = 0.5

    def stop(self) -> Callable[[], object]:
        return self.program.kill

    def begin(self) -> None:
        super().begin()
        if self.program.disk.file is not None:
            self.program.disk.damaged = True


class ClockJumps(Programs):
    """Nobody disciplines the clock any more, and somebody sets it wrong; later the time source is back. Monotonic time
    goes on; ages must not follow the jump."""

    lasts_s = (20.0, 200.0)
    knobs: ClassVar[dict[str, Knob]] = {"by_s": (-7200, 7200)}

    def begin(self) -> None:
        self.program.clock.lose_sync(self.field.loop.now_us)
        self.program.clock.jump(int(self.number("by_s")) * 1000)

    def end(self) -> None:
        self.program.clock.synchronise()


class ClockUnset(Stops):
    """The machine starts without a clock chip: it believes in 1970, or in the time of its last shutdown, until a time
    source is found at the end."""

    lasts_s = (20.0, 200.0)
    knobs: ClassVar[dict[str, Knob]] = {"believes": ("unset", "stale"), "off_s": (0.5, 15.0)}

    def stop(self) -> Callable[[], object]:
        return self.program.power_cut

    def begin(self) -> None:
        self.field.turn(self.program.clock, "at_boot", self.word("believes"), self)
        super().begin()
        self.field.loop.after(int(self.number("off_s") * 1e6), lambda: self.field.let(self.part, self))

    def end(self) -> None:
        self.field.back(self.program.clock, "at_boot", self)
        super().end()
        self.program.clock.synchronise()


class AgentClockJumps(ClockJumps):
    __doc__ = ClockJumps.__doc__
    name = "agent-clock-jumps"
    place = "point"


class AgentClockUnset(ClockUnset):
    __doc__ = ClockUnset.__doc__
    name = "agent-clock-unset"
    place = "point"


AGENT: tuple[type[Fault], ...] = (
    AgentKilled, AgentStopped, AgentPowerCut, AgentFrozen, AgentCrash, AgentTwice, AgentDiskSlow, AgentDiskFull,
    AgentDiskFailing, AgentDiskHangs, AgentDiskLost, AgentDiskDamaged, AgentClockJumps, AgentClockUnset,
)  # fmt: skip
