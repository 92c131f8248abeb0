"""Another key for a pole over the wire, from the desk's side: which files hold which key, and when.

The new key is in ``poles.new.toml`` before anybody hears of it, and the old one in ``poles.toml`` until the pole was
heard with the new one. Whenever this is cut off, the same command again goes on with the same key.
"""

from __future__ import annotations

import os
from pathlib import Path

from sos_contract.errors import UserError
from sos_contract.site import KEY_BYTES, nearest
from sos_keys import poles
from sos_wire.wrap import NONCE, fingerprint, wrap

NEW_FILE = "poles.new.toml"


class Replacement:
    """One pole's. ``wrapped`` and ``check`` are what its agent is told."""

    def __init__(self, folder: Path, pole: str) -> None:
        """Makes the new key, or takes up the one that was made before. Raises UserError for a pole without a key."""
        self._folder = folder
        self._pole = pole
        known = poles.read_poles(folder / poles.FILE)
        if pole not in known:
            raise UserError(f"{folder / poles.FILE}: no key of pole '{pole}'{nearest(pole, known)}")
        waiting = poles.read_poles(folder / NEW_FILE)
        self.resumed = pole in waiting and waiting[pole] != known[pole]
        self._key = bytes.fromhex(waiting[pole]) if self.resumed else os.urandom(KEY_BYTES)
        if not self.resumed:
            poles.write_poles(folder / NEW_FILE, waiting | {pole: self._key.hex()})
        self.wrapped = wrap(bytes.fromhex(known[pole]), os.urandom(NONCE), self._key).hex()
        self.check = fingerprint(self._key)

    def done(self) -> list[Path]:
        """The pole runs on the new key: it takes the old one's place. The files that changed."""
        changed = poles.renew_pole(self._folder, self._pole, self._key)
        forget(self._folder, self._pole)
        return changed


def forget(folder: Path, pole: str) -> None:
    """No replacement of that pole's key is under way any more."""
    waiting = poles.read_poles(folder / NEW_FILE)
    if waiting.pop(pole, None) is None:
        return
    if waiting:
        poles.write_poles(folder / NEW_FILE, waiting)
    else:
        (folder / NEW_FILE).unlink()
