"""How the point and its poles are: published retained, at each birth, every minute and soon after a change."""

from __future__ import annotations

from sos_agent.core.context import Context
from sos_agent.core.effects import Summary
from sos_agent.core.lines import Lines
from sos_agent.core.notices import Notices
from sos_agent.core.table import Table
from sos_agent.core.uptime import Uptime
from sos_contract.payloads import Health, PoleHealth
from sos_wire import messages

HEALTH_MS = 60_000
CHANGE_GAP_MS = 1_000  # a flapping link must not fill the way to the station

DISK = Table(
    "disk",
    "good",
    {
        ("good", "written"): ("good", ""),
        ("good", "noted"): ("good", ""),
        ("good", "crowded"): ("full", "full"),
        ("good", "failed"): ("failing", "fail"),
        ("full", "written"): ("full", ""),
        ("full", "noted"): ("good", "good"),
        ("full", "crowded"): ("full", ""),
        ("full", "failed"): ("failing", "fail"),
        ("failing", "written"): ("full", "held"),
        ("failing", "noted"): ("good", "good"),
        ("failing", "crowded"): ("failing", ""),
        ("failing", "failed"): ("failing", ""),
    },
)


class HealthReport:
    """Collects and publishes."""

    def __init__(self, context: Context, uptime: Uptime, lines: Lines, notices: Notices) -> None:
        self._context = context
        self._uptime = uptime
        self._lines = lines
        self._notices = notices
        self.disk = DISK.first
        self._failed_ms = 0
        self.changed = True  # something that the report shows may have changed
        self._status: dict[str, messages.Status] = {}
        self._payloads: dict[str, bytes] = {}
        self._told: tuple[object, ...] = ()
        self._due_ms = context.now_ms
        self._soonest_ms = context.now_ms
        self._summary: tuple[str, int, int] | None = None
        self._summary_ms = context.now_ms

    def beat(self, pole: str, status: bytes) -> bool:
        """What a pole says of itself; whether that is news, or something was noted."""
        known = self._status.get(pole)
        news = known is None or self._payloads[pole] != status
        if news:
            said = messages.unpack(status)
            if not isinstance(said, messages.Status):
                self._context.counts["status_unknown"] += 1
                return False
            self._status[pole] = known = said
            self._payloads[pole] = status
            self.changed = True
        assert known is not None
        return self._notices.beat(pole, known.faults) or news

    def disk_event(self, event: str, reason: str = "") -> None:
        """An alarm was ``written``, a notice ``noted``; there was no room for a notice (``crowded``: alarms have a
        reserve), or a write ``failed``. An outage is noted once, its end once."""
        was, (self.disk, action) = self.disk, DISK.step(self.disk, event)
        self.changed = self.changed or bool(action)
        if was == "good" and action:
            self._failed_ms = self._context.now_ms
            self._notices.add("", "disk_full", on=True)
        if action == "fail":
            self._context.log("error", "the outbox cannot be written; presses are not held", reason=reason)
        elif action == "full":
            self._context.log("error", "the disk is full; presses are held in the room kept for them", reason=reason)
        elif action == "held":
            self._context.log("warning", "presses are held again; notices are not stored yet")
        elif action == "good":
            away_ms = min(self._context.now_ms - self._failed_ms, 0x3FFFFFFF)
            self._context.log("info", "the outbox can be written again", away_ms=away_ms)
            self._notices.add("", "disk_full", on=False, value=away_ms)

    def pump(self, service: str, waiting: int, *, known: bool) -> None:
        """Publish when it is time or something changed that somebody waits for; ``known``: it was told of every pole
        by now whether it is there, so that a start is no report of lost links."""
        now = self._context.now_ms
        if now >= self._summary_ms:
            self._summarize(service, waiting)
        self.changed, self._notices.changed = self.changed or self._notices.changed, False
        connection = self._context.connection
        if not connection or not known:
            self.changed = True
            self._told = ()
            return
        if now < self._soonest_ms or (now < self._due_ms and not self.changed):
            return
        self.changed = False
        poles = tuple(self._pole(pole) for pole in self._lines.poles)
        state = (connection, self.disk, tuple((p.link, p.lamp, p.faults, p.pending) for p in poles))
        if now < self._due_ms and state == self._told:
            return
        self._told = state
        self._due_ms, self._soonest_ms = now + HEALTH_MS, now + CHANGE_GAP_MS
        health = Health(
            session=connection,
            uptime_ms=now - self._context.started_ms,
            clock=self._uptime.quality,
            outbox_waiting=waiting,
            disk_ok=self.disk == "good",
            poles=poles,
            certificate_until_ms=self._context.config.certificate_until_ms,
        )
        self._context.publish("health", health, retain=True)

    def _summarize(self, service: str, waiting: int) -> None:
        up = len([end for end in self._lines.poles.values() if end.up])
        summary = (service, up, waiting)
        if summary != self._summary:
            self._summary = summary
            self._summary_ms = self._context.now_ms + CHANGE_GAP_MS
            text = f"{service}, {up} of {len(self._lines.poles)} poles, {waiting} alarms waiting"
            self._context.emit(Summary(text))

    def next_due_ms(self) -> int | None:
        if not self._context.connection:
            return None
        if self.changed and self._soonest_ms > self._context.now_ms:
            return self._soonest_ms
        return self._due_ms if self._told else None

    def _pole(self, pole: str) -> PoleHealth:
        end = self._lines.poles[pole]
        status = self._status.get(pole)
        if status is None:
            return PoleHealth(pole=pole, link=end.up, supervised=end.config.supervised)
        # A fault has ended when that was noted, too: a pole that was just started has not looked for all of them yet.
        noted = self._notices.open_faults
        mask = status.faults
        faults = tuple(name for bit, name in enumerate(messages.FAULTS) if mask >> bit & 1 or (pole, name) in noted)
        return PoleHealth(
            pole=pole,
            link=end.up,
            supervised=end.config.supervised,
            lamp=status.look,
            supply_mv=status.supply_mv,
            temperature_dc=status.temperature_dc,
            reset_cause=status.reset_cause,
            bad_frames=status.bad_frames,
            blind_ms=status.blind_ms,
            pending=status.pending,
            firmware=".".join(str(part) for part in status.version),
            faults=faults,
        )
