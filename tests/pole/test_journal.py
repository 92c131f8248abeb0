"""The journal with nobody cutting its power: room, repeats, upkeep, damage and a flash that does not take."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.pole.journal_model import ENTROPY, PRESS, SILENT

from sos_pole import records
from sos_pole.journal import MOST_PENDING, SECTOR, Flash, Journal
from sos_pole.records import SLOT
from sos_sim.nor_flash import NorFlash


def opened(flash: Flash, entropy: bytes = ENTROPY) -> Journal:
    journal = Journal(flash, entropy)
    journal.open()
    return journal


def test_a_new_flash_begins_an_incarnation_and_keeps_it_and_counts_starts() -> None:
    flash = NorFlash()
    first = opened(flash)
    assert first.anew and not first.damaged and first.boot == 1 and first.incarnation
    boots = [1]
    for _ in range(400):
        again = opened(flash, bytes(range(100, 116)))
        assert (again.incarnation, again.anew) == (first.incarnation, False)
        boots.append(again.boot)
    assert boots == sorted(set(boots)) and boots[-1] < 410


def test_a_press_outlives_restarts_until_it_is_released() -> None:
    flash = NorFlash()
    journal = opened(flash)
    entry = journal.append(SILENT, 1 << 40)
    assert entry.durable and not entry.restored
    again = opened(flash)
    assert [(e.kind, e.boot, e.press, e.at_ms, e.repeats, e.restored) for e in again.entries] == [
        (SILENT, 1, 1, 1 << 40, 0, 1)
    ]
    again.release(again.entries[0])
    assert opened(flash).entries == []


def test_beyond_64_presses_are_counted_in_one_record_a_kind() -> None:
    flash = NorFlash()
    journal = opened(flash)
    for at_ms in range(MOST_PENDING):
        journal.append(PRESS, at_ms)
    first = journal.append(PRESS, 1000)
    quiet = journal.append(SILENT, 1001)
    for _ in range(300):
        assert journal.append(PRESS, 2000) is first
    assert journal.append(SILENT, 2001) is quiet
    assert (first.repeats, quiet.repeats, len(journal.entries)) == (300, 1, MOST_PENDING + 2)
    again = opened(flash)
    counting = [(e.kind, e.repeats) for e in again.entries if e.counts]
    assert counting == [(PRESS, 300), (SILENT, 1)]
    for entry in again.entries:
        if entry.counts:
            again.close(entry)
    assert again.append(PRESS, 3000).press == 1
    assert [e.repeats for e in opened(flash).entries if e.counts] == [300, 1, 0]


def test_a_count_that_fills_the_bank_leaves_nothing_behind() -> None:
    """What stayed live in the other bank came back at the next start, with a smaller count: an alarm made up."""
    flash = NorFlash()
    journal = opened(flash)
    for at_ms in range(MOST_PENDING):
        journal.append(PRESS, at_ms)
    bank, presses = journal.bank, 0
    while journal.bank == bank or presses % 1000:
        assert journal.append(PRESS, 1000).durable
        presses += 1
    assert [e.repeats for e in opened(NorFlash(content=bytes(flash.bytes))).entries if e.counts] == [presses - 1]
    for entry in list(journal.entries):
        journal.close(entry)
        journal.release(entry)
    assert opened(flash).entries == []


def test_years_of_presses_wear_the_flash_evenly_and_lose_nothing() -> None:
    flash = NorFlash()
    journal = opened(flash)
    for index in range(3000):
        journal.release(journal.append(PRESS, index))
        while journal.due():
            assert journal.maintain()
    assert not journal.failing
    assert flash.erases < 3000 // 100 * 2
    assert opened(flash).incarnation == journal.incarnation


def test_a_press_that_waits_for_years_lets_others_come_and_go() -> None:
    flash = NorFlash()
    journal = opened(flash)
    old = journal.append(PRESS, 7)
    for index in range(450):  # two banks' worth: nothing may be erased meanwhile
        entry = journal.append(PRESS, index)
        if entry.durable:
            journal.release(entry)
            continue
        journal.release(entry)
        break
    assert flash.erases == 0 and index > 300
    assert [(e.boot, e.press) for e in opened(flash).entries] == [(old.boot, old.press)]


def test_a_press_that_waits_leaves_room_for_all_others_if_the_line_rests_now_and_then() -> None:
    """Both banks were full after some 450 presses beside one that waited, and further ones were not written down."""
    flash = NorFlash()
    journal = opened(flash)
    old = journal.append(PRESS, 7)
    for index in range(2000):
        entry = journal.append(PRESS, index)
        assert entry.durable
        journal.release(entry)
        if index % 50 == 0:
            while journal.due():
                assert journal.maintain()
    assert 10 <= flash.erases <= 2000 // 100 * 2
    assert [(e.boot, e.press) for e in opened(flash).entries] == [(old.boot, old.press)]


def test_nothing_is_erased_while_something_is_pending() -> None:
    flash = NorFlash()
    journal = opened(flash)
    for index in range(400):
        journal.append(PRESS, index)
        if len(journal.entries) > 5:
            journal.release(journal.entries[0])
    assert flash.erases == 0


def test_a_mark_opens_the_repl_once() -> None:
    flash = NorFlash()
    assert opened(flash).mark()
    assert opened(flash).marked
    assert not opened(flash).marked


def test_a_wholly_damaged_flash_begins_anew_and_says_so() -> None:
    for fill in (b"\x00", b"\x5a", b"\xb0"):
        flash = NorFlash(content=fill * NorFlash().size)
        journal = opened(flash)
        assert journal.anew and journal.damaged and journal.append(PRESS, 1).durable
        again = opened(flash, bytes(range(50, 66)))
        assert (again.incarnation, again.damaged) == (journal.incarnation, 0) and len(again.entries) == 1


@given(st.integers(0, NorFlash().size - 1), st.integers(1, 255))
@example(3, 1)  # the bit that counted the start is lost: its number must not be used again, for presses have it
@settings(max_examples=300, deadline=None)
def test_one_damaged_byte_loses_at_most_its_own_press_and_makes_none_up(address: int, flip: int) -> None:
    flash = NorFlash()
    journal = opened(flash)
    for index in range(6):
        journal.append(PRESS, 100 + index)
    journal.release(journal.entries[2])
    made = {(e.boot, e.press, e.at_ms) for e in journal.entries}
    used = {(journal.incarnation, journal.boot)}
    flash.bytes[address] ^= flip
    again = opened(flash)
    found = {(e.boot, e.press, e.at_ms) for e in again.entries}
    released = {(1, 3, 102)}
    assert found <= made | released and len(made - found) <= 1
    if made - found:
        assert again.damaged or again.entries == [] or max(made) not in found
    assert (again.incarnation, again.boot) not in used
    assert opened(flash).damaged == 0, "told once"


def test_a_damaged_press_in_the_middle_is_told() -> None:
    flash = NorFlash()
    journal = opened(flash)
    for index in range(3):
        journal.append(PRESS, index)
    flash.bytes[journal.entries[1].address + records.BODY] ^= 0x40
    again = opened(flash)
    assert again.damaged == 1 and [e.press for e in again.entries] == [1, 3]


def test_both_copies_of_the_identity_lost_keeps_the_presses_under_other_numbers() -> None:
    """The newer bank has lost its name: the older one counts again, and no number is used twice. That one is nearly
    full, for so it was left: to make room in time, the newer one was erased with all presses in it."""
    flash = NorFlash()
    journal = opened(flash)
    for index in range(260):
        entry = journal.append(PRESS, index)
        if index < 250:
            journal.release(entry)
    assert journal.generation == 2
    base = journal.base_of(journal.bank)
    waiting = {(e.boot, e.press) for e in journal.entries}
    for slot in (0, 1):
        flash.bytes[base + slot * SLOT + records.BODY] ^= 0x01
    again = opened(flash)
    assert again.damaged and again.incarnation == journal.incarnation and again.boot > journal.boot
    assert waiting <= {(e.boot, e.press) for e in again.entries}
    while again.due() and again.maintain():
        pass
    assert waiting <= {(e.boot, e.press) for e in opened(flash).entries}
    for entry in again.entries[:]:
        again.release(entry)
    while again.dirty:
        assert again.due() and again.maintain()


def test_a_bank_counts_as_soon_as_a_start_would_believe_it() -> None:
    """The flash took the new bank's identity and said no: presses went on into the old one, where no start looked."""
    flash = Doubting()
    journal = opened(flash)
    flash.doubted = journal.base_of(1 - journal.bank)
    while not journal.nearly_full():
        journal.release(journal.append(PRESS, 1))
    journal.maintain()
    assert flash.doubted == -1 and journal.failing
    entry = journal.append(PRESS, 2)
    assert entry.durable and [e.press for e in opened(flash).entries] == [entry.press]


class Doubting(NorFlash):
    """Takes what goes to the address ``doubted``, and says once that it did not."""

    doubted = -1

    def program(self, address: int, data: bytes) -> None:
        super().program(address, data)
        if address == self.doubted:
            self.doubted = -1
            raise OSError("flash")


def test_a_count_at_its_most_stays_there() -> None:
    """Bits were cleared beyond it, and no slot could say their sum: the change of banks raised."""
    flash = NorFlash(32 * SECTOR)
    journal = opened(flash)
    for at_ms in range(MOST_PENDING + 1):
        entry = journal.append(PRESS, at_ms)
    entry.repeats = 0xFFFE
    assert journal.change_banks()
    for _ in range(3):
        assert journal.append(PRESS, 1000) is entry and entry.repeats == 0xFFFF
    again = opened(flash)
    assert [e.repeats for e in again.entries if e.counts] == [0xFFFF]
    while again.dirty:
        assert again.erase_one()
    assert again.change_banks() and [e.repeats for e in opened(flash).entries if e.counts] == [0xFFFF]


class TestBroken:
    """A flash that refuses: the press is there, and says that it is in RAM only."""

    def test_while_running(self) -> None:
        flash = NorFlash()
        journal = opened(flash)
        flash.broken = True
        entry = journal.append(PRESS, 1)
        assert not entry.durable and journal.failing and journal.entries == [entry]
        journal.release(entry)
        assert journal.entries == []

    def test_from_the_start_each_start_is_somebody_else(self) -> None:
        flash = NorFlash()
        flash.broken = True
        one, other = opened(flash, bytes(range(16))), opened(flash, bytes(range(16, 32)))
        assert one.failing and one.incarnation != other.incarnation
        assert not one.append(PRESS, 1).durable and one.append(PRESS, 2).press == 2

    def test_that_cannot_count_a_start_keeps_what_it_has_under_its_name(self) -> None:
        flash = NorFlash()
        before = opened(flash)
        before.append(PRESS, 1)
        flash.broken = True
        journal = opened(flash, bytes(range(40, 56)))
        assert journal.failing and journal.incarnation != before.incarnation
        assert [(e.incarnation, e.boot, e.press) for e in journal.entries] == [(before.incarnation, 1, 1)]
        flash.broken = False
        assert not journal.append(PRESS, 2).durable, "under a name that the flash does not know nothing is kept"
        after = opened(flash)
        assert after.incarnation == before.incarnation and len(after.entries) == 1

    def test_in_one_slot_is_stepped_over(self) -> None:
        flash = NorFlash()
        journal = opened(flash)
        flash.stuck = set(range(journal.next * SLOT, journal.next * SLOT + SLOT))
        assert journal.append(PRESS, 1).durable
        assert len(opened(flash).entries) == 1

    def test_that_cannot_be_erased_is_told(self) -> None:
        flash = NorFlash()
        journal = opened(flash)
        for index in range(170):
            journal.release(journal.append(PRESS, index))
        assert journal.due() and journal.maintain() and journal.due()
        flash.broken = True
        assert not journal.maintain() and journal.failing
