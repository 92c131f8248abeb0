"""The station program: the core on asyncio, with its inbox and a connection to each broker of the site."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sos_contract.errors import SafezoneError
from sos_contract.site import Site
from sos_edge import clock
from sos_edge.certificate import open_key, until_ms
from sos_edge.log import Log as Logger
from sos_edge.systemd import Notifier, watchdog_interval_s
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.core.station import Settings, Station
from sos_station.edge.inbox import Inbox
from sos_station.edge.mqtt import Links
from sos_station.edge.tls import tls_of

# How often the core is told the wall time: a clock that is set is noticed within this.
CLOCK_EVERY_S = 10.0
# At the end, brokers get this long to take our last words.
DRAIN_S = 1.0
# A store that takes longer hangs: systemd is no longer fed and starts the program anew.
STORE_HANGS_S = 30.0
DAY_MS = 24 * 3_600_000


def now_ms() -> int:
    """Monotonic, goes on while the machine sleeps and across restarts of the program; counts within ``timebase()``."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def timebase() -> str:
    """Names this start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return os.urandom(16).hex()  # ages then hold within this run only


def settings_of(site: Site) -> Settings:
    """What the core needs of a site."""
    poles = {pole.id: point.id for point in site.point for pole in point.poles()}
    poles |= {point.button.id: point.id for point in site.point if point.button}
    points = tuple(point.id for point in site.point)
    keep = site.retention
    return Settings(
        site.station.id,
        site.station.brokers,
        points,
        poles,
        alarms_keep_ms=keep.alarms_days * DAY_MS,
        faults_keep_ms=keep.faults_days * DAY_MS,
    )


class App:
    """Carries out the core's effects in order. Ends on SIGTERM and SIGINT; the only broad ``except`` is here."""

    def __init__(self, site: Site, folder: Path) -> None:
        """``folder``: where the site file lies. Needs a running loop. Raises SafezoneError where it cannot start."""
        self._loop = asyncio.get_running_loop()
        self._log = Logger("station", station=site.station.id)
        self._notify = Notifier()
        tls = tls_of(site, folder)
        if tls is not None and (words := open_key(tls.key)):
            self._log.say(words, level="warning")
        own = until_ms(tls.cert if tls else None)
        self._core = Station(replace(settings_of(site), certificate_until_ms=own))
        self._timer: asyncio.TimerHandle | None = None
        self._done = asyncio.Event()
        self._error = ""
        self._no_inbox = ""
        self._unpublished, self._unpublished_last = 0, ""
        self._stores = 0
        self._stored_s = self._loop.time()
        client_id = f"{site.station.id}-station-{os.urandom(4).hex()}"
        self._inbox = Inbox(
            site.station.data_path, deliver=self._inbox_event, wall_ms=clock.wall_ms(), broken=self._broken
        )
        self._links = Links(site.station.brokers, client_id, tls=tls, deliver=self._take)
        self._does: dict[type, Callable[[Any], object]] = {
            **dict.fromkeys((fx.Connect, fx.Disconnect, fx.Subscribe), self._links.carry_out),
            fx.Publish: self._publish,
            fx.Log: lambda e: self._log.say(e.text, level=e.level, **dict(e.fields)),
            fx.Ready: self._ready,
            **dict.fromkeys(fx.STORE_EFFECTS, self._store),
            **dict.fromkeys(fx.READ_EFFECTS, self._inbox.read),
        }

    async def run(self) -> None:
        """Until a signal comes. Raises SafezoneError on a bug, and when the inbox breaks; what is committed is kept."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._done.set)
        self._loop.set_exception_handler(self._loop_error)
        threading.excepthook = self._thread_error
        if self._inbox.aside is not None:
            self._log.say("inbox_damaged", level="error", moved_to=self._inbox.aside, why=self._inbox.why)
        self._tell_time()
        self._take(ev.Started(os.urandom(32), self._inbox.incarnation, timebase()))
        self._feed()
        try:
            await self._done.wait()
        finally:
            await self._end()
        if self._error:
            raise SafezoneError(f"the station stopped on a bug: {self._error}; its inbox is kept, start it again")
        if self._no_inbox:
            raise SafezoneError(f"inbox: {self._no_inbox}; it is moved aside and begun anew at the next start")

    async def _end(self) -> None:
        self._notify.stopping()
        if self._timer:
            self._timer.cancel()
        last = self._core.handle(ev.Stopping(), now_ms()) if not self._error else []
        for effect in last:
            if not isinstance(effect, fx.Disconnect):
                self._does[type(effect)](effect)
        await self._links.close(DRAIN_S)
        if not self._inbox.close():
            self._log.say("inbox_not_closed", level="error", why="the disk does not answer")
        self._log.say("stopped")

    # --- events in

    def _take(self, event: ev.Event) -> None:
        if self._done.is_set():
            return
        try:
            for effect in self._core.handle(event, now_ms()):
                self._does[type(effect)](effect)
        except Exception as error:
            self._bug(error, type(event).__name__)
            return
        self._arm()

    def _bug(self, error: BaseException | None, where: str) -> None:
        # Going on from a state that nobody foresaw could lie; the inbox holds all that was promised.
        trace, last = error.__traceback__ if error else None, None
        while trace is not None:
            trace, last = trace.tb_next, trace
        place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else "?"
        self._error = f"{type(error).__name__} {error} at {place} on {where}"
        self._log.say("bug", level="error", error=self._error)
        self._done.set()

    def _loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._bug(context.get("exception"), str(context.get("message")))

    def _thread_error(self, about: threading.ExceptHookArgs) -> None:
        thread = about.thread.name if about.thread else "a thread"
        self._loop.call_soon_threadsafe(self._bug, about.exc_value, thread)

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        due_ms = self._core.next_timer_ms()
        self._timer = None
        if due_ms is not None:
            # One millisecond more: both clocks are cut to milliseconds, a timer that comes early would turn idly.
            delay_s = max(0, due_ms - now_ms() + 1) / 1000
            self._timer = self._loop.call_later(delay_s, self._take, ev.Tick())

    def _inbox_event(self, event: ev.Committed | ev.CommitFailed | ev.Read | ev.ReadFailed) -> None:
        if isinstance(event, ev.Committed | ev.CommitFailed):
            self._stores -= len(event.results if isinstance(event, ev.Committed) else event.effects)
            self._stored_s = self._loop.time()
        self._take(event)

    def _broken(self, reason: str) -> None:
        # No commit can succeed any more, and only a start makes a new inbox: agents would wait for ever.
        self._no_inbox = reason
        self._done.set()

    def _tell_time(self) -> None:
        self._take(ev.Clock(clock.wall_ms(), clock.quality()))
        self._loop.call_later(CLOCK_EVERY_S, self._tell_time)
        if self._unpublished:  # a thousand points that ask again would bury all else under a line each
            self._log.say("not_published", level="warning", count=self._unpublished, last=self._unpublished_last)
            self._unpublished = 0

    # --- effects out

    def _publish(self, effect: fx.Publish) -> None:
        if not self._links.carry_out(effect):
            # Whoever waits for it asks again: agents re-send, terminals time out.
            self._unpublished += 1
            self._unpublished_last = effect.topic

    def _store(self, effect: fx.StoreEffect) -> None:
        if self._stores == 0:
            self._stored_s = self._loop.time()
        self._stores += 1
        self._inbox.store(effect)

    def _ready(self, effect: fx.Ready) -> None:
        self._notify.ready()
        self._notify.status(effect.status)
        self._log.say("armed", status=effect.status)

    def _feed(self) -> None:
        every_s = watchdog_interval_s()
        if every_s is None:
            return
        if self._stores == 0 or self._loop.time() - self._stored_s < STORE_HANGS_S:
            self._notify.watchdog()
        self._loop.call_later(every_s, self._feed)


def run(site: Site, folder: Path) -> None:
    """Run the station of ``site``, whose file lies in ``folder``, until SIGTERM or SIGINT."""

    async def main() -> None:
        await App(site, folder).run()

    # As the agent does: shorter slices keep the loop's latency while a thread commits or reads.
    sys.setswitchinterval(0.001)
    asyncio.run(main())
