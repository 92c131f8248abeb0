"""A cable and a button from the street become a scenario: what a record tells, as faults and touches of a virtual pole.

Losses in a row are a cut of that direction, from the first frame that did not come to the next that did; losses in
between are a chance a frame, windows of WINDOW_US long; so are doubled and spoilt frames, noise and delay. The result
is a scenario like any other: it can be read, edited, shrunk and played again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sos_contract.errors import UserError
from sos_contract.site import Site, SiteError
from sos_sim.faults import FAULTS
from sos_sim.record import Happened, Record, Traffic, diagnose
from sos_sim.scenario import FAULTS_MOST, HOURS_MOST, PRESS_MS, SETTLE_S, START_S, Planned, Scenario, Touch

WINDOW_US = 10_000_000  # some five beats and their answers: fewer frames tell no chance
CUT_FRAMES = 4  # lost in a row: at 20 % loss once in 600 frames by chance alone
SILENT_US = 3_000_000  # every pole says something each 2.25 s
ALONE_US = 8_000_000  # the link's own patience: by then the agent calls a pole lost
TOGETHER_US = 1_000_000  # answers lost at such a distance are lost to one cut
LATE_US = 10_000  # below, a loop of the agent or a frame in front explains it
LEAST = 0.02  # a smaller chance is none
# what a window counts -> the fault that does it
_CHANCES = (("lost", "wire-loss"), ("doubled", "wire-duplicates"), ("garbled", "wire-flips"))


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault of the cable for a while: its name and arguments are those of ``faults/wire.py``."""

    from_us: int
    until_us: int
    name: str
    arguments: tuple[tuple[str, float | str], ...] = ()


def scenario_of(record: Record, site: Site, named: str, pole: str = "", press_every_s: float = 30.0) -> Scenario:
    """The scenario in which that pole's line is the recorded cable and its button the recorded button.

    ``named``: how a scenario file names ``site``; ``pole``: by default the one of the record's point that was heard
    most. Where the record has no button, somebody presses at that pole every ``press_every_s``, so that the cable has
    something to carry. Raises UserError, one line, for a record that fits nowhere.
    """
    traffic = max(record.ports.values(), key=lambda one: len(one.pieces), default=Traffic("", 0))
    happened = diagnose(traffic)
    pole = pole or _heard_most(record, site, happened)
    site.find_pole(pole)
    spells = spells_of(happened)
    hours = (record.until_us / 1e6 + START_S + SETTLE_S + 60) / 3600
    if hours > HOURS_MOST or len(spells) > FAULTS_MOST:
        raise UserError(f"the record has {hours:.0f} hours and {len(spells)} faults; {HOURS_MOST:g} and {FAULTS_MOST} "
                        "are the most of a scenario: play a part of it")  # fmt: skip
    touches = [touch for levels in record.levels.values() for touch in _touches(levels, pole)]
    if not touches and record.until_us:
        times = max(1, int(record.until_us / 1e6 / press_every_s))
        touches = [Touch(at_s=START_S + press_every_s / 2, pole=pole, times=times, every_s=press_every_s)]
    return Scenario(
        site=named,
        hours=round(hours, 4),
        press=tuple(sorted(touches, key=lambda touch: touch.at_s)),
        fault=tuple(
            Planned(name=spell.name, where=pole, at_s=_at_s(spell.from_us), until_s=_at_s(spell.until_us),
                    with_=dict(spell.arguments))
            for spell in spells
        ),
    )  # fmt: skip


def not_played(record: Record) -> list[str]:
    """What such a scenario leaves out, in words: a virtual pair is cut for all that hang on it, or for none."""
    longest_us: dict[int, int] = {}
    for traffic in record.ports.values():
        heard = [one for one in diagnose(traffic) if one.what == "good"]
        last_us: dict[int, int] = {}
        for one in [
            *heard,
            *(Happened(record.until_us, "good", address) for address in {one.address for one in heard}),
        ]:
            began_us = last_us.get(one.address, one.at_us)
            others = sum(began_us < other_us for address, other_us in last_us.items() if address != one.address)
            if one.at_us - began_us > ALONE_US and others:
                longest_us[one.address] = max(longest_us.get(one.address, 0), one.at_us - began_us)
            last_us[one.address] = one.at_us
    return [
        f"the pole at address {address} alone was not heard for {span_us / 1e6:.0f} s: that is not played"
        for address, span_us in longest_us.items()
    ]


def _at_s(at_us: int) -> float:
    return round(START_S + at_us / 1e6, 6)


def _heard_most(record: Record, site: Site, happened: Sequence[Happened]) -> str:
    """The pole of the recorded point whose address was heard most; the point's first where none was."""
    try:
        point = site.find_point(record.point)
    except SiteError as error:
        hint = "name the site of the record with --site, or any pole with --pole"
        raise UserError(f"the record is of a point that is not in site '{site.id}': {error}; {hint}") from None
    heard = Counter(one.address for one in happened if one.what == "good")
    by_address = {pole.address: pole.id for line in point.line for pole in line.pole}
    known = [by_address[address] for address, _ in heard.most_common() if address in by_address]
    poles = [*known, *by_address.values(), *([point.button.id] if point.button is not None else [])]
    if not poles:
        raise UserError(f"point '{record.point}' has no pole to play the record at; name one with --pole")
    return poles[0]


def _touches(levels: Sequence[tuple[int, int]], pole: str) -> Iterator[Touch]:
    """Every contact as it was, bounces too."""
    closed_us: int | None = None
    for at_us, level in levels:
        if level and closed_us is None:
            closed_us = at_us
        elif not level and closed_us is not None:
            ms = min(max(PRESS_MS[0], round((at_us - closed_us) / 1000)), PRESS_MS[1])
            yield Touch(at_s=_at_s(closed_us), pole=pole, ms=ms)
            closed_us = None


def spells_of(happened: Sequence[Happened]) -> list[Spell]:
    """The faults that the cable had, in the order of their beginnings."""
    late = {window: max(one.late_us for one in part) for window, part in _windows(happened).items()}
    # Where frames come late, an answer that was late looks like one that was lost.
    kept = [one for one in happened if one.what != "lost_down" or late[one.at_us // WINDOW_US] <= LATE_US]
    cuts = [*_cuts_up(kept), *_cuts_down(kept)]
    left = [one for one in kept if one.what == "good" or not any(_within(one, cut) for cut in cuts)]
    spells = [spell for window, part in _windows(left).items() for spell in _in_window(window, part)]
    return sorted([*cuts, *_joined(spells)], key=lambda spell: (spell.from_us, spell.name))


def _windows(happened: Iterable[Happened]) -> dict[int, list[Happened]]:
    windows: dict[int, list[Happened]] = {}
    for one in happened:
        windows.setdefault(one.at_us // WINDOW_US, []).append(one)
    return windows


def _within(one: Happened, cut: Spell) -> bool:
    return cut.from_us <= one.at_us < cut.until_us


def _cuts_up(happened: Iterable[Happened]) -> Iterator[Spell]:
    """From the first frame that did not come, of any pole, to the next that did."""
    heard_us: int | None = None
    lost: list[int] = []
    for one in happened:
        if one.what == "lost_up":
            lost.append(one.at_us)
        elif one.what == "good":
            silent = heard_us is not None and one.at_us - heard_us > SILENT_US
            if silent or len(lost) >= CUT_FRAMES:
                from_us = lost[0] if lost else (heard_us or 0) + 1
                yield Spell(from_us, one.at_us, "wire-half-cut", (("direction", "up"),))
            heard_us = one.at_us
            lost.clear()


def _cuts_down(happened: Iterable[Happened]) -> Iterator[Spell]:
    """Answers that did not arrive, one after the other."""
    run: list[int] = []
    for at_us in [*(one.at_us for one in happened if one.what == "lost_down"), 1 << 62]:
        if run and at_us - run[-1] > TOGETHER_US:
            if len(run) >= CUT_FRAMES:
                yield Spell(run[0], run[-1] + TOGETHER_US // 4, "wire-half-cut", (("direction", "down"),))
            run = []
        run.append(at_us)


def _in_window(window: int, part: Sequence[Happened]) -> Iterator[Spell]:
    from_us, until_us = window * WINDOW_US, (window + 1) * WINDOW_US
    good = sum(one.what == "good" for one in part)
    for what, name in _CHANCES:
        count = sum(one.what.startswith(what) for one in part)
        # Of what was said in both directions only what the poles said is counted: an answer each, about.
        chance = count / max(1, count + good * (2 if what == "lost" else 1))
        if chance >= LEAST:
            yield Spell(from_us, until_us, name, _as_may_be(name, "probability", round(chance, 2)))
    noise = sum(one.what == "noise" for one in part)
    if noise:
        yield Spell(
            from_us, until_us, "wire-noise", _as_may_be("wire-noise", "per_s", round(noise * 1e6 / WINDOW_US, 1))
        )
    late_us = max(one.late_us for one in part)
    if late_us > LATE_US:
        yield Spell(from_us, until_us, "wire-delay", _as_may_be("wire-delay", "most_ms", late_us // 1000))


def _as_may_be(name: str, argument: str, value: float) -> tuple[tuple[str, float | str], ...]:
    """As that fault can be told: a cable that does worse, or less, is played as bad, or as good, as can be."""
    least, most = FAULTS[name].knobs[argument][0], FAULTS[name].knobs[argument][-1]
    assert not isinstance(least, str) and not isinstance(most, str)
    return ((argument, min(max(value, least), most)),)


def _joined(spells: Iterable[Spell]) -> list[Spell]:
    """The same for one window after the other is one spell."""
    joined: list[Spell] = []
    for spell in sorted(spells, key=lambda one: (one.name, one.from_us)):
        last = joined[-1] if joined else None
        same = (spell.name, spell.from_us, spell.arguments)
        if last is not None and (last.name, last.until_us, last.arguments) == same:
            joined[-1] = Spell(last.from_us, spell.until_us, spell.name, spell.arguments)
        else:
            joined.append(spell)
    return joined
