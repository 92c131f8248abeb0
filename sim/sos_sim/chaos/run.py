"""A campaign: round by round a storm, then all is mended, and then everything is demanded that was promised."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sos_contract.errors import SafezoneError, UserError
from sos_contract.site import Site
from sos_contract.stages import RECEIVED, rank
from sos_sim.chaos import truth
from sos_sim.chaos.evidence import Finding, Mint, Touch
from sos_sim.chaos.plan import Act, Round, line_name
from sos_sim.chaos.resources import POLE, Use, grown, most_grown, use_of
from sos_sim.chaos.stores import Row
from sos_sim.chaos.town import Town
from sos_wire.messages import STAGES

PROMISES = ("lost", "duplicated", "lied", "forged", "stuck", "crashed", "grown")
# From the storm's end until all has arrived and every lamp is well: back-off of agents and station, the link's own
# time-outs, and once the progress that is synchronised each 30 s. The rest is for a busy machine.
WELL_WITHIN_S = 75.0
SLOW_S = 10.0  # nothing is wrong if it takes longer; it is told, for whoever wonders why
RECEIVED_WITHIN_S = 20.0  # the promise's own figure
CLOSED_WITHIN_S = 45.0  # progress is synchronised each 30 s
SETTLE_S = 3.0  # until a program that has just started has all that it uses
_LOOK_S = 0.25
_ACTS_END_WITHIN_S = 40.0
_AFTER_HURRY_S = 0.7  # between the last presses at one pole: two to any debounce
_HOLD_MS = 150.0
_CLOSE_TRIES = 200

Tell = Callable[[str], None]


@dataclass
class Total:
    """What came of a campaign."""

    minutes: float
    rounds: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    presses: int = 0
    alarms: int = 0
    findings: list[Finding] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    stale_s: float = 0.0  # the longest that a lamp did not know what the inbox knew, with nothing in the way
    late_s: float = 0.0  # the worst lateness of our own loop
    wall_s: float = 0.0

    def line(self) -> dict[str, int | float]:
        """The last line of ``safezone chaos --json``."""
        counts = Counter(finding.promise for finding in self.findings)
        return {
            "minutes": self.minutes, "rounds": self.rounds, "presses": self.presses, "alarms": self.alarms,
            "kills": self.acts["kill"], "torn": self.acts["torn"], "stops": self.acts["stop"],
            "wires": self.acts["wire"] + self.acts["cut"] + self.acts["unplug"], "networks": self.acts["net"],
            "disks": self.acts["disk"], **{promise: counts[promise] for promise in PROMISES},
            **{what: self.judged[what] for what in ("claims", "fingers", "overdue", "outages")},
            "stale_s": round(self.stale_s, 1), "late_s": round(self.late_s, 2), "wall_s": round(self.wall_s, 1),
        }  # fmt: skip


async def campaign(
    site: Site, rounds: Iterable[Round], minutes: float, folder: Path, tell: Tell, bug: str = ""
) -> Total:
    """All rounds, on one town; ``tell`` hears what goes on, a line each. ``bug``: one to plant.

    Raises SafezoneError if the town never starts."""
    total, began = Total(minutes), time.monotonic()
    async with Town(site, folder, bug=bug) as town:
        tell(f"disks: {town.disks.words}")
        run = _Run(town, tell, total)
        await run.first_look()
        for one in rounds:
            await run.round(one)
        run.look_at_ledgers()
    total.wall_s = time.monotonic() - began
    return total


class _Run:
    """The rounds of one campaign."""

    def __init__(self, town: Town, tell: Tell, total: Total) -> None:
        self._town = town
        self._tell = tell
        self._total = total
        self._fresh: dict[str, Use] = {}
        self._wall_minus_mono_s = time.time() - time.monotonic()

    def _found(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._total.findings.append(finding)
            at_s = finding.at_s - self._began_s
            self._tell(f"FOUND {finding.promise} at {at_s:.2f} s of the round, {finding.part}: {finding.words}")

    async def first_look(self) -> None:
        """What each process has when it is fresh, and in service."""
        await asyncio.sleep(SETTLE_S)
        self._fresh = await self._uses()

    async def _uses(self) -> dict[str, Use]:
        found = {name: use for name, pid in self._town.pids().items() if (use := use_of(pid)) is not None}
        for name, pole in self._town.zone.poles.items():
            use = found.pop(f"{POLE}{name}", None)
            with contextlib.suppress(TimeoutError, SafezoneError):  # it does not run, or this machine stands still
                heap_kb = int((await pole.stats())["heap"]) // 1024
                if use is not None:
                    found[f"{POLE}{name}"] = replace(use, memory_kb=heap_kb)
        return found

    async def round(self, one: Round) -> None:
        """A storm, a calm, and the checks."""
        town = self._town
        town.witness.next_round()
        self._began_s = time.monotonic()
        survivors = await self._uses()
        self._tell(str(one))
        await self._storm(one)
        calm_s = time.monotonic()
        well = await self._all_well()
        if well:
            self._found(well)
        else:
            await self._last_presses()
            await self._close_all()
        self._judge(calm_s, arrived=not well)
        before, after = self._fresh | survivors, await self._settled()
        self._found(Finding("grown", time.monotonic(), name, words) for name, words in grown(before, after))
        self._count(one)
        alarms, took_s = len(town.witness.seen.mints), time.monotonic() - calm_s
        self._tell(f"round {one.number}: {alarms} alarms, {took_s:.0f} s of calm, {most_grown(before, after)}")

    def look_at_ledgers(self) -> None:
        """Whatever was killed while it wrote: each record holds. All is closed and at rest, so that nothing is between
        two machines."""
        try:
            unsound = self._town.witness.stores.unsound(self._town.site)
        except UserError as error:
            unsound = [("station", str(error))]
        now = time.monotonic()
        self._found(Finding("lied", now, part, f"its ledger does not hold: {words}") for part, words in unsound)

    async def _settled(self) -> dict[str, Use]:
        await asyncio.sleep(SETTLE_S)
        return await self._uses()

    def _count(self, one: Round) -> None:
        total, town = self._total, self._town
        total.rounds += 1
        total.acts.update(act.what for act in one.acts)
        total.acts.update({"kill": town.kills - total.acts["kill"], "torn": town.torn - total.acts["torn"]})
        total.acts.update({"stop": town.stops - total.acts["stop"]})
        total.presses = town.presses
        total.alarms = len(town.witness.mints)

    # --- the storm

    async def _storm(self, one: Round) -> None:
        tasks = [asyncio.ensure_future(self._act(act)) for act in one.acts]
        try:
            done, late = await asyncio.wait(tasks, timeout=one.storm_s + _ACTS_END_WITHIN_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if late:
            raise SafezoneError(f"{len(late)} acts did not end within {_ACTS_END_WITHIN_S:g} s of the storm")
        for task in done:
            task.result()

    async def _act(self, act: Act) -> None:
        await asyncio.sleep(max(0.0, self._began_s + act.at_s - time.monotonic()))
        self._tell(f"  {act}")
        try:
            await self._town.act(act)
        except SafezoneError as error:  # a pole or a program did not come up again
            self._found([Finding("stuck", time.monotonic(), act.where, str(error))])

    # --- the calm

    def _forgiven_s(self, within_s: float) -> float:
        """What a promise of so many seconds that end now is forgiven on this machine."""
        now = time.monotonic()
        return truth.LAG_TIMES * self._town.witness.seen.lag.worst_s(now - within_s, now)

    async def _all_well(self) -> list[Finding]:
        """Until every press has arrived and every lamp says so; or what is not so in time."""
        began = time.monotonic()
        until, told = began + WELL_WITHIN_S, False
        while True:
            wrong = self._wrong()
            now = time.monotonic()
            if wrong and not told and now > began + SLOW_S:
                told = True
                for one in wrong:
                    self._tell(f"slow: after {now - began:.0f} s of calm, {one.part}: {one.words}")
            if not wrong or now > until + self._forgiven_s(WELL_WITHIN_S):
                return wrong
            await asyncio.sleep(_LOOK_S)

    def _wrong(self) -> list[Finding]:
        town, now = self._town, time.monotonic()
        try:
            inbox = town.witness.stores.inbox()
            waiting = {point: town.witness.stores.waiting(point) for point in town.zone.agents}
            wrong = [self._waits(mint, now) for mint in truth.missing(town.witness.mints, inbox)]
        except sqlite3.OperationalError as error:
            return [Finding("stuck", now, "station", f"a database cannot be read: {error}")]
        wrong += [
            Finding("stuck", now, f"agent:{point}", f"{count} alarms wait to be receipted")
            for point, count in waiting.items()
            if count
        ]
        wrong += self._wrong_lamps(inbox, now)
        return wrong

    def _waits(self, mint: Mint, now: float) -> Finding:
        """A press that is not in the inbox: stuck where it lies, or lost."""
        town, identity = self._town, mint.identity
        places = ["the flash"] if identity in town.witness.unreleased(identity.pole) else []
        point = town.zone.point_of(identity.pole)
        places += ["the outbox"] if town.witness.stores.holds(point, identity) else []
        words = f"press {identity} of {mint.at_s - self._began_s:.2f} s"
        if places:
            return Finding("stuck", now, identity.pole, f"{words} waits in {' and '.join(places)}")
        return Finding("lost", now, identity.pole, f"{words} is nowhere any more")

    def _wrong_lamps(self, inbox: list[Row], now: float) -> Iterable[Finding]:
        stages = {row.identity: row.stage for row in inbox}
        for name, pole in self._town.zone.poles.items():
            owner = self._town.witness.owner[name]
            stage = stages.get(owner) if owner is not None else None
            told = pole.look == "in_service" or (pole.look in STAGES and rank(pole.look) >= rank(RECEIVED))
            link = self._town.zone.link(name)
            if link != "up":  # a lamp may say that it is in service for 10 s after its agent was killed
                yield Finding("stuck", now, name, f"its link is {link}, and the lamp says {pole.look}")
            if not told:
                words = f"the lamp says {pole.look}" + (f", and press {owner} is {stage} in the inbox" if stage else "")
                yield Finding("stuck", now, name, words)

    async def _last_presses(self) -> None:
        """All is well: two presses at each pole, one soon after the other, are received in order and in time."""
        town = self._town
        for _ in range(2):
            for name in town.zone.poles:
                await town.act(Act(0.0, "press", name, 0.0, (("ms", _HOLD_MS),)))
            await asyncio.sleep(_AFTER_HURRY_S)
        until = time.monotonic() + RECEIVED_WITHIN_S
        while wrong := self._wrong():
            if time.monotonic() > until + self._forgiven_s(RECEIVED_WITHIN_S):
                self._found(wrong)
                return
            await asyncio.sleep(_LOOK_S)

    async def _close_all(self) -> None:
        """The officer closes everything, and every lamp is at rest again."""
        town = self._town
        await asyncio.sleep(_AFTER_HURRY_S)
        for _ in range(_CLOSE_TRIES):
            try:
                if not (open_alarms := await town.zone.alarms()):
                    break
                await town.zone.officer(open_alarms[0].id.pole, "close")
            except SafezoneError:
                await asyncio.sleep(_LOOK_S)
        else:
            self._found([Finding("stuck", time.monotonic(), "station", "the officer cannot close the alarms")])
        until = time.monotonic() + CLOSED_WITHIN_S
        while time.monotonic() < until:
            if all(pole.look == "in_service" for pole in town.zone.poles.values()):
                return
            await asyncio.sleep(_LOOK_S)
        self._found(
            Finding("stuck", time.monotonic(), name, f"all is closed, and the lamp says {pole.look}")
            for name, pole in town.zone.poles.items()
            if pole.look != "in_service"
        )

    # --- the checks

    def _covered(self, touches: list[Touch]) -> None:
        """How much there was to judge: a check that never had anything before it says nothing."""
        seen, total = self._town.witness.seen, self._total
        total.judged["claims"] += len(seen.claims)
        total.judged["fingers"] += sum(touch.sure and not touch.brief for touch in touches)
        total.judged["overdue"] += len(seen.overdue)
        bounds = {"agent": truth.AGENT_LOST_S, "line": truth.AGENT_LOST_S}
        total.judged["outages"] += sum(
            one.until_s - one.since_s > bounds.get(one.part.partition(":")[0], truth.STATION_LOST_S) + truth.MARGIN_S
            for one in seen.outages.over
            if one.part.partition(":")[0] in (*bounds, "station", "broker", "path")
        )
        worst = max((one.calm_s for one in seen.stale.values()), default=0.0)
        total.stale_s = max(total.stale_s, worst)
        total.late_s = max(total.late_s, seen.lag.worst_s(0.0, time.monotonic()))

    def _judge(self, calm_s: float, *, arrived: bool) -> None:
        """``arrived``: all had arrived when the last presses were made, so that all has to be there now."""
        town, now = self._town, time.monotonic()
        witness, seen = town.witness, town.witness.seen
        inbox, touches = witness.stores.inbox(), witness.touches(now)
        self._covered(touches)
        self._found(truth.false_claims(seen.claims, witness.kinds))
        for point in town.site.point:
            lines = {pole.id: line_name(point.id, n) for n, line in enumerate(point.line) for pole in line.pole}
            for pole, line in lines.items():
                near = [f"agent:{point.id}", f"line:{line}"]
                far = ["station", "broker", "path:station", f"path:{point.id}"]
                looks = witness.looks[pole]
                self._found(truth.late_words(pole, looks, near, truth.AGENT_LOST_S, seen, now))
                self._found(truth.late_words(pole, looks, far, truth.STATION_LOST_S, seen, now))
        self._found(truth.silent_lamps(seen.overdue, seen, now))
        self._found(truth.stale_lamps(seen.stale.values(), seen))
        self._found(truth.made_up(touches, seen.mints))
        self._found(truth.arrived(witness.mints, inbox, now))
        self._found(self._waits(mint, now) for mint in truth.missing(witness.mints, inbox) if arrived)
        self._found(truth.too_old(seen.mints, inbox, self._wall_minus_mono_s))
        self._found(truth.out_of_order(seen.mints, inbox, calm_s, now))
        raised = [(at_s, pole, f"the firmware raised {text}") for at_s, pole, text in witness.crashes]
        self._found(Finding("crashed", *one) for one in raised)
        ends = Counter((name, words) for _, name, words in town.deaths)
        first = {(name, words): at_s for at_s, name, words in reversed(town.deaths)}
        self._found(
            Finding("crashed", first[name, words], name, f"it ended by itself, {count} times: {words}")
            for (name, words), count in ends.items()
        )
        town.deaths.clear()
