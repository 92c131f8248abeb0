"""The picture of a finding, not yet drawn: which lanes, which events, which bars, and where each instant lies.

Time is stretched where much happens and pressed together where nothing does, so that the 20 ms of a press and the 20
minutes of an outage can be read in one picture.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sos_contract.site import Site
from sos_sim.timeline.bars import LOOK, LOSSES, Bar, bars_of
from sos_sim.timeline.lanes import OFFICERS, Lanes
from sos_sim.timeline.words import Happening, happenings_of, plain
from sos_sim.trace import Row

BEFORE_US, AFTER_US = 60_000_000, 3_000_000  # shown before a finding that names no press, and after any
LEAD_US = 5_000_000  # shown before the beginning of what still stands: what brought it about
TOUCH_US = 1_000_000  # a finger touches at most so long before its press is minted
MOST_EVENTS = 60  # more cannot be read within a minute
MOST_PRESSES = 8
STRETCH_US = 20_000  # from here on a gap is drawn only as wide as the logarithm of its length
IDENTITY = re.compile(r"[\w-]+/[0-9a-f]{1,16}/\d+/\d+(?:\.\d+)?")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SAID_AGAIN = ("screen", "look")  # kinds whose rows repeat what was said before
_ALWAYS = ("phase",)


class Finding(Protocol):
    """What a checker found: the promise that was broken, when, how in words, and at which part."""

    @property
    def promise(self) -> str: ...
    @property
    def at_us(self) -> int: ...
    @property
    def words(self) -> str: ...
    @property
    def part(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Event:
    """One instant in a lane. ``number``: from 1, in the order of time; ``press``: its letter, or ''."""

    number: int
    at_us: int
    lane: str
    words: str
    press: str


class Axis:
    """Where an instant lies: between two of interest the way grows with the logarithm of the time."""

    def __init__(self, instants: Iterable[int]) -> None:
        self.instants = sorted(set(instants))
        self._places = [0.0]
        for before, after in zip(self.instants, self.instants[1:], strict=False):
            self._places.append(self._places[-1] + 0.4 + math.log2(1 + (after - before) / STRETCH_US))

    def place(self, at_us: int) -> float:
        """From 0 (the first instant) to 1 (the last)."""
        whole = self._places[-1] or 1.0
        index = min(bisect_left(self.instants, at_us), len(self.instants) - 1)
        if index == 0 or self.instants[index] <= at_us:
            return self._places[index] / whole
        before, after = self.instants[index - 1], self.instants[index]
        part = (at_us - before) / (after - before)
        return (self._places[index - 1] + part * (self._places[index] - self._places[index - 1])) / whole


@dataclass(slots=True)
class Picture:
    """``lane``: of the finding; ``presses``: letter -> identity; ``left_out``: events that found no room; ``notes``:
    lines for the reader."""

    finding: Finding
    lane: str
    begin_us: int
    end_us: int
    lanes: list[str]
    events: list[Event]
    bars: list[Bar]
    presses: dict[str, str]
    left_out: int = 0
    notes: list[str] = field(default_factory=list)

    def axis(self) -> Axis:
        instants = [self.begin_us, self.end_us, self.finding.at_us, *(event.at_us for event in self.events)]
        instants += [at for bar in self.bars for at in (bar.from_us, bar.until_us)]
        return Axis(at for at in instants if self.begin_us <= at <= self.end_us)

    @property
    def words(self) -> str:
        """What was found, with letters in the place of identities."""
        letters = {identity: letter for letter, identity in self.presses.items()}

        def letter(found: re.Match[str]) -> str:
            known = letters.get(plain(found[1]))
            return f"press {known}" if known else found[0]

        return re.sub(rf"(?:the )?(?:alarm |press )?({IDENTITY.pattern})", letter, self.finding.words)

    def already(self) -> list[Bar]:
        """What stood already when the picture begins, but for lamps."""
        return [bar for bar in self.bars if bar.from_us < self.begin_us and bar.kind != LOOK]

    def ways(self) -> dict[str, list[Event]]:
        """Each press's way: its events in order, to be followed from lane to lane."""
        return {letter: [event for event in self.events if event.press == letter] for letter in self.presses}


def around(finding: Finding, rows: Sequence[Row], site: Site | None = None, notes: Sequence[str] = ()) -> Picture:
    """The picture of ``finding``. ``rows``: all of the run, in order; ``site`` puts the lanes as a press travels."""
    named = list(dict.fromkeys(map(plain, IDENTITY.findall(finding.words))))[:MOST_PRESSES]
    stands_us = _stands_us(finding, rows)
    begin_us = _begin_us(finding, rows, named, stands_us)
    end_us = finding.at_us + AFTER_US
    lanes = Lanes(site)
    seen = [what for row in rows if begin_us <= row.at_us <= end_us for what in happenings_of(row, lanes)]
    presses = _letters(named, [what.identity for what in seen if what.identity])
    near = lanes.near(finding.part, [identity.split("/")[0] for identity in named])
    told = _news([what for what in seen if _concerns(what, presses, lanes, near)])
    kept = _most_telling(told, finding, named, stands_us)
    letters = _touched(kept, {identity: letter for letter, identity in presses.items()})
    events = [
        Event(number, what.at_us, what.lane, what.words, letters[number - 1]) for number, what in enumerate(kept, 1)
    ]
    bars = [bar for bar in bars_of(rows, lanes, begin_us, end_us) if lanes.may_matter(bar.lane, near)]
    lane = OFFICERS if any(row.part == finding.part for row in rows if row.kind == "screen") else finding.part
    lane = lanes.of_part(lane)
    with_events = {event.lane for event in events} | {lane}
    bars = [bar for bar in bars if bar.kind != LOOK or bar.lane in with_events or not site]
    shown = lanes.order([*(event.lane for event in events), *(bar.lane for bar in bars), lane])
    left_out = len(told) - len(kept)
    return Picture(finding, lane, begin_us, end_us, shown, events, bars, presses, left_out, list(notes))


def _stands_us(finding: Finding, rows: Sequence[Row]) -> int:
    """Since when somebody whom the finding names is held for lost, without a break; the finding's time if nobody is."""
    lost: dict[str, int] = {}
    for row in rows:
        if row.kind in LOSSES and row.at_us <= finding.at_us:
            who = str(row.fields[0])
            if row.fields[1] == "on":
                lost.setdefault(who, row.at_us)
            else:
                lost.pop(who, None)
    words = re.findall(r"[\w-]+", finding.words)
    return min((at_us for who, at_us in lost.items() if who in words), default=finding.at_us)


def _begin_us(finding: Finding, rows: Sequence[Row], named: Sequence[str], stands_us: int) -> int:
    """From the touch that made the first press that the finding names; else a minute before, or from what stands on."""
    minted = (row.at_us for row in rows if row.kind == "minted" and row.fields[0] in named)
    first = min(minted, default=None)
    if first is None:
        return max(0, min(finding.at_us - BEFORE_US, stands_us - LEAD_US))
    return max(0, min(first, finding.at_us) - TOUCH_US)


def _touched(kept: Sequence[Happening], letters: dict[str, str]) -> list[str]:
    """The letter of each: its press's, and for the touch of a finger that of the press that it made."""
    found = [letters.get(what.identity, "") for what in kept]
    for index, what in enumerate(kept):
        if what.kind == "minted":
            touches = (
                place
                for place in range(index - 1, -1, -1)
                if kept[place].kind == "finger" and kept[place].lane == what.lane and "down" in kept[place].words
            )
            touch = next(touches, None)
            if touch is not None and what.at_us - kept[touch].at_us <= TOUCH_US:
                found[touch] = found[index]
    return found


def _letters(named: Sequence[str], seen: Sequence[str]) -> dict[str, str]:
    """A letter a press: those that the finding names, or else the latest that there were."""
    chosen = list(named) or list(dict.fromkeys(reversed(seen)))[:MOST_PRESSES][::-1]
    return dict(zip(_LETTERS, chosen, strict=False))


def _concerns(what: Happening, presses: dict[str, str], lanes: Lanes, near: set[str]) -> bool:
    """Whether it may have to do with the finding: other poles' presses, lamps and fingers have not."""
    if what.identity:
        return what.identity in presses.values()
    if what.about:
        return what.about in near or f"agent:{what.about}" in near
    return lanes.may_matter(what.lane, near)


def _news(happenings: Sequence[Happening]) -> list[Happening]:
    """A screen and a lamp say the same again and again; only what is new is told."""
    last: dict[tuple[str, str, str], str] = {}
    news = []
    for what in happenings:
        key = (what.lane, what.kind, what.identity)
        stage = what.words.partition(",")[0]  # of a screen: its ages grow all the time
        if what.kind not in _SAID_AGAIN or last.get(key) != stage:
            news.append(what)
        last[key] = stage
    return news


def _most_telling(
    happenings: list[Happening], finding: Finding, named: Sequence[str], stands_us: int
) -> list[Happening]:
    """At most MOST_EVENTS: those of the presses named, then what is nearest to the finding, or to the beginning of what
    stands, before the finding first."""

    def weight(index: int) -> tuple[bool, bool, int]:
        what = happenings[index]
        other = what.identity not in named and what.kind not in _ALWAYS
        away_us = min(abs(finding.at_us - what.at_us), abs(stands_us - what.at_us))
        return other, what.at_us > finding.at_us, away_us

    chosen = sorted(range(len(happenings)), key=weight)[:MOST_EVENTS]
    return [happenings[index] for index in sorted(chosen)]
