"""TOML as somebody may have written it: tomllib, with ValueError for everything that cannot be read."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

# A site of a thousand points and all that can be said of them takes some three megabytes.
MAX_FILE_BYTES = 8 * 1024 * 1024


def read_toml(path: Path) -> dict[str, Any]:
    """The tables in a file. Raises OSError, or ValueError for whatever is no file of ours, one line."""
    # Without waiting: to open a pipe that nobody writes to would last for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is a pipe or a device")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 1024 // 1024} MB")
    return parse_toml(data.decode("utf-8"))


def parse_toml(text: str) -> dict[str, Any]:
    """The tables in ``text``. Raises ValueError, one line, where tomllib would let other errors through, too."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("its brackets are nested too deep") from None
    except ValueError:  # Python's limit for numbers, which speaks to programmers
        raise ValueError("a number in it has thousands of digits") from None
