"""What ledgers remember of one another: each keeps hashes of its peer's records, so that a later change is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sos_contract.ledger import ALARM, RECEIPTED, STAGES, Record
from sos_ledger.chain import Chain
from sos_ledger.findings import MISSING, WITNESS, Finding
from sos_ledger.inbox import Inbox
from sos_ledger.outbox import Held, Outbox
from sos_ledger.press import press_of


@dataclass(frozen=True, slots=True)
class Claim:
    """``by``: who remembers, in which record; ``name``: the ledger that was told of."""

    by: Chain
    record: Record
    name: str
    number: int
    hash: str


def claims(inboxes: Sequence[Inbox], outboxes: Sequence[Outbox]) -> Iterator[Claim]:
    """All that is remembered of others."""
    for inbox in inboxes:
        yield from _claims(inbox.chain, (ALARM,), "outbox")
    for outbox in outboxes:
        yield from _claims(outbox.chain, (RECEIPTED, STAGES), "inbox")


def _claims(chain: Chain, kinds: Sequence[str], whose: str) -> Iterator[Claim]:
    for record, body in chain.content(*kinds):
        pair = body.get(f"{whose}_record")
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int):
            yield Claim(chain, record, str(body.get(whose)), pair[0], str(pair[1]))


def contradicted(of: Sequence[Claim], chains: Sequence[Chain]) -> Iterator[Finding]:
    """Claims that the ledger they tell of does not bear out. Of ledgers that are not here nothing can be said."""
    for claim in of:
        chain = next((chain for chain in chains if claim.name in chain.names), None)
        if chain is None or (chain.records and claim.number < chain.records[0].number):
            continue
        record = chain.by_number.get(claim.number)
        if record is not None and record.hash.hex() == claim.hash:
            continue
        seen = f"record {claim.record.number} of {claim.by.where}"
        renamed = chain.renamed_after(claim.name)
        if renamed and claim.number >= renamed:
            words = f"a copy was put in place of the ledger: it had a record {claim.number} that {seen} remembers"
            yield Finding(WITNESS, chain.where, renamed, words)
        elif claim.number > chain.last:
            # Of two machines no two copies are of one moment, and a busy point goes on in between.
            words = f"is missing with all that followed {chain.last}, the last: {seen} remembers it"
            words += "; if this copy was taken before that one, take it anew"
            yield Finding(WITNESS, chain.where, claim.number, words)
        elif record is not None:
            words = f"is not the one that {seen} remembers: it, or one before it, was changed and all hashes made anew"
            yield Finding(WITNESS, chain.where, claim.number, words)


def unlike(inboxes: Sequence[Inbox], outboxes: Sequence[Outbox]) -> Iterator[Finding]:
    """Presses of which station and agent tell otherwise, and those that the station receipted and has no record of."""
    held = {
        (name, one.record.number): (outbox, one)
        for outbox in outboxes
        for name in outbox.chain.names
        for one in outbox.presses.values()
    }
    for inbox in inboxes:
        known = set()
        for record, body in inbox.chain.content(ALARM):
            told = _content(press_of(body), body)
            known.add(told)
            pair = body.get("outbox_record")
            number = pair[0] if isinstance(pair, list) and pair and isinstance(pair[0], int) else 0
            found = held.get((str(body.get("outbox")), number))
            if found is not None and _content(found[1].press, found[1].body) != told:
                words = f"tells of another press than record {number} of {found[0].chain.where}, which it names"
                yield Finding(WITNESS, inbox.chain.where, record.number, words)
        if all(record.body is not None for record in inbox.chain.records if record.kind == ALARM):
            yield from _unreceived(inbox, outboxes, known)


def _unreceived(inbox: Inbox, outboxes: Sequence[Outbox], known: set[tuple[Any, ...]]) -> Iterator[Finding]:
    if not inbox.chain.records or inbox.chain.records[0].number != 1 or inbox.older()[0]:
        return  # what came before is not in its records: it may have been received then
    for outbox in outboxes:
        for one in outbox.presses.values():
            receipts = [body for record, body, _ in one.history if record.kind == RECEIPTED]
            by_it = one.receipted and bool(receipts) and str(receipts[-1].get("inbox")) in inbox.chain.names
            if by_it and _content(one.press, one.body) not in known:
                words = f"press {one.press} was receipted by this station, but no record tells of it"
                yield Finding(
                    MISSING, inbox.chain.where, 0, f"{words} (record {one.record.number} of {outbox.chain.where})"
                )


def _content(press: str, body: dict[str, Any]) -> tuple[Any, ...]:
    return press, *(repr(body.get(name)) for name in ("kind", "pressed_at_ms", "repeats"))


def counterparts(outboxes: Sequence[Outbox], press: str) -> Iterator[tuple[Outbox, Held]]:
    """What agents tell of a press."""
    for outbox in outboxes:
        for held in outbox.presses.values():
            if held.press == press:
                yield outbox, held
