"""The virtual town: its seconds a second of one core, quiet and under faults, beside SimPy's bare rate of events; and
whether it does what the live one does.

Processor time of this process is counted, not the clock on the wall: the town runs on one core, and others on the
machine are no part of it.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import simpy

from sos_agent.core.effects import FetchReceipted, FetchWaiting
from sos_contract.errors import SafezoneError
from sos_contract.site import Site, find_site, read_site
from sos_sim.bench.figures import Figure, Reach, Tell, figure
from sos_sim.bigtown import POLES_MOST, town
from sos_sim.checkers import Checkers
from sos_sim.draw import draw
from sos_sim.ground import ZoneGround
from sos_sim.live.pair import Pair
from sos_sim.live.zone import Zone as LiveZone
from sos_sim.play import Run
from sos_sim.scenario import town_of
from sos_sim.trace import Trace
from sos_sim.world.loop import Loop
from sos_sim.world.zone import Zone

NAME = "virtual"
SEED = 1
# The town is up, and all programs have settled into their rhythm.
UP_S = 60.0
# Events of the bare rates: a second or so each.
EVENTS = 300_000
TICKERS = 20  # as many timers as a town of seven poles has under way
FAULT_SEEDS = (1, 2, 3)
LIVE_S, LIVE_EACH_S = 60.0, 0.5
# Two towns have the same rhythms and not the same moments.
ALIKE = 0.10
ON_A_LINE, POLES_A_COUNT = 8, 50  # a try of the bench is one of a smaller town
HOUR_S = 3600.0
BIG_UP_S = 30.0
QUIET, FAULTS, BIG = 10_000, 3_000, 120


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count``: virtual minutes of the quiet town; half as many under faults; seconds of one of 50 x ``count`` poles,
    1,000 at most."""
    ours, simpys = _best(_our_rate), _best(_simpy_rate)
    tell(figure(NAME, "bare events, our loop", "events/s", ours, count=EVENTS, floor=simpys, more=True))
    quiet = _quiet(read_site(find_site("betong")), UP_S, count * 60.0)
    for one in _speed("quiet", quiet, QUIET, simpys):
        tell(one)
    for one in _speed("faults", _faulty(count / 2 / 60), FAULTS, simpys):
        tell(one)
    live = await _live(folder, min(LIVE_S, count * 60.0))
    for what, unit in (("frames", "frames/s"), ("commits", "commits/s")):
        tell(_alike(f"{what} a virtual second", unit, quiet.counters[what] / quiet.virtual_s, live[what], quiet))
    _big(min(POLES_MOST, count * POLES_A_COUNT), count, tell)


@dataclass(frozen=True)
class Spell:
    """A span of a town's life. ``core_s``: processor time; ``up_core_s``: of its beginning, which is not in it."""

    virtual_s: float
    core_s: float
    events: int
    counters: dict[str, int]
    up_core_s: float = 0.0


# --- bare rates


def _best(measure: Callable[[], float]) -> float:
    """The best of three: the rest is somebody else's noise."""
    return max(measure() for _ in range(3))


def _simpy_rate() -> float:
    """SimPy: events a second of processes that do nothing but wait for the next of them."""
    world = simpy.Environment()

    def tick(every: int) -> Generator[simpy.Event, None, None]:
        while True:
            yield world.timeout(every)

    for number in range(TICKERS):
        world.process(tick(1000 + number))
    began = time.process_time()
    for _ in range(EVENTS):
        world.step()
    return EVENTS / (time.process_time() - began)


def _our_rate() -> float:
    """The same with our loop."""
    loop = Loop()
    left = EVENTS

    def tick(every_us: int) -> None:
        nonlocal left
        left -= 1
        loop.after(every_us, lambda: tick(every_us))

    for number in range(TICKERS):
        tick(1000 + number)
    began = time.process_time()
    loop.run(2_000 * EVENTS, lambda: left <= 0)
    return EVENTS / (time.process_time() - began)


# --- the virtual town


def _quiet(site: Site, up_s: float, virtual_s: float) -> Spell:
    """Nobody presses, nothing fails, all checkers watch."""
    trace, names = Trace(), town_of(site, 1)
    zone = Zone(site, SEED, trace)
    checkers = Checkers(trace, names, ZoneGround(zone, names))
    began = time.process_time()
    zone.start()
    zone.run_s(up_s)
    up = time.process_time()
    before, events = _counters(zone), zone.loop.events
    zone.run_s(virtual_s)
    checkers.finish(zone.loop.now_us)
    core_s = time.process_time() - up
    if checkers.findings.found:
        raise SafezoneError(f"bench virtual: the quiet town broke a promise: {checkers.findings.found[0]}")
    counters = {name: value - before[name] for name, value in _counters(zone).items()}
    return Spell(virtual_s, core_s, zone.loop.events - events, counters, up - began)


def _counters(zone: Zone) -> dict[str, int]:
    """The zone's; a commit in which an agent only read, which leaves nothing on a disk, is none."""
    reads = sum(agent.effects[kind] for agent in zone.agents.values() for kind in (FetchReceipted, FetchWaiting))
    counters = zone.counters()
    return {**counters, "commits": counters["commits"] - reads}


def _faulty(hours: float) -> Spell:
    """Scenarios as a campaign draws them."""
    virtual_s = core_s = 0.0
    events = 0
    for seed in FAULT_SEEDS:
        began = time.process_time()
        run = Run(draw(seed, hours / len(FAULT_SEEDS)))
        virtual_s += run.play().virtual_s
        core_s += time.process_time() - began
        events += run.zone.loop.events
    return Spell(virtual_s, core_s, events, {})


def _speed(name: str, spell: Spell, least: float, simpys: float) -> Iterator[Figure]:
    rate, events = spell.virtual_s / spell.core_s, spell.events / spell.core_s
    words = f"Betong, {name}, all checkers"
    yield figure(NAME, words, "x real time", rate, count=round(spell.virtual_s), reach=Reach(least=least))
    yield figure(NAME, f"Betong, {name}: events", "events/s", events, count=spell.events, floor=simpys, more=True)
    yield figure(NAME, f"Betong, {name}: events a virtual second", "events", spell.events / spell.virtual_s)
    at_floor = simpys / (spell.events / spell.virtual_s)
    yield figure(NAME, f"Betong, {name}: if its events cost no more than SimPy's bare ones", "x real time", at_floor)


def _big(poles: int, seconds: int, tell: Tell) -> None:
    """An hour of so many poles, reckoned from some seconds of it."""
    spell = _quiet(town(poles, ON_A_LINE), BIG_UP_S, float(seconds))
    hour_s = spell.core_s / spell.virtual_s * HOUR_S
    words = f"{poles} poles, {ON_A_LINE} on a pair: an hour, reckoned from {seconds} s of it"
    reach = Reach(most=BIG) if poles == POLES_MOST else None
    tell(figure(NAME, words, "core seconds", hour_s, count=spell.events, reach=reach))
    tell(figure(NAME, f"{poles} poles: the first {BIG_UP_S:g} s", "core seconds", spell.up_core_s))


# --- the live town


async def _live(folder: Path, seconds: float) -> dict[str, float]:
    """Frames and commits a second of the same site as real processes, when nobody presses."""
    zone = LiveZone(read_site(find_site("betong")), folder)
    try:
        await zone.start()
        frames = _Frames(zone)
        commits = _Commits(folder)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            await asyncio.sleep(LIVE_EACH_S)
            commits.look()
        took_s = time.monotonic() - began
        return {"frames": frames.seen / took_s, "commits": commits.seen / took_s}
    finally:
        await zone.stop()


class _Frames:
    """Counts the frames on all cables: each begins and ends with a zero."""

    def __init__(self, zone: LiveZone) -> None:
        self._zeros = 0
        for cable in set(zone.cables.values()):
            for pair in {cable.up, cable.down}:
                self._listen(pair)

    @property
    def seen(self) -> int:
        return self._zeros // 2

    def _listen(self, pair: Pair) -> None:
        talk = pair.talk

        def heard(who: str, data: bytes, at: float | None = None) -> None:
            self._zeros += data.count(0)
            talk(who, data, at)

        pair.talk = heard  # type: ignore[assignment, method-assign]


class _Commits:
    """Counts commits as the write-ahead logs of all databases beneath a folder tell them (SQLite's file format, 4.1):
    a frame whose second number is not 0 ends one; a log that begins anew has another salt."""

    _HEADER, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[tuple[int, int], int]] = {}
        self.seen = 0
        self.look()
        self.seen = 0

    def look(self) -> None:
        """Often enough that no log begins anew twice in between."""
        for path in sorted(self._folder.rglob("*-wal")):
            salt, count = self._count(path.read_bytes())
            known = self._known.get(path)
            self.seen += count - (known[1] if known is not None and known[0] == salt else 0)
            self._known[path] = salt, count

    def _count(self, log: bytes) -> tuple[tuple[int, int], int]:
        if len(log) < self._HEADER.size:
            return (0, 0), 0
        _, _, page, _, *salt, _, _ = self._HEADER.unpack_from(log)
        step, count = self._FRAME.size + page, 0
        for at in range(self._HEADER.size, len(log) - step + 1, step):
            _, ends, one, two, _, _ = self._FRAME.unpack_from(log, at)
            if (one, two) != (salt[0], salt[1]):
                break
            count += ends != 0
        return (salt[0], salt[1]), count


def _alike(what: str, unit: str, value: float, live: float, spell: Spell) -> Figure:
    """``floor`` is the live town's; reached if both are within a tenth of one another."""
    ratio = value / live if live else 0.0
    met = abs(ratio - 1) <= ALIKE
    reach = f"within {ALIKE * 100:.0f} % of live"
    return Figure(NAME, what, unit, value, round(spell.virtual_s), live, ratio, reach, met)
