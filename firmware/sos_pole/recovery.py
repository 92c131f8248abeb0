"""What a start makes of the journal's flash: which bank counts, what is unreleased, which numbers were used."""

from sos_pole import records
from sos_pole.records import BLANK, BODY, BOOT, CLOSED, CRC, KEY, MARK, PART, PRESS, SLOT, STATE, TRIAL

TYPE_CHECKING = False  # at run time the journal imports this module
if TYPE_CHECKING:
    from sos_pole.journal import Entry, Journal


class _Bank:
    """One bank, read once."""

    def __init__(self, journal: "Journal", bank: int) -> None:
        self.start = journal.base_of(bank)
        self.generation = -1  # -1: no identity
        self.incarnation = 0
        self.last_boot = -1
        self.base = 0
        self.boots = 0  # the highest number that a start may have used
        self.used = 0  # slots up to the last one that is not blank
        self.dirty = 0  # sectors with anything in them
        self.bad: "list[int]" = []
        self.presses = False
        for index in range(journal.slots()):
            address = self.start + index * SLOT
            slot = journal.read(address)
            if slot != BLANK:
                self.used = index + 1
                self.dirty |= 1 << (index * SLOT // 4096)
                self._take(slot, address)

    def _take(self, slot: bytes, address: int) -> None:
        if not records.valid(slot):
            if slot[STATE]:
                self.bad.append(address)
            return
        if slot[0] == PRESS:
            self.presses = True
            self.boots = max(self.boots, records.press_body(slot)[3])
        elif slot[0] == BOOT:
            incarnation, generation, base = records.boot_body(slot)
            if generation >= self.generation:
                self.generation = generation
                self.incarnation = incarnation
            if self.last_boot < 0 or base > self.base:
                self.last_boot = address
                self.base = base
            self.boots = max(self.boots, base + records.counted(slot))


def recover(journal: "Journal") -> None:
    """Bring the journal to the state that its flash tells. Damage is counted, made void and so told once."""
    banks = (_Bank(journal, 0), _Bank(journal, 1))
    index = 0 if banks[0].generation >= banks[1].generation else 1
    now, other = banks[index], banks[1 - index]
    if now.generation < 0:
        _begin(journal, banks)
        return
    journal.bank = index
    journal.incarnation = now.incarnation
    journal.generation = now.generation
    journal.next = now.used
    journal.last_boot = now.last_boot
    journal.base = now.base
    journal.dirty = other.dirty
    for address in now.bad:
        journal.void(address)
        # The last one was cut while it was written, and never shown; or so was the second copy of the identity.
        if address not in (now.start + (now.used - 1) * SLOT, now.start + SLOT):
            journal.damaged += 1
    journal.boot = max(now.boots, other.boots)
    if journal.damaged:
        journal.boot += records.BIT_COUNT * (journal.damaged + 1)  # a damaged slot may have counted starts
        journal.last_boot = -1
    known = _load(journal, now)
    adopted = _adopt(journal, other, known) if other.generation < 0 and other.presses else 0
    if journal.nearly_full() and not adopted:
        # A copy that was cut, or a bank never erased for want of rest. There is no line yet that could miss something.
        while journal.dirty and journal.erase_one():
            pass
    journal.entries.sort(key=_order)


def _order(entry: "Entry") -> "tuple[int, int]":
    return entry.boot, entry.press


def _begin(journal: "Journal", banks: "tuple[_Bank, _Bank]") -> None:
    """No bank counts: the flash is new, or wholly damaged. A first identity cut while written is no damage."""
    for bank in banks:
        if bank.used > 1:
            journal.damaged += 1
    journal.begin_incarnation()
    journal.dirty = banks[0].dirty
    journal.bank = 1
    journal.boot = 0
    while journal.dirty:  # there is nothing to lose, and no line yet that could miss something
        if not journal.erase_one():
            journal.next = journal.slots()  # nothing can be written: presses live in RAM, and the pole says so
            return
    journal.next = journal.slots()
    journal.change_banks()
    journal.dirty = banks[1].dirty


def _load(journal: "Journal", bank: _Bank) -> "set[tuple[int, int]]":
    """Take the unreleased presses, the mark and the keys of a bank; returns all presses that it knows."""
    known: "set[tuple[int, int]]" = set()
    record = b""
    for index in range(bank.used):
        address = bank.start + index * SLOT
        slot = journal.read(address)
        if slot == BLANK or not records.valid(slot):
            continue
        if slot[0] == MARK and slot[STATE]:
            journal.marked = journal.void(address)  # a mark that cannot be taken back would open the REPL for ever
        elif slot[0] == PRESS:
            known.add(records.press_body(slot)[3:5])
            if slot[STATE]:
                _restore(journal, slot, address)
        elif slot[0] in (KEY, TRIAL):
            record = (record if slot[BODY] else b"") + slot[BODY + 1 : CRC]
            if len(record) == 3 * PART:  # else a part of it was cut, or is bad
                journal.keys[slot[0]] = record
    return known


def _restore(journal: "Journal", slot: bytes, address: int) -> None:
    kind, counts, repeats, boot, press, at_ms = records.press_body(slot)
    old = journal.find(journal.incarnation, boot, press)
    if old is not None:  # cut between writing it again and voiding the first
        journal.void(old.address)
        journal.entries.remove(old)
    entry = journal.remember(kind, boot, press, at_ms, counts)
    entry.address = address
    entry.repeats = repeats + records.counted(slot)
    entry.closed = not counts or slot[CLOSED] != 0xFF
    entry.durable = True
    entry.restored = 1


def _adopt(journal: "Journal", bank: _Bank, known: "set[tuple[int, int]]") -> int:
    """The other bank has lost its identity. Presses in it that the counting bank never had are from after it."""
    before = journal.damaged
    for index in range(bank.used):
        address = bank.start + index * SLOT
        slot = journal.read(address)
        if slot == BLANK or not records.valid(slot) or slot[0] != PRESS or not slot[STATE]:
            continue
        if records.press_body(slot)[3:5] not in known:
            _restore(journal, slot, address)
            journal.damaged += 1
    return journal.damaged - before
