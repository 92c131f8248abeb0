"""What must be true of a journal whatever was cut and when: a model that watches every operation."""

from __future__ import annotations

from collections.abc import Callable

from sos_pole.journal import MOST_PENDING, Entry, Journal
from sos_sim.nor_flash import NorFlash, PowerCut

Key = tuple[int, int, int]  # incarnation, boot, press
PRESS, SILENT = 1, 2
ENTROPY = bytes(range(1, 17))


def key(entry: Entry) -> Key:
    return entry.incarnation, entry.boot, entry.press


class Model:
    """A journal on a flash, and what the world has seen of it."""

    def __init__(self, flash: NorFlash | None = None) -> None:
        self.flash = flash or NorFlash()
        self.shown: dict[Key, tuple[int, int, int]] = {}  # durable and unreleased: kind, uptime, repeats told so far
        self.maybe: dict[Key, tuple[int, int, int]] = {}  # an operation on it was cut: it may be there or not
        self.floor: dict[Key, int] = {}  # repeats below which a press whose count was cut must not fall
        self.closed: set[Key] = set()
        self.boots: set[tuple[int, int]] = set()
        self.incarnation = 0
        self.marked = False
        self.maybe_marked = False
        self.uptime_ms = 0
        self.cuts = 0
        self.open()

    def open(self) -> None:
        """Start again, as often as it takes when the start itself is cut."""
        for _ in range(3):
            self.journal = Journal(self.flash, ENTROPY)
            try:
                self.journal.open()
            except PowerCut:
                self.cuts += 1
                self.flash.tear_at = None
                self.maybe_marked = self.maybe_marked or self.marked
                continue
            break
        self._check_start()

    def _check_start(self) -> None:
        journal = self.journal
        assert not journal.failing and not journal.damaged, "a cut is no damage"
        if self.incarnation:
            assert journal.incarnation == self.incarnation, "the incarnation is kept"
        self.incarnation = journal.incarnation
        assert (journal.incarnation, journal.boot) not in self.boots, "no start has the number of another"
        self.boots.add((journal.incarnation, journal.boot))
        assert self.maybe_marked or journal.marked == self.marked
        self.marked = self.maybe_marked = False
        found = {key(entry): (entry.kind, entry.at_ms, entry.repeats) for entry in journal.entries}
        assert len(found) == len(journal.entries), "one press, one entry"
        for identity, (kind, at_ms, repeats) in self.shown.items():
            assert identity in found or identity in self.maybe, "a press that was shown is never lost"
            if identity in found:
                assert found[identity][:2] == (kind, at_ms)
                assert found[identity][2] >= repeats
        for identity, repeats in self.floor.items():
            assert found[identity][2] >= repeats, "a press that was shown is never lost, nor its count"
        for identity, content in found.items():
            known = self.maybe.get(identity) or self.shown.get(identity)
            assert known is not None, "no press is made up"
            assert content[:2] == known[:2] and content[2] <= known[2]
        for entry in journal.entries:
            assert entry.durable and entry.restored
            assert not (entry.closed is False and key(entry) in self.closed), "what was told stays closed"
        assert [key(e)[1:] for e in journal.entries] == sorted(key(e)[1:] for e in journal.entries)
        self.shown = found
        self.maybe = {}

    def _run(self, operation: Callable[[], object]) -> bool:
        """False: the power was cut inside it, and the pole has started again."""
        try:
            operation()
        except PowerCut:
            self.cuts += 1
            self.flash.tear_at = None
            self.open()
            return False
        return True

    def press(self, kind: int = PRESS) -> None:
        self.uptime_ms += 1000
        journal = self.journal
        if len(journal.entries) >= MOST_PENDING:
            for entry in journal.entries:
                if entry.counts and not entry.closed and entry.kind == kind:
                    self._count(entry)
                    return
        following = (journal.incarnation, journal.boot, journal._press + 1)
        self.maybe[following] = (kind, self.uptime_ms, 0)
        made: list[Entry] = []
        if self._run(lambda: made.append(journal.append(kind, self.uptime_ms))):
            assert made[0].durable and key(made[0]) == following
            self.shown[following] = self.maybe.pop(following)

    def _count(self, entry: Entry) -> None:
        """A count that is cut may have been taken or not; what was counted before stays."""
        kind, at_ms, repeats = self.shown.pop(key(entry))
        self.maybe[key(entry)] = (kind, at_ms, repeats + 1)
        self.floor[key(entry)] = repeats
        if self._run(lambda: self.journal.append(kind, self.uptime_ms)):
            assert entry.repeats == repeats + 1
            self.shown[key(entry)] = self.maybe.pop(key(entry))
        self.floor.clear()

    def release(self, index: int) -> None:
        entries = self.journal.entries
        if not entries:
            return
        entry = entries[index % len(entries)]
        self.maybe[key(entry)] = self.shown.pop(key(entry))
        if self._run(lambda: self.journal.release(entry)):
            del self.maybe[key(entry)]

    def close(self) -> None:
        """What the pole does before it tells of a counting record."""
        if len(self.journal.entries) <= MOST_PENDING:
            for entry in list(self.journal.entries):
                if not entry.closed:
                    if not self._run(lambda entry=entry: self.journal.close(entry)):  # type: ignore[misc]
                        return
                    self.closed.add(key(entry))

    def maintain(self) -> None:
        for _ in range(8):
            if not self.journal.due() or not self._run(self.journal.maintain):
                return

    def mark(self) -> None:
        self.maybe_marked = True
        if self._run(self.journal.mark):
            self.maybe_marked = False
            self.marked = True
