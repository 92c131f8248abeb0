"""Files that only their owner may read, each there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sos_contract.errors import SafezoneError, UserError

_ALONE = 0o600


def make_folder(path: Path) -> Path:
    """``path`` with mode 0700, made with its parents if absent; raises UserError for one that others may enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UserError(f"{path}: others may enter it (mode {mode:04o}); run: chmod 700 {path}")
    return path


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet; raises UserError if it is."""
    try:
        _write(path, data)
    except FileExistsError:
        raise UserError(f"{path}: is there already and is not overwritten; move it away first") from None
    _sync(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``: a reader, or a power cut, sees the old or the new file."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    _write(fresh, data)
    fresh.replace(path)
    _sync(path.parent)


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Tell what the disk refuses in one line: which file, and why."""
    try:
        yield
    except OSError as error:
        raise SafezoneError(f"{error.filename or path}: {error.strerror or error}") from None


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
