"""The journal: unreleased presses in raw flash, so that a press that was shown outlives any loss of power.

Two banks of slots take turns. Presses are appended behind one another and released in place; a full bank is left for
the other, erased beforehand, by copying what is unreleased and then writing the new bank's identity, which is the
moment from which it counts. A cut of power at any byte leaves either the old state or the new one. Every write is read
back. Where the flash does not take it, the press lives in RAM, and its entry says so.
"""

from sos_pole import records, recovery
from sos_pole.records import BLANK, SLOT

SECTOR = 4096
MOST_PENDING = 64  # beyond that further presses are counted in one record a kind
_LOW = 96  # free slots below which the bank is left while nothing is pending: room for all that may then come
_TRIES = 3  # slots that may fail one after the other before the flash counts as broken
_MOST_REPEATS = 0xFFFF


class Flash:
    """What the journal writes to: NOR flash beside the file system, ``size`` bytes, two banks of whole sectors."""

    size = 0

    def read(self, address: int, count: int) -> bytes:
        """Bytes as they are; all ones where erased."""
        raise NotImplementedError

    def program(self, address: int, data: bytes) -> None:
        """Clear the bits that are 0 in ``data``, within one page of 256 bytes. May raise OSError."""
        raise NotImplementedError

    def erase(self, address: int) -> None:
        """Set a sector of 4096 bytes to all ones. May raise OSError."""
        raise NotImplementedError


class Entry:
    """A press that is not yet received. ``durable``: it is in the flash. ``address`` is its slot, or -1."""

    __slots__ = (
        "address", "at_ms", "boot", "closed", "counts", "durable", "held", "incarnation", "kind", "offered",
        "offered_at", "press", "repeats", "restored", "session",
    )  # fmt: skip

    def __init__(self, kind: int, incarnation: int, boot: int, press: int, at_ms: int, counts: bool) -> None:
        self.kind = kind  # code of the kind in sos_wire.messages.KINDS
        self.incarnation = incarnation
        self.boot = boot
        self.press = press
        self.at_ms = at_ms
        self.counts = counts  # stands for further presses too; told only once it is closed
        self.closed = not counts
        self.repeats = 0
        self.restored = 0
        self.address = -1
        self.durable = False
        self.held = False  # from here on the pole's own notes, which live in RAM only
        self.session = -1  # in which it was pressed
        self.offered = -1  # session in which it was last offered
        self.offered_at = 0


class Journal:
    """See above. ``entropy``: 16 fresh random bytes, for what incarnations this start may need."""

    def __init__(self, flash: Flash, entropy: bytes) -> None:
        assert len(entropy) >= 16
        self._flash = flash
        self._entropy = entropy
        self._bank_bytes = flash.size // 2
        assert self._bank_bytes % SECTOR == 0 and self._bank_bytes // SLOT > 2 * _LOW
        self.incarnation = 0
        self.boot = 0
        self.entries: "list[Entry]" = []
        self.marked = False  # the last start was asked to open the REPL
        self.keys: "dict[int, bytes]" = {}  # records of keys (``keys.py``), by kind: records.KEY, records.TRIAL
        self.anew = False  # this start began a new incarnation
        self.damaged = 0  # slots, or whole banks, found unreadable at this start
        self.failing = False  # a write did not take
        self._volatile = False  # nothing of this start can be kept: the flash could not even count it
        self._press = 0
        self.bank = 0  # from here on known to the recovery only
        self.generation = 0
        self.next = 0  # first free slot
        self.dirty = 0  # sectors of the other bank that are to be erased, a bit each
        self.last_boot = -1  # address of the slot that counts starts
        self.base = 0  # starts before those

    # -- at the start

    def open(self) -> None:
        """Find out what was left, or begin a new incarnation; count this start."""
        recovery.recover(self)
        self.count_boot()

    def count_boot(self) -> None:
        """Give this start a number of its own, durably; failing that, an incarnation of its own that only RAM knows."""
        for _ in range(_TRIES):
            if self.last_boot >= 0:
                slot = self.read(self.last_boot)
                used = records.counted(slot)
                told = self.base + used >= self.boot  # less: a bit rose again, for a press knows a later start
                if told and used < records.BIT_COUNT and self._clear_bit(self.last_boot, slot):
                    self.boot = self.base + used + 1
                    return
            if self.next >= self.slots() and self.change_banks():
                continue
            base = self.boot + 1  # one is left out: the bit that did not take may read as cleared one day
            address = self._append(records.boot_slot(self.incarnation, self.generation, base))
            if address < 0:
                break
            self.last_boot = address
            self.base = base
        self.begin_incarnation()
        self.boot = 1
        self.failing = True
        self._volatile = True

    def begin_incarnation(self) -> None:
        """64 new random bits, never 0."""
        self.incarnation = int.from_bytes(self._entropy[:8], "little") | 1
        self._entropy = self._entropy[8:]
        self.anew = True

    # -- presses

    def append(self, kind: int, at_ms: int) -> Entry:
        """Write a press down; the entry that holds it (``durable`` if in flash), a counting one when too many wait."""
        counting = len(self.entries) >= MOST_PENDING
        if counting:
            for entry in self.entries:
                if entry.counts and not entry.closed and entry.kind == kind:
                    self._count_repeat(entry)
                    return entry
        self._press += 1
        entry = self.remember(kind, self.boot, self._press, at_ms, counting)
        self._store(entry)
        return entry

    def remember(self, kind: int, boot: int, press: int, at_ms: int, counts: bool) -> Entry:
        """Keep an entry in RAM."""
        entry = Entry(kind, self.incarnation, boot, press, at_ms, counts)
        self.entries.append(entry)
        return entry

    def _store(self, entry: Entry) -> None:
        entry.address = self._append(
            records.press_slot(entry.kind, entry.counts, entry.repeats, entry.boot, entry.press, entry.at_ms)
        )
        entry.durable = entry.address >= 0

    def _count_repeat(self, entry: Entry) -> None:
        if entry.repeats >= _MOST_REPEATS:
            return  # nor may the bits in the flash say more
        entry.repeats += 1
        if not entry.durable:
            return
        if not self._clear_bit(entry.address, self.read(entry.address)):
            if self.next >= self.slots() and self.change_banks():
                return  # all its bits are used: the copy in the other bank has the sum
            old = entry.address  # write it again with the sum
            self._store(entry)
            if entry.durable:
                self.void(old)
            else:
                entry.address = old  # the record is still there; this one repeat lives in RAM only

    def close(self, entry: Entry) -> None:
        """No repeat is counted in it from now on, so that what is told of it stays true."""
        entry.closed = True
        if entry.address >= 0:
            self._program(entry.address + records.CLOSED, b"\x00")

    def release(self, entry: Entry) -> None:
        """It was received: forget it."""
        self.entries.remove(entry)
        if entry.address >= 0:
            self.void(entry.address)

    def find(self, incarnation: int, boot: int, press: int) -> "Entry | None":
        """The unreleased press of that identity."""
        for entry in self.entries:
            if entry.press == press and entry.boot == boot and entry.incarnation == incarnation:
                return entry
        return None

    # -- the REPL's mark

    def mark(self) -> bool:
        """Note that the next start is to open the REPL."""
        return self._append(records.mark_slot()) >= 0

    # -- keys

    def keep(self, kind: int, record: bytes) -> bool:
        """Write a key's record down, in place of the last one of that kind. False if some of it did not take."""
        self.keys[kind] = record  # first: a change of banks may come in between
        kept = True
        for index in range(records.KEY_SLOTS):
            kept = self._append(records.key_slot(kind, record, index)) >= 0 and kept
        return kept

    # -- upkeep

    def due(self) -> bool:
        """Whether ``maintain`` has something to do. While presses wait it only makes room, in time."""
        if self.entries:
            return self.dirty != 0 and self.nearly_full()
        return self.dirty != 0 or self.nearly_full()

    def nearly_full(self) -> bool:
        """Whether the bank might not hold what may come while nothing can be erased."""
        return self.slots() - self.next < _LOW

    def maintain(self) -> bool:
        """One step of upkeep, when it is due and the line is quiet: erase a sector (some 45 ms) of the bank that was
        left, which counts no longer, or leave a bank that is nearly full. True if something was done."""
        if self.dirty:
            return self.erase_one()
        return self.nearly_full() and self.change_banks()

    def erase_one(self) -> bool:
        """Erase one sector of the other bank that needs it."""
        sector = 0
        while not self.dirty >> sector & 1:
            sector += 1
        address = self.base_of(1 - self.bank) + sector * SECTOR
        for entry in self.entries:
            if entry.address // SECTOR == address // SECTOR:
                return False  # a start found it in a bank without identity
        try:
            self._flash.erase(address)
        except OSError:
            self.failing = True
        for at in range(address, address + SECTOR, SLOT):
            if self.read(at) != BLANK:
                self.failing = True
                return False
        self.dirty &= ~(1 << sector)
        return True

    def slots(self) -> int:
        """Slots of a bank."""
        return self._bank_bytes // SLOT

    def all_dirty(self) -> int:
        """Every sector of a bank, a bit each."""
        return (1 << self._bank_bytes // SECTOR) - 1

    def base_of(self, bank: int) -> int:
        """Address of a bank."""
        return bank * self._bank_bytes

    def change_banks(self) -> bool:
        """Leave the bank: copy what is unreleased to the other one, then make that count."""
        if self.dirty:
            return False
        self.dirty = self.all_dirty()  # the other bank, if this fails; if it does not, the one that is left
        base = self.base_of(1 - self.bank)
        at = base + 2 * SLOT  # the identity stands in the first two: one bad bit must not take a bank away
        copied = []
        for kind in self.keys:
            for index in range(records.KEY_SLOTS):
                if not self.write(at, records.key_slot(kind, self.keys[kind], index)):
                    return False
                at += SLOT
        for entry in self.entries:
            if entry.address < 0:
                continue
            slot = records.press_slot(entry.kind, entry.counts, entry.repeats, entry.boot, entry.press, entry.at_ms)
            if not self.write(at, slot):
                return False
            if entry.counts and entry.closed:
                self._program(at + records.CLOSED, b"\x00")
            copied.append((entry, at))
            at += SLOT
        identity = records.boot_slot(self.incarnation, self.generation + 1, self.boot)
        self.write(base, identity)
        if not records.valid(self.read(base)):  # taken or not, whatever the flash said: so a start sees it
            return False
        self.write(base + SLOT, identity)
        self.generation += 1
        self.bank = 1 - self.bank
        self.next = (at - base) // SLOT
        self.last_boot = base
        self.base = self.boot
        for entry, address in copied:
            entry.address = address
        return True

    # -- flash

    def read(self, address: int) -> bytes:
        """The slot at that address."""
        return self._flash.read(address, SLOT)

    def _program(self, address: int, data: bytes) -> bool:
        """Program and read back."""
        try:
            self._flash.program(address, data)
            if self._flash.read(address, len(data)) == data:
                return True
        except OSError:
            pass
        self.failing = True
        return False

    def write(self, address: int, slot: bytes) -> bool:
        """Write a slot where none is yet."""
        return self.read(address) == BLANK and self._program(address, slot)

    def void(self, address: int) -> bool:
        """Clear the state of the slot at that address: it counts no longer."""
        return self._program(address + records.STATE, b"\x00")

    def _clear_bit(self, address: int, slot: bytes) -> bool:
        """Clear the next counting bit of that slot; False if none is left or it did not take."""
        for index in range(records.BITS, records.BITS + records.BITS_BYTES):
            if slot[index]:
                byte = slot[index]
                return self._program(address + index, bytes((byte & byte - 1,)))
        return False

    def _append(self, slot: bytes) -> int:
        """Write into the next free slot; its address, or -1."""
        if self._volatile:
            return -1
        if self.next >= self.slots():
            self.change_banks()
        for _ in range(_TRIES):
            if self.next >= self.slots():
                break
            address = self.base_of(self.bank) + self.next * SLOT
            self.next += 1
            if self.write(address, slot):
                return address
            self.void(address)
        self.failing = True
        return -1
