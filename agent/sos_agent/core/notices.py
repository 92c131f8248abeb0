"""Faults and notices: stored, merged when they pile up, published when no alarm waits to be.

A notice that could not be stored is kept in memory, the last one of its kind a pole, until the disk takes it. What the
poles say of their faults in every beat is compared with what was noted, so that a notice lost on the way is made good.
"""

from __future__ import annotations

from collections.abc import Collection

from sos_agent.core.context import Context, sooner
from sos_agent.core.effects import DropNotices, FetchNotices, StoreNotice
from sos_agent.core.events import Contents, NoticeRow, NoticesDropped, NoticesFetched, NoticeStored
from sos_agent.core.lane import Lane
from sos_contract.payloads import Detail, Notice
from sos_wire.messages import FAULTS

MERGE_ABOVE = 64  # waiting notices; from there on each pole and kind has one for its beginning and one for its end
IN_FLIGHT_MOST = 8  # notices are patient: they may not fill the way to the station
FETCH_ROWS = 32
TRIES_MOST = 4  # as for alarms
PASS_PAUSE_MS = 10_000
UNSTORED_MOST = 256  # all kinds of a dozen poles
UNSTORED_RETRY_MS = 5_000
# A fault that the beats show and no notice told, or the reverse: the notice gets three beats to arrive first.
DISAGREE_MS = 6_000
# A pole that is listened to is heard at least each 2.25 s. After a longer gap (an outage, or we were stopped) what it
# said waits unread or unsaid, and a disagreement from before is no older than what is heard first.
LISTENED_MS = 3_000
# Kinds that happen and do not last; they open no fault.
_PASSING = ("press_detail", "pole_restarted", "mains_back", "link_back", "outbox_damaged")
# The end of one kind that is said by another one.
_ENDS = {"mains_back": "mains_lost", "link_back": "link_lost"}


class Notices:
    """Owns the notices of the point and of its poles, and knows which faults are open."""

    def __init__(self, context: Context, contents: Contents) -> None:
        self._context = context
        self.waiting = contents.waiting_notices
        self.open_faults = set(contents.open_faults)
        self.changed = False  # since whoever shows them looked last
        self._lane: Lane[NoticeRow] = Lane(lambda row: row.pole)
        self._unstored: dict[tuple[str, str, bool, str], StoreNotice] = {}
        self._storing = 0  # handed to the outbox, and nothing told of them yet
        self._retry_ms: int | None = None
        self._dropping: set[int] = set()
        self._cursor = 0
        self._fetching = False
        self._ended_ms: int | None = None
        self._differs_since: dict[tuple[str, str], int] = {}
        self._beat_ms: dict[str, int] = {}  # pole -> when its last beat was heard

    # -- what enters ----------------------------------------------------------------------------------------------

    def add(
        self,
        pole: str,
        kind: str,
        *,
        on: bool,
        value: int = 0,
        at: tuple[str, int] | None = None,
        detail: Detail | None = None,
    ) -> None:
        """Note something; ``at``: time base and time of it, now if not given."""
        kind, on = _ENDS.get(kind, kind), on and kind not in _ENDS
        timebase, at_ms = at or (self._context.timebase, self._context.now_ms)
        if kind not in _PASSING:
            (self.open_faults.add if on else self.open_faults.discard)((pole, kind))
            self.changed = True
        self._differs_since.pop((pole, kind), None)
        merge = detail is None and self.waiting >= MERGE_ABOVE
        effect = StoreNotice(pole, kind, on, value, timebase, at_ms, detail, merge)
        if self._unstored:  # behind those that failed: the end of a fault must not be stored before its beginning
            self._keep(effect)
            self._retry_ms = self._context.now_ms
        else:
            self._store(effect)

    def end_of_others(self, poles: Collection[str]) -> None:
        """End what stands open of poles that are not among these: nobody else would, and a pole that comes back would
        have its old faults until its beats disagree."""
        for pole, kind in sorted(self.open_faults):
            if pole and pole not in poles:
                self.add(pole, kind, on=False)

    def beat(self, pole: str, mask: int) -> bool:
        """The faults that a pole says it has, as bits; whether one was noted that no notice had told."""
        noted, now = False, self._context.now_ms
        if now - self._beat_ms.get(pole, now) > LISTENED_MS:
            self._differs_since = {key: since for key, since in self._differs_since.items() if key[0] != pole}
        self._beat_ms[pole] = now
        for bit, kind in enumerate(FAULTS):
            on = bool(mask >> bit & 1)
            key = (pole, kind)
            if on == (key in self.open_faults):
                self._differs_since.pop(key, None)
            elif now - self._differs_since.setdefault(key, now) >= DISAGREE_MS:
                self._context.counts["notice_made_good"] += 1
                self.add(pole, kind, on=on)
                noted = True
        return noted

    def stored(self, event: NoticeStored) -> None:
        self._storing -= 1
        self.waiting += 1
        if event.replaced is not None:
            self.waiting -= 1
            self._lane.remove(event.replaced)
        self._cursor = min(self._cursor, event.number - 1)
        self._ended_ms = None
        effect = event.effect
        for key, older in list(self._unstored.items()):
            if key[:2] == (effect.pole, effect.kind) and older.at_ms <= effect.at_ms and older.detail is None:
                del self._unstored[key]
                self._context.counts["notice_overtaken"] += 1

    def not_stored(self, effect: StoreNotice) -> None:
        """Kept until the disk takes it."""
        self._storing -= 1
        self._keep(effect)

    def _store(self, effect: StoreNotice) -> None:
        self._storing += 1
        self._context.emit(effect)

    def _keep(self, effect: StoreNotice) -> None:
        """Of the same kind only the last."""
        key = (effect.pole, effect.kind, effect.on, str(effect.detail.id) if effect.detail else "")
        self._unstored.pop(key, None)
        self._unstored[key] = effect
        while len(self._unstored) > UNSTORED_MOST:
            del self._unstored[next(iter(self._unstored))]
            self._context.counts["notice_not_stored"] += 1
        self._retry_ms = self._context.now_ms + UNSTORED_RETRY_MS

    # -- what leaves ----------------------------------------------------------------------------------------------

    def receipt(self, numbers: tuple[int, ...]) -> None:
        """The station has these: those that this run published go."""
        taken: list[int] = []
        for number in numbers:
            flight = self._lane.flights.get(number)
            if flight is None or flight.sent_ms is None:
                self._context.counts["receipt_unasked"] += 1
                continue
            self._lane.remove(number)
            self._dropping.add(number)
            taken.append(number)
        if taken:
            self._context.emit(DropNotices(tuple(taken)))

    def dropped(self, event: NoticesDropped) -> None:
        self.waiting -= event.dropped
        self._dropping.difference_update(event.effect.numbers)

    def drop_failed(self, effect: DropNotices) -> None:
        """They wait still: a later pass brings them, the station receipts them again."""
        self._dropping.difference_update(effect.numbers)

    def fetched(self, event: NoticesFetched) -> None:
        self._fetching = False
        if event.effect.after_number != self._cursor:
            return
        for row in event.rows:
            if row.number not in self._lane and row.number not in self._dropping:
                self._lane.add(row.number, row)
        if event.rows:
            self._cursor = event.rows[-1].number
        if event.end:
            self._ended_ms = self._context.now_ms

    def fetch_failed(self) -> None:
        self._fetching = False
        self._ended_ms = self._context.now_ms

    def came_back(self, before_ms: int) -> None:
        """A new connection, or the station answers again: what was published before then goes once more."""
        self._lane.again(before_ms)

    def pump(self, free: bool) -> None:
        """Publish and read ahead; ``free``: the station answers and no alarm waits to be published."""
        now = self._context.now_ms
        # Not beside some that are being stored: what failed first must not come behind what is told a moment later.
        if self._retry_ms is not None and now >= self._retry_ms and not self._storing:
            self._retry_ms = None
            again, self._unstored = self._unstored, {}
            for effect in again.values():
                self._store(effect)
        if not free or not self._context.connection:
            return
        for number, flight in self._lane.take_due(now, IN_FLIGHT_MOST, self._context.about):
            if flight.tries > TRIES_MOST:
                self._lane.remove(number)
                self._context.counts["notice_not_receipted"] += 1
                continue
            self._context.publish("notice", self._payload(flight.item))
        if self._ended_ms is not None and now >= self._ended_ms + PASS_PAUSE_MS and self._unheld() > 0:
            self._ended_ms, self._cursor = None, 0
        if self._ended_ms is None and not self._fetching and len(self._lane) < IN_FLIGHT_MOST:
            self._fetching = True
            self._context.emit(FetchNotices(self._cursor, FETCH_ROWS))

    def next_due_ms(self, free: bool) -> int | None:
        """When ``pump`` has something to do without a further event."""
        due = None if self._storing else self._retry_ms
        if free and self._context.connection:
            due = sooner(due, self._lane.next_due_ms())
            if self._ended_ms is not None and self._unheld() > 0:
                due = sooner(due, self._ended_ms + PASS_PAUSE_MS)
        return due

    def _unheld(self) -> int:
        return self.waiting - len(self._lane.flights) - len(self._dropping)

    def _payload(self, row: NoticeRow) -> Notice:
        return Notice(
            number=row.number,
            outbox=self._context.outbox,
            pole=row.pole,
            kind=row.kind,
            on=row.on,
            value=row.value,
            merged=row.merged,
            wall_ms=row.wall_ms,
            clock=row.quality,
            detail=row.detail,
        )
