"""One process a folder: the second one that wants the same outbox or inbox is refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sos_contract.errors import SafezoneError


class LockedError(SafezoneError):
    """Another process uses the folder."""


class FolderLock:
    """Holds ``<folder>/lock`` until close() or the end of the process, however it ends."""

    def __init__(self, folder: Path, *, what: str) -> None:
        """Takes the lock at once. Raises LockedError if somebody has it, OSError if the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.path = folder / "lock"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LockedError(
                f"{folder}: another {what} (process {holder}) uses this folder; stop it, or name another one"
            ) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk: the lock holds all the same, only its owner's number is not told

    def close(self) -> None:
        os.close(self._fd)


def holder_of(folder: Path) -> str:
    """Process that holds ``folder``'s lock, as text; empty if nobody does or it cannot be looked at."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(fd)
    return ""
