"""Writes a finding up: the smallest scenario that still shows it, and its picture, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shlex import quote

from sos_contract.errors import SafezoneError, UserError
from sos_sim.bugs import find_bug, planted
from sos_sim.checkers import Finding
from sos_sim.scenario import Scenario, dump, site_of
from sos_sim.shrink import MOST_PLAYS, Shrinker, Shrunk, first_finding, kind_of
from sos_sim.timeline import page, text
from sos_sim.timeline.picture import around

SCENARIO, PAGE, TEXT = "scenario.toml", "timeline.html", "timeline.txt"


def small(scenario: Scenario, finding: Finding, enough: Callable[[], bool] = lambda: False) -> Shrunk:
    """The smallest scenario found that still has a finding of that kind. To be called with the bug planted, if any.

    ``enough`` is asked before each play: True, and the smallest so far will do.
    """
    kind = kind_of(finding)

    def fails(one: Scenario) -> Finding | None:
        return first_finding(one, lambda found: kind_of(found) == kind)[0]

    return Shrinker(fails, enough=enough).shrink(scenario, finding)


def command(path: Path, bug: str = "") -> str:
    """What plays that scenario again."""
    return f"safezone soak --scenario {quote(str(path))}" + (f" --bug {bug}" if bug else "")


def _presses(scenario: Scenario) -> int:
    return sum(touch.times for touch in scenario.press)


def write_up(
    scenario: Scenario,
    finding: Finding,
    folder: Path,
    *,
    bug: str = "",
    enough: Callable[[], bool] = lambda: False,
    tell: Callable[[str], object] = lambda _line: None,
) -> Shrunk:
    """Shrink ``scenario`` and write it, with its timeline as text and as a page, into ``folder``.

    ``tell`` hears a line of what is done and found. Raises UserError, one line, if the folder cannot be written.
    """
    tell(f"making the scenario small, {MOST_PLAYS} plays at most")
    with planted(bug):
        shrunk = small(scenario, finding, enough)
        kind = kind_of(shrunk.finding)
        found, run = first_finding(shrunk.scenario, lambda one: kind_of(one) == kind, keep=True)
    if found is None:
        raise SafezoneError(f"seed {scenario.seed} does not play twice alike; nothing can be written up of it")
    again = command(folder / SCENARIO, bug)
    made = f"{len(scenario.fault)} faults and {_presses(scenario)} presses became "
    made += f"{len(shrunk.scenario.fault)} and {_presses(shrunk.scenario)} in {shrunk.plays} plays"
    notes = [f"seed {scenario.seed} of {scenario.site}: {made}", f"again: {again}"]
    if bug:
        notes.insert(0, f"planted bug {bug}: {find_bug(bug).sentence}")
    picture = around(found, run.trace.rows, site_of(shrunk.scenario), notes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCENARIO).write_text(dump(shrunk.scenario), encoding="utf-8")
        (folder / PAGE).write_text(page.draw(picture), encoding="utf-8")
        (folder / TEXT).write_text(text.draw(picture), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); name another one with --out") from None
    tell(made)
    tell(f"timeline: {folder / PAGE}")
    tell(f"reproduce: {again}")
    return shrunk
