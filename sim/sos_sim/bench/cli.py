"""``safezone bench``: the figures."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from sos_contract.errors import SafezoneError, UserError
from sos_contract.site import nearest
from sos_sim.bench.figures import TITLES, Figure, Tell, as_json, cells, figure, in_words, machine, markdown, put_into
from sos_sim.cli import run

Bench = Callable[[Path, int, Tell], Awaitable[None]]
MOST = 10_000_000  # of anything: more is a slip of the finger


@dataclass(frozen=True)
class Part:
    """``count`` of ``what`` by default."""

    count: int
    what: str
    does: str

    def load(self, name: str) -> Bench:
        """Only what is asked for is imported: each bench brings libraries of its own."""
        found: Bench = import_module(f"sos_sim.bench.{name}").run
        return found


PARTS = {
    "press": Part(1_000, "presses with TLS, and a fifth as many without", "a press, live, to each stage on the lamp"),
    "path": Part(300, "presses", "where the time of one press goes, piece by piece, over TLS"),
    "peers": Part(200, "presses a side", "the same press through a plain script and through Node-RED"),
    "bus": Part(20, "rounds", "eight poles on one RS-485 pair, pressed within 10 ms"),
    "agent": Part(30, "seconds of idling", "the agent's memory, idle processor, start to armed"),
    "firmware": Part(1_000_000, "idle steps", "the pole's size, heap, and heap growth"),
    "outbox": Part(2_000, "alarms a way", "durable alarms a second"),
    "drain": Part(10_000, "held alarms", "alarms held through an outage, and new presses while they drain"),
    "station": Part(20_000, "alarms a row", "durable alarms a second from 1, 10 and 1,000 points"),
    "virtual": Part(60, "virtual minutes", "the virtual town, quiet and under faults, beside SimPy and the live one"),
}


def register(app: typer.Typer) -> None:
    """Add ``bench``."""
    app.command("bench")(bench)


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(PARTS)}; all of them by default.")] = "",
    count: Annotated[int, typer.Option(min=0, max=MOST, help="Of what the bench counts.")] = 0,
    as_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    folder: Annotated[str, typer.Option(help="Where the databases lie; on the disk that is to be measured.")] = "",
    into: Annotated[
        str, typer.Option(help="Markdown file whose table of this bench is replaced; its picture lies beside it.")
    ] = "",
) -> None:
    """Measure, each figure beside its floor in the same run."""
    if name and name not in PARTS:
        raise UserError(f"unknown bench '{name}'{nearest(name, PARTS)}")
    if count and not name:
        raise UserError("--count needs the name of a bench: each counts something else")
    if folder and not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder; make it, or leave --folder away")
    if into and not Path(into).parent.is_dir():
        raise UserError(f"{into}: no such folder")
    facts = machine(Path(folder or tempfile.gettempdir()))
    typer.echo(json.dumps({"bench": "machine", **facts}) if as_lines else in_words(facts))
    for part in [name] if name else PARTS:
        found = _measure(part, count or PARTS[part].count, folder, as_lines=as_lines)
        if into:
            command = f"safezone bench {part}" + (f" --count {count}" if count else "")
            put_into(Path(into), part, markdown(facts, command, time.strftime("%Y-%m-%d"), found))
            if part == "path":
                from sos_sim.bench.picture import draw

                Path(into).with_name("press.svg").write_text(draw(found), encoding="utf-8")


def _measure(part: str, count: int, folder: str, *, as_lines: bool) -> list[Figure]:
    found: list[Figure] = []

    def tell(one: Figure) -> None:
        found.append(one)
        if as_lines:
            typer.echo(json.dumps(as_json(one)))

    async def work() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="safezone-bench-", dir=folder or None) as place:
                await PARTS[part].load(part)(Path(place), count, tell)
        except OSError as error:
            raise SafezoneError(f"bench {part}: {error.filename or ''} {error.strerror or error}") from None

    if not as_lines:
        sys.stderr.write(f"{part}: {PARTS[part].does}, {count:,} {PARTS[part].what} ...\n")
    run(work())
    # Whoever else came to the machine meanwhile: figures of a busy one say less.
    tell(figure(part, "load at the end, a core", "processes", os.getloadavg()[0] / (os.cpu_count() or 1)))
    if not as_lines:
        _show(part, found)
    return found


def _show(part: str, found: list[Figure]) -> None:
    """The table for people: columns as wide as what stands in them, numbers to the right."""
    rows = [TITLES, *(cells(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    typer.echo(f"\n{part}: {PARTS[part].does}")
    for row in rows:
        padded = [
            text.rjust(width) if 0 < at < 4 else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(padded).rstrip())
