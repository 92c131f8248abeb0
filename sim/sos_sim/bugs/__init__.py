"""Planted bugs: mistakes that somebody could make, each a few lines in the place of a few of the product's.

They prove the virtual zone: a checker, fault or scenario that cannot find them proves nothing about bugs that nobody
has thought of. ``safezone soak --bug NAME`` runs the zone with one; the product itself has no switch for any.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import sos_sim.world.zone  # noqa: F401 - a bug is planted in all that has been imported
from sos_contract.errors import UserError
from sos_contract.site import nearest
from sos_sim.bugs import agent, pole, station
from sos_sim.bugs.plant import Bug

BUGS: dict[str, Bug] = {bug.name: bug for bug in (*pole.BUGS, *agent.BUGS, *station.BUGS)}


def planted(name: str) -> AbstractContextManager[None]:
    """The bug of that name, in this process, until the end of a ``with`` block; no bug for an empty name."""
    return find_bug(name).planted() if name else nullcontext()


def scenario_of(name: str) -> Path:
    """A small scenario in which that bug is found."""
    return Path(__file__).parent / "scenarios" / f"{find_bug(name).name}.toml"


def find_bug(name: str) -> Bug:
    """The bug of that name; raises UserError that names the nearest one."""
    if name not in BUGS:
        raise UserError(f"unknown bug '{name}'{nearest(name, BUGS)}")
    return BUGS[name]
