"""Draws scenarios: all from one seed, by swarm: each run has a random few of all faults, and much of them.

A run is a row of cycles: faults, heal (they end one by one, in random order), settle, and a calm in which only people
press. Presses are dense all along: a campaign counts them.
"""

from __future__ import annotations

import math
import random

import msgspec

from sos_sim.checkers import Town
from sos_sim.faults import FAULTS
from sos_sim.faults.base import drawn
from sos_sim.faults.button import BOUNCES
from sos_sim.faults.seldom import MADE_WORSE, SELDOM
from sos_sim.scenario import BROKERS_MOST, SETTLE_S, START_S, Cycle, Planned, Scenario, Touch, places, site_of, town_of

PRESSES_PER_H = (300, 900, 2400, 6000)
# How many of all faults a run has, and how often one of these begins.
SHARE = (0.08, 0.15, 0.3, 0.5)
FAULT_EVERY_S = (4.0, 40.0)
LEAST_KINDS = 4
# How many of all touches come from a finger that trembles: it lets go for less than a pole takes for a release.
TREMBLING = 0.04
LET_GO_S = (0.04, 0.225)
# How many of all runs have concealed buttons, which not every site has.
WITH_SILENT = 0.3


# How often a fault is made worse, where something makes it.
WORSE = 0.4
FAULTS_S, HEAL_S, CALM_S = (240.0, 900.0), (2.0, 30.0), (60.0, 240.0)
# Nobody presses in the last of these seconds before all must be well: officers have to close what is open.
QUIET_S = 75.0
# Chances of odd touches: too brief to count, at the edge, two in a row, a fist of presses, held for long, all poles
# at once.
_ODD = ((0.08, "brief"), (0.1, "short"), (0.06, "double"), (0.02, "burst"), (0.02, "long"), (0.02, "together"))


def draw(seed: int, hours: float, site: str = "betong") -> Scenario:
    """The scenario of that seed: the same for the same arguments, in every process."""
    rng = random.Random(f"{seed}/scenario")
    brokers = rng.choice((1, 1, 2, 2, 3, BROKERS_MOST))
    silent = _silent(random.Random(f"{seed}/silent"), town_of(site_of(Scenario(site=site, hours=hours)), brokers))
    town = town_of(site_of(Scenario(site=site, hours=hours, silent=silent)), brokers)
    swarm = _swarm(rng, town)
    cycles = _cycles(rng, hours * 3600)
    touches: list[Touch] = []
    faults: list[Planned] = []
    pace_s = 3600 / rng.choice(PRESSES_PER_H)
    every_s = rng.uniform(*FAULT_EVERY_S)
    people = _People(rng, town)
    for index, cycle in enumerate(cycles):
        faults += faults_of(rng, town, swarm, cycle, every_s)
        touches += people.press(cycle.begin_s, cycle.end_s - QUIET_S, pace_s)
        until_s = cycles[index + 1].begin_s if index + 1 < len(cycles) else cycle.end_s
        touches += people.press(cycle.end_s, until_s - 1.0, pace_s)
    return Scenario(
        site=site, seed=seed, hours=max(hours, cycles[-1].end_s / 3600), brokers=brokers, silent=silent, swarm=swarm,
        cycle=cycles,
        press=_trembling(random.Random(f"{seed}/trembling"), sorted(touches, key=lambda touch: touch.at_s)),
        fault=tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.name, fault.where))),
    )  # fmt: skip


def _silent(rng: random.Random, town: Town) -> tuple[str, ...]:
    """Poles with a concealed button besides: some, in some runs."""
    if rng.random() >= WITH_SILENT:
        return ()
    return tuple(sorted(rng.sample(town.wired, min(len(town.wired), rng.randint(1, 3)))))


def _trembling(rng: random.Random, touches: list[Touch]) -> tuple[Touch, ...]:
    """Some of these touches as those of a trembling finger, where the button is free for so long."""
    free_s: dict[tuple[str, int], float] = {}
    drawn: list[Touch] = []
    for touch in reversed(touches):
        if touch.times == 1 and touch.ms >= 70 and rng.random() < TREMBLING:
            every_s = round(touch.ms / 1000 + rng.uniform(*LET_GO_S), 3)
            shaky = msgspec.structs.replace(touch, times=rng.randint(2, 3), every_s=every_s)
            if shaky.at_s + shaky.times * every_s + 0.4 < free_s.get((touch.pole, touch.button), math.inf):
                touch = shaky
        free_s[touch.pole, touch.button] = touch.at_s
        drawn.append(touch)
    return tuple(reversed(drawn))


def _swarm(rng: random.Random, town: Town) -> tuple[str, ...]:
    possible = [name for name, kind in FAULTS.items() if places(town, kind.place)]
    share = rng.choice(SHARE)
    chosen = [name for name in possible if rng.random() < share]
    while len(chosen) < min(LEAST_KINDS, len(possible)):
        name = rng.choice(possible)
        if name not in chosen:
            chosen.append(name)
    return tuple(sorted(chosen))


def _cycles(rng: random.Random, whole_s: float) -> tuple[Cycle, ...]:
    """As many as fit; one at least, if need be a short one."""
    cycles: list[Cycle] = []
    begin_s = START_S
    while True:
        left_s = whole_s - begin_s - SETTLE_S
        faults_s = rng.uniform(*FAULTS_S)
        if cycles and left_s < FAULTS_S[0]:
            return tuple(cycles)
        faults_s = max(30.0, min(faults_s, left_s - HEAL_S[1]))
        heal_s = round(begin_s + faults_s, 1)
        settle_s = round(heal_s + rng.uniform(*HEAL_S), 1)
        end_s = settle_s + SETTLE_S
        cycles.append(Cycle(begin_s=round(begin_s, 1), heal_s=heal_s, settle_s=settle_s, end_s=end_s))
        begin_s = round(end_s + rng.uniform(*CALM_S), 1)


def faults_of(
    rng: random.Random, town: Town, swarm: tuple[str, ...], cycle: Cycle, every_s: float, *, alone: bool = False
) -> list[Planned]:
    """Faults of that cycle, one each ``every_s`` on average. Of one kind one at a time at a place; what still lasts at
    the heal ends in random order. ``alone``: only of these kinds, none with company."""
    weights = [FAULTS[name].often for name in swarm]
    planned: list[Planned] = []
    free_s: dict[tuple[str, str], float] = {}
    at_s = cycle.begin_s + rng.expovariate(1 / every_s)
    while at_s < cycle.heal_s - 0.5:
        kind = FAULTS[rng.choices(swarm, weights)[0]]
        where = rng.choice(places(town, kind.place))
        if free_s.get((kind.name, where), 0.0) <= at_s:
            until_s = at_s + rng.uniform(*kind.lasts_s)
            if until_s > cycle.heal_s:
                until_s = rng.uniform(cycle.heal_s, cycle.settle_s)
            until_s = max(until_s, at_s + 0.05)
            arguments = {name: drawn(knob, rng) for name, knob in kind.knobs.items()}
            seldom = SELDOM.get(str(arguments.get("effect")))
            if seldom is not None and seldom.awaited:
                until_s = cycle.heal_s
            planned.append(
                Planned(name=kind.name, where=where, at_s=round(at_s, 3), until_s=round(until_s, 3), with_=arguments)
            )
            free_s[kind.name, where] = until_s + 0.01
            if not alone:
                planned += _companion(rng, town, planned[-1], cycle.heal_s, free_s)
        at_s += rng.expovariate(1 / every_s)
    if not alone and rng.random() < 0.25:
        planned += _one_by_one(rng, town, cycle)
    return planned


def _companion(
    rng: random.Random, town: Town, first: Planned, heal_s: float, free_s: dict[tuple[str, str], float]
) -> list[Planned]:
    """What comes with that fault, at its part of the town."""
    seldom = SELDOM.get(str(first.with_.get("effect")))
    companion = None if seldom is None else seldom.by
    if companion is None and first.name in MADE_WORSE and rng.random() < WORSE:
        companion = MADE_WORSE[first.name]
    if companion is None:
        return []
    where = [
        one
        for one in places(town, FAULTS[companion.name].place)
        if one in ("", first.where) or one.startswith("station>") or town.point_of.get(one) == first.where
    ]
    at_s, until_s = companion.span_s(first.at_s, first.until_s, heal_s)
    at = rng.choice(where) if where else None
    if at is None or at_s >= until_s or free_s.get((companion.name, at), 0.0) > at_s:
        return []
    free_s[companion.name, at] = until_s + 0.01
    arguments = {name: drawn(knob, rng) for name, knob in FAULTS[companion.name].knobs.items()}
    return [Planned(name=companion.name, where=at, at_s=at_s, until_s=until_s, with_={**arguments, **companion.with_})]


def _one_by_one(rng: random.Random, town: Town, cycle: Cycle) -> list[Planned]:
    """All links of one sort are cut one by one, and restored in random order."""
    name, place = rng.choice((("wire-cut", "line"), ("network-cut", "path")))
    at = places(town, place)
    rng.shuffle(at)
    span_s = min(60.0, (cycle.heal_s - cycle.begin_s) / 2)
    cut_s = sorted(rng.uniform(cycle.heal_s - span_s, cycle.heal_s - 1) for _ in at)
    healed_s = [round(rng.uniform(cycle.heal_s, cycle.settle_s), 3) for _ in at]
    return [
        Planned(name=name, where=where, at_s=round(at_s, 3), until_s=until_s)
        for where, at_s, until_s in zip(at, cut_s, healed_s, strict=True)
    ]


class _People:
    """Who presses: anybody, at any time, in all the ways that people do; never two fingers on one button."""

    def __init__(self, rng: random.Random, town: Town) -> None:
        self._rng = rng
        self._poles = town.poles
        self._silent = town.silent
        self._free_s: dict[tuple[str, int], float] = {}
        self._like = rng.choice(("clean", *BOUNCES))

    def press(self, from_s: float, until_s: float, pace_s: float) -> list[Touch]:
        """Touches between, one each ``pace_s`` on average."""
        touches: list[Touch] = []
        at_s = from_s + self._rng.expovariate(1 / pace_s)
        while at_s < until_s:
            touches += self._touches(round(at_s, 4))
            at_s += self._rng.expovariate(1 / pace_s)
        return touches

    def _touches(self, at_s: float) -> list[Touch]:
        rng = self._rng
        pole = rng.choice(self._poles)
        button = rng.randrange(2) if pole in self._silent else 0
        how, dice = "", rng.random()
        for chance, odd in _ODD:
            if dice < chance:
                how = odd
                break
            dice -= chance
        if how == "together":
            free = [one for one in self._poles if self._is_free(one, 0, at_s)]
            return [self._touch(round(at_s + rng.uniform(0, 0.01), 4), one, 0, 150) for one in free]
        if not self._is_free(pole, button, at_s):
            return []
        ms = {"brief": rng.randint(1, 25), "short": rng.randint(37, 70), "long": rng.randint(2_000, 20_000)}.get(how)
        ms = ms if ms is not None else rng.randint(70, 900)
        times = {"double": 2, "burst": rng.randint(4, 12)}.get(how, 1)
        return [self._touch(at_s, pole, button, ms, times, round(ms / 1000 + rng.uniform(0.32, 0.7), 3))]

    def _is_free(self, pole: str, button: int, at_s: float) -> bool:
        return self._free_s.get((pole, button), 0.0) <= at_s

    def _touch(self, at_s: float, pole: str, button: int, ms: int, times: int = 1, every_s: float = 1.0) -> Touch:
        self._free_s[pole, button] = at_s + ms / 1000 + (times - 1) * every_s + 0.4
        return Touch(at_s=at_s, pole=pole, button=button, ms=ms, like=self._like, times=times, every_s=every_s)
