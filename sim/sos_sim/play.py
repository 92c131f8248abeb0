"""Plays one scenario in a zone, with all checkers listening. A drawn scenario and one from a file are played alike."""

from __future__ import annotations

import random
import sqlite3
import struct
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sos_contract.site import Site
from sos_sim.checkers import Checkers, Finding
from sos_sim.coverage import recording
from sos_sim.faults import FAULTS, Field
from sos_sim.fingers import press
from sos_sim.ground import ZoneGround
from sos_sim.officers import Desk
from sos_sim.scenario import START_S, Planned, Scenario, Touch, site_of, town_of
from sos_sim.technician import Technician
from sos_sim.trace import Row, Trace
from sos_sim.world.zone import Zone

# What a mistake in a core, or in the world, ends a run with: a finding with its place, not a traceback.
MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, OSError, RuntimeError, TypeError,
    ValueError, sqlite3.Error, struct.error,
)  # fmt: skip
_S_US = 1_000_000


@dataclass
class Result:
    """What came of a run. ``visited``: as ``coverage.wanted`` words it. ``ms``: each press from its identity to the
    lamp's *received*, where the lamp came to say it."""

    seed: int
    findings: list[Finding]
    counts: dict[str, int]
    presses: int = 0
    touches: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    digest: str = ""
    visited: set[str] = field(default_factory=set)
    kinds: int = 0  # kinds of fault that fired
    ms: list[float] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)  # expectations that were not met, in words
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> int:
        """Findings of all promises."""
        return sum(self.counts.values())


class Run:
    """One scenario under way. ``zone``, ``trace`` and ``checkers`` are there for who looks closer."""

    def __init__(
        self, scenario: Scenario, site: Site | None = None, *, checkers: bool = True, keep: bool = False
    ) -> None:
        self.scenario = scenario
        site = site_of(scenario) if site is None else site
        town = town_of(site, scenario.brokers)
        self.trace = Trace(keep)
        self.zone = Zone(site, scenario.seed, self.trace, brokers=len(town.brokers))
        self.visited: set[str] = set()
        self.kinds: set[str] = set()
        self.ms: list[float] = []
        self._minted_us: dict[str, int] = {}
        self._listen()
        self.checkers = Checkers(self.trace, town, ZoneGround(self.zone, town)) if checkers else None
        self.desk = Desk(self.zone, self.zone.rng("officers"))
        if scenario.swarm:  # drawn from a seed; what somebody wrote has in it what it says
            self.technician = Technician(self.zone, self.zone.rng("technician"))
        self.field = Field(self.zone, town, self.desk)
        self.touches = 0
        self.mistake: Finding | None = None

    # --- what is counted beside the checkers

    def _listen(self) -> None:
        for kind, hear in (
            ("row", lambda row: self.visited.add(f"row {row.part}: {row.fields[0]}, {row.fields[1]}")),
            ("boundary", self._boundary), ("fault", self._fault), ("minted", self._minted), ("look", self._look),
        ):  # fmt: skip
            self.trace.listen(kind, hear)

    def _visit(self, machine: str, state: str, event: str) -> None:
        self.trace.say(self.zone.loop.now_us, "row", machine, state, event)

    def _boundary(self, row: Row) -> None:
        self.visited.add(f"crash {row.part.split(':')[0]}: {row.fields[0]}")

    def _fault(self, row: Row) -> None:
        self.kinds.add(str(row.fields[0]))

    def _minted(self, row: Row) -> None:
        self._minted_us.setdefault(str(row.fields[0]), row.at_us)

    def _look(self, row: Row) -> None:
        minted_us = self._minted_us.pop(str(row.fields[1]), None) if row.fields[0] == "received" else None
        if minted_us is not None:
            self.ms.append((row.at_us - minted_us) / 1000)

    # --- playing

    def play(self) -> Result:
        """To the end, or to the first mistake."""
        began = time.perf_counter()
        scenario, zone = self.scenario, self.zone
        with recording(self._visit):
            try:
                zone.start()
                self._plan()
                self._pass()
            except MISTAKES as error:
                self._mistaken(error)
        if self.checkers is not None:
            self.checkers.finish(zone.loop.now_us)
        return self._result(scenario, time.perf_counter() - began)

    def _plan(self) -> None:
        """Each thing of a list is called for when the one before it happens: the queue stays short."""
        self._next_touch(iter(sorted(self.scenario.press, key=lambda touch: touch.at_s)))
        self._next_fault(iter(sorted(self.scenario.fault, key=lambda planned: planned.at_s)))

    def _next_touch(self, touches: Iterator[Touch]) -> None:
        touch = next(touches, None)
        if touch is not None:
            self.zone.loop.at(round(touch.at_s * _S_US), partial(self._touch_and_next, touch, touches))

    def _touch_and_next(self, touch: Touch, touches: Iterator[Touch]) -> None:
        for index in range(touch.times):
            self.zone.loop.after(round(index * touch.every_s * _S_US), partial(self._touch, touch))
        self._next_touch(touches)

    def _touch(self, touch: Touch) -> None:
        pole, button = touch.pole, touch.button
        if self.field.busy(pole, button):
            return
        self.touches += 1
        press(self.field, pole, touch.ms, touch.like, button)

    def _next_fault(self, faults: Iterator[Planned]) -> None:
        planned = next(faults, None)
        if planned is not None:
            self.zone.loop.at(round(planned.at_s * _S_US), partial(self._fault_and_next, planned, faults))

    def _fault_and_next(self, planned: Planned, faults: Iterator[Planned]) -> None:
        kind = FAULTS[planned.name]
        # Its own stream, so that to leave one fault out changes no other one.
        own = random.Random(f"{self.scenario.seed}/fault/{planned.name}/{planned.where}/{planned.at_s}")
        fault = kind(self.field, planned.where, planned.with_, own)
        words = ", ".join(f"{name} {value}" for name, value in fault.arguments.items())
        where = planned.where or "town"
        self.visited.add(f"fault {planned.name}")
        self.field.say("fault", where, planned.name, "on", words)
        fault.begin()

        def end() -> None:
            fault.end()
            self.field.say("fault", where, planned.name, "off", "")

        self.zone.loop.at(round(planned.until_s * _S_US), end)
        self._next_fault(faults)

    def _pass(self) -> None:
        """Through all phases, to the end."""
        for cycle in self.scenario.cycles:
            for phase, at_s in (
                ("faults", cycle.begin_s), ("heal", cycle.heal_s), ("progress", cycle.settle_s), ("end", cycle.end_s),
            ):  # fmt: skip
                self._until(at_s)
                self.field.say("phase", "scenario", phase)
        self._until(max(self.scenario.hours * 3600, START_S))

    def _until(self, at_s: float) -> None:
        self.zone.loop.run(round(at_s * _S_US))

    def _mistaken(self, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        at = next((one for one in reversed(frames) if "/sos_" in one.filename), frames[-1])
        place = f"{Path(at.filename).parent.name}/{Path(at.filename).name}:{at.lineno}"
        words = f"{type(error).__name__}: {error} in {at.name} ({place})"
        self.mistake = Finding("stuck", self.zone.loop.now_us, words, "program")

    def _result(self, scenario: Scenario, wall_s: float) -> Result:
        checkers = self.checkers
        findings = list(checkers.findings.found) if checkers else []
        counts = dict(checkers.findings.counts) if checkers else {}
        if self.mistake is not None:
            findings.append(self.mistake)
            counts["stuck"] = counts.get("stuck", 0) + 1
        ms = sorted(self.ms)
        figures = {"p50_ms": _part(ms, 0.5), "p99_ms": _part(ms, 0.99)} if ms else {}
        if checkers:
            longest_us = checkers.supervision.longest_us
            figures |= {f"{name}_s": us / _S_US for name, us in longest_us.items() if us}  # 0: nobody was lost
        result = Result(
            scenario.seed, findings, counts, self.trace.counts.get("minted", 0), self.touches,
            self.zone.loop.now_us / _S_US, wall_s, self.trace.digest, self.visited, len(self.kinds), ms, figures,
            counters=self.zone.counters(),
        )  # fmt: skip
        result.missed = _missed(scenario, result)
        return result


def play(scenario: Scenario, *, checkers: bool = True, keep: bool = False) -> Result:
    """Play it from beginning to end."""
    return Run(scenario, checkers=checkers, keep=keep).play()


def _part(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _missed(scenario: Scenario, result: Result) -> list[str]:
    """Expectations that were not met."""
    missed = []
    for name, bound in scenario.expect.items():
        if name in result.counts:
            if result.counts[name] > bound:
                missed.append(f"{name} = {result.counts[name]}, expected {bound:g}")
        elif name == "presses_least":
            if result.presses < bound:
                missed.append(f"{result.presses} presses, expected {bound:g} at least")
        else:
            found = result.figures.get(name.replace("_within", ""))
            if found is None:
                missed.append(f"{name}: nothing was measured, expected <= {bound:g}")
            elif found > bound:
                missed.append(f"{name} = {found:.1f}, expected <= {bound:g}")
    return missed
