"""TOML as somebody may have written it: tomllib, with ValueError for everything that cannot be read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from sos_contract.files import read_file


def read_toml(path: Path) -> dict[str, Any]:
    """The tables in a file. Raises OSError as ``read_file`` does, or ValueError for what is no TOML, one line."""
    return parse_toml(read_file(path).decode("utf-8"))


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
