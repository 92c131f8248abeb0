"""The chain: whether each record is what it was, follows the one before it, and none is missing between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sos_contract.ledger import FIRST, FORGOTTEN, OF_ITSELF, Record, content_of, in_spans, told_of_itself
from sos_ledger.findings import CHANGED, MISSING, Finding


class Chain:
    """The records of one ledger, in the order of their numbers, and what they say of the ledger itself."""

    def __init__(self, where: str, records: Sequence[Record]) -> None:
        self.where = where
        self.records = records
        self.by_number = {record.number: record for record in records}
        self.bodies = {record.number: body for record in records if (body := content_of(record.body)) is not None}
        # Names by which others know this ledger, and from which record on.
        self.names: dict[str, int] = {}
        # How much of each table is older than the ledger, as the record said with which it began.
        self.older: dict[str, int] = {}
        self._spans: list[list[int]] = []
        self._dropped: dict[int, str] = {}
        for record in records:
            body = self.bodies.get(record.number, {})
            if record.kind in OF_ITSELF:
                names, older = told_of_itself(record.number, body)
                self.names, self.older = names | self.names, older | self.older
            if record.kind == FORGOTTEN:
                self._spans += _spans_of(body)
                dropped = body.get("dropped")
                if isinstance(dropped, list) and len(dropped) == 2 and isinstance(dropped[0], int):
                    self._dropped[dropped[0]] = str(dropped[1])

    @property
    def last(self) -> int:
        """Number of the last record; 0 in an empty ledger."""
        return self.records[-1].number if self.records else 0

    def content(self, *kinds: str) -> Iterator[tuple[Record, dict[str, Any]]]:
        """Records of these kinds whose body can be read, with it, in order."""
        for record in self.records:
            if record.kind in kinds and record.number in self.bodies:
                yield record, self.bodies[record.number]

    def forgotten(self, number: int) -> bool:
        """Whether the ledger itself says that this body was kept long enough."""
        return in_spans(number, self._spans)

    def renamed_after(self, name: str) -> int:
        """Number of the record from which on the ledger is called otherwise; 0: it bears that name still."""
        later = [number for number in self.names.values() if number > self.names[name]]
        return min(later, default=0)

    def findings(self) -> Iterator[Finding]:
        """Everything that does not hold, in order."""
        if not self.records:
            yield Finding(MISSING, self.where, 0, "the ledger is empty; it begins with a record when it is made")
            return
        yield from self._beginning(self.records[0])
        before: Record | None = None
        for record in self.records:
            if before is not None and record.number != before.number + 1:
                yield _gap(self.where, before.number + 1, record.number - 1)
            elif before is not None and record.previous != before.hash:
                words = (
                    f"does not follow from record {before.number}: one of them was changed or put in another's place"
                )
                yield Finding(CHANGED, self.where, record.number, words)
            yield from self._one(record)
            before = record

    def _beginning(self, first: Record) -> Iterator[Finding]:
        if first.number == 1:
            if first.previous != FIRST:
                yield Finding(CHANGED, self.where, 1, "is the first, and yet names one before it")
            return
        if self._dropped.get(first.number - 1) != first.previous.hex():
            yield _gap(self.where, 1, first.number - 1)

    def _one(self, record: Record) -> Iterator[Finding]:
        if record.computed() != record.hash:
            yield Finding(CHANGED, self.where, record.number, f"({record.kind}) was changed after it was written")
        elif record.body is None and not self.forgotten(record.number):
            words = f"({record.kind}) has lost its content, and no rule of retention took it"
            yield Finding(MISSING, self.where, record.number, words)
        elif record.body is not None and record.number not in self.bodies:
            yield Finding(CHANGED, self.where, record.number, f"({record.kind}) holds no JSON object")


def _gap(where: str, first: int, last: int) -> Finding:
    words = "is missing" if first == last else f"and all up to {last} are missing"
    return Finding(MISSING, where, first, words)


def _is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) for one in value)


def _spans_of(body: dict[str, Any]) -> list[list[int]]:
    spans = body.get("records")
    return [span for span in spans if _is_span(span)] if isinstance(spans, list) else []
