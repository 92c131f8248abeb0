"""``safezone site``: what a site file holds or what is wrong with it; its keys, its brokers' access lists, and
commands for its poles."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sos_contract.site import Site, find_site, read_site
from sos_keys import cli as keys_cli
from sos_keys.cli import SiteOption
from sos_station import orders


def register(app: typer.Typer) -> None:
    """Add ``site``."""
    site = typer.Typer(help="A site file, its keys and its brokers.", rich_markup_mode=None)
    site.command("check")(check)
    keys_cli.register(site)
    orders.register(site)
    app.add_typer(site, name="site")


def check(
    site: SiteOption = "betong",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a site file and list its points, lines and poles."""
    path = find_site(site)
    found = read_site(path)
    if as_json:
        typer.echo(json.dumps({"site": found.id, "points": len(found.point), "poles": found.pole_ids()}))
        return
    typer.echo(f"{path}: {found.name.en}: {len(found.point)} points, {len(found.pole_ids())} poles; good")
    for line in _lines(found):
        typer.echo(line)


def _lines(site: Site) -> list[str]:
    lines = []
    for point in site.point:
        lines.append(f"  {point.id:<16}{point.name.en}")
        for line in point.line:
            poles = ", ".join(f"{pole.id} (address {pole.address})" for pole in line.pole)
            lines.append(f"    {'shared ' if line.shared else ''}{line.port}: {poles}")
        if point.button:
            kind = "supervised" if point.button.supervised else "unsupervised"
            lines.append(f"    own button {point.button.id} on GPIO {point.button.gpio} ({kind})")
    return lines
