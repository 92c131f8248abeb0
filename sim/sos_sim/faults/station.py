"""Faults of the station: its program, its disk, its clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sos_sim.faults.agent import STATION_EFFECTS, ClockJumps, ClockUnset, Crashes, Programs, Stops, _OnTheDisk
from sos_sim.faults.base import Fault, Knob


class StationKilled(Stops):
    """The station's program is killed, and starts again after a while."""

    name = "station-killed"
    place = "station"
    often = 2.0

    def stop(self) -> Callable[[], object]:
        return self.program.kill


class StationStopped(Stops):
    """The station's program is told to end and does so in order, for an update."""

    name = "station-stopped"
    place = "station"
    often = 0.5

    def stop(self) -> Callable[[], object]:
        return self.program.stop


class StationPowerCut(Stops):
    """The station's machine has no power: a commit that was written and not synced may be gone."""

    name = "station-power-cut"
    place = "station"

    def stop(self) -> Callable[[], object]:
        return self.program.power_cut


class StationHangs(Stops):
    """The station stands still while its connections stand: its broker thinks it well, and nobody is answered."""

    name = "station-hangs"
    place = "station"
    often = 2.0

    def stop(self) -> Callable[[], object]:
        return self.program.freeze


class StationCrash(Crashes):
    """The station dies between two effects: before the n-th effect of a class that its core asked for, and again after
    its restarts, some times. systemd starts it again after 2 s."""

    name = "station-crash"
    place = "station"
    knobs: ClassVar[dict[str, Knob]] = {
        "effect": tuple(one.__name__ for one in STATION_EFFECTS), "after": (0, 12), "times": (1, 3),
    }  # fmt: skip


class StationDiskSlow(_OnTheDisk):
    """Each commit of the station takes longer by some tenths of a second."""

    name = "station-disk-slow"
    place = "station"
    attribute = "slow_us"
    knobs: ClassVar[dict[str, Knob]] = {"by_ms": (20, 800)}
    lasts_s = (10.0, 90.0)

    def value(self) -> object:
        return int(self.number("by_ms")) * 1000


class StationDiskFull(_OnTheDisk):
    """The station's disk is full: nothing is receipted until there is room again."""

    name = "station-disk-full"
    place = "station"
    attribute = "full"
    lasts_s = (5.0, 90.0)


class StationDiskFailing(_OnTheDisk):
    """The station's disk takes no write and gives no read."""

    name = "station-disk-failing"
    place = "station"
    attribute = "failing"
    lasts_s = (2.0, 60.0)


class StationDiskHangs(_OnTheDisk):
    """The station's disk does not answer at all, and then does."""

    name = "station-disk-hangs"
    place = "station"
    attribute = "hang"
    lasts_s = (1.0, 40.0)
    often = 0.5


class StationRestored(Programs):
    """A copy of the station's disk is taken at the beginning; at the end the disk is replaced by it, as after a dead
    disk with yesterday's copy. What came between must be offered again."""

    name = "station-restored"
    place = "station"
    knobs: ClassVar[dict[str, Knob]] = {"how": ("new file", "over the old file"), "off_s": (1.0, 20.0)}
    lasts_s = (20.0, 300.0)

    def begin(self) -> None:
        disk = self.program.disk
        self._copy = disk.copy() if disk.file is not None and not disk.failing else None
        if self._copy is not None:
            self.field.say("disk", "station", "copied")

    def end(self) -> None:
        if self._copy is None:
            return
        copy = self._copy
        if getattr(self.program, "frozen", False):
            self.program.thaw()
        self.field.hold(self.part, self, self.program.kill)
        self.program.disk.restore(copy, over=self.word("how") != "new file")
        self.field.loop.after(int(self.number("off_s") * 1e6), lambda: self.field.let(self.part, self))


class StationClockJumps(ClockJumps):
    __doc__ = ClockJumps.__doc__
    name = "station-clock-jumps"
    place = "station"


class StationClockUnset(ClockUnset):
    __doc__ = ClockUnset.__doc__
    name = "station-clock-unset"
    place = "station"


STATION: tuple[type[Fault], ...] = (
    StationKilled, StationStopped, StationPowerCut, StationHangs, StationCrash, StationDiskSlow, StationDiskFull,
    StationDiskFailing, StationDiskHangs, StationRestored, StationClockJumps, StationClockUnset,
)  # fmt: skip
