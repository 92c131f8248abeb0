"""Draws the table of looks into firmware/README.md: ``.venv/bin/python -m tests.pole.draw_lamp``."""

from __future__ import annotations

from pathlib import Path

from sos_pole.lamp import TABLE
from sos_wire.messages import LOOKS

README = Path(__file__).parents[2] / "firmware" / "README.md"
START = "<!-- looks: drawn from sos_pole/lamp.py -->"
END = "<!-- end of looks -->"
STEP_MS = 100  # a character of a strip
WIDTH = 40  # four seconds
MEANING = {
    "starting": "The pole has been switched on.",
    "in_service": "A press now would reach the police station.",
    "out_of_service": "It would not. Call 191 (police) or 1155 (tourist police).",
    "pressed": "Your press is written down here and is on its way.",
    "held": "The reporting point has it on its disk.",
    "received": "The police station has it.",
    "accepted": "An officer has taken it.",
    "dispatched": "Help is on its way.",
    "on_scene": "Help is here.",
    "not_delivered": "The station does not have it yet. Call 191; the pole goes on trying.",
}


def strip(pattern: tuple[tuple[int, object], ...]) -> str:
    """Four seconds, a block where it is lit or sounds."""
    line = ""
    while len(line) < WIDTH:
        for ms, value in pattern:
            on = any(value) if isinstance(value, tuple) else bool(value)
            line += ("█" if on else "·") * max(1, round(ms / STEP_MS))
    return line[:WIDTH]


def colour(pattern: tuple[tuple[int, tuple[int, int, int]], ...]) -> str:
    """The lit colours in words."""
    names = []
    for _, lit in pattern:
        parts = [f"{name} {percent} %" for name, percent in zip(("red", "green", "white"), lit, strict=True) if percent]
        if parts and ", ".join(parts) not in names:
            names.append(", ".join(parts))
    return "; ".join(names)


def drawn() -> str:
    """The table as Markdown, a character a tenth of a second."""
    lines = ["| look | says | colour | lamp (first line) and sound (second), four seconds |", "|---|---|---|---|"]
    for look in LOOKS:
        lamp, sound = TABLE[look]
        lines.append(f"| `{look}` | {MEANING[look]} | {colour(lamp)} | `{strip(lamp)}`<br>`{strip(sound)}` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, after = text[: text.index(START) + len(START)], text[text.index(END) :]
    README.write_text(f"{before}\n{drawn()}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
