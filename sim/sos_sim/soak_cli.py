"""``safezone soak``: the virtual town through many seeds, or through one scenario file, with all checkers on."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sos_contract.errors import SafezoneError, UserError
from sos_contract.site import find_site, read_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sos_sim.play import Result
    from sos_sim.scenario import Scenario

SEEDS_MOST = 1_000_000
JOBS_MOST = 256
FINDINGS_SHOWN = 10
# After a finding, to make its scenario small: a person waits for it, and most are small by then.
SHRINK_S = 60.0

SiteOption = Annotated[str, typer.Option("--site", help="Site file, or the name of one that comes along.")]


def register(app: typer.Typer) -> None:
    """Add ``soak``."""
    app.command("soak")(soak)


def soak(
    seeds: Annotated[str | None, typer.Option(help="A:B, from A up to but not B.")] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="Virtual hours of each run, at least; 1 by default. A scenario is shortened to them."),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(help="Play this scenario instead: a file (TOML), or one that comes along; 'help' lists them."),
    ] = None,
    junit: Annotated[str, typer.Option(help="Write what came of it as JUnit XML.")] = "",
    site: SiteOption = "betong",
    jobs: Annotated[int, typer.Option(help="Processes; by default one a core.")] = 0,
    bug: Annotated[
        str, typer.Option(help="Plant this bug, which is to be found: the first finding ends it; 'help' lists them.")
    ] = "",
    list_bugs: Annotated[
        bool, typer.Option("--list-bugs", help="Name the bugs that can be planted, one a line.")
    ] = False,
    out: Annotated[
        str, typer.Option(help="Folder for a finding's small scenario and timeline; by default a temporary one.")
    ] = "",
    show: Annotated[
        bool, typer.Option("--show", help="Print the scenario of the (first) seed and play nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Play the virtual town with faults drawn from seeds. Exit 1 if a promise was broken."""
    if list_bugs:
        _list_bugs(as_json)
        return
    if scenario is not None and seeds is not None:
        raise UserError("either --seeds or --scenario, not both")
    if "" in (scenario, seeds):  # a variable of somebody's CI that is not set: not to be taken for another campaign
        raise UserError(f"--{'seeds' if seeds == '' else 'scenario'} is empty; say which, or leave it out")
    if not 0 <= jobs <= JOBS_MOST:
        raise UserError(f"--jobs {jobs} is outside 0 to {JOBS_MOST}")
    if hours is not None:
        _check_hours(hours)
    if scenario == "help":
        _list_scenarios()
        return
    if bug == "help":
        _explain_bugs()
        return
    if scenario and site != "betong":
        raise UserError("a scenario names its site itself; write it there, and leave --site out")
    if scenario:
        _play_file(scenario, hours or 0.0, junit, as_json, bug, out, show)
        return
    hours = hours or 1.0
    read_site(find_site(site))
    chosen = _seeds(seeds or ("0:200" if bug else "0:10"))
    if show:
        from sos_sim.draw import draw

        _show(draw(chosen[0], hours, site))
        return
    _campaign(chosen, hours, site, jobs, junit, as_json, bug, out)


def _show(scenario: Scenario) -> None:
    from sos_sim.scenario import dump

    typer.echo(dump(scenario), nl=False)


def _seeds(text: str) -> range:
    first, colon, last = text.partition(":")
    try:
        chosen = range(int(first), int(last) if colon else int(first) + 1)
    except ValueError:
        raise UserError(f"--seeds '{text}' is no range; write A:B, such as 0:40") from None
    if not chosen or chosen.start < 0 or chosen.stop - chosen.start > SEEDS_MOST or chosen.stop > 2**53:
        raise UserError(f"--seeds '{text}' is empty or too large; from 0 on, {SEEDS_MOST} at most")
    return chosen


def _check_hours(hours: float) -> None:
    from sos_sim.scenario import HOURS_MOST

    if not 0 < hours <= HOURS_MOST:
        raise UserError(f"--hours {hours:g} is outside 0 to {HOURS_MOST:g}")


def _check_places(junit: str, out: str) -> None:
    """What comes of hours can be written at their end: make the folders now; raises UserError."""
    for folder, option in ((Path(junit).parent if junit else None, "--junit"), (Path(out) if out else None, "--out")):
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror}); name another one with {option}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"{folder}: nothing can be written in it; name another one with {option}")
    if junit and Path(junit).is_dir():
        raise UserError(f"{junit}: a folder; name a file with --junit")


def _campaign(chosen: range, hours: float, site: str, jobs: int, junit: str, as_json: bool, bug: str, out: str) -> None:
    from sos_sim.bugs import planted
    from sos_sim.campaign import campaign, cores, run_seeds
    from sos_sim.draw import draw
    from sos_sim.junit import Case, write

    around = partial(planted, bug)
    around()  # is there such a bug?
    _check_places(junit, out)
    cases: dict[int, Case] = {}

    def seen(result: Result) -> None:
        again = _again(result.seed, hours, site, bug)
        found = [str(finding) for finding in result.findings]
        cases[result.seed] = Case(f"seed {result.seed}", found, result.wall_s, again)
        if result.broken:
            for words in found[:FINDINGS_SHOWN]:
                typer.echo(f"seed {result.seed}: {words}", err=True)
            typer.echo(f"reproduce: {again}", err=True)

    results = run_seeds(chosen, hours, site, jobs or cores(), around, stop_at_first=bool(bug))
    if bug:
        results = _of_the_bug(results, hours, site)
    show = sys.stderr.isatty() and len(chosen) > 1
    summary = campaign(results, len(chosen), show=show, seen=seen)
    lacking = summary.lacking() if not bug else []
    demanded = summary.demanded()
    told = [cases[seed] for seed in sorted(cases)]
    if demanded and not bug:
        told.append(Case("coverage", lacking))
    if junit:  # before anything else can go wrong
        write(Path(junit), told)
    if summary.bad:
        first = min(summary.bad, key=lambda result: result.seed)
        timeline = _write_up(draw(first.seed, hours, site), first, bug, out, f"seed-{first.seed}")
        cases[first.seed].timeline = timeline
        if junit:
            write(Path(junit), told)
    if not as_json:
        _tell(summary.line(), lacking, demanded)
    elif lacking and demanded:
        typer.echo(f"coverage: {len(lacking)} lacking: {'; '.join(lacking[:FINDINGS_SHOWN])}", err=True)
    if as_json:
        typer.echo(json.dumps(summary.line()))
    if summary.broken or (lacking and demanded):
        raise typer.Exit(1)


def _of_the_bug(results: Iterator[Result], hours: float, site: str) -> Iterator[Result]:
    """Raises SafezoneError where a seed has findings without the bug as well: they would say nothing of it."""
    from sos_sim.campaign import run_seed

    for result in results:
        if result.broken and (plain := run_seed(result.seed, hours, site)).broken:
            words = f"seed {result.seed} has a finding without the bug, too ({plain.findings[0]})"
            raise SafezoneError(f"{words}; play it: {_again(result.seed, hours, site, '')}")
        yield result


def _write_up(scenario: Scenario, result: Result, bug: str, out: str, name: str) -> str:
    """The first finding of a run: its smallest scenario and its timeline, which is shown here, too, and returned."""
    from sos_sim.findings import TEXT, write_up

    folder = Path(out or tempfile.mkdtemp(prefix="safezone-soak-")) / name
    first = min(result.findings, key=lambda finding: finding.at_us)
    until = time.monotonic() + SHRINK_S
    try:
        write_up(
            scenario,
            first,
            folder,
            bug=bug,
            enough=lambda: time.monotonic() > until,
            tell=lambda line: typer.echo(line, err=True),
        )
    finally:
        if not out:
            with suppress(OSError):  # what we made and nothing came into, after Ctrl-C
                folder.parent.rmdir()
    timeline = (folder / TEXT).read_text(encoding="utf-8")
    typer.echo(timeline, err=True, nl=False)
    return timeline


def _again(seed: int, hours: float, site: str, bug: str) -> str:
    named = ("" if site == "betong" else f" --site {shlex.quote(site)}") + (f" --bug {bug}" if bug else "")
    return f"safezone soak --seeds {seed}:{seed + 1} --hours {hours:g}{named}"


def _tell(line: dict[str, int | float], lacking: list[str], demanded: bool) -> None:
    for name, value in line.items():
        typer.echo(f"{name:<16}{value}")
    if lacking:
        typer.echo(f"not visited{' (and it should have been)' if demanded else ''}: {len(lacking)}")
        for words in lacking[: None if demanded else FINDINGS_SHOWN]:
            typer.echo(f"  {words}")


def _list_scenarios() -> None:
    from sos_sim.gallery import find_scenario, names, words_of

    for name in names():
        typer.echo(f"{name:<24}{words_of(find_scenario(name))}")


def _list_bugs(as_json: bool) -> None:
    from sos_sim.bugs import BUGS

    for name in BUGS:
        typer.echo(json.dumps({"bug": name}) if as_json else name)


def _explain_bugs() -> None:
    from sos_sim.bugs import BUGS

    for name, bug in BUGS.items():
        typer.echo(f"{name:<26}{bug.sentence}")


def _play_file(name: str, hours: float, junit: str, as_json: bool, bug: str, out: str, show: bool) -> None:
    from sos_sim.bugs import planted
    from sos_sim.campaign import Summary
    from sos_sim.gallery import find_scenario, read_shortened
    from sos_sim.junit import Case, write
    from sos_sim.play import play

    path = find_scenario(name)
    scenario = read_shortened(name, hours)
    if show:
        _show(scenario)
        return
    with planted(bug):
        _check_places(junit, out)
        result = play(scenario)
    summary = Summary()
    summary.add(result)
    summary.wall_s = result.wall_s
    failures = [str(finding) for finding in result.findings] + result.missed
    more = (f" --hours {hours:g}" if hours else "") + (f" --bug {bug}" if bug else "")
    case = Case(path.stem, failures, result.wall_s, f"safezone soak --scenario {shlex.quote(name)}{more}")
    if junit:
        write(Path(junit), [case])
    for words in failures:
        typer.echo(f"{name}: {words}", err=True)
    if as_json:
        typer.echo(json.dumps(summary.line()))
    else:
        figures = {name: round(value, 1) for name, value in result.figures.items()}
        _tell(summary.line() | figures, [], False)
    if failures:
        typer.echo(f"reproduce: {case.again}", err=True)
        if result.findings:
            case.timeline = _write_up(scenario, result, bug, out, path.stem)
            if junit:
                write(Path(junit), [case])
        raise typer.Exit(1)
