"""``safezone site command`` and ``commands``: a technician's or officer's word to a pole, and the record of them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sos_contract.errors import SafezoneError, UserError
from sos_contract.payloads import CommandView, DeskRequest, encode
from sos_contract.site import find_site, nearest, read_site
from sos_contract.text import printable
from sos_station.cli import BrokerOption, JsonOption, OfficerOption, SiteOption, good, with_terminal
from sos_wire.messages import COMMANDS

if TYPE_CHECKING:
    from sos_station.terminal import Terminal

# A command begins within 30 s or is refused, and ends within 30 s more; some for the way.
OUTCOME_S = 75.0
ASK_AGAIN_S = 1.0


def register(site: typer.Typer) -> None:
    """Add ``command`` and ``commands`` to ``safezone site``."""
    site.command("command")(command)
    site.command("commands")(commands)


def command(
    pole: Annotated[str, typer.Argument(metavar="POLE", help="Its id.")],
    what: Annotated[str, typer.Argument(metavar="COMMAND", help="open_repl: stop the pole and open its REPL.")],
    officer: OfficerOption = "",
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a pole a service message, and tell what came of it.

    The station records it with who asked."""
    if what == "replace_key":
        raise UserError("a key is replaced by 'safezone site keys replace', which makes it")
    if what not in COMMANDS:
        raise UserError(f"unknown command '{what}'{nearest(what, [one for one in COMMANDS if one != 'replace_key'])}")
    read_site(find_site(site)).find_pole(pole)
    request = DeskRequest(number="", officer=named(officer), action="command", pole=pole, command=what)
    found = with_terminal(site, broker, lambda terminal: order(terminal, request))
    if as_json:
        sys.stdout.write(encode(found).decode() + "\n")
    check(found)
    if not as_json:
        typer.echo(printable(f"{pole}: {found.words}"))


def commands(
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the last commands: who asked, when, and what came of it."""
    request = DeskRequest(number="", officer="", action="commands", limit=limit)
    rows = good(with_terminal(site, broker, lambda terminal: terminal.ask(request))).commands
    for row in rows:
        if as_json:
            sys.stdout.write(encode(row).decode() + "\n")
            continue
        asked = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.asked_wall_ms / 1000))
        said = f"{row.outcome}: {row.words}" if row.outcome else "no answer yet"
        told = f"{asked}  {row.pole:<20}{row.command:<13}{row.officer} at {row.terminal}  {said}"
        typer.echo(printable(told))
    if not rows and not as_json:
        typer.echo("no commands")


def named(officer: str) -> str:
    """Who asks; raises UserError if nobody says."""
    who = officer or os.environ.get("USER", "")
    if not who:
        raise UserError("who asks? Give --officer NAME")
    return who


async def order(terminal: Terminal, request: DeskRequest) -> CommandView:
    """Ask for a command and wait until there is an outcome, or OUTCOME_S; then its ``outcome`` is empty."""
    asked = good(await terminal.ask(request)).commands[0]
    after = DeskRequest(number="", officer="", action="commands", id=asked.id)
    end_s = asyncio.get_running_loop().time() + OUTCOME_S
    while not asked.outcome and asyncio.get_running_loop().time() < end_s:
        await asyncio.sleep(ASK_AGAIN_S)
        try:
            answer = await terminal.ask(after)
        except SafezoneError:
            continue  # a broker or the station is started anew: the command goes on meanwhile
        asked = good(answer).commands[0]
    return asked


def check(found: CommandView) -> None:
    """Raises SafezoneError for a command that was not done, in the words of who did not do it."""
    if not found.outcome:
        why = f"the agent of '{found.point}' does not answer"
        raise SafezoneError(f"{found.pole}: {why}; 'safezone site commands' shows what comes of it")
    if found.outcome != "done":
        raise SafezoneError(printable(f"{found.pole}: {found.command} was {found.outcome}: {found.words}"))
