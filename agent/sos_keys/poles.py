"""Pole keys: 32 random bytes a pole, shared by that pole and the agent of its point alone."""

from __future__ import annotations

import os
from pathlib import Path

import tomli_w

from sos_contract.errors import UserError
from sos_contract.site import KEY_BYTES, Site, read_key_file, read_keys
from sos_keys.folder import replace

FILE = "poles.toml"


def read_poles(path: Path) -> dict[str, str]:
    """Keys by pole, as hex; none if there is no file. Raises SiteError for a file that an agent would refuse."""
    if not path.exists():
        return {}
    return {pole: key.hex() for pole, key in read_keys(path, list(read_key_file(path))).items()}


def unchecked(path: Path) -> dict[str, str]:
    """As ``read_poles``, weak and doubled keys too: for whoever is about to replace one."""
    return read_key_file(path) if path.exists() else {}


def add_poles(folder: Path, site: Site) -> list[str]:
    """Make a key for each pole of ``site`` that has none; the poles that got one. Raises UserError where the file of
    all keys is missing, but not those made from it."""
    held = next(iter(sorted(folder.glob(f"point.*/{FILE}"))), None)
    if held is not None and not (folder / FILE).exists():
        # Other keys than those that the poles have would take them all out of service.
        raise UserError(f"{folder / FILE}: not here, though {held} has keys of it; bring it back from your copy")
    keys = read_poles(folder / FILE)
    fresh = [pole for pole in site.pole_ids() if pole not in keys]
    if fresh:
        write_poles(folder / FILE, keys | {pole: os.urandom(KEY_BYTES).hex() for pole in fresh})
    return fresh


def renew_pole(folder: Path, pole: str, new: bytes = b"") -> list[Path]:
    """Give ``pole`` another key wherever ``folder`` has it, ``new`` or one made here; the files that changed. The old
    key opens nothing then."""
    key = (new or os.urandom(KEY_BYTES)).hex()
    changed = []
    for path in (folder / FILE, *sorted(folder.glob(f"point.*/{FILE}"))):
        keys = unchecked(path)
        if pole in keys:
            write_poles(path, keys | {pole: key})
            changed.append(path)
    return changed


def hand_out(folder: Path, site: Site) -> None:
    """Give each point's folder the keys of its own poles: a stolen Pi tells of no other's."""
    keys = read_poles(folder / FILE)
    for point in site.point:
        path = folder / f"point.{point.id}" / FILE
        wanted = {pole.id: keys[pole.id] for pole in point.poles()}
        if path.parent.is_dir() and read_poles(path) != wanted:
            write_poles(path, wanted)


def write_poles(path: Path, keys: dict[str, str]) -> None:
    """Put these into the place of what is there."""
    replace(path, tomli_w.dumps({"poles": keys}).encode())
