"""All ledgers that are at hand, checked each by itself, against its tables, and against what the others remember."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sos_contract.errors import UserError
from sos_contract.ledger import is_hash
from sos_contract.site import Site
from sos_ledger import seal
from sos_ledger.book import Book
from sos_ledger.chain import Chain
from sos_ledger.findings import SEAL, WITNESS, Finding
from sos_ledger.inbox import Inbox
from sos_ledger.outbox import Outbox
from sos_ledger.witness import claims, contradicted, unlike

INBOX_FILE = "inbox.sqlite"
OUTBOX_FILE = "outbox.db"
FILES = (INBOX_FILE, OUTBOX_FILE)


class Ledgers:
    """The ledgers at hand. ``site`` tells where poles stand; ``keys``: of each pole, its key and earlier ones."""

    def __init__(self, books: Sequence[Book], site: Site, keys: Mapping[str, Sequence[bytes]]) -> None:
        self.inboxes = [Inbox(book) for book in books if book.path.name == INBOX_FILE]
        self.outboxes = [Outbox(book) for book in books if book.path.name == OUTBOX_FILE]
        self._all: list[Inbox | Outbox] = [*self.inboxes, *self.outboxes]
        self.keys = keys
        self.own_buttons = {point.button.id for point in site.point if point.button}
        self._points = {pole.id: point.id for point in site.point for pole in point.poles()}
        self._points |= {point.button.id: point.id for point in site.point if point.button}

    def point_of(self, pole: str) -> str:
        """The point of that pole; of a pole that the site file does not know, a word for that."""
        return self._points.get(pole, "(unknown to the site file)")

    @property
    def chains(self) -> list[Chain]:
        return [one.chain for one in self._all]

    def findings(self, heads: Sequence[str] = ()) -> Iterator[Finding]:
        """Everything that is wrong. ``heads`` were written down earlier: NUMBER:HASH or HASH."""
        for chain in self.chains:
            yield from chain.findings()
        for one in self._all:
            yield from one.findings()
        yield from contradicted(list(claims(self.inboxes, self.outboxes)), self.chains)
        yield from unlike(self.inboxes, self.outboxes)
        yield from self._seals()
        for head in heads:
            yield from self._head(head)

    def _seals(self) -> Iterator[Finding]:
        for outbox in self.outboxes:
            for held in outbox.presses.values():
                if held.press.partition("/")[0] not in self.own_buttons:
                    state, why = seal.check(held.body, self.keys)
                    if state == seal.BAD:
                        yield Finding(SEAL, outbox.chain.where, held.record.number, f"(press {held.press}): {why}")

    def unchecked(self) -> list[str]:
        """Names of ledgers that those at hand remember records of, and that are not here."""
        here = {name for chain in self.chains for name in chain.names}
        return sorted({claim.name for claim in claims(self.inboxes, self.outboxes)} - here)

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
        here = books_in(folder, files)
        if not here:
            raise UserError(
                f"{folder}: holds neither {' nor '.join(files)}; name the data folder of a station or an agent"
            )
        found += [path for path in here if path not in found]
    return found


def books_in(folder: Path, files: Sequence[str]) -> list[Path]:
    """The databases that lie in ``folder``; none if there is no such folder. Raises UserError if it cannot be read."""
    try:
        return [folder / name for name in files if (folder / name).is_file()]
    except OSError as error:
        who = "run this as the user whose program it is, or with sudo"
        raise UserError(f"{folder}: cannot be looked into ({error.strerror}); {who}") from None


def check_head(head: str) -> str:
    """The head in a line as 'head' told it; raises UserError for what cannot be one."""
    head = next(iter(head.split()), "")
    number, _, hashed = head.rpartition(":")
    if not is_hash(hashed) or not (number == "" or (number.isascii() and number.isdigit() and len(number) < 19)):
        raise UserError(f"'{head[:80]}' is no head; write it as 'safezone ledger head' told it: NUMBER:HASH")
    return head
