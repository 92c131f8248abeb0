"""What is no alarm and yet to be told: faults, their ends, how long a button was held. In RAM, bounded."""

from sos_pole.journal import Entry, Journal
from sos_wire.lanes import WINDOW
from sos_wire.link import BACKLOG, Link
from sos_wire.messages import Detail, Notice

_ROOM = 16  # twice the kinds that can come together


class _Item:
    __slots__ = ("entry", "kind", "on", "payload", "session")

    def __init__(self, kind: str, on: int, payload: bytes, entry: "Entry | None") -> None:
        self.kind = kind
        self.on = on
        self.payload = payload
        self.entry = entry
        self.session = -1  # in which it was sent and not yet acknowledged


class Notices:
    """A queue. An item goes once the agent has acknowledged it; a new session sends what was not."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._items: "list[_Item]" = []
        self._number = 0
        self.dropped = 0

    def add(self, kind: str, at_ms: int, value: int, on: int) -> None:
        """Tell that. One of the same kind that has not gone out is left out: what happened last is told last."""
        journal = self._journal
        self._number += 1
        payload = Notice(kind, journal.incarnation, journal.boot, self._number, at_ms, value, on).pack()
        for item in self._items:
            if item.kind == kind and item.on == on and item.session < 0:
                self._items.remove(item)
                break
        self._push(_Item(kind, on, payload, None))

    def add_detail(self, entry: Entry, held_ms: int) -> None:
        """Tell how long that press was held, once the agent has the press."""
        payload = Detail(entry.incarnation, entry.boot, entry.press, held_ms).pack()
        self._push(_Item("press_detail", 1, payload, entry))

    def _push(self, item: _Item) -> None:
        if len(self._items) >= _ROOM:
            self._items.pop(0)
            self.dropped += 1
        self._items.append(item)

    def flush(self, link: Link, session: int) -> None:
        """Hand to the link what it takes; forget what was acknowledged."""
        items = self._items
        if not items or not link.up:
            return
        if link.room(BACKLOG) == WINDOW:
            index = len(items)
            while index:
                index -= 1
                if items[index].session == session:
                    items.pop(index)
        for item in items:
            if item.session == session or not self._may_go(item):
                continue
            if not link.room(BACKLOG):
                return
            link.send(BACKLOG, item.payload)
            item.session = session

    def _may_go(self, item: _Item) -> bool:
        entry = item.entry
        return entry is None or entry.held or entry not in self._journal.entries
