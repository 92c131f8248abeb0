"""The `rp2` of the live pole: raw flash as `rp2.Flash` gives it on an RP2040 or RP2350."""

# mypy: ignore-errors
# Runs on MicroPython only; the names that it imports are modules of the interpreter or of board.mjs.
import _board
import uctypes

_PAGE = 256
_SECTOR = 4096


class Flash:
    """Block device over NOR flash, from `start`, `len` bytes long (multiples of the sector)."""

    def __init__(self, start: int = 0, len: int = -1) -> None:  # noqa: A002
        self._start = start
        self._len = _board.flash_size() - start if len < 0 else len
        if start % _SECTOR or self._len % _SECTOR or start + self._len > _board.flash_size():
            raise ValueError("outside of the flash, or no multiple of a sector")

    def _inside(self, offset: int, size: int) -> int:
        if offset < 0 or offset + size > self._len:
            raise ValueError("outside of the flash")
        return self._start + offset

    def readblocks(self, block: int, buffer: object, offset: int = 0) -> None:
        at = self._inside(block * _SECTOR + offset, len(buffer))
        _board.flash_read(at, uctypes.addressof(buffer), len(buffer))

    def writeblocks(self, block: int, buffer: object, offset: object = None) -> None:
        """Without an offset erases first; with one it programs only, whole pages: the chip wraps inside a page."""
        at = self._inside(block * _SECTOR + (offset or 0), len(buffer))
        if at % _PAGE or len(buffer) % _PAGE:
            raise ValueError("the chip programs whole pages of 256 bytes")
        if offset is None:
            for sector in range(at, at + len(buffer), _SECTOR):
                _board.flash_erase(sector)
        _board.flash_program(at, uctypes.addressof(buffer), len(buffer))

    def ioctl(self, op: int, arg: int) -> object:
        if op == 4:
            return self._len // _SECTOR
        if op == 5:
            return _SECTOR
        if op == 6:
            _board.flash_erase(self._inside(arg * _SECTOR, _SECTOR))
            return 0
        return 0 if op in (1, 2, 3) else None
