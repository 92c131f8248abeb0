"""NOR flash in memory, torn at any byte: the twin of the pole's flash for tests and for the virtual site."""

from __future__ import annotations

from sos_pole.journal import Flash

SECTOR = 4096
PAGE = 256


class PowerCut(Exception):  # noqa: N818  (no error: the world)
    """The power went while the flash was being written; what follows does not happen."""


class NorFlash(Flash):
    """Programming only clears bits; erasing sets a sector to ones. ``writes`` counts the bytes of both.

    ``tear_at``: the power goes when so many bytes have been written in all (erasing counts a sector as 4096).
    ``broken``: programming raises OSError; ``stuck``: addresses whose bits programming does not change.
    """

    def __init__(self, size: int = 4 * SECTOR, content: bytes | None = None) -> None:
        assert size % SECTOR == 0
        self.size = size
        self.bytes = bytearray(content if content is not None else b"\xff" * size)
        self.writes = 0
        self.erases = 0
        self.tear_at: int | None = None
        self.broken = False
        self.stuck: set[int] = set()

    def read(self, address: int, count: int) -> bytes:
        assert address >= 0 and address + count <= self.size
        return bytes(self.bytes[address : address + count])

    def program(self, address: int, data: bytes) -> None:
        assert data and address // PAGE == (address + len(data) - 1) // PAGE, "crosses a page"
        if self.broken:
            raise OSError("flash")
        done = self._room(len(data))
        for index in range(done):
            if address + index not in self.stuck:
                self.bytes[address + index] &= data[index]
        self._wrote(done, len(data))

    def erase(self, address: int) -> None:
        assert address % SECTOR == 0
        if self.broken:
            raise OSError("flash")
        done = self._room(SECTOR)
        self.bytes[address : address + done] = b"\xff" * done
        self.erases += 1
        self._wrote(done, SECTOR)

    def _room(self, count: int) -> int:
        return count if self.tear_at is None else min(count, max(0, self.tear_at - self.writes))

    def _wrote(self, done: int, wanted: int) -> None:
        self.writes += done
        if done < wanted:
            raise PowerCut
