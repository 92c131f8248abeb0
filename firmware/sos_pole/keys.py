"""The pole's key, and one that is on trial to take its place: both in flash, so that any cut of power leaves one that
the agent holds, too.

A key's record in the journal is the key and 16 bytes that the key of settings.json makes of it. So a record counts only
on the pole that was provisioned with that settings.json: what a technician brings by cable counts over what came over
the wire, and no mixture of two records is a key.
"""

from sos_pole.journal import Journal
from sos_pole.records import KEY, PART, TRIAL
from sos_wire.pole_end import PoleLink
from sos_wire.seal import KEY_BYTES, Seal
from sos_wire.wrap import unwrap


class Keys:
    """Begin it once the journal is open; from then on ``link.keys`` is what it says."""

    def __init__(self, journal: Journal, link: PoleLink) -> None:
        self._journal = journal
        self._link = link
        root = link.keys[0]
        self._root = Seal(root)
        self._own = self._read(KEY) or root
        self._hold(self._read(TRIAL))

    def _record(self, key: bytes) -> bytes:
        return key + self._root.digest(key)[: 3 * PART - KEY_BYTES]

    def _read(self, kind: int) -> bytes:
        record = self._journal.keys.get(kind, b"")
        key = record[:KEY_BYTES]
        return key if self._record(key) == record else b""

    def _hold(self, trial: bytes) -> None:
        """``trial``: nothing, or our own, if none is on trial."""
        self._trial = trial
        self._link.keys = [self._own, trial] if trial and trial != self._own else [self._own]
        self._link.use(self._own)

    def replace(self, wrapped: bytes) -> bool:
        """Put the key in it on trial. False: it is not for us, or the flash does not take it; nothing has changed."""
        key = unwrap(self._own, wrapped)
        if key and key != self._trial and self._journal.keep(TRIAL, self._record(key)):
            self._hold(key)
        return key != b"" and key == self._trial

    def opened(self) -> None:
        """A session was opened. If it is one of the key on trial, the agent has that on its disk: the old one ends."""
        if self._own != self._trial == self._link.keys[0]:
            self._own = self._trial
            self._hold(self._own)
            self._journal.keep(KEY, self._record(self._own))
