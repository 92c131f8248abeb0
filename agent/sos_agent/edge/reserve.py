"""Room on the disk that is kept back for alarms: a file that shrinks, piece by piece, when nothing else is left."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# 20,000 alarms with their records in the ledger, the pole's seal included, took 618 bytes each (two tables, two
# indexes, pages half full), long names a little more; and the write-ahead log takes 16 MB at most, since SQLite
# checkpoints at 4,000 pages.
ALARMS = 100_000
BYTES_AN_ALARM = 704
LOG_BYTES = 4_200 * 4096
RESERVE_BYTES = ALARMS * BYTES_AN_ALARM + LOG_BYTES
# Given back at a time: some 3,000 alarms. Small, so that another program that fills the disk gets little of it.
PIECE_BYTES = 2 * 1024 * 1024
# The reserve is filled again only when this much would still be free, so that it does not fill the disk itself.
MARGIN_BYTES = 16 * 1024 * 1024


class Reserve:
    """The file ``<folder>/reserve``. ``whole`` is False while some of it is lent; only alarms may be written then."""

    def __init__(self, folder: Path, size: int = RESERVE_BYTES, *, margin: int = MARGIN_BYTES) -> None:
        """Opens or creates the file; allocates nothing yet. Raises OSError if the folder cannot be written.

        A file without its blocks, as a copy of the folder may bring it, keeps no room: it is emptied.
        """
        self._size = size
        self._margin = margin
        self._folder = folder
        self._fd = os.open(folder / "reserve", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if os.fstat(self._fd).st_blocks * 512 < self.held():
            os.ftruncate(self._fd, 0)
        self.whole = self.held() >= size

    def held(self) -> int:
        """Bytes that are kept back at this moment."""
        return os.fstat(self._fd).st_size

    def free(self) -> int:
        """Bytes that the file system has left beside the reserve."""
        room = os.statvfs(self._folder)
        return room.f_bavail * room.f_frsize

    def give(self) -> bool:
        """Give back one piece. False if there is none left."""
        size = self.held()
        if size == 0:
            return False
        self.whole = False
        try:
            os.ftruncate(self._fd, max(0, size - PIECE_BYTES))
            # Some file systems let go of the blocks only when the change of size is on disk.
            os.fsync(self._fd)
        except OSError:  # a disk that dies while it is full: what wants the room hears that there is none
            return False
        return True

    def fill(self) -> bool:
        """Take back what was lent, if the disk has room again. True if the reserve is whole afterwards."""
        size = self.held()
        if size < self._size and self.free() >= self._size - size + self._margin:
            try:
                os.posix_fallocate(self._fd, 0, self._size)
                os.fsync(self._fd)
            except OSError:
                with suppress(OSError):  # a disk that has become read-only
                    os.ftruncate(self._fd, size)
        self.whole = self.held() >= self._size
        return self.whole

    def close(self) -> None:
        os.close(self._fd)
