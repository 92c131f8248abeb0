"""The panel in a small terminal and in a large one: whatever a user needs is on the screen, whole."""

from __future__ import annotations

import io
import time
from collections import deque
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from sos_contract.site import find_site, read_site
from sos_sim.live.panel import KEYS, Panel
from sos_sim.live.pole_host import Change
from sos_sim.live.zone import Note, Row, Zone, desk_words

SITE = read_site(find_site("betong"))
SIZES = [(80, 24), (124, 36), (150, 45)]
# The widest that each cell of a row can be.
LOOK, ALARM = "not_delivered", "not delivered, 9999 s ago"


class StillZone:
    """What the panel looks at, of a zone in which nothing moves."""

    def __init__(self) -> None:
        self.site = SITE
        self.folder = Path("/tmp/safezone-abcdefgh")
        self.poles = dict.fromkeys(SITE.pole_ids())
        self.notes: deque[Note] = deque([Note(0.0, 0.0, "merlin-1", f"note {number}") for number in range(60)])

    def rows(self) -> list[Row]:
        return [
            Row(pole, LOOK, (100, 0, 0), True, True, "unknown", True, number % 2 == 0, ALARM)
            for number, pole in enumerate(self.poles)
        ]

    def services(self) -> dict[str, str]:
        return {"broker": "elsewhere", "station": "frozen"}


def screen(zone: StillZone, size: tuple[int, int], keys: str = "") -> list[str]:
    """The lines of a terminal of that size, once ``keys`` were pressed."""
    console = Console(width=size[0], height=size[1], file=io.StringIO(), force_terminal=True, color_system=None)
    panel = Panel(cast(Zone, zone), console)
    for key in keys:
        panel.press_key(key)
    with console.capture() as shown:
        console.print(panel.render())
    return shown.get().splitlines()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_row_shows_lamp_line_and_last_alarm_whole(size: tuple[int, int]) -> None:
    lines = screen(StillZone(), size)
    assert len(lines) <= size[1]
    (row,) = [line for line in lines if "chantharothai-1 " in line]
    assert ALARM.removesuffix(" ago") in row and "191" in row and "♪" in row and "unknown" in row
    assert any("no agent" in line or "down" in line for line in lines)
    assert lines[-1].rstrip().endswith("q end")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_help_shows_every_key_and_the_officers_words(size: tuple[int, int]) -> None:
    zone = StillZone()
    lines = screen(zone, size, "?")
    assert len(lines) <= size[1]
    text = "\n".join(lines)
    assert all(meaning in text for meaning in KEYS.values())
    assert desk_words(cast(Zone, zone)) in text


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_log_ends_with_the_newest_word_of_a_long_note(size: tuple[int, int]) -> None:
    zone = StillZone()
    zone.notes.append(Note(0.0, 0.0, "", "words " * 40 + "newest"))
    lines = screen(zone, size)
    assert len(lines) <= size[1]
    assert "newest" in lines[-3]


def test_the_last_alarm_is_a_stage_and_never_how_the_pole_is(tmp_path: Path) -> None:
    """A pole that lost its power after a press *starts*; that is nothing that became of the alarm."""
    zone = Zone(SITE, tmp_path)
    zone._contact["merlin-1"] = time.monotonic()
    for look in ("pressed", "received", "off", "starting"):
        zone._seen(Change("merlin-1", "look", look, time.monotonic()))
    assert zone._last_alarm("merlin-1").startswith("received")
