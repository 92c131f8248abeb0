"""A start whose bank has no slot left, and whose bits are all used, counts in the other bank, under the same name."""

from __future__ import annotations

from tests.pole.journal_model import ENTROPY, PRESS

from sos_pole.journal import Journal
from sos_pole.records import BIT_COUNT
from sos_sim.nor_flash import NorFlash


def opened(flash: NorFlash, entropy: bytes = ENTROPY) -> Journal:
    journal = Journal(flash, entropy)
    journal.open()
    return journal


def test_a_start_that_finds_no_slot_leaves_the_bank_and_keeps_its_name() -> None:
    flash = NorFlash()
    for _ in range(BIT_COUNT):
        journal = opened(flash)
    name, boot = journal.incarnation, journal.boot
    while journal.next < journal.slots():
        journal.release(journal.append(PRESS, 1))
    again = opened(flash, bytes(range(100, 116)))
    assert (again.incarnation, again.anew, again.failing, again.bank) == (name, False, False, 1)
    assert again.boot > boot and again.append(PRESS, 2).durable
