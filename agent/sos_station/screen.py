"""What an officer sees in a terminal: tables of alarms and faults, spans of time in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from unicodedata import category

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sos_contract.payloads import RELEASED_MS, AlarmView, ChangeView, DeskAnswer, FaultView
from sos_contract.stages import RECEIVED
from sos_station.core.desk import in_words

_KINDS = {"press": "SOS", "silent_press": "SOS (silent)", "test_press": "test"}
_STAGES = {
    "received": ("WAITS", "bold red"),
    "accepted": ("accepted", "yellow"),
    "dispatched": ("dispatched", "cyan"),
    "on_scene": ("on scene", "green"),
    "closed": ("closed", "dim"),
}


def console(*, error: bool = False) -> Console:
    """A console that keeps whole lines where it is no terminal (a file, a pipe)."""
    made = Console(stderr=error, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=error, highlight=False, width=160)


def alarm_table(alarms: Sequence[AlarmView]) -> Table:
    """A row an alarm, in the order given."""
    table = _table("No.", "pole", "what", "stage", "age", "presses", "officer", "note")
    for alarm in alarms:
        word, style = _STAGES.get(alarm.stage, (alarm.stage, ""))
        word += f" ({alarm.disposition})" if alarm.disposition else ""
        _add(
            table,
            str(alarm.number),
            alarm.id.pole,
            _KINDS.get(alarm.kind, alarm.kind),
            Text(word, style=style),
            Text(age(alarm), style="magenta" if alarm.late else ""),
            _presses(alarm),
            alarm.officer,
            note(alarm),
        )
    return table


def age(alarm: AlarmView) -> str:
    """Time since the press, with ``late`` where it was old when the station got it."""
    words = "unknown" if alarm.age_ms is None else in_words(alarm.age_ms)
    return f"{words}, late" if alarm.late else words


def note(alarm: AlarmView) -> str:
    """What else an officer should know of the alarm."""
    notes = []
    if alarm.late and alarm.clock != "synced":
        notes.append(f"age by a clock that is {alarm.clock}")
    if alarm.clash:
        notes.append("identity clash: two different presses bear this identity")
    if alarm.repeats:
        notes.append(f"and {alarm.repeats} more presses, counted only")
    if alarm.incident != alarm.number:
        notes.append(f"incident {alarm.incident}")
    if alarm.held_ms is not None and alarm.held_ms >= 2000:
        notes.append(f"held {alarm.held_ms // 1000} s")
    if alarm.remark:
        notes.append(alarm.remark)
    return "; ".join(notes)


def _presses(alarm: AlarmView) -> str:
    if alarm.presses < 2:
        return ""
    waiting = f", {alarm.waiting} new" if alarm.waiting and alarm.waiting < alarm.presses else ""
    return f"{alarm.presses}{waiting}"


def alarm_page(alarm: AlarmView, changes: Sequence[ChangeView], others: Sequence[AlarmView]) -> RenderableType:
    """One alarm with its history and its incident."""
    table = _table("when", "stage", "officer", "note")
    for change in changes:
        _add(table, _clock_time(change.wall_ms), change.stage, change.officer, change.note)
    identity = _plain(f"identity {alarm.id}, point {alarm.point}")
    parts: list[RenderableType] = [alarm_table([alarm]), Text(identity), table]
    if others:
        parts += [Text(f"other presses of incident {alarm.incident}:"), alarm_table(others)]
    return Group(*parts)


def fault_table(faults: Sequence[FaultView], now_wall_ms: int) -> Table:
    """A row a fault: where, what, since when, how long, when it was last good."""
    table = _table("where", "fault", "since", "lasts", "last good", "times")
    for fault in faults:
        open_ = fault.until_wall_ms is None
        end_ms = now_wall_ms if fault.until_wall_ms is None else fault.until_wall_ms
        # One end of it by a clock that was set, the other one by what it said before.
        known = fault.since_wall_ms >= RELEASED_MS or end_ms < RELEASED_MS
        _add(
            table,
            "/".join(part for part in (fault.point, fault.pole) if part) or "station",
            Text(fault.kind.replace("_", " "), style="red" if open_ else ""),
            _clock_time(fault.since_wall_ms),
            (in_words(end_ms - fault.since_wall_ms) if known else "unknown") + (", open" if open_ else ""),
            _clock_time(fault.last_good_wall_ms) if fault.last_good_wall_ms else "unknown",
            str(fault.count),
        )
    return table


def waiting(alarms: Sequence[AlarmView]) -> int:
    """How many of these wait for an officer."""
    return sum(alarm.stage == RECEIVED for alarm in alarms)


def list_page(answer: DeskAnswer) -> RenderableType:
    """The list, and how much of it does not fit."""
    if not answer.alarms:
        return Text("no open alarms")
    more = [Text(f"{answer.more} more rows; see 'safezone alarms list'", style="bold")] if answer.more else []
    return Group(alarm_table(answer.alarms), *more)


class Bell:
    """Rings once for each new call in a list that is asked for again and again."""

    def __init__(self) -> None:
        self._run = ""
        self._newest = 0
        self._more = 0

    def rings(self, answer: DeskAnswer) -> bool:
        """Whether somebody waits, and something came in since the answer before."""
        if answer.run != self._run:
            # A station that was restored from an older copy gives its numbers once more.
            self._run, self._newest, self._more = answer.run, 0, 0
        newest = max((alarm.newest for alarm in answer.alarms), default=0)
        came = newest > self._newest or answer.more > self._more
        self._newest, self._more = max(newest, self._newest), answer.more
        return came and waiting(answer.alarms) > 0


def _clock_time(wall_ms: int) -> str:
    """A moment, by this machine's time zone; a clock that was never set says nothing, and a point may claim a time that
    no calendar has."""
    if wall_ms < RELEASED_MS:
        return "time unknown"
    try:
        return datetime.fromtimestamp(wall_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "time unknown"


def _add(table: Table, *cells: str | Text) -> None:
    """A row of what others wrote, as they wrote it: brackets are no style, and nothing moves the terminal's cursor."""
    given = (cell if isinstance(cell, Text) else Text(cell) for cell in cells)
    table.add_row(*(Text(_plain(cell.plain), cell.style) for cell in given))


def _plain(text: str) -> str:
    return "".join("?" if category(letter) == "Cc" and letter != "\n" else letter for letter in text)


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in ("No.", "times") else "left", overflow="fold")
    return table
