"""``safezone sim``: the zone without hardware."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from sos_contract.errors import UserError
from sos_contract.site import find_site, nearest, read_site

SiteOption = Annotated[str, typer.Option("--site", help="Site file, or the name of one that comes along.")]
BrokerOption = Annotated[str, typer.Option("--broker", help="mqtt://host:port of a broker that runs already.")]


def register(app: typer.Typer) -> None:
    """Add ``sim``."""
    sim = typer.Typer(help="The zone without hardware.", rich_markup_mode=None)
    sim.callback(invoke_without_command=True)(show)
    sim.command("press")(press)
    sim.command("replay")(replay)
    sim.command("site")(site_file)
    app.add_typer(sim, name="sim")


def show(context: typer.Context, site: SiteOption = "betong", broker: BrokerOption = "") -> None:
    """Start the whole site, live, in this terminal: poles on MicroPython, agents, broker, station."""
    if context.invoked_subcommand:
        context.obj = (site, broker)
        return
    found = read_site(find_site(site))
    if not sys.stdout.isatty():
        raise UserError("the panel needs a terminal; without one, use: safezone sim press POLE")
    from sos_sim.live.panel import show_zone

    with tempfile.TemporaryDirectory(prefix="safezone-") as folder:
        run(show_zone(found, Path(folder), _broker(broker)))


def press(
    pole: Annotated[str, typer.Argument(metavar="POLE", help="Which pole, such as clock-tower-1.")] = "",
    until: Annotated[str, typer.Option(help="Stage to wait for on the lamp.")] = "received",
    timeout: Annotated[float, typer.Option(help="Seconds from the first contact.")] = 20.0,
    fault: Annotated[str, typer.Option(help="What fails meanwhile; 'help' lists it.")] = "none",
    site: SiteOption = "betong",
    broker: BrokerOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Start the site without a panel and press once. Prints each stage that the lamp of that pole showed."""
    from sos_sim.live.faults import FAULTS
    from sos_sim.live.press import STAGES, Seen, press_once

    if fault == "help":
        for name, play in FAULTS.items():
            typer.echo(f"{name:<17}{(play.__doc__ or '').strip()}")
        return
    if fault not in FAULTS:
        raise UserError(f"unknown fault '{fault}'{nearest(fault, FAULTS)}")
    if until not in STAGES:
        raise UserError(f"unknown stage '{until}'{nearest(until, STAGES)}")
    if not 0 < timeout <= 3600:
        raise UserError(f"--timeout {timeout:g} is outside 0 to 3600 seconds")
    found = read_site(find_site(site))
    found.find_pole(pole)

    def tell(seen: Seen) -> None:
        if as_json:
            typer.echo(json.dumps({"stage": seen.stage, "ms": seen.ms}))
        else:
            typer.echo(f"{seen.ms:>10.1f} ms  {seen.stage}")

    run(press_once(found, pole, until, timeout, FAULTS[fault], tell, _broker(broker)))


def replay(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="A file that 'safezone agent --record' wrote.")],
    pole: Annotated[str, typer.Option(help="At which pole; by default the one that was recorded.")] = "",
    press_every: Annotated[float, typer.Option(help="Seconds between presses, where no button was recorded.")] = 30.0,
    site: SiteOption = "betong",
) -> None:
    """Make a scenario of a recorded cable and button. On standard output; 'safezone soak --scenario' plays it."""
    from sos_sim.record import read_record
    from sos_sim.replay import not_played, scenario_of
    from sos_sim.scenario import dump

    named = context.obj[0] if context.obj and site == "betong" else site
    if not 1 <= press_every <= 3600:
        raise UserError(f"--press-every {press_every:g} is outside 1 to 3600 seconds")
    found = read_record(Path(record))
    if found.lost:
        typer.echo(f"{record}: {found.lost} lines are missing, the recording disk was too slow", err=True)
    known = read_site(find_site(named))
    try:
        scenario = scenario_of(found, known, named, pole, press_every)
    except UserError as error:
        raise UserError(f"{record}: {error}") from None
    for words in not_played(found):
        typer.echo(f"{record}: {words}", err=True)
    typer.echo(dump(scenario), nl=False)


def site_file(
    poles: Annotated[int, typer.Option(help="How many.")] = 100,
    on_a_line: Annotated[int, typer.Option(help="Poles of each point, on one shared pair if several.")] = 1,
) -> None:
    """Write the site file of a made-up town of any size. On standard output; for '--site'."""
    from sos_sim.bigtown import town
    from sos_sim.live.layout import dump

    typer.echo(dump(town(poles, on_a_line)), nl=False)


def run(work: Coroutine[None, None, None]) -> None:
    """Run to the end or to a signal; either way ``work`` cleans up behind itself."""

    async def until_told() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await work

    try:
        asyncio.run(until_told())
    except asyncio.CancelledError:
        raise typer.Abort from None


def _broker(url: str) -> str:
    from sos_edge.address import Address

    if url:
        try:
            Address.of(url)
        except ValueError as error:
            raise UserError(str(error)) from None
    return url
