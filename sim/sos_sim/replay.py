"""A cable from the street becomes faults of a virtual one: what a record tells, in spells of an ordinary scenario.

Losses in a row are a cut of that direction, from the first frame that did not come to the next that did; losses in
between are a chance a frame, windows of WINDOW_US long; so are doubled and spoilt frames, noise and delay. The result
is a scenario like any other: it can be read, edited, shrunk and played again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sos_sim.record import Happened

WINDOW_US = 10_000_000  # some five beats and their answers: fewer frames tell no chance
CUT_FRAMES = 4  # lost in a row: at 20 % loss once in 600 frames by chance alone
SILENT_US = 3_000_000  # every pole says something each 2.25 s
TOGETHER_US = 1_000_000  # answers lost at such a distance are lost to one cut
LATE_US = 10_000  # below, a loop of the agent or a frame in front explains it
MOST_LATE_US = 300_000  # what the fault can do; a frame that comes later is as good as lost
LEAST, MOST = 0.02, 0.4  # chances that a fault can have; a cable that does worse is played at its best
# what a window counts -> the fault that does it
_CHANCES = (("lost", "wire-loss"), ("doubled", "wire-duplicates"), ("garbled", "wire-flips"))


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault of the cable for a while: its name and arguments are those of ``faults/wire.py``."""

    from_us: int
    until_us: int
    name: str
    arguments: tuple[tuple[str, float | str], ...] = ()


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
            yield Spell(from_us, until_us, name, (("probability", round(min(chance, MOST), 2)),))
    noise = sum(one.what == "noise" for one in part)
    if noise:
        yield Spell(from_us, until_us, "wire-noise", (("per_s", round(max(0.5, noise * 1e6 / WINDOW_US), 1)),))
    late_us = max(one.late_us for one in part)
    if late_us > LATE_US:
        yield Spell(from_us, until_us, "wire-delay", (("most_ms", min(late_us, MOST_LATE_US) // 1000),))


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
