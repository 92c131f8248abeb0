"""The form of a ledger's records: each carries the hash of the one before, so that none can be changed unseen.

A record's hash is the SHA-256 of five lines of text, each ended by a newline: its number, its wall time in
milliseconds, its kind, the hash of the record before (64 hex digits; zeros before the first), and the SHA-256 of its
body (64 hex digits). The body is one JSON object, UTF-8, kept as it was hashed; once it may be kept no longer, its
digest stays in its place, and the chain holds without it. ``sha256sum`` alone can check all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from sos_contract.payloads import Entry

HASH_BYTES = 32
FIRST = bytes(HASH_BYTES)  # stands before the first record

# Kinds of a ledger itself.
BEGAN = "began"  # its name, and how much of the database is older than the ledger
RESTORED = "restored"  # goes on in a copy, under a new name
FORGOTTEN = "forgotten"  # bodies kept long enough; records before them that were dropped, and what those said of it
OF_ITSELF = (BEGAN, RESTORED, FORGOTTEN)

# Kinds of the station.
ALARM = "alarm"  # received: new, or a clash
STAGE = "stage"  # an officer moved alarms on
FAULT = "fault"  # opened; with its end, if it has happened in one moment
FAULT_ENDED = "fault_ended"
COMMAND = "command"  # an officer asked for a service message to a pole
COMMAND_ENDED = "command_ended"  # what came of it

# Kinds of an agent.
PRESS = "press"  # held, with the pole's seal
RECEIPTED = "receipted"  # the station has them
STAGES = "stages"  # told by the station
WAITING = "waiting"  # the station lacks what it had receipted

_encoder = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in a ledger. ``body`` is None where only its ``digest`` is left."""

    number: int
    wall_ms: int
    kind: str
    body: bytes | None
    digest: bytes | None
    previous: bytes
    hash: bytes

    @property
    def entry(self) -> Entry:
        """What others are told of it."""
        return Entry(number=self.number, hash=self.hash.hex())

    def computed(self) -> bytes:
        """The hash that it should have, by what it says."""
        digest = self.digest if self.body is None else digest_of(self.body)
        return hash_of(self.number, self.wall_ms, self.kind, self.previous, digest or b"")


def body_of(content: Mapping[str, Any]) -> bytes:
    """The JSON of a body: keys sorted, no spaces."""
    return _encoder.encode(content)


def content_of(body: object) -> dict[str, Any] | None:
    """The JSON object that a body holds; None where it is forgotten, and where somebody made it anything else."""
    try:
        found = json.loads(body) if isinstance(body, bytes) else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def told_of_itself(number: int, content: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """What a record of OF_ITSELF says: names of the ledger, each with the number of the record from which on it bore
    it; and ``older_...``: how much of the database is older than the ledger."""
    names = content.get("names")
    names = dict(names) if isinstance(names, dict) else {}
    if "ledger" in content:
        names[str(content["ledger"])] = number
    older = {name: count for name, count in content.items() if name.startswith("older_")}
    return _written(names), _written(older)


def _written(numbers: Mapping[str, Any]) -> dict[str, int]:
    """Those that a ledger can have written: what a forger made of them must not end who writes them again."""
    return {
        name: number
        for name, number in numbers.items()
        if name.isprintable() and isinstance(number, int) and 0 <= number < 2**63
    }


def digest_of(body: bytes) -> bytes:
    """What stays of a body that is forgotten."""
    return sha256(body).digest()


def hash_of(number: int, wall_ms: int, kind: str, previous: bytes, digest: bytes) -> bytes:
    """The hash of a record."""
    return sha256(f"{number}\n{wall_ms}\n{kind}\n{previous.hex()}\n{digest.hex()}\n".encode()).digest()


def is_hash(text: str) -> bool:
    """Whether ``text`` is a hash as records and messages write it."""
    return len(text) == 2 * HASH_BYTES and set(text) <= set("0123456789abcdef")


def witnessed(entry: Entry | None) -> list[Any] | None:
    """What is written down of a peer's record: [number, hash]; None for none, and for what cannot be one."""
    if entry is None or not (0 < entry.number < 2**63 and is_hash(entry.hash)):
        return None
    return [entry.number, entry.hash]


def spans(numbers: Iterable[int]) -> list[list[int]]:
    """``numbers`` as [first, last] of each unbroken run, in order."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number <= found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def in_spans(number: int, of: Sequence[Sequence[int]]) -> bool:
    """Whether ``number`` lies in one of them."""
    return any(first <= number <= last for first, last in of)
