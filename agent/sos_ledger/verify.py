"""All ledgers that are at hand, checked each by itself, against its tables, and against what the others remember."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sos_contract.errors import UserError
from sos_contract.ledger import is_hash
from sos_ledger.book import Book
from sos_ledger.chain import Chain
from sos_ledger.findings import WITNESS, Finding
from sos_ledger.inbox import Inbox

INBOX_FILE = "inbox.sqlite"
FILES = (INBOX_FILE,)


class Ledgers:
    """The ledgers at hand."""

    def __init__(self, books: Sequence[Book]) -> None:
        self.inboxes = [Inbox(book) for book in books if book.path.name == INBOX_FILE]

    @property
    def chains(self) -> list[Chain]:
        return [inbox.chain for inbox in self.inboxes]

    def findings(self, heads: Sequence[str] = ()) -> Iterator[Finding]:
        """Everything that is wrong. ``heads`` were written down earlier: NUMBER:HASH or HASH."""
        for chain in self.chains:
            yield from chain.findings()
        for inbox in self.inboxes:
            yield from inbox.findings()
        for head in heads:
            yield from self._head(head)

    def _head(self, head: str) -> Iterator[Finding]:
        number, _, hashed = head.rpartition(":")
        for chain in self.chains:
            for record in chain.records:
                if record.hash.hex() == hashed and number in ("", str(record.number)):
                    return
        where = self.chains[0].where if len(self.chains) == 1 else "all ledgers here"
        words = f"hold no record of the head {head}: what was written since was put in its place, or the end is missing"
        yield Finding(WITNESS, where, int(number or 0), words)


def find_books(folders: Sequence[Path], files: Sequence[str]) -> list[Path]:
    """The databases in ``folders``; a folder without one is the user's mistake."""
    found: list[Path] = []
    for folder in folders:
        here = [folder / name for name in files if (folder / name).exists()]
        if not here:
            raise UserError(
                f"{folder}: holds neither {' nor '.join(files)}; name the data folder of a station or an agent"
            )
        found += [path for path in here if path not in found]
    return found


def check_head(head: str) -> str:
    """``head`` as it was given; raises UserError for what cannot be one."""
    number, _, hashed = head.rpartition(":")
    if not is_hash(hashed) or not (number == "" or (number.isascii() and number.isdigit() and len(number) < 19)):
        raise UserError(f"'{head[:80]}' is no head; write it as 'safezone ledger head' told it: NUMBER:HASH")
    return head
