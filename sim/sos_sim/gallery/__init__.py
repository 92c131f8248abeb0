"""Scenarios that come along, by name: what a town may live through, each with what it has to stand up to."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from sos_contract.errors import UserError
from sos_contract.site import nearest
from sos_sim.scenario import START_S, Cycle, Scenario, Touch, read_scenario

_FOLDER = Path(__file__).parent
# Of the presses of a shortened scenario: repetitions are rounded, and some fall on a button that is held already.
_SURELY = 0.8


def names() -> list[str]:
    """All of them."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def find_scenario(name: str) -> Path:
    """Path of a scenario: a file as given, or one that came along; raises UserError that names the nearest one."""
    if name in names():  # first: a folder of findings may be called so, too
        return _FOLDER / f"{name}.toml"
    given = Path(name)
    with suppress(OSError, ValueError):  # too long for a file's name, or with a zero in it
        if given.suffix == ".toml" or given.exists():
            return given
    raise UserError(f"no scenario file '{name}'{nearest(name, names())}")


def words_of(path: Path) -> str:
    """What it is, as the head of its file tells it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in lines[: next(i for i, x in enumerate(lines) if x[:1] != "#")])


def shortened(scenario: Scenario, hours: float) -> Scenario:
    """The same in so many hours: all comes sooner, lasts shorter and repeats less often, and is expected the same, but
    how soon a loss is told of: a short one may end before, or no lamp be in service when it comes."""
    factor = hours / scenario.hours
    if factor >= 1:
        return scenario

    def at(time_s: float) -> float:
        return round(START_S + (time_s - START_S) * factor, 3) if time_s > START_S else time_s

    replace = msgspec.structs.replace
    return replace(
        scenario,
        hours=hours,
        expect={
            name: int(bound * factor * _SURELY) if name == "presses_least" else bound
            for name, bound in scenario.expect.items()
            if not name.endswith("_within_s")
        },
        press=tuple(_fewer(replace(one, at_s=at(one.at_s)), factor) for one in scenario.press),
        fault=tuple(replace(one, at_s=at(one.at_s), until_s=at(one.until_s)) for one in scenario.fault),
        cycle=tuple(
            Cycle(begin_s=at(one.begin_s), heal_s=at(one.heal_s), settle_s=at(one.settle_s), end_s=at(one.end_s))
            for one in scenario.cycle
        ),
    )


def _fewer(touch: Touch, factor: float) -> Touch:
    """As often, and so much less of it; a single one is not followed by the pause of many."""
    times = max(1, round(touch.times * factor))
    return msgspec.structs.replace(touch, times=times, every_s=touch.every_s if times > 1 else 1.0)


def read_shortened(name: str, hours: float) -> Scenario:
    """The scenario of that name or file; in so many hours if that is not 0."""
    scenario = read_scenario(find_scenario(name))
    return shortened(scenario, hours) if hours else scenario
