"""The picture of where the time of one press goes, drawn from the figures of ``path``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from sos_sim.bench.figures import Figure
from sos_sim.bench.path import PIECES

WIDTH, NAMES, RIGHT = 900, 230, 70  # of all, of the column of names, of the room for the last number
ROW, TOP, FOOT = 28, 44, 52
GRID_MS = 10
# Whose time it is; told apart by their order and names, too.
COLOURS = {"pole": "#c2410c", "wire": "#64748b", "agent": "#1d4ed8", "broker": "#7c3aed", "station": "#15803d"}
FONT = 'font-family="system-ui, sans-serif"'


def draw(found: Sequence[Figure]) -> str:
    """SVG: a row a piece, each where it lies in time. ``found``: the figures of one run of ``path``."""
    medians = {one.what: max(0.0, one.value) for one in found}
    pieces = [(what, whose, medians[what]) for what, whose in PIECES]
    whole = sum(ms for *_, ms in pieces)
    height = TOP + ROW * len(pieces) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        f' role="img" {FONT} font-size="13">',
        "<title>Where the time of one press goes</title>",
        f"<desc>{escape('; '.join(f'{what}: {ms:.1f} ms' for what, _, ms in pieces))}</desc>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_grid(whole, height),
        *_rows(pieces, whole),
        *_legend(height),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _x(ms: float, whole: float) -> float:
    return round(NAMES + ms / whole * (WIDTH - NAMES - RIGHT), 1)


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "#111827") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def _grid(whole: float, height: int) -> Iterator[str]:
    for ms in range(0, int(whole) + 1, GRID_MS):
        x = _x(ms, whole)
        yield f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - FOOT + 4}" stroke="#e5e7eb"/>'
        yield _text(x, TOP - 16, f"{ms} ms" if ms else "first contact", "middle", "#4b5563")


def _rows(pieces: Sequence[tuple[str, str, float]], whole: float) -> Iterator[str]:
    at = 0.0
    for row, (what, whose, ms) in enumerate(pieces):
        top = TOP + row * ROW
        left, right = _x(at, whole), _x(at + ms, whole)
        yield _text(NAMES - 12, top + 17, what, "end")
        yield (
            f'<rect x="{left}" y="{top + 4}" width="{round(max(1.5, right - left), 1)}" height="{ROW - 9}" rx="2"'
            f' fill="{COLOURS[whose]}"/>'
        )
        yield _text(right + 6, top + 17, f"{ms:.1f} ms")
        at += ms


def _legend(height: int) -> Iterator[str]:
    x, y = float(NAMES), height - FOOT + 36
    for whose, colour in COLOURS.items():
        yield f'<rect x="{x}" y="{y - 11}" width="13" height="13" rx="2" fill="{colour}"/>'
        yield _text(x + 19, y, whose)
        x += 32 + 8 * len(whose)
