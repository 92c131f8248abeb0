"""``safezone agent``: the program at a reporting point."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from sos_contract.errors import SafezoneError
from sos_contract.site import find_site

Level = Literal["debug", "info", "warning", "error"]


def register(app: typer.Typer) -> None:
    """Add ``agent``."""
    app.command("agent")(agent)


def agent(
    site: Annotated[str, typer.Option(help="Site file, or the name of one that comes along.")],
    point: Annotated[str, typer.Option(help="Reporting point, as the site file calls it.")],
    check: Annotated[bool, typer.Option("--check", help="Say what would fail, a line each, and end.")] = False,
    log_level: Annotated[Level, typer.Option(help="How much to tell.")] = "info",
    record: Annotated[str, typer.Option(help="Folder for a record of its ports, to be played in the simulator.")] = "",
) -> None:
    """Run the agent of one reporting point, until SIGTERM or Ctrl-C."""
    path = find_site(site)
    if check:
        from sos_agent.check import complaints
        from sos_agent.edge.setup import read_setup

        found = list(complaints(read_setup(path, point)))
        for line in found:
            typer.echo(line)
        if found:
            raise SafezoneError(f"{len(found)} of the above would keep the agent of '{point}' from its work")
        typer.echo(f"{point}: good")
        return
    # The same process under another program: what the command line needed must not stay in memory for years.
    os.execv(sys.executable, [sys.executable, "-m", "sos_agent", str(path), point, log_level, *filter(None, [record])])
