"""The picture for a terminal: lanes of characters, then the numbered events in words.

In a lane, a letter stands for an event and is explained below; ``P``resses keep their letter through all lanes. Bars
carry their name: ``[cut....]`` a fault, ``=held===`` what the lamp showed, ``#power##`` a part that was down.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from sos_sim.timeline.bars import BAD, DOWN, FAULT, LOOK, LOST, Bar
from sos_sim.timeline.picture import Axis, Event, Picture
from sos_sim.timeline.words import seconds, short

WIDTH = 100
_NAME = 18  # columns of a lane's name; longer ones keep their end, which tells them apart
MOST_LINES = 36  # events in words: a screen of them
_FILL = {LOOK: "=", FAULT: ".", DOWN: "#", BAD: "~", LOST: "-"}
_ENDS = {FAULT: ("[", "]"), BAD: ("[", "]")}


def draw(picture: Picture, width: int = WIDTH) -> str:
    """Lines of at most ``width`` columns; but the notes as they are, for there are commands among them to be copied."""
    axis = picture.axis()
    room = width - _NAME - 1
    shown = _fitting(picture)
    lines = [*_headline(picture, width), _scale(picture, axis, room)]
    for lane in picture.lanes:
        lines += _lane(picture, lane, shown, axis, room)
    lines.append(_marker(picture, axis, room))
    lines += ["", *_legend(picture, shown, width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _fitting(picture: Picture) -> list[Event]:
    """The events that are told: those of presses first, then the latest."""
    ranked = sorted(picture.events, key=lambda event: (not event.press, -event.at_us))
    return sorted(ranked[:MOST_LINES], key=lambda event: event.number)


def _headline(picture: Picture, width: int) -> list[str]:
    finding = picture.finding
    words = f"{finding.promise.upper()} at {seconds(finding.at_us)}, {finding.part}: {picture.words}"
    presses = [f"press {letter}: {short(identity)}, {identity}" for letter, identity in picture.presses.items()]
    return [*_folded(words, width), *picture.notes, *(line for one in presses for line in _folded(one, width)), ""]


def _folded(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, subsequent_indent="  ")


def _scale(picture: Picture, axis: Axis, room: int) -> str:
    """Times above the columns where something happens, as many as fit; time is stretched where much happens."""
    cells = [" "] * room
    for at_us in [picture.begin_us, picture.finding.at_us, *axis.instants]:
        label = f"'{at_us / 1e6:.3f}" if at_us % 1_000_000 else f"'{at_us // 1_000_000}"
        column = _column(axis, at_us, room)
        if column + len(label) <= room and all(cell == " " for cell in cells[column : column + len(label) + 1]):
            cells[column : column + len(label)] = list(label)
    return " " * (_NAME - 2) + "s  " + "".join(cells)


def _column(axis: Axis, at_us: int, room: int) -> int:
    return min(room - 1, int(axis.place(at_us) * (room - 1)))


def _lane(picture: Picture, lane: str, shown: list[Event], axis: Axis, room: int) -> list[str]:
    rows: list[list[str]] = []
    looks = [bar for bar in picture.bars if bar.lane == lane and bar.kind == LOOK]
    others = [bar for bar in picture.bars if bar.lane == lane and bar.kind != LOOK]
    for bar in [*looks, *others]:
        _put(rows, _column(axis, bar.from_us, room), _bar(bar, axis, room), room)
    marks: list[list[str]] = []
    for event in shown:
        if event.lane == lane:
            _put(marks, _column(axis, event.at_us, room), f"{event.press or '*'}{event.number}", room)
    drawn = ["".join(row) for row in [*rows, *marks]] or [""]
    return [f"{_name(lane) if index == 0 else '':<{_NAME}} {row}" for index, row in enumerate(drawn)]


def _name(lane: str) -> str:
    return lane if len(lane) <= _NAME else "…" + lane[-_NAME + 1 :]


def _bar(bar: Bar, axis: Axis, room: int) -> str:
    fill = _FILL[bar.kind]
    length = max(1, _column(axis, bar.until_us, room) - _column(axis, bar.from_us, room))
    left, right = _ENDS.get(bar.kind, (fill, fill))
    body = f"{left}{bar.name}" if length >= 3 else left
    return body[:length].ljust(length, fill)[: length - 1] + right if length > 1 else left


def _put(rows: list[list[str]], column: int, text: str, room: int) -> None:
    """Into the first row in which it stands alone, a little to the left if it would not fit."""
    column = max(0, min(column, room - len(text)))
    for row in rows:
        if all(cell == " " for cell in row[max(0, column) : column + len(text)]):
            break
    else:
        row = [" "] * room
        rows.append(row)
    row[column : column + len(text)] = list(text)


def _marker(picture: Picture, axis: Axis, room: int) -> str:
    column = _column(axis, picture.finding.at_us, room)
    words = f"{picture.finding.promise} is found here"
    fits = column + len(words) + 2 <= room
    return " " * (_NAME + 1) + (" " * column + f"^ {words}" if fits else f"{words} ^".rjust(column + 1))


def _legend(picture: Picture, shown: list[Event], width: int) -> Iterator[str]:
    told = [(bar.from_us, "", bar.lane, bar.words) for bar in picture.already()]
    told += [(event.at_us, f"{event.press or '*'}{event.number}", event.lane, event.words) for event in shown]
    finding = picture.finding
    told.append((finding.at_us, ">>>", picture.lane, f"{finding.promise}: found here"))
    for at_us, sign, lane, words in sorted(told, key=lambda one: one[0]):
        head = f"{sign:<4} {at_us / 1e6:>11.3f} s  {_name(lane):<{_NAME}} "
        yield from textwrap.wrap(head + words, width, subsequent_indent=" " * len(head), drop_whitespace=False)
    hidden = picture.left_out + len(picture.events) - len(shown)
    if hidden:
        yield f"({hidden} further events are left out)"
