"""The firmware's files as they are installed, and where they lie on a board."""

from __future__ import annotations

from pathlib import Path

import sos_pole
import sos_wire
from sos_contract.resources import data_dir


def files() -> dict[str, Path]:
    """Path on the board -> file here; exactly what a technician puts on a pole, unchanged."""
    found = {"/main.py": data_dir("firmware") / "main.py"}
    for package in (sos_pole, sos_wire):
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("*.py")):
                found[f"/{package.__name__}/{path.name}"] = path
    return found
