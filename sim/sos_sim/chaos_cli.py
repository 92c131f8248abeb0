"""``safezone chaos``: the live town with real processes, faults drawn from a seed, and the promises checked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sos_contract.errors import UserError
from sos_contract.site import find_site, nearest, read_site
from sos_sim.cli import SiteOption, run

if TYPE_CHECKING:
    from sos_contract.site import Site
    from sos_sim.chaos.plan import Round
    from sos_sim.chaos.run import Total

MINUTES_LEAST, MINUTES_MOST = 0.2, 24 * 60.0
SEED_MOST = 2**53
POLES_MOST = 40  # a process each, and some 40 MB


def register(app: typer.Typer) -> None:
    """Add ``chaos``."""
    app.command("chaos")(chaos)


def chaos(
    minutes: Annotated[float, typer.Option(help="How long, about.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Decides what is done, and when.")] = 0,
    site: SiteOption = "betong",
    show: Annotated[bool, typer.Option("--show", help="Print the plan of that seed and do nothing.")] = False,
    bug: Annotated[
        str, typer.Option(help="Plant this bug in agents and station, which is to be found; 'help' lists them.")
    ] = "",
    keep: Annotated[str, typer.Option(help="Work in this folder, and leave logs and databases there.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Kill, stop, cut, fill and press for some minutes. Exit 1 if a promise was broken."""
    if not MINUTES_LEAST <= minutes <= MINUTES_MOST:
        raise UserError(f"--minutes {minutes:g} is outside {MINUTES_LEAST:g} to {MINUTES_MOST:g}")
    if not 0 <= seed <= SEED_MOST:
        raise UserError(f"--seed {seed} is outside 0 to 2^53")
    if bug:
        from sos_sim.chaos.bugged import NAMES

        if bug == "help":
            typer.echo("\n".join(NAMES))
            return
        if bug not in NAMES:
            raise UserError(f"unknown bug '{bug}'{nearest(bug, NAMES)}")
    found = read_site(find_site(site))
    if not 1 <= len(found.pole_ids()) <= POLES_MOST:
        raise UserError(f"{site}: {len(found.pole_ids())} poles; chaos runs 1 to {POLES_MOST}, a process each")
    from sos_sim.chaos.plan import plan

    rounds = plan(seed, minutes, found)
    if show:
        for one in rounds:
            typer.echo(str(one))
            for act in one.acts:
                typer.echo(f"  {act}")
        return
    named = ("" if site == "betong" else f" --site {site}") + (f" --bug {bug}" if bug else "")
    again = f"safezone chaos --minutes {minutes:g} --seed {seed}{named}"
    _play(partial(_run, found, rounds, minutes, bug, as_json), keep, as_json, again)


def _play(play: Callable[[Path], Total], keep: str, as_json: bool, again: str) -> None:
    from sos_sim.bench.broker import find_mosquitto

    find_mosquitto()
    if keep:
        folder = Path(keep).absolute()
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"--keep {keep}: the folder is not empty; name another")
        folder.mkdir(parents=True, exist_ok=True)
        total = play(folder)
    else:
        with tempfile.TemporaryDirectory(prefix="safezone-") as temporary:
            total = play(Path(temporary))
    if as_json:
        typer.echo(json.dumps(total.line()))
    else:
        for name, value in total.line().items():
            typer.echo(f"{name:<12}{value}")
    if total.findings:
        typer.echo(f"reproduce: {again}", err=True)
        raise typer.Exit(1)


def _run(site: Site, rounds: list[Round], minutes: float, bug: str, as_json: bool, folder: Path) -> Total:
    from sos_sim.chaos.run import campaign

    totals: list[Total] = []

    def tell(words: str) -> None:
        typer.echo(json.dumps({"says": words.strip()}) if as_json else words, err=not as_json)

    async def play() -> None:
        totals.append(await campaign(site, rounds, minutes, folder, tell, bug))

    run(play())
    return totals[0]
