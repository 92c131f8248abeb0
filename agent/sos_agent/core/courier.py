"""Step 7, courier: alarms are published over MQTT until the station receipts them; live ones before the backlog.

The outbox is the queue; memory holds a window of it. A press stored by this run goes straight into the live lane, which
keeps the newest LIVE_MOST; everything else that waits is the backlog, read from the outbox in order, pass after pass.
Nothing is ever dropped: what leaves the window without a receipt is still in the outbox and comes with a later pass.
"""

from __future__ import annotations

from sos_agent.core.context import Context, sooner
from sos_agent.core.effects import FetchWaiting, MarkReceipted
from sos_agent.core.events import AlarmRow, MadeWaiting, Receipted, WaitingFetched
from sos_agent.core.lane import Lane
from sos_agent.core.uptime import Uptime
from sos_contract.payloads import Alarm, Entry, Identity

IN_FLIGHT_MOST = 64  # both lanes together; a station that commits a group in 10 ms then takes thousands a second
# What stays free for the live lane: a new press never waits for a slot, and queues behind 48 alarms at most.
BACKLOG_IN_FLIGHT_MOST = 48
LIVE_MOST = 64  # as many presses as one pole's journal holds
FETCH_ROWS = 64
FETCH_BELOW = 32  # fetched early enough that the lane never runs dry while the next rows are read
TRIES_MOST = 4  # 3 + 6 + 12 + 24 s without a receipt while the station answers: others may use the place meanwhile
PASS_PAUSE_MS = 10_000  # between passes while something waits that is not in memory
SAFETY_PASS_MS = 60_000  # a pass even if nothing seems to wait: counts may be wrong, the outbox is not
REFUSED_PAUSE_MS = 60_000  # a refused alarm is offered again, for the station may be mended meanwhile
REFUSED_MOST = 1_024  # refused alarms remembered; beyond that they are only offered more often


class Courier:
    """Owns both lanes. ``in_service`` is told by the supervision: the station answers probes."""

    def __init__(self, context: Context, uptime: Uptime, waiting: int) -> None:
        self._context = context
        self._uptime = uptime
        self.waiting = waiting  # alarms in the outbox without a receipt, as far as its completions told
        self.in_service = False
        self._live: Lane[AlarmRow] = Lane(lambda row: row.id.pole)
        self._backlog: Lane[AlarmRow] = Lane(lambda row: row.id.pole)
        self._rows: dict[Identity, int] = {}  # of both lanes
        self._marking: dict[Identity, int] = {}  # receipted, the commit is under way
        self._refused: dict[int, int] = {}  # row -> not before
        self._cursor = 0
        self._fetching = False
        self._ended_ms: int | None = None  # when the present pass came to its end

    # -- what enters and leaves -----------------------------------------------------------------------------------

    def stored(self, row: AlarmRow, *, live: bool) -> None:
        """A new alarm is on disk; ``live``: the pole offered it as such."""
        self.waiting += 1
        if not live or self._uptime.age_ms(row)[0] is None:
            self._rescan(row.row)  # an old one, or nobody knows how old: not to be carried as live
            return
        self._live.add(row.row, row)
        self._rows[row.id] = row.row
        while len(self._live) > LIVE_MOST:
            oldest = next(iter(self._live.flights))
            self._drop(self._live, oldest)
            self._rescan(oldest)

    def receipt(self, ids: tuple[Identity, ...], inbox: str, record: Entry | None) -> list[Identity]:
        """The station has these: those that this run published and that wait still. Others are counted and left.

        ``inbox`` and ``record``: of the station that says so.
        """
        taken: list[Identity] = []
        for identity in ids:
            row = self._sent(identity)
            if row is None:
                self._context.counts["receipt_unasked"] += 1
                continue
            self._live.remove(row)
            self._backlog.remove(row)
            del self._rows[identity]
            self._marking[identity] = row
            taken.append(identity)
        if taken:
            now = self._context.timebase, self._context.now_ms
            self._context.emit(MarkReceipted(tuple(taken), *now, inbox, record, self._context.wall_ms))
        return taken

    def refused(self, refused: tuple[tuple[Identity, str], ...]) -> None:
        """The station does not take these, with a reason: they make room for others and are offered again later."""
        for identity, reason in refused:
            row = self._sent(identity)
            if row is None:
                self._context.counts["refusal_unasked"] += 1
                continue
            if row not in self._refused:
                self._context.log(
                    "error", "the station refuses an alarm; it is kept and offered again",
                    pole=identity.pole, press=identity.press, boot=identity.boot, reason=reason[:200],
                )  # fmt: skip
            self._refused.pop(row, None)
            self._refused[row] = self._context.now_ms + REFUSED_PAUSE_MS
            while len(self._refused) > REFUSED_MOST:
                del self._refused[next(iter(self._refused))]
            self._drop(self._live if row in self._live else self._backlog, row)

    def waits(self, identity: Identity) -> bool:
        """Whether that alarm is in flight: published by this run and not receipted."""
        return self._sent(identity) is not None

    def receipted(self, event: Receipted) -> None:
        self.waiting -= len(event.changed)
        for identity in event.effect.ids:
            self._refused.pop(self._marking.pop(identity, 0), None)

    def receipt_not_stored(self, effect: MarkReceipted) -> None:
        """They wait in the outbox still, so they are published again and receipted again."""
        rows = [self._marking.pop(identity, 1) for identity in effect.ids]
        self._rescan(min(rows))

    def made_waiting(self, event: MadeWaiting) -> None:
        self.waiting += len(event.changed)
        if event.changed:
            self._rescan(0)

    # -- the backlog's window -------------------------------------------------------------------------------------

    def fetched(self, event: WaitingFetched) -> None:
        self._fetching = False
        if event.effect.after_row != self._cursor:
            return  # asked before the pass began anew
        now = self._context.now_ms
        marked = set(self._marking.values())
        for row in event.rows:
            if row.row in self._live or row.row in self._backlog or row.row in marked:
                continue
            if self._refused.get(row.row, 0) <= now:
                self._backlog.add(row.row, row)
                self._rows[row.id] = row.row
        if event.rows:
            self._cursor = event.rows[-1].row
        if event.end:
            self._ended_ms = now

    def fetch_failed(self) -> None:
        """The disk could not be read: the pass counts as ended, the next one comes after the pause."""
        self._fetching = False
        self._ended_ms = self._context.now_ms

    def came_back(self, before_ms: int) -> None:
        """A new connection, or the station answers again: what was published before then goes once more."""
        self._live.again(before_ms)
        self._backlog.again(before_ms)
        if self._unheld() > 0:
            self._rescan(0)

    def idle(self) -> bool:
        """No alarm waits that was not published: notices may go."""
        return not (self._live.unsent() or self._backlog.unsent()) and (
            self._ended_ms is not None or not self._unheld()
        )

    def pump(self) -> None:
        """Publish what may be published now, and read ahead."""
        if self._context.connection:
            self._publish(self._live, "live", IN_FLIGHT_MOST - self._backlog.flying)
            if self.in_service:
                room = min(BACKLOG_IN_FLIGHT_MOST, IN_FLIGHT_MOST - self._live.flying)
                self._publish(self._backlog, "backlog", room)
        if not (self._context.connection and self.in_service) or self._fetching:
            return
        if self._ended_ms is not None:
            if self._context.now_ms < self._next_pass_ms():
                return
            self._ended_ms, self._cursor = None, 0
        if len(self._backlog) < FETCH_BELOW:
            self._fetching = True
            self._context.emit(FetchWaiting(self._cursor, FETCH_ROWS))

    def next_due_ms(self) -> int | None:
        """When ``pump`` has something to do without a further event."""
        if not self._context.connection:
            return None
        due = self._live.next_due_ms()
        if self.in_service:
            due = sooner(due, self._backlog.next_due_ms())
            if self._ended_ms is not None:
                due = sooner(due, self._next_pass_ms())
        return due

    # -- within ---------------------------------------------------------------------------------------------------

    def _publish(self, lane: Lane[AlarmRow], name: str, room: int) -> None:
        for number, flight in lane.take_due(self._context.now_ms, room, self._context.about):
            if self.in_service and flight.tries > TRIES_MOST:
                self._context.counts["alarm_not_receipted"] += 1
                self._drop(lane, number)
                continue
            self._context.publish("alarm", self._payload(flight.item, name))

    def _payload(self, row: AlarmRow, lane: str) -> Alarm:
        age_ms, quality = self._uptime.age_ms(row)
        return Alarm(
            id=row.id,
            kind=row.kind,
            pressed_at_ms=row.pressed_at_ms,
            repeats=row.repeats,
            lane="live" if lane == "live" else "backlog",
            age_ms=age_ms,
            sent_wall_ms=self._uptime.wall_ms(),
            clock=quality,
            agent=self._context.session,
            outbox=self._context.outbox,
            record=row.record,
        )

    def _sent(self, identity: Identity) -> int | None:
        """The row of that alarm if this run published it and waits for its receipt."""
        row = self._rows.get(identity)
        if row is None:
            return None
        flight = self._live.flights.get(row) or self._backlog.flights.get(row)
        return row if flight is not None and flight.sent_ms is not None else None

    def _drop(self, lane: Lane[AlarmRow], number: int) -> None:
        """Out of the window, not out of the outbox: a later pass brings it."""
        flight = lane.remove(number)
        if flight is not None:
            self._rows.pop(flight.item.id, None)

    def _unheld(self) -> int:
        """How many alarms wait in the outbox that are not in memory."""
        return self.waiting - len(self._live.flights) - len(self._backlog.flights) - len(self._marking)

    def _next_pass_ms(self) -> int:
        assert self._ended_ms is not None
        return self._ended_ms + (PASS_PAUSE_MS if self._unheld() > 0 else SAFETY_PASS_MS)

    def _rescan(self, row: int) -> None:
        """Let the pass go over ``row`` and all after it (again)."""
        self._cursor = min(self._cursor, max(0, row - 1))
        self._ended_ms = None
