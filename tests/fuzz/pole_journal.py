"""A pole's flash with anything on it: the pole starts, keeps the presses that it finds apart, and takes new ones."""

from __future__ import annotations

from tests.fuzz.source import Source, piece
from tests.pole.journal_model import ENTROPY

from sos_pole.journal import MOST_PENDING, Journal
from sos_pole.records import SLOT
from sos_sim.nor_flash import SECTOR, NorFlash

PACKAGES = ("sos_pole",)
MOST_PATCHES = 16


def seeds() -> list[bytes]:
    """A new flash; one with presses, whole and with their middles patched."""
    flash = NorFlash()
    journal = Journal(flash, ENTROPY)
    journal.open()
    for at_ms in range(3):
        journal.append(1, at_ms)
    used = bytes(flash.bytes[: 8 * SLOT])
    patch = (0).to_bytes(2, "little") + piece(used)
    return [b"", patch, patch + (3 * SLOT + 2).to_bytes(2, "little") + piece(b"\0"), patch + used[:40]]


def one(data: bytes) -> None:
    source = Source(data)
    flash = NorFlash(4 * SECTOR)
    for _ in range(MOST_PATCHES):
        if not source.left:
            break
        at = source.number(2) % flash.size
        new = source.piece()[: flash.size - at]
        flash.bytes[at : at + len(new)] = new
    for boot in range(2):
        journal = Journal(flash, ENTROPY if boot else ENTROPY[::-1])
        journal.open()
        names = [(entry.incarnation, entry.boot, entry.press) for entry in journal.entries]
        assert len(set(names)) == len(names)
        entry = journal.append(1, 5)
        assert (entry.incarnation, entry.boot, entry.press) not in names or entry.counts
        assert len(journal.entries) <= 2 * MOST_PENDING + 2
