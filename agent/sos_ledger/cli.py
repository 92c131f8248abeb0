"""``safezone ledger``: verify the ledgers of station and agents, walk a press through them, write their heads down."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sos_agent.edge.keys import read_kept
from sos_contract.errors import SafezoneError, UserError
from sos_contract.site import Site, find_site, read_key_file, read_keys, read_site
from sos_contract.text import printable
from sos_ledger.book import Book, open_book
from sos_ledger.verify import FILES, Ledgers, books_in, check_head, find_books
from sos_ledger.walk import MAX_SHOWN, Walk, walks, when

SiteOption = Annotated[str, typer.Option(help="Site file.", envvar="SAFEZONE_SITE")]
DataOption = Annotated[
    list[Path] | None,
    typer.Option(help="Folder with a station's or an agent's data, or a copy of one; may be given several times."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def register(app: typer.Typer) -> None:
    """Add ``ledger``."""
    ledger = typer.Typer(
        help="Whether what station and agents wrote down is unchanged.",
        rich_markup_mode=None,
    )  # fmt: skip
    ledger.command("verify")(verify)
    ledger.command("head")(head)
    app.add_typer(ledger, name="ledger")


def verify(
    press: Annotated[
        str, typer.Argument(help="An alarm's number, or POLE/INCARNATION/BOOT/PRESS or its beginning.")
    ] = "",
    site: SiteOption = "betong",
    data: DataOption = None,
    heads: Annotated[
        list[str] | None, typer.Option("--head", help="A head written down earlier; may be given several times.")
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(help="Pole keys (poles.toml), to check the poles' seals; earlier ones too, several times."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check every ledger at hand. Names each gap, change and missing record; walks PRESS from its pole to its officer.

    Exit code 0: all holds; 1: something does not; 2: something cannot be read.
    """
    wanted = [check_head(one) for one in heads or ()]
    with ExitStack() as opened:
        path = find_site(site)
        known = read_site(path)
        books = _books(known, data, opened)
        at_hand = _keys(path.parent / known.keys, keys, {book.path.parent for book in books})
        ledgers = Ledgers(books, known, at_hand)
        found = list(ledgers.findings(wanted))
        shown = walks(ledgers, press) if press else []
        if press and not shown:
            raise UserError(
                f"no record here tells of '{press[:80]}'; name an alarm's number, or a pole, or both data folders"
            )
        for walk in shown[-MAX_SHOWN:]:
            _tell_walk(walk, as_json)
        if len(shown) > MAX_SHOWN:
            _tell(as_json, {"left_out": len(shown) - MAX_SHOWN}, f"{len(shown) - MAX_SHOWN} older presses are left out")
        for one in found:
            _tell(as_json, {"finding": msgspec.to_builtins(one)}, f"{one.fault}: {one}")
        for chain in ledgers.chains:
            count, last = len(chain.records), chain.records[-1].entry if chain.records else None
            line = {"ledger": chain.where, "records": count, "head": msgspec.to_builtins(last)}
            _tell(as_json, line, f"{chain.where}: {count} records, the last is {chain.last}")
        for name in ledgers.unchecked():
            _tell(as_json, {"not_here": name}, f"ledger {name} is not here: what is remembered of it was not compared")
        told = f"{len(found)} findings" if found else "every record holds"
        _tell(as_json, {"ledgers": len(ledgers.chains), "findings": len(found)}, told)
    return 1 if found else 0


def head(site: SiteOption = "betong", data: DataOption = None, as_json: JsonOption = False) -> int:
    """Print each ledger's head, NUMBER:HASH. Kept elsewhere, it shows a later change of all that was written before."""
    with ExitStack() as opened:
        known = read_site(find_site(site))
        for chain in Ledgers(_books(known, data, opened), known, {}).chains:
            if not chain.records:
                raise SafezoneError(f"{chain.where}: the ledger is empty")
            last = chain.records[-1]
            found = {"ledger": chain.where, "number": last.number, "hash": last.hash.hex(), "wall_ms": last.wall_ms}
            _tell(as_json, found, f"{last.number}:{last.hash.hex()}  {when(last.wall_ms)}  {chain.where}")
    return 0


def _books(site: Site, data: list[Path] | None, opened: ExitStack) -> list[Book]:
    if data:
        paths = find_books(data, FILES)
    else:
        own = [site.station.data_path, *(point.data_path for point in site.point)]
        paths = find_books([folder for folder in own if books_in(folder, FILES)], FILES)
        if not paths:
            raise UserError("no data of this site is on this machine; name a folder, or a copy of one, with --data")
    return [opened.enter_context(open_book(path)) for path in paths]


def _keys(own: Path, named: list[Path] | None, folders: set[Path]) -> dict[str, list[bytes]]:
    """Keys by pole; those beside the site file only where this user may read them, and those that took their place over
    the wire, which an agent keeps in its data folder."""
    found: dict[str, list[bytes]] = {}
    for path in named if named is not None else [own] if os.access(own, os.R_OK) else []:
        given = read_keys(path, list(read_key_file(path)))
        later = [kept for folder in folders for kept in read_kept(folder, given)[0].items()]
        for pole, key in given.items():
            found.setdefault(pole, []).append(key)
        for pole, kept in later:
            found[pole] += [bytes.fromhex(text) for text in (kept.key, kept.next) if text]
    return found


def _tell_walk(walk: Walk, as_json: bool) -> None:
    steps = msgspec.to_builtins(walk.steps)
    _tell(
        as_json, {"press": walk.press, "alarms": walk.alarms, "steps": steps}, walk.press or f"alarm {walk.alarms[0]}"
    )
    for step in () if as_json else walk.steps:
        typer.echo(printable(f"  {when(step.wall_ms)}  {step.words} (record {step.record} of {step.ledger})"))


def _tell(as_json: bool, fields: dict[str, Any], words: str) -> None:
    typer.echo(json.dumps(fields) if as_json else printable(words))
