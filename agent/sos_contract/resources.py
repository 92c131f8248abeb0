"""Where the files that are no Python modules lie: in the wheel beside the packages, in a checkout in their folders."""

from __future__ import annotations

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
# name -> folder in a checkout; pyproject.toml puts the same under sos_contract/data/<name> in the wheel
_IN_CHECKOUT = {"sites": "hardware/sites", "boards": "hardware/boards", "firmware": "firmware"}


def data_dir(name: str) -> Path:
    """Folder of the packaged files ``name``: ``sites``, ``boards`` or ``firmware``."""
    packaged = Path(__file__).resolve().parent / "data" / name
    return packaged if packaged.is_dir() else _CHECKOUT / _IN_CHECKOUT[name]
