"""What a campaign does, and when: a pure function of the seed, the minutes and the site.

Rounds of a storm and a calm. In a storm people press while processes are killed and stopped, cables and networks fail
and disks fill up; in the calm all is well again, and the promises are demanded. Each round turns a random subset of the
kinds of fault on, and spares one agent its life, so that some process sees all of the round.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from sos_contract.site import Site

ROUND_S = 180.0
CALM_S = 25.0  # of a round: what healing, the last presses and the checks take on an idle machine
KILL_EVERY_S = 2.7  # 500 kills in half an hour; a program is up again in half a second
PRESS_EVERY_S = 1.2
# One in so many is long: beyond the bound in which a lamp has to say so.
LONG_ONE_IN = 7
SHORT_S, LONG_AGENT_S, LONG_STATION_S = (0.2, 5.0), (13.0, 17.0), (24.0, 30.0)
OFTEN_S = {"stop": 9.0, "wire": 7.0, "cut": 11.0, "unplug": 16.0, "net": 6.0, "disk": 20.0, "officer": 12.0}
OFF_ONE_IN = 4  # kinds of fault that a round does without

Args = tuple[tuple[str, float | str], ...]


@dataclass(frozen=True)
class Act:
    """``what`` is done to ``where``, ``at_s`` after the storm began, for ``for_s``; ``args`` say how."""

    at_s: float
    what: str
    where: str
    for_s: float = 0.0
    args: Args = ()

    def arg(self, name: str, default: float | str = 0.0) -> float | str:
        """One of ``args``."""
        return dict(self.args).get(name, default)

    def number(self, name: str) -> float:
        """One of ``args`` that is a number; 0 without it."""
        return float(self.arg(name))

    def __str__(self) -> str:
        how = "".join(f" {name}={value}" for name, value in self.args)
        lasts = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:7.2f} s {self.what} {self.where}{lasts}{how}"


@dataclass(frozen=True)
class Round:
    """One storm. ``kinds``: what is on; ``spared``: whose process is neither killed nor stopped."""

    number: int
    storm_s: float
    kinds: tuple[str, ...]
    spared: tuple[str, ...]
    acts: tuple[Act, ...] = field(repr=False)

    def __str__(self) -> str:
        return (
            f"round {self.number}: {self.storm_s:.0f} s of {', '.join(self.kinds)}; spared {', '.join(self.spared)}; "
            f"{self.count('kill', 'tear')} kills, {self.count('stop')} stops, {self.count('press')} presses"
        )

    def count(self, *what: str) -> int:
        """How often that is done."""
        return sum(act.what in what for act in self.acts)


def plan(seed: int, minutes: float, site: Site) -> list[Round]:
    """The rounds of that seed: the same for the same three."""
    total_s = minutes * 60
    rounds = max(1, round(total_s / ROUND_S))
    storm_s = total_s / rounds - min(CALM_S, total_s / rounds / 2)
    return [_Draw(random.Random(f"chaos/{seed}/{number}"), site, storm_s).round(number) for number in range(rounds)]


def line_name(point: str, number: int) -> str:
    """How acts name a cable: by its point and its place in the site file."""
    return f"{point}/{number}"


class _Draw:
    """One round's acts."""

    def __init__(self, chance: random.Random, site: Site, storm_s: float) -> None:
        self._chance = chance
        self._storm_s = storm_s
        self._busy: dict[str, float] = {}  # seat -> until when something is wrong with it
        self._points = [point.id for point in site.point]
        poles = [(point.id, pole) for point in site.point for line in point.line for pole in line.pole]
        self._poles = {pole.id: point for point, pole in poles}
        self._silent = {pole.id for _, pole in poles if pole.silent_button}
        self._lines = {
            line_name(point.id, number): [pole.id for pole in line.pole]
            for point in site.point
            for number, line in enumerate(point.line)
        }

    def round(self, number: int) -> Round:
        """The whole of it."""
        spared = [f"agent:{self._chance.choice(self._points)}"]
        spared += [name for name in ("station", "broker") if self._chance.random() < 0.25]
        off = {kind for kind in OFTEN_S if self._chance.randrange(OFF_ONE_IN) == 0}
        kinds = tuple(kind for kind in OFTEN_S if kind not in off)
        acts = list(self._kills(set(spared)))
        for kind in kinds:
            for at_s in self._times(OFTEN_S[kind]):
                acts += self._one(kind, at_s, set(spared))
        acts += self._presses(acts)
        acts.sort(key=lambda act: act.at_s)
        return Round(number, self._storm_s, ("kill", *kinds), tuple(spared), tuple(acts))

    def _times(self, every_s: float) -> Iterator[float]:
        at_s = self._chance.uniform(0, every_s)
        while at_s < self._storm_s - 0.5:
            yield round(at_s, 3)
            at_s += every_s * self._chance.uniform(0.5, 1.5)

    def _span(self, at_s: float, long_s: tuple[float, float]) -> float:
        """How long it lasts: to the storm's end at most."""
        low, high = long_s if self._chance.randrange(LONG_ONE_IN) == 0 else SHORT_S
        return round(min(self._chance.uniform(low, high), self._storm_s - at_s), 3)

    def _take(self, at_s: float, seats: list[str]) -> str:
        """One of the seats with which nothing is wrong then; empty if there is none."""
        free = [seat for seat in seats if self._busy.get(seat, 0.0) <= at_s]
        return self._chance.choice(free) if free else ""

    def _hold(self, at_s: float, seat: str, for_s: float) -> None:
        self._busy[seat] = at_s + for_s + 1.5  # with time to be up again

    def _programs(self, spared: set[str]) -> list[str]:
        agents = [f"agent:{point}" for point in self._points] * 2  # theirs is the longest way of a press
        poles = [f"pole:{pole}" for pole in self._poles]
        return [seat for seat in (*agents, *poles, "station", "station", "broker", "broker") if seat not in spared]

    def _long(self, seat: str) -> tuple[float, float]:
        if seat.startswith("pole:"):
            return (5.0, 12.0)
        return LONG_AGENT_S if seat.startswith("agent:") else LONG_STATION_S

    # --- processes

    def _kills(self, spared: set[str]) -> Iterator[Act]:
        for at_s in self._times(KILL_EVERY_S):
            seat = self._take(at_s, self._programs(spared))
            if not seat:
                continue
            for_s = self._span(at_s, self._long(seat))
            if seat.startswith("pole:") and self._chance.random() < 0.5:
                yield from self._tear(at_s, seat, for_s)
                continue
            lost = seat.startswith("agent:") and self._chance.randrange(12) == 0
            self._hold(at_s, seat, for_s)
            yield Act(at_s, "kill", seat, for_s, (("disk", "lost"),) if lost else ())

    def _tear(self, at_s: float, seat: str, for_s: float) -> Iterator[Act]:
        """The power goes inside a write to the flash: that of a press, or one soon after it."""
        pole = seat.removeprefix("pole:")
        how: Args = (("nth", self._chance.choice((1, 1, 1, 2))), ("byte", self._chance.randint(0, 255)))
        for_s = min(for_s, 6.0)
        self._hold(at_s, seat, for_s + 3.0)
        yield Act(at_s, "tear", seat, for_s, how)
        yield Act(round(at_s + 0.05, 3), "press", pole, 0.0, self._finger(pole))

    def _one(self, kind: str, at_s: float, spared: set[str]) -> Iterator[Act]:
        """One fault of that kind, if there is anything left to which it can happen."""
        seats = {
            "stop": self._programs(spared), "wire": [f"wire:{line}" for line in self._lines],
            "cut": [f"wire:{line}" for line in self._lines], "unplug": [f"wire:{line}" for line in self._lines],
            "net": [f"path:{program}" for program in ("station", "station", *self._points)],
            "disk": [f"disk:{program}" for program in ("station", "station", *self._points)],
            "officer": [f"desk:{pole}" for pole in self._poles],
        }[kind]  # fmt: skip
        seat = self._take(at_s, seats)
        if not seat:
            return
        where = seat if kind == "stop" else seat.partition(":")[2]
        long_s = self._long(seat) if kind == "stop" else LONG_STATION_S if kind == "net" else LONG_AGENT_S
        for_s = self._span(at_s, long_s) if kind != "officer" else 0.0
        if kind in ("wire", "disk"):
            for_s = round(min(for_s * 3, self._storm_s - at_s), 3)
        self._hold(at_s, seat, for_s)
        yield Act(at_s, kind, where, for_s, self._how(kind))

    def _how(self, kind: str) -> Args:
        chance = self._chance
        if kind == "wire":
            what = chance.choice(("loss", "flip", "duplicate", "delay_s", "bursts_per_s"))
            most = {"loss": 0.4, "flip": 0.01, "duplicate": 0.5, "delay_s": 0.25, "bursts_per_s": 15.0}[what]
            return ((what, round(chance.uniform(most / 20, most), 4)),)
        if kind == "cut":
            return (("direction", chance.choice(("both", "up", "down"))),)
        if kind == "unplug":
            return (("as", chance.choice(("same", "other"))),)
        if kind == "net":
            what = chance.choice(("late_s", "bytes_per_s", "mute_up", "mute_down", "refuse", "hole", "reset"))
            value = {"late_s": round(chance.uniform(0.02, 1.5), 3), "bytes_per_s": chance.randint(400, 20000)}
            return ((what, value.get(what, 1.0)),)
        if kind == "disk":
            return (("greedy", float(chance.random() < 0.5)),)
        if kind == "officer":
            return (("action", chance.choice(("accept", "dispatch", "arrive", "close"))),)
        return ()

    # --- people

    def _presses(self, faults: list[Act]) -> Iterator[Act]:
        for at_s in self._times(PRESS_EVERY_S):
            yield from self._press(at_s, self._chance.choice(list(self._poles)))
        for fault in faults:  # while something is down is when it matters
            if fault.what in ("kill", "stop") and not fault.where.startswith("pole:") and self._chance.random() < 0.4:
                point = fault.where.partition(":")[2]
                poles = [pole for pole, its in self._poles.items() if its == point] or list(self._poles)
                yield from self._press(fault.at_s + fault.for_s * self._chance.random(), self._chance.choice(poles))

    def _press(self, at_s: float, pole: str) -> Iterator[Act]:
        at_s = round(min(at_s, self._storm_s - 0.5), 3)
        yield Act(at_s, "press", pole, 0.0, self._finger(pole))
        if self._chance.randrange(5) == 0:  # twice in a hurry
            yield Act(round(at_s + self._chance.uniform(0.3, 1.2), 3), "press", pole, 0.0, self._finger(pole))

    def _finger(self, pole: str) -> Args:
        """How long, how, and which button. One in ten is too brief for a finger and must be nothing."""
        chance = self._chance
        button = "silent" if pole in self._silent and chance.randrange(4) == 0 else "button"
        if chance.randrange(10) == 0:
            return (("ms", chance.randint(4, 20)), ("button", button))
        bounce = ("bounce", chance.randint(1, 6)) if chance.randrange(3) == 0 else ("bounce", 0)
        return (("ms", chance.randint(60, 700)), bounce, ("button", button))
