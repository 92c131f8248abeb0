"""For harnesses of files: one file in a folder of its own, and the errors that a reader may raise."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from sos_contract.errors import UserError

T = TypeVar("T")


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="safezone-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written(data: bytes, name: str = "file.toml") -> Path:
    """A file that only its owner may read, with these bytes."""
    path = _folder() / name
    if not path.exists():
        path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def one_line(read: Callable[[], T]) -> T | None:
    """What ``read`` returns; None where it raises a UserError, whose text is one line that can be printed."""
    try:
        return read()
    except UserError as error:
        assert str(error) and "\n" not in str(error), f"not one line: {error}"
        return None
