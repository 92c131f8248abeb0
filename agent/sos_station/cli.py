"""Step 9, desk: ``safezone station`` runs the receiving end; ``safezone alarms`` is the desk in a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
import typer

from sos_contract.errors import SafezoneError, UserError
from sos_contract.payloads import AlarmView, ChangeView, DeskAnswer, DeskRequest, encode
from sos_contract.site import Site, find_site, nearest, read_site
from sos_contract.stages import DISPOSITIONS, RECEIVED
from sos_wire.messages import STAGES

if TYPE_CHECKING:
    from sos_station.terminal import Terminal

T = TypeVar("T")

SiteOption = Annotated[
    str, typer.Option("--site", envvar="SAFEZONE_SITE", help="Site file, or the name of one that comes along.")
]
BrokerOption = Annotated[
    list[str] | None, typer.Option("--broker", help="Broker to ask through, instead of the site's.", show_default=False)
]
OfficerOption = Annotated[
    str, typer.Option("--officer", envvar="SAFEZONE_OFFICER", help="Who acts; default: the user logged in.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SeenOption = Annotated[str, typer.Option("--seen", help="Only if the alarm still stands at this stage.")]
NoteOption = Annotated[str, typer.Option("--note", help="A remark for the record.")]
NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The alarm's number, as 'list' shows it.")]


class AlarmPage(msgspec.Struct, frozen=True, kw_only=True):
    """``show --json``: the alarm, its history, the other presses of its incident."""

    alarm: AlarmView
    changes: tuple[ChangeView, ...]
    others: tuple[AlarmView, ...]


# Rows a request: what the station puts into one answer at most.
PAGE_ROWS = 100
WATCH_EVERY_S = 1.0
# Rows that a change shows: an incident may have hundreds of presses.
SHOWN_ROWS = 10


def register(app: typer.Typer) -> None:
    """Add ``station`` and ``alarms``."""
    app.command("station")(station)
    alarms = typer.Typer(help="The officer's desk: see and answer alarms.", rich_markup_mode=None)
    commands: list[tuple[str, Callable[..., None]]] = [
        ("list", list_alarms), ("show", show), ("accept", accept), ("dispatch", dispatch), ("arrive", arrive),
        ("close", close), ("notices", notices), ("watch", watch),
    ]  # fmt: skip
    for name, command in commands:
        alarms.command(name)(command)
    app.add_typer(alarms, name="alarms")


def station(
    site: SiteOption = "betong",
    check: Annotated[bool, typer.Option("--check", help="Say what would fail, a line each, and end.")] = False,
    log: Annotated[str, typer.Option(help="info, warning or error.")] = "info",
) -> None:
    """Run the receiving end, until SIGTERM or Ctrl-C. It takes alarms from every broker and answers officers."""
    from sos_edge import log as logging
    from sos_station import app

    path = find_site(site)
    found = read_site(path)
    if check:
        _check(found, path.parent)
        return
    if log not in ("debug", "info", "warning", "error"):
        raise UserError(f"unknown log level '{log}'{nearest(log, ('debug', 'info', 'warning', 'error'))}")
    logging.set_up(log)
    app.run(found, path.parent)


def _check(site: Site, folder: Path) -> None:
    from sos_station.check import complaints

    found = list(complaints(site, folder))
    for line in found:
        typer.echo(line)
    if found:
        raise SafezoneError(f"{len(found)} of the above would keep the station '{site.station.id}' from its work")
    typer.echo(f"{site.station.id}: good")


def list_alarms(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too, newest first.")] = False,
    presses: Annotated[bool, typer.Option("--presses", help="A row a press, not a row an incident.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows; 0: all.")] = 50,
    page: Annotated[int, typer.Option(min=1)] = 1,
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open alarms, those that wait for an officer first. Live ones stand before late ones, the oldest first.

    A row is an incident: all presses at one pole while one of them is open. Its number is that of the press to act on.
    """
    request = DeskRequest(number="", officer="", action="list", everything=everything, by_incident=not presses)

    async def work(terminal: Terminal) -> tuple[list[AlarmView], int]:
        return await _pages(terminal, request, limit, (page - 1) * limit)

    alarms, more = with_terminal(site, broker, work)
    if as_json:
        _print_json(alarms)
    else:
        from sos_station import screen

        screen.console().print(screen.alarm_table(alarms) if alarms else "no open alarms")
    if more:
        _say(f"{more} more rows; see --page and --limit")


async def _pages(terminal: Terminal, request: DeskRequest, limit: int, offset: int) -> tuple[list[AlarmView], int]:
    """Up to ``limit`` rows from ``offset`` (0: all), page by page, and how many are left."""
    rows: list[AlarmView] = []
    while True:
        wanted = min(PAGE_ROWS, limit - len(rows)) if limit else PAGE_ROWS
        answer = good(await terminal.ask(msgspec.structs.replace(request, offset=offset + len(rows), limit=wanted)))
        rows += answer.alarms
        if not answer.more or not answer.alarms or (limit and len(rows) >= limit):
            return rows, answer.more


def show(
    number: NumberArgument, site: SiteOption = "betong", broker: BrokerOption = None, as_json: JsonOption = False
) -> None:
    """One alarm: what happened to it, when and by whom. With the other presses of its incident."""
    _check_number(number)
    answer = with_terminal(site, broker, lambda terminal: _show(terminal, number))
    alarm, *others = answer.alarms
    if as_json:
        _print_json([AlarmPage(alarm=alarm, changes=answer.changes, others=tuple(others))])
        return
    from sos_station import screen

    screen.console().print(screen.alarm_page(alarm, answer.changes, others))


def accept(
    number: Annotated[str, typer.Argument(metavar="[NUMBER]", help="Default: the first of 'list'.")] = "",
    officer: OfficerOption = "",
    note: NoteOption = "",
    seen: SeenOption = "",
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a call: its pole's lamp shows that an officer has it. Without NUMBER the first of the list: the live call
    that has waited longest. Covers all presses of the incident that are there at this moment, and shows them."""
    _act("accept", number, officer, note, seen, "", site, broker, as_json)


def dispatch(
    number: NumberArgument,
    officer: OfficerOption = "",
    note: NoteOption = "",
    seen: SeenOption = "",
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Help is on its way."""
    _act("dispatch", number, officer, note, seen, "", site, broker, as_json)


def arrive(
    number: NumberArgument,
    officer: OfficerOption = "",
    note: NoteOption = "",
    seen: SeenOption = "",
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Help is there."""
    _act("arrive", number, officer, note, seen, "", site, broker, as_json)


def close(
    number: NumberArgument,
    disposition: Annotated[str, typer.Option(help=f"What it was: {', '.join(DISPOSITIONS)}.")] = "",
    officer: OfficerOption = "",
    note: NoteOption = "",
    seen: SeenOption = "",
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle an alarm. A call that nobody accepted can be closed as false, test or duplicate only."""
    if not disposition:
        raise UserError(f"close needs --disposition; one of: {', '.join(DISPOSITIONS)}")
    if disposition not in DISPOSITIONS:
        raise UserError(f"unknown disposition '{disposition}'{nearest(disposition, DISPOSITIONS)}")
    _act("close", number, officer, note, seen, disposition, site, broker, as_json)


def notices(
    everything: Annotated[bool, typer.Option("--all", help="Ended faults too, newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_ROWS)] = 50,
    page: Annotated[int, typer.Option(min=1)] = 1,
    site: SiteOption = "betong",
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open faults of points, poles and brokers. Since when, and when it was last good."""
    request = DeskRequest(
        number="", officer="", action="notices", everything=everything, limit=limit, offset=(page - 1) * limit
    )
    answer = with_terminal(site, broker, lambda terminal: terminal.ask(request))
    if as_json:
        _print_json(good(answer).faults)
    else:
        from sos_station import screen

        faults = good(answer).faults
        table = screen.fault_table(faults, time.time_ns() // 1_000_000)
        screen.console().print(table if faults else "no open faults")
    if answer.more:
        _say(f"{answer.more} more rows; see --page and --limit")


def watch(site: SiteOption = "betong", broker: BrokerOption = None) -> None:
    """The list, live, with a bell for each new call. Until Ctrl-C."""

    async def work(terminal: Terminal) -> None:
        from rich.live import Live
        from rich.text import Text

        from sos_station import screen

        request = DeskRequest(number="", officer="", action="list", by_incident=True, limit=PAGE_ROWS)
        bell = screen.Bell()
        with Live(console=screen.console(), auto_refresh=False, screen=False) as live:
            while True:
                try:
                    answer = good(await terminal.ask(request))
                except SafezoneError as error:
                    live.update(Text(f"NOT CONNECTED: {error}", style="bold red"), refresh=True)
                else:
                    if bell.rings(answer):
                        live.console.bell()
                    live.update(screen.list_page(answer), refresh=True)
                await asyncio.sleep(WATCH_EVERY_S)

    with_terminal(site, broker, work)


def _act(
    action: Literal["accept", "dispatch", "arrive", "close"],
    number: str,
    officer: str,
    note: str,
    seen: str,
    disposition: str,
    site: str,
    broker: list[str] | None,
    as_json: bool,
) -> None:
    """One change, from looking at the alarm to showing what was covered."""
    _check_number(number)
    who = officer or os.environ.get("USER", "")
    if not who:
        raise UserError("who acts? Give --officer NAME")
    if seen and seen not in STAGES:
        raise UserError(f"unknown stage '{seen}'{nearest(seen, STAGES)}")

    async def work(terminal: Terminal) -> DeskAnswer:
        # What is looked at now is what the change covers; a press that comes in between waits on, and the hint says so.
        shown = await (_show(terminal, number) if number else _first_waiting(terminal))
        alarm = shown.alarms[0]
        request = DeskRequest(
            number="", officer=who, action=action, alarm=str(alarm.number), seen=alarm.newest, seen_stage=seen,
            run=shown.run, disposition=disposition, note=note,
        )  # fmt: skip
        try:
            answer = await terminal.ask(request)
        except SafezoneError as error:
            # The station may have done it: who only tries again without a number would take another call as well.
            look = f"{action} of alarm {alarm.number} may be done: see 'safezone alarms show {alarm.number}'"
            raise SafezoneError(f"{error}; {look}") from None
        return good(answer)

    answer = with_terminal(site, broker, work)
    if as_json:
        _print_json(answer.alarms)
    else:
        from sos_station import screen

        console = screen.console()
        console.print(screen.alarm_table(answer.alarms[:SHOWN_ROWS]))
        if len(answer.alarms) > SHOWN_ROWS and not answer.hint:
            console.print(f"{len(answer.alarms)} presses covered, the newest {SHOWN_ROWS} shown")
    if answer.hint:
        _say(answer.hint)


def _check_number(number: str) -> None:
    from sos_station.core.desk import number_of

    if number and number_of(number) is None:
        raise UserError(f"'{number}' is no alarm number; 'safezone alarms list' shows them")


async def _show(terminal: Terminal, number: str) -> DeskAnswer:
    return good(await terminal.ask(DeskRequest(number="", officer="", action="show", alarm=number, limit=PAGE_ROWS)))


async def _first_waiting(terminal: Terminal) -> DeskAnswer:
    request = DeskRequest(number="", officer="", action="list", by_incident=True, limit=1)
    answer = good(await terminal.ask(request))
    if not answer.alarms or answer.alarms[0].stage != RECEIVED:
        raise SafezoneError("no alarm waits for an officer")
    return answer


def good(answer: DeskAnswer) -> DeskAnswer:
    """Raises SafezoneError for a refusal, in the station's words."""
    if answer.error:
        raise SafezoneError(answer.error)
    return answer


def with_terminal(site: str, brokers: list[str] | None, work: Callable[[Terminal], Awaitable[T]]) -> T:
    """Run ``work`` with a terminal connected to the brokers given, or to the site's. Ctrl-C ends it."""
    from sos_edge.address import Address
    from sos_edge.certificate import open_key
    from sos_station.edge.tls import tls_of

    path = find_site(site)
    found = read_site(path)
    wanted = tuple(brokers) if brokers else found.station.brokers
    for url in wanted:
        try:
            Address.of(url)
        except ValueError as error:
            raise UserError(str(error)) from None

    tls = tls_of(found, path.parent)
    if tls is not None and (words := open_key(tls.key)):
        _say(words)

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        # A handler of our own: asyncio's stays away where a script started us with `&`, which hands down an ignored
        # signal, and nobody could end the list that runs until Ctrl-C.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        from sos_station.terminal import Terminal

        async with Terminal(found.station.id, wanted, tls) as terminal:
            return await work(terminal)

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _print_json(rows: Any) -> None:  # noqa: ANN401 - views of any kind
    for row in rows:
        sys.stdout.write(encode(row).decode() + "\n")


def _say(text: str) -> None:
    """Beside the result, so that ``--json`` stays nothing but objects."""
    sys.stderr.write(f"{text}\n")
