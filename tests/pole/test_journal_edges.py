"""Exact values of the journal: which slot, which number, which bit; when the bank is left and what goes along."""

from __future__ import annotations

import pytest
from tests.pole.journal_model import ENTROPY, PRESS, SILENT

from sos_pole import records
from sos_pole.journal import MOST_PENDING, SECTOR, Journal
from sos_pole.records import BIT_COUNT, SLOT
from sos_sim.nor_flash import NorFlash

SLOTS = 256  # of a bank of two sectors
LOW = 96


def opened(flash: NorFlash, entropy: bytes = ENTROPY) -> Journal:
    journal = Journal(flash, entropy)
    journal.open()
    return journal


def slot(flash: NorFlash, bank: int, index: int) -> bytes:
    return flash.read(bank * 2 * SECTOR + index * SLOT, SLOT)


def test_the_first_start_takes_its_name_from_the_first_eight_bytes() -> None:
    journal = opened(NorFlash(), bytes([2, 0, 0, 0, 0, 0, 0, 0x80]) + bytes(8))
    assert journal.incarnation == 0x8000000000000003, "never 0, so it is made odd"
    assert (journal.boot, journal.bank, journal.generation, journal.next, journal.base) == (1, 0, 1, 2, 0)
    assert (journal.damaged, journal.failing, journal.marked, journal.dirty, journal.last_boot) == (
        0,
        False,
        False,
        0,
        0,
    )
    for short in (b"", bytes(15)):
        with pytest.raises(AssertionError):
            Journal(NorFlash(), short)


def test_a_bank_must_be_whole_sectors_with_room() -> None:
    with pytest.raises(AssertionError):
        Journal(NorFlash(3 * SECTOR), ENTROPY)
    assert Journal(NorFlash(8 * SECTOR), ENTROPY).slots() == 2 * SLOTS
    assert [Journal(NorFlash(8 * SECTOR), ENTROPY).base_of(bank) for bank in (0, 1)] == [0, 4 * SECTOR]
    assert Journal(NorFlash(), ENTROPY).all_dirty() == 0b11


def test_starts_are_counted_bit_by_bit_and_then_in_a_slot_of_their_own() -> None:
    flash = NorFlash()
    for boot in range(1, BIT_COUNT + 1):
        journal = opened(flash)
        assert journal.boot == boot and records.counted(slot(flash, 0, 0)) == boot
    assert journal.next == 2
    later = opened(flash)
    assert later.next == 3 and later.last_boot == 2 * SLOT
    assert (later.boot, later.base) == (BIT_COUNT + 2, BIT_COUNT + 1), "one number is left out"
    assert opened(flash).boot == BIT_COUNT + 3


def test_presses_count_from_one_in_each_start_and_stand_behind_one_another() -> None:
    flash = NorFlash()
    journal = opened(flash)
    one, two = journal.append(PRESS, 5), journal.append(SILENT, (1 << 33) + 6)
    assert (one.address, two.address, journal.next) == (2 * SLOT, 3 * SLOT, 4)
    assert [(e.kind, e.boot, e.press, e.at_ms, e.repeats, e.counts, e.closed) for e in (one, two)] == [
        (PRESS, 1, 1, 5, 0, False, True), (SILENT, 1, 2, (1 << 33) + 6, 0, False, True),
    ]  # fmt: skip
    assert records.press_body(slot(flash, 0, 3)) == (SILENT, False, 0, 1, 2, (1 << 33) + 6)
    again = opened(flash)
    three = again.append(PRESS, 7)
    assert (three.boot, three.press, three.address) == (2, 1, 4 * SLOT)
    assert [(e.boot, e.press, e.restored, e.durable, e.address) for e in again.entries] == [
        (1, 1, 1, True, 2 * SLOT), (1, 2, 1, True, 3 * SLOT), (2, 1, 0, True, 4 * SLOT),
    ]  # fmt: skip


def test_an_identity_is_found_whole_or_not_at_all() -> None:
    journal = opened(NorFlash())
    entry = journal.append(PRESS, 1)
    name = journal.incarnation
    assert journal.find(name, 1, 1) is entry
    assert [journal.find(*other) for other in ((name + 1, 1, 1), (name, 2, 1), (name, 1, 2))] == [None] * 3


def crowded() -> tuple[NorFlash, Journal]:
    flash = NorFlash()
    journal = opened(flash)
    for at_ms in range(MOST_PENDING):
        assert not journal.append(PRESS, at_ms).counts
    return flash, journal


def test_the_65th_counts_and_what_comes_after_its_end_counts_anew() -> None:
    flash, journal = crowded()
    first = journal.append(PRESS, 100)
    assert first.counts and not first.closed and first.repeats == 0
    assert journal.append(PRESS, 101) is first and first.repeats == 1 and first.at_ms == 100
    assert records.counted(flash.read(first.address, SLOT)) == 1
    journal.close(first)
    assert first.closed and flash.read(first.address, SLOT)[records.CLOSED] == 0
    second = journal.append(PRESS, 102)
    assert second is not first and (second.press, second.repeats) == (MOST_PENDING + 2, 0)
    journal.release(journal.entries[0])
    journal.release(journal.entries[0])
    journal.release(journal.entries[0])
    assert not journal.append(PRESS, 103).counts, "63 wait, so there is room for one by itself"


def test_a_count_of_more_than_64_is_written_again_with_its_sum() -> None:
    flash, journal = crowded()
    count = journal.append(PRESS, 100)
    old = count.address
    for _ in range(BIT_COUNT):
        journal.append(PRESS, 101)
    assert count.address == old and records.counted(flash.read(old, SLOT)) == BIT_COUNT
    journal.append(PRESS, 102)
    assert count.address == old + SLOT and flash.read(old, SLOT)[records.STATE] == 0
    assert records.press_body(flash.read(count.address, SLOT))[2] == count.repeats == BIT_COUNT + 1


def test_repeats_stop_at_16_bits() -> None:
    _, journal = crowded()
    count = journal.append(PRESS, 100)
    count.repeats = 0xFFFE
    for _ in range(3):
        journal.append(PRESS, 101)
    assert count.repeats == 0xFFFF


def test_a_bank_is_nearly_full_below_96_free_slots_and_left_only_at_rest() -> None:
    flash = NorFlash()
    journal = opened(flash)
    while journal.next < SLOTS - LOW:
        journal.release(journal.append(PRESS, 1))
    assert not journal.nearly_full() and not journal.due() and not journal.maintain()
    waiting = journal.append(PRESS, 2)
    assert journal.nearly_full() and not journal.due(), "while a press waits there is nothing to erase"
    journal.dirty = 0b10
    assert journal.due()
    journal.release(waiting)
    assert journal.due() and journal.maintain() and journal.dirty == 0 and flash.erases == 1
    assert journal.due() and journal.maintain()
    assert (journal.bank, journal.generation, journal.next, journal.dirty) == (1, 2, 2, 0b11)


def test_a_change_of_banks_takes_along_what_waits_and_its_ends() -> None:
    flash, journal = crowded()
    count = journal.append(PRESS, 100)
    journal.append(PRESS, 101)
    silent = journal.append(SILENT, 102)
    journal.close(count)
    ram = journal.remember(PRESS, 1, 999, 5, False)
    assert journal.change_banks() and not journal.change_banks(), "the other one is dirty now"
    waiting = [entry for entry in journal.entries if entry is not ram]
    assert [entry.address for entry in waiting] == [2 * SECTOR + (2 + index) * SLOT for index in range(len(waiting))]
    assert ram.address == -1 and journal.next == 2 + len(waiting)
    assert (journal.base, journal.last_boot, journal.bank) == (1, 2 * SECTOR, 1)
    assert slot(flash, 1, 0) == slot(flash, 1, 1) == records.boot_slot(journal.incarnation, 2, 1)
    assert flash.read(count.address, SLOT)[records.CLOSED] == 0 and flash.read(silent.address, SLOT)[2] == 0xFF
    again = opened(flash)
    told = {(e.kind, e.press): (e.repeats, e.counts, e.closed) for e in again.entries}
    assert told[PRESS, count.press] == (1, True, True) and told[SILENT, silent.press] == (0, True, False)
    assert again.boot == 2 and len(again.entries) == len(waiting)


def test_sectors_are_erased_from_the_first_and_one_that_fails_stays_dirty() -> None:
    flash = NorFlash()
    journal = opened(flash)
    assert journal.change_banks() and journal.dirty == 0b11 and journal.bank == 1
    assert journal.erase_one() and journal.dirty == 0b10 and flash.read(0, SLOT) == records.BLANK
    flash.broken = True
    flash.bytes[SECTOR] = 0
    assert not journal.erase_one() and journal.dirty == 0b10 and journal.failing
    flash.broken = False
    assert journal.erase_one() and journal.dirty == 0


def test_a_bank_that_does_not_take_its_copy_leaves_the_old_one_in_force() -> None:
    for bad in (0, 2):
        flash = NorFlash()
        journal = opened(flash)
        entry = journal.append(PRESS, 1)
        flash.stuck = set(range(2 * SECTOR + bad * SLOT, 2 * SECTOR + (bad + 1) * SLOT))
        assert not journal.change_banks() and journal.failing
        assert (journal.bank, journal.dirty, entry.address) == (0, 0b11, 2 * SLOT)
        assert [(e.boot, e.press) for e in opened(flash).entries] == [(1, 1)]


def test_three_bad_slots_in_a_row_are_stepped_over_and_not_a_fourth() -> None:
    for bad, durable in ((2, True), (3, False)):
        flash = NorFlash()
        journal = opened(flash)
        flash.stuck = set(range(2 * SLOT, (2 + bad) * SLOT))
        entry = journal.append(PRESS, 1)
        assert entry.durable == durable and journal.failing
        assert (entry.address, journal.next) == ((4 * SLOT, 5) if durable else (-1, 5))


def test_a_damaged_slot_makes_the_next_starts_number_leap() -> None:
    flash = NorFlash()
    journal = opened(flash)
    for at_ms in range(3):
        journal.append(PRESS, at_ms)
    flash.bytes[3 * SLOT + records.BODY + 6] ^= 1
    again = opened(flash)
    assert (again.damaged, again.boot) == (1, 1 + 2 * BIT_COUNT + 2)  # and one is left out
    assert [e.press for e in again.entries] == [1, 3] and flash.bytes[3 * SLOT + records.STATE] == 0
    assert opened(flash).damaged == 0, "it is told once"


def test_the_last_slot_cut_while_it_was_written_is_no_damage() -> None:
    flash = NorFlash()
    journal = opened(flash)
    journal.append(PRESS, 1)
    last = journal.append(PRESS, 2)
    flash.bytes[last.address + records.CRC] ^= 1
    again = opened(flash)
    assert again.damaged == 0 and [e.press for e in again.entries] == [1] and again.boot == 2


def test_a_mark_is_taken_back_at_the_next_start() -> None:
    flash = NorFlash()
    journal = opened(flash)
    assert journal.mark() and not journal.marked
    assert opened(flash).marked and not opened(flash).marked
