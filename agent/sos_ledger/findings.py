"""What can be wrong with a ledger, as values: which one, at which record, in words."""

from __future__ import annotations

from dataclasses import dataclass

# What kind of fault a finding is.
MISSING = "missing"  # a record that was there is not
CHANGED = "changed"  # a record says something else than when it was written
ROW = "row"  # a table says something else than the ledger, or lacks what it tells of
WITNESS = "witness"  # a peer, or whoever wrote a head down, remembers another record
SEAL = "seal"  # a press is not what the pole sealed
FAULTS = (MISSING, CHANGED, ROW, WITNESS, SEAL)


@dataclass(frozen=True, slots=True)
class Finding:
    """``ledger``: the file; ``record``: the number at which it shows, 0 for none in particular."""

    fault: str
    ledger: str
    record: int
    words: str

    def __str__(self) -> str:
        place = f" record {self.record}" if self.record else ""
        return f"{self.ledger}:{place} {self.words}"
