"""Files that only their owner may read, each there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

_ALONE = 0o600


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet; raises FileExistsError if it is."""
    _write(path, data)
    _sync(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``: a reader, or a power cut, sees the old or the new file."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    _write(fresh, data)
    fresh.replace(path)
    _sync(path.parent)


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _ALONE)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
