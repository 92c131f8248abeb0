"""What happened in a virtual run, row by row: heard by the checkers, kept for the timeline, folded into one hash.

The kinds of row, their parts and their fields are in ``KINDS``; a row of another kind is a mistake of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

# kind -> what its fields are. An identity is written "pole/incarnation/boot/press", with ".clash" if that is not 0.
KINDS = {
    "finger": "part=pole; button, 'down' or 'up', number of the touch: the truth about the button, bounce left out",
    "loop": "part=pole; button, level: the wires of a button as they are (idle, pressed, open, short)",
    "minted": "part=pole; identity, kind, durable (it is in the journal), repeats",
    "look": "part=pole; look, identity that the lamp belongs to, or ''",
    "forgot": "part=pole; identity: the flash that held it unreleased is gone (swapped or lost)",
    "held": "part=point; identity, outcome (new, duplicate, clash): synced in the outbox, before the core hears of it",
    "received": "part=station; identity, verdict, number, kind, pressed_at_ms, age_ms or None, late, incident, repeats:"
    " in the inbox",
    "stage": "part=station; identity, stage, officer: synced in the inbox",
    "screen": "part=terminal; ((identity, stage, age_ms or None, late, kind, number, newest, repeats), ...) as an"
    " officer was shown it, what was asked for (an action, or open: the list of open incidents), rows left out, when",
    "up": "part=pole, agent:ID, station, broker:NAME; cause: it runs",
    "down": "part=as above; cause (kill, power, crash, freeze, ...): it does not run any more",
    "boundary": "part=agent:ID or station; effect's class: a crash fell before this effect was carried out",
    "disk": "part=agent:ID or station; what (lost, restored, full, failing, slow, hang, damaged, ok)",
    "fault": "part; name, 'on' or 'off', details in words: a fault of the scenario began or ended",
    "row": "part; machine, state, event: a row of a state table was visited (only the first time)",
    "point_lost": "part=station; point, 'on' or 'off': supervision's finding, as the station committed it",
    "pole_lost": "part=point; pole, 'on' or 'off': the agent lost or found a pole",
    "asked": "part=terminal; officer, action, alarm's number, newest one that the officer saw, stage that was"
    " shown or '': what was asked for",
    "attack": "part=where; what was put there",
    "phase": "part='scenario'; faults, heal, progress, end",
}


class Row(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at_us: int
    kind: str
    part: str
    fields: tuple[object, ...]

    def __str__(self) -> str:
        return f"{self.at_us / 1e6:12.6f} {self.kind:<9} {self.part:<18} {' '.join(map(str, self.fields))}"


Hear = Callable[[Row], None]


class Trace:
    """Takes rows. ``keep``: hold on to all of them (a single run); a campaign keeps only the hash and the counts."""

    def __init__(self, keep: bool = False) -> None:
        self.rows: list[Row] = []
        self.counts: dict[str, int] = {}
        self._keep = keep
        self._hash = hashlib.blake2b(digest_size=16)
        self._in_bytes = msgspec.msgpack.Encoder().encode
        self._hear: dict[str, list[Hear]] = {kind: [] for kind in KINDS}

    def listen(self, kind: str, hear: Hear) -> None:
        """Call ``hear`` with each row of that kind, as it happens."""
        self._hear[kind].append(hear)

    def say(self, at_us: int, kind: str, part: str, *fields: object) -> None:
        """Take a row. Fields: strings, numbers, None and tuples of these, which every process hashes alike."""
        row = Row(at_us, kind, part, fields)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._hash.update(self._in_bytes(row))
        if self._keep:
            self.rows.append(row)
        for hear in self._hear[kind]:
            hear(row)

    @property
    def digest(self) -> str:
        """32 hex digits of all rows so far: the same for the same seed, or the world is not deterministic."""
        return self._hash.hexdigest()
