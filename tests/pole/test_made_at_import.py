"""What the pole makes once: patterns of the lamp; and slots at the very beginning of the flash."""

from __future__ import annotations

from tests.pole.journal_model import ENTROPY, PRESS

from sos_pole import lamp
from sos_pole.debounce import CALM_MS, Debounce
from sos_pole.journal import Journal
from sos_pole.runs import IDLE, PRESSED
from sos_sim.nor_flash import NorFlash


def test_flashes_and_beeps_come_in_groups_with_a_pause() -> None:
    off = (0, 0, 0)
    assert lamp._flashes(3, (1, 2, 3)) == ((200, (1, 2, 3)), (250, off)) * 2 + ((200, (1, 2, 3)), (1200, off))
    assert lamp._beeps(2, 440) == ((120, 440), (180, 0), (120, 440), (4000, 0))
    assert lamp._flashes(1, (1, 2, 3)) == ((200, (1, 2, 3)), (1200, off)) and lamp._beeps(1, 5) == ((120, 5), (4000, 0))
    for count, look in enumerate(("received", "accepted", "dispatched"), 2):
        light, sound = lamp.TABLE[look]
        assert light == lamp._flashes(count, light[0][1]) and sound == lamp._beeps(count, sound[0][1])


def test_a_button_that_was_never_pressed_was_held_for_no_time() -> None:
    assert Debounce().held_ms == 0


def test_a_touch_is_measured_from_its_first_millisecond_after_a_calm() -> None:
    button = Debounce()
    for level, ms in ((IDLE, CALM_MS), (PRESSED, 29)):
        button.feed(level, ms)
    assert button.state == "trying" and button.wake() == 1
    assert button.feed(PRESSED, 1) == ("press",)


def test_an_entry_in_the_first_slot_of_the_flash_is_one_like_any_other() -> None:
    journal = Journal(NorFlash(), ENTROPY)
    journal.open()
    entry = journal.append(PRESS, 1)
    entry.address = 0
    journal.release(entry)
    assert journal.read(0)[1] == 0, "its state is cleared in the flash"
    entry = journal.append(PRESS, 2)
    entry.address = 0
    assert journal.change_banks() and entry.address == journal.base_of(1) + 2 * 32
