"""Folders that only their owner may enter, and what is wrong with files, in one line."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sos_contract.errors import SafezoneError, UserError
from sos_edge import files
from sos_edge.files import replace

__all__ = ["make_folder", "one_line", "replace", "write_new"]


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
        files.write_new(path, data)
    except FileExistsError:
        raise UserError(f"{path}: is there already and is not overwritten; move it away first") from None


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Tell what the disk refuses in one line: which file, and why."""
    try:
        yield
    except OSError as error:
        raise SafezoneError(f"{error.filename or path}: {error.strerror or error}") from None
