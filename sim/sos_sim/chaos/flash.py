"""What a live pole has in its flash, read beside it: the ground truth of which presses there were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sos_contract.payloads import Identity
from sos_pole import records, recovery
from sos_pole.journal import Journal
from sos_sim.nor_flash import NorFlash
from sos_wire.messages import KINDS

_NO_ENTROPY = bytes(16)


@dataclass(frozen=True)
class Written:
    """A press that stands, or stood, in the flash."""

    identity: Identity
    kind: str


class PoleFlash:
    """The journal in that file: ``start`` and ``size`` in bytes. Reads only."""

    def __init__(self, pole: str, path: Path, start: int, size: int) -> None:
        self._pole = pole
        self._path = path
        self._start = start
        self._size = size

    def _read(self, at: int, count: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._start + at)
            return file.read(count)

    def slots(self, begin: int, end: int) -> list[Written]:
        """The presses whose record begins in the flash from ``begin`` up to but not ``end``: programmed just now."""
        first = -(-(begin - self._start) // records.SLOT) * records.SLOT
        count = -(-(end - self._start - first) // records.SLOT) * records.SLOT
        return self._presses(self._read(first, count)) if 0 <= first < self._size and count > 0 else []

    def everything(self) -> list[Written]:
        """All presses whose record is whole, released ones too, until their sector is erased."""
        return self._presses(self._read(0, self._size)) if self._path.exists() else []

    def _presses(self, data: bytes) -> list[Written]:
        slots = [data[at : at + records.SLOT] for at in range(0, len(data), records.SLOT)]
        found = [slot for slot in slots if slot[0] == records.PRESS and records.valid(slot)]
        if not found:
            return []
        incarnation = self._incarnation()
        written = []
        for slot in found:
            kind, _, _, boot, press, _ = records.press_body(slot)
            written.append(Written(Identity(self._pole, incarnation, boot, press), KINDS[kind - 1]))
        return written

    def _incarnation(self) -> str:
        """Of the bank that counts."""
        best = (-1, 0)
        for bank in (0, self._size // 2):
            for at in (bank, bank + records.SLOT):
                slot = self._read(at, records.SLOT)
                if slot[0] == records.BOOT and records.valid(slot):
                    incarnation, generation, _ = records.boot_body(slot)
                    best = max(best, (generation, incarnation))
        return f"{best[1]:016x}"

    def unreleased(self) -> list[Written]:
        """What a start would find there and offer again, in order: told by the firmware's own recovery, on a copy."""
        if not self._path.exists():
            return []
        journal = Journal(NorFlash(self._size, self._read(0, self._size)), _NO_ENTROPY)
        recovery.recover(journal)
        return [
            Written(Identity(self._pole, f"{entry.incarnation:016x}", entry.boot, entry.press), KINDS[entry.kind - 1])
            for entry in journal.entries
        ]
