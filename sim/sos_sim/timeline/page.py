"""The picture as one HTML file: no script, nothing loaded, so that it can be attached to a report and opened anywhere.

Lanes from top to bottom as a press travels, time to the right. A circle is an event, numbered as in the table below
it; circles of one press have its colour and are joined by a line. Strips are what the lamp showed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from sos_sim.timeline.bars import BAD, DOWN, FAULT, LOOK, LOST, Bar
from sos_sim.timeline.picture import Axis, Event, Picture
from sos_sim.timeline.words import seconds, short

WIDTH, NAMES, RIGHT, TOP = 1400, 220, 40, 34  # pixels: the drawing, its column of names, its margins
ROW, RADIUS, GAP = 18, 9, 12  # a row of bars, an event's circle, between lanes
_LETTER = 6.4  # pixels a letter of a bar's name takes, about
# Told apart by people who see no red from green, too (after Okabe and Ito).
PRESSES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#5d3a9b", "#b2182b")
_OTHER = "#667"
_LOOKS = {  # look -> background, foreground
    "starting": ("#d9dbe0", "#333"), "in_service": ("#d4ecd2", "#1d4d1b"), "out_of_service": ("#70303a", "#fff"),
    "pressed": ("#fff3b0", "#554400"), "held": ("#bcd9f5", "#123a63"), "received": ("#8fd6c4", "#0b4438"),
    "accepted": ("#66c18c", "#06351b"), "dispatched": ("#4fae5c", "#fff"), "on_scene": ("#2e8b57", "#fff"),
    "not_delivered": ("#d7191c", "#fff"),
}  # fmt: skip
_BARS = {FAULT: ("url(#fault)", "#7a3b00"), DOWN: ("#33363d", "#fff"), BAD: ("#f2b8b5", "#6b0f0b"),
         LOST: ("#e3d4f2", "#44216b")}  # fmt: skip
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #1c1e22; margin: 24px auto; max-width: 1400px; padding: 0 12px; }
h1 { font-size: 22px; margin: 0 0 6px; }
h1 b { background: #d7191c; color: #fff; padding: 1px 10px; border-radius: 4px; }
p { margin: 4px 0; } code { background: #eef0f3; padding: 1px 5px; border-radius: 3px; }
svg { display: block; width: 100%; height: auto; margin: 14px 0; font: 12px system-ui, sans-serif; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: 3px 12px 3px 0; vertical-align: top; }
th { border-bottom: 2px solid #9aa0a8; }
tr { border-bottom: 1px solid #e3e6ea; }
td:nth-child(2) { white-space: nowrap; }
td.n b { display: inline-block; min-width: 20px; text-align: center;
  border-radius: 10px; color: #fff; font-size: 12px; }
tr.found { background: #fde4e4; font-weight: 600; } tr:target { background: #fff3b0; } tr.before { color: #5a606a; }
.key span { display: inline-block; border-radius: 3px; padding: 0 8px; margin: 2px 6px 2px 0; font-size: 12px; }
a { text-decoration: none; }
"""
_HATCH = (
    '<defs><pattern id="fault" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="8" height="8" fill="#ffe3c2"/><rect width="3" height="8" fill="#ffc98a"/></pattern></defs>'
)


@dataclass(slots=True)
class _Lane:
    """A lane as it is laid out: which row each bar and each circle stands in."""

    name: str
    top: float
    bars: list[tuple[int, Bar]] = field(default_factory=list)
    circles: list[tuple[int, float, Event]] = field(default_factory=list)

    @property
    def bar_rows(self) -> int:
        return max((row for row, _ in self.bars), default=-1) + 1

    @property
    def height(self) -> float:
        rows = max((row for row, _, _ in self.circles), default=-1) + 1
        return max(ROW * self.bar_rows + (2 * RADIUS + 3) * rows, ROW) + GAP

    def centre(self, row: int) -> float:
        return self.top + GAP / 2 + ROW * self.bar_rows + (2 * RADIUS + 3) * row + RADIUS + 1


def draw(picture: Picture) -> str:
    """The whole page."""
    finding = picture.finding
    head = f"{escape(finding.promise)}: {escape(picture.words)}"
    found_at = (seconds(finding.at_us), f"{finding.at_us / 1e6:.3f} s")  # as a person says it, and as files do
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{head}</title><style>{_STYLE}</style></head><body>",
        f"<h1><b>{escape(finding.promise.upper())}</b> {escape(picture.words)}</h1>",
        f"<p>Found at {' = '.join(dict.fromkeys(found_at))}, at {escape(finding.part)}.</p>",
        *(f"<p>{_note(note)}</p>" for note in picture.notes),
        *_presses(picture),
        *_drawing(picture),
        *_key(picture),
        *_table(picture),
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _note(note: str) -> str:
    words, command, rest = note.partition("safezone ")
    return escape(words) + (f"<code>{escape(command + rest)}</code>" if command else "")


def _colour(picture: Picture, letter: str) -> str:
    return PRESSES[list(picture.presses).index(letter) % len(PRESSES)] if letter in picture.presses else _OTHER


def _presses(picture: Picture) -> Iterator[str]:
    for letter, identity in picture.presses.items():
        colour = _colour(picture, letter)
        sign = f'<span style="background:{colour};color:#fff">{letter}</span>'
        yield f'<p class="key">{sign}{escape(short(identity))} <code>{escape(identity)}</code></p>'


# --- the drawing


def _drawing(picture: Picture) -> Iterator[str]:
    axis = picture.axis()
    lanes = _layout(picture, axis)
    bottom = lanes[-1].top + lanes[-1].height if lanes else TOP
    yield f'<svg viewBox="0 0 {WIDTH} {bottom + 24:.0f}" role="img">{_HATCH}'
    for index, lane in enumerate(lanes):
        if index % 2 == 0:
            yield f'<rect x="0" y="{lane.top:.1f}" width="{WIDTH}" height="{lane.height:.1f}" fill="#f6f7f9"/>'
    yield from _scale(picture, axis, bottom)
    yield from _found(picture, axis, bottom)
    for lane in lanes:
        shown = lane.name if len(lane.name) < 28 else "…" + lane.name[-26:]
        middle = lane.top + lane.height / 2 + 4
        yield f'<text x="8" y="{middle:.1f}" font-weight="600">{escape(shown)}<title>{escape(lane.name)}</title></text>'
        for row, bar in lane.bars:
            yield _bar(bar, _x(axis, bar.from_us), _x(axis, bar.until_us), lane.top + GAP / 2 + ROW * row)
    places = {event.number: (x, lane.centre(row)) for lane in lanes for row, x, event in lane.circles}
    for letter, way in picture.ways().items():
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (places[event.number] for event in way))
        yield (
            f'<polyline points="{points}" fill="none" stroke="{_colour(picture, letter)}" stroke-width="2" '
            'stroke-opacity="0.55" stroke-linejoin="round"/>'
        )
    for lane in lanes:
        for row, x, event in lane.circles:
            yield _circle(event, x, lane.centre(row), _colour(picture, event.press))
    yield "</svg>"


def _x(axis: Axis, at_us: int) -> float:
    return NAMES + axis.place(at_us) * (WIDTH - NAMES - RIGHT)


def _layout(picture: Picture, axis: Axis) -> list[_Lane]:
    lanes: list[_Lane] = []
    top = float(TOP)
    for name in picture.lanes:
        lane = _Lane(name, top)
        bars = [bar for bar in picture.bars if bar.lane == name]
        spans = [(_x(axis, bar.from_us), _x(axis, bar.until_us)) for bar in bars]
        ordered = sorted(zip(bars, spans, strict=True), key=lambda one: one[0].kind != LOOK)
        lane.bars = list(zip(_rows([span for _, span in ordered]), [bar for bar, _ in ordered], strict=True))
        events = [event for event in picture.events if event.lane == name]
        centres = [_x(axis, event.at_us) for event in events]
        rows = _rows([(x - RADIUS - 1, x + RADIUS + 1) for x in centres])
        lane.circles = list(zip(rows, centres, events, strict=True))
        lanes.append(lane)
        top += lane.height
    return lanes


def _rows(spans: Sequence[tuple[float, float]]) -> list[int]:
    """For each span the first row in which it meets none before it."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for left, right in spans:
        row = next(
            (n for n, others in enumerate(taken) if all(right <= a or left >= b for a, b in others)), len(taken)
        )  # fmt: skip
        if row == len(taken):
            taken.append([])
        taken[row].append((left, right))
        rows.append(row)
    return rows


def _scale(picture: Picture, axis: Axis, bottom: float) -> Iterator[str]:
    """Times where something happens, as many as fit."""
    right = 0.0
    for at_us in axis.instants:
        x = _x(axis, at_us)
        label = f"{at_us / 1e6:.3f}".rstrip("0").rstrip(".") + " s"
        half = len(label) * _LETTER / 2
        if x - half < right + 10 or x + half > WIDTH:
            continue
        right = x + half
        yield f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#dfe2e7"/>'
        yield f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle" fill="#5a606a">{label}</text>'


def _found(picture: Picture, axis: Axis, bottom: float) -> Iterator[str]:
    x = _x(axis, picture.finding.at_us)
    anchor = "end" if x > WIDTH * 0.7 else "start"
    yield f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom + 4:.1f}" stroke="#d7191c" stroke-width="2"/>'
    yield (
        f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="{anchor}" fill="#d7191c" font-weight="700">'
        f"{escape(picture.finding.promise)}: found here</text>"
    )


def _bar(bar: Bar, left: float, right: float, top: float) -> str:
    fill, ink = _LOOKS.get(bar.name, ("#d9dbe0", "#333")) if bar.kind == LOOK else _BARS[bar.kind]
    width = max(right - left, 2)
    room = int((width - 6) / _LETTER)
    name = bar.name.replace("_", " ")
    name = name if len(name) <= room else name[: max(0, room - 1)] + "…" if room > 2 else ""
    words = f"{bar.words}, {bar.from_us / 1e6:.3f} to {bar.until_us / 1e6:.3f} s"
    return (
        f'<g><title>{escape(words)}</title><rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{ROW - 3}" '
        f'rx="2" fill="{fill}"/><text x="{left + 4:.1f}" y="{top + 11.5:.1f}" fill="{ink}" font-size="11">'
        f"{escape(name)}</text></g>"
    )


def _circle(event: Event, x: float, y: float, colour: str) -> str:
    title = f"{event.at_us / 1e6:.3f} s: {event.words}"
    return (
        f'<a href="#e{event.number}"><title>{escape(title)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" '
        f'fill="{colour}" stroke="#fff"/><text x="{x:.1f}" y="{y + 3.8:.1f}" text-anchor="middle" fill="#fff" '
        f'font-size="10.5">{event.number}</text></a>'
    )


# --- the words


def _key(picture: Picture) -> Iterator[str]:
    looks = dict.fromkeys(bar.name for bar in picture.bars if bar.kind == LOOK)
    parts = [
        f'<span style="background:{_LOOKS[look][0]};color:{_LOOKS[look][1]}">{escape(look.replace("_", " "))}</span>'
        for look in looks
        if look in _LOOKS
    ]
    yield (
        '<p class="key">Lamps: ' + "".join(parts) + ' <span style="background:#ffc98a;color:#7a3b00">a fault</span>'
        '<span style="background:#33363d;color:#fff">does not run</span> '
        "Time is stretched where much happens.</p>"
    )


def _table(picture: Picture) -> Iterator[str]:
    yield "<table><tr><th></th><th>time</th><th>where</th><th>what</th></tr>"
    told = [(bar.from_us, "before", "", bar.lane, bar.words) for bar in picture.already()]
    for event in picture.events:
        colour = _colour(picture, event.press)
        number = f'<b style="background:{colour}">{event.number}</b> {event.press}'
        told.append((event.at_us, f"e{event.number}", number, event.lane, event.words))
    finding = picture.finding
    told.append((finding.at_us, "found", "", picture.lane, f"{finding.promise}: {picture.words}"))
    for at_us, mark, number, lane, words in sorted(told, key=lambda one: one[0]):
        row = f'class="{mark}"' if mark in ("before", "found") else f'id="{mark}"'
        yield (
            f'<tr {row}><td class="n">{number}</td><td>{at_us / 1e6:.3f} s</td>'
            f"<td>{escape(lane)}</td><td>{escape(words)}</td></tr>"
        )
    yield "</table>"
    if picture.left_out:
        yield f"<p>{picture.left_out} further events are left out.</p>"
