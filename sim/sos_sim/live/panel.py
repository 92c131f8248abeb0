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

# key -> (what the help says, what the log says)
KEYS = {
    "p": "press the button (0.2 s)",
    "h": f"hold it ({HOLD_MS // 1000} s)",
    "c": "cut or mend the cable of the pole",
    "l": "cut or mend the loop of its button",
    "w": "cut or restore the pole's power",
    "a": "stop or start the agent of its point",
    "z": "freeze or thaw the station",
    "t": "stop or start the station",
    "b": "stop or start the broker",
    "o": "as the officer: accept the pole's newest open alarm",
    "d": "dispatch it",
    "r": "arrive on scene",
    "x": "close it as a test",
    "?": "show or hide this help",
    "q": "end (as Ctrl-C does)",
}
_FOOTER = " ↑↓ or 1-9 choose   p press   h hold   c cable   a agent   o accept   x close   ? all keys   q end"
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
        table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
        for title, width in (("", 2), ("pole", 16), ("lamp", 24), ("", 9), ("link", 7), ("cable", 5), ("agent", 5)):
            table.add_column(title, min_width=width, no_wrap=True)
        table.add_column("last alarm", ratio=1, no_wrap=True)
        for index, row in enumerate(zone.rows()):
            table.add_row(*self._cells(index, row), style="on grey15" if index == self._selected else "")
        return Group(
            self._title(),
            table,
            self._help_box() if self._help else self._log_box(len(zone.poles)),
            Text(
                " ↑↓ or 1-9 choose   p press   h hold   c cable   a agent   o accept   x close   ? all keys   q end",
                "dim",
            ),
        )

    def _title(self) -> Text:
        title = Text.assemble((f" Safezone {self._zone.site.name.en} ", "bold white on dark_blue"), "  ")
        for name, state in self._zone.services().items():
            style = {"up": "green", "frozen": "yellow"}.get(state, "bold red")
            title.append(f"{name} ").append(f"{state}   ", style)
        return title

    def _cells(self, index: int, row: Row) -> list[Text]:
        red, green, white = row.rgb
        dot = "●" if red + green + white else "·"
        light = tuple(min(255, int(2.55 * (level * 0.8 + white * 0.8)) + 40) for level in (red, green, white))
        lamp = Text(f"{dot} ", f"rgb({light[0]},{light[1]},{light[2]})" if dot == "●" else "grey35")
        lamp.append(row.look.replace("_", " "), _LOOK_STYLE.get(row.look, "grey62"))
        if row.look == "not_delivered":
            lamp.append(" call 191", "bold red")
        return [
            Text(str(index + 1), "dim"),
            Text(row.pole, "bold"),
            lamp,
            Text(f"{'♪ ' if row.sounder else '  '}{'beacon' if row.beacon else ''}", "yellow"),
            Text(row.link, {"up": "green", "lost": "bold red"}.get(row.link, "dim")),
            Text("good", "green") if row.cable else Text("cut", "bold red"),
            Text("up", "green") if row.agent else Text("down", "bold red"),
            Text(row.alarm),
        ]

    def _log_box(self, rows: int) -> RenderableType:
        height = max(4, self._console.height - rows - 8)
        lines = [
            Text.assemble(
                (
                    time.strftime("%H:%M:%S", time.localtime(note.wall_s)) + f".{int(note.wall_s * 1000) % 1000:03} ",
                    "dim",
                ),
                (f"{note.pole:<17}", "bold"),
                note.text,
            )
            for note in list(self._zone.notes)[-height:]
        ]
        return Box(Group(*lines), title="what happened", height=height + 2, box=box.ROUNDED, border_style="grey50")

    def _help_box(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for key, meaning in KEYS.items():
            table.add_row(Text(key, "bold"), meaning)
        return Box(table, title="keys, for the chosen pole", box=box.ROUNDED, border_style="grey50")


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
