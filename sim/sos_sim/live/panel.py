"""The zone in a terminal: a row a pole with its lamp, link and last alarm, a log of stages, and the keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import time
import tty
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel as Box
from rich.table import Table
from rich.text import Text

from sos_contract.errors import SafezoneError
from sos_contract.site import Site
from sos_sim.live.zone import Row, Zone, desk_words

REFRESH_S = 0.1  # the fastest lamp pattern changes every 150 ms
HOLD_MS = 3000  # "hold" shows how long it was held without making anybody wait

# Narrower than this, a row has room for the worst trouble of a pole's line only, not for a column each.
NARROW = 100

# What the keys do, as the help says it: two columns of these fit a terminal of 80 by 24.
KEYS = {
    "p": "press the button (0.2 s)",
    "h": f"hold it ({HOLD_MS // 1000} s)",
    "c": "cut or mend its cable",
    "l": "cut or mend its button's loop",
    "w": "cut or restore its power",
    "a": "stop or start its agent",
    "z": "freeze or thaw the station",
    "t": "stop or start the station",
    "b": "stop or start the broker",
    "o": "accept its alarm, as the officer",
    "d": "dispatch it",
    "r": "arrive on scene",
    "x": "close it as a test",
    "?": "show or hide this help",
    "q": "end (as Ctrl-C does)",
}
_FOOTER = " ↑↓ or 1-9 choose  p press  h hold  c cable  a agent  o accept  ? keys  q end"
_LOOK_STYLE = {
    "received": "bold green",
    "accepted": "bold green",
    "dispatched": "bold green",
    "on_scene": "bold green",
    "in_service": "green",
    "not_delivered": "bold white on red",
    "out_of_service": "bold red",
    "pressed": "bold yellow",
    "held": "bold cyan",
}


class Panel:
    """Draws a zone and obeys keys until ``q`` or Ctrl-C."""

    def __init__(self, zone: Zone, console: Console) -> None:
        self._zone = zone
        self._console = console
        self._selected = 0
        self._help = False
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the user ends it. Without a terminal on standard input it only shows."""
        loop = asyncio.get_running_loop()
        with _keyboard() as number, Live(self.render(), console=self._console, screen=True, auto_refresh=False) as live:
            if number is not None:
                loop.add_reader(number, self._read, number)
            try:
                while not self._done.is_set():
                    live.update(self.render(), refresh=True)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._done.wait(), REFRESH_S)
            finally:
                if number is not None:
                    loop.remove_reader(number)
        for task in self._tasks:
            task.cancel()

    # --- keys

    def _read(self, number: int) -> None:
        data = os.read(number, 64).decode("utf-8", "replace")
        for arrow, step in (("\x1b[A", -1), ("\x1b[B", 1)):
            for _ in range(data.count(arrow)):
                self._move(step)
            data = data.replace(arrow, "")
        for key in data:
            self.press_key(key)

    def _move(self, step: int) -> None:
        self._selected = (self._selected + step) % len(self._zone.poles)

    def press_key(self, key: str) -> None:
        """Do what ``key`` stands for; an unknown one does nothing."""
        if key.isdigit() and 1 <= int(key) <= len(self._zone.poles):
            self._selected = int(key) - 1
        elif key in "jk":
            self._move(1 if key == "j" else -1)
        elif key == "?":
            self._help = not self._help
        elif key in ("q", "\x03", "\x04"):
            self._done.set()
        elif key in self._actions():
            self._start(self._actions()[key])

    def _start(self, action: Callable[[], Awaitable[object]]) -> None:
        async def guarded() -> None:
            try:
                await action()
            except SafezoneError as error:
                self._zone.note("", f"! {error}")

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _actions(self) -> dict[str, Callable[[], Awaitable[object]]]:
        zone = self._zone
        pole = zone.rows()[self._selected].pole
        return {
            "p": lambda: zone.press(pole),
            "h": lambda: zone.press(pole, HOLD_MS),
            "c": lambda: zone.toggle_cable(pole),
            "l": lambda: zone.toggle_loop(pole),
            "w": lambda: zone.toggle_power(pole),
            "a": lambda: zone.toggle_agent(pole),
            "z": zone.toggle_freeze,
            "t": zone.toggle_station,
            "b": zone.toggle_broker,
            "o": lambda: zone.officer(pole, "accept"),
            "d": lambda: zone.officer(pole, "dispatch"),
            "r": lambda: zone.officer(pole, "arrive"),
            "x": lambda: zone.officer(pole, "close"),
        }

    # --- the picture

    def render(self) -> RenderableType:
        """The whole screen, made for the console's size."""
        zone = self._zone
        narrow = self._console.width < NARROW
        table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0) if narrow else (0, 1))
        columns = [("", 1), ("pole", 15), ("lamp", 19 if narrow else 24), ("", 3 if narrow else 8)]
        columns += [("line", 8)] if narrow else [("link", 7), ("cable", 5), ("agent", 5)]
        for title, width in columns:
            table.add_column(title, min_width=width, no_wrap=True)
        table.add_column("last alarm", ratio=1, no_wrap=True)
        for index, row in enumerate(zone.rows()):
            style = "on grey15" if index == self._selected else ""
            alarm = row.alarm.removesuffix(" ago") if narrow else row.alarm
            table.add_row(*_cells(index, row, narrow), *_line_cells(row, narrow), Text(alarm), style=style)
        below = self._help_box() if self._help else self._log_box(len(zone.poles))
        return Group(self._title(), table, below, Text(_FOOTER, "dim", no_wrap=True))

    def _title(self) -> Text:
        title = Text.assemble((f" Safezone {self._zone.site.name.en} ", "bold white on dark_blue"), "  ")
        for name, state in self._zone.services().items():
            style = {"up": "green", "frozen": "yellow"}.get(state, "bold red")
            title.append(f"{name} ").append(f"{state}   ", style)
        return title

    def _log_box(self, rows: int) -> RenderableType:
        height = max(4, self._console.height - rows - 8)
        lines: list[Text] = []
        for note in list(self._zone.notes)[-height:]:
            who = f"{note.pole:<17}" if note.pole else ""
            line = Text.assemble((f"{_clock(note.wall_s)} ", "dim"), (who, "bold"), note.text)
            lines += line.wrap(self._console, self._console.width - 4)
        return Box(Group(*lines[-height:]), title="what happened", height=height + 2, border_style="grey50")

    def _help_box(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=True)
        keys = list(KEYS.items())
        half = (len(keys) + 1) // 2
        for left, right in zip(keys[:half], [*keys[half:], ("", "")], strict=False):
            table.add_row(Text(left[0], "bold"), left[1], Text(right[0], "bold"), right[1])
        desk = Text(desk_words(self._zone), "bold")
        return Box(Group(table, desk), title="keys, for the chosen pole; below: the desk", border_style="grey50")


def _cells(index: int, row: Row, narrow: bool) -> list[Text]:
    """Number, pole, lamp, and what is heard and seen from afar: sounder and beacon."""
    red, green, white = row.rgb
    dot = "●" if red + green + white else "·"
    light = tuple(min(255, int(2.55 * (level * 0.8 + white * 0.8)) + 40) for level in (red, green, white))
    lamp = Text(f"{dot} ", f"rgb({light[0]},{light[1]},{light[2]})" if dot == "●" else "grey35")
    lamp.append(row.look.replace("_", " "), _LOOK_STYLE.get(row.look, "grey62"))
    if row.look == "not_delivered":
        lamp.append(" 191" if narrow else " call 191", "bold red")
    afar = Text(f"{'♪ ' if row.sounder else '  '}{('▲' if narrow else 'beacon') if row.beacon else ''}", "yellow")
    return [Text(str(index + 1), "dim"), Text(row.pole, "bold"), lamp, afar]


def _line_cells(row: Row, narrow: bool) -> list[Text]:
    """Link, cable and agent, or in one word what keeps the pole's line from its work."""
    link = Text(row.link, {"up": "green", "lost": "bold red"}.get(row.link, "dim"))
    if not narrow:
        cable = Text("good", "green") if row.cable else Text("cut", "bold red")
        return [link, cable, Text("up", "green") if row.agent else Text("down", "bold red")]
    if not row.cable:
        return [Text("cut", "bold red")]
    return [link if row.agent else Text("no agent", "bold red")]


def _clock(wall_s: float) -> str:
    """Local time of day with milliseconds."""
    return f"{time.strftime('%H:%M:%S', time.localtime(wall_s))}.{int(wall_s * 1000) % 1000:03}"


@contextlib.contextmanager
def _keyboard() -> Iterator[int | None]:
    """Keys one by one and unechoed; the terminal is put back whatever happens. None without a terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield number
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


async def show_zone(site: Site, folder: Path, broker: str) -> None:
    """Start the zone, show it until the user ends it, and leave nothing behind."""
    zone = Zone(site, folder, broker=broker)
    console = Console()
    try:
        with console.status(f"starting {len(site.pole_ids())} poles, {len(site.point)} agents and the station"):
            await zone.start()
        zone.note("", f"be the officer in another terminal: {desk_words(zone)}")
        await Panel(zone, console).run()
    finally:
        await zone.stop()
