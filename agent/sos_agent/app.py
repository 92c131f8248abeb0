"""The agent's process: one asyncio loop that brings events to the core and carries out its effects, in order.

The supervisor is here: a mistake of our own in the core or an edge ends the process with one line in the log and a
code other than 0, and systemd starts it again. Nothing is lost by that: what was promised is on disk, and what was not
is offered again by the pole.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sos_agent.core import effects, events
from sos_agent.core.agent import Agent
from sos_agent.edge.keys import KeyStore
from sos_agent.edge.mqtt import Brokers
from sos_agent.edge.outbox import Outbox
from sos_agent.edge.record import Recorder
from sos_agent.edge.serial import Place, Ports
from sos_agent.edge.setup import Setup, local_port, read_setup
from sos_contract.errors import SafezoneError
from sos_contract.payloads import Quality
from sos_edge import clock
from sos_edge.certificate import open_key
from sos_edge.log import Log, set_up
from sos_edge.systemd import Notifier, watchdog_interval_s

if TYPE_CHECKING:
    from sos_agent.edge.gpio import OwnButtonKeeper

CLOCK_S = 10.0  # as the core wants it
REFILL_S = 60.0  # after a full disk: as often as we look whether there is room again
# Time to say goodbye to the broker and to commit what waits; systemd kills after 90 s, people pull plugs sooner.
GOODBYE_S = 1.0
# Stores that have waited this long mean that the disk hangs: the watchdog is no longer fed.
STALLED_S = 20.0
MAX_FRAMES = 3  # places named in the line about a mistake of our own


class BugError(SafezoneError):
    """A mistake of our own; the process ends and is started again."""


def now_ms() -> int:
    """Milliseconds since the machine started, sleep included: goes on across restarts of this program."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def timebase() -> str:
    """Names the clock of ``now_ms``: new with each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Runtime:
    """The core, its edges, and the loop between them."""

    def __init__(self, setup: Setup, *, log: Log, notifier: Notifier, record: Recorder | None = None) -> None:
        """Opens the outbox at once; raises SafezoneError if that cannot be."""
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._notifier = notifier
        self._queue: deque[events.Event] = deque()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._ended: asyncio.Future[SafezoneError | None] = self._loop.create_future()
        self._quality: Quality = "unset"
        self._agent = Agent(setup.config)
        self._outbox = Outbox(
            setup.data,
            call_soon=self._loop.call_soon_threadsafe,
            deliver=self.deliver,
            broken=self._broken,
            log=log,
        )
        self._keys = KeyStore(
            setup.data, setup.given_keys, call_soon=self._loop.call_soon_threadsafe, deliver=self.deliver
        )
        # A broker ends a connection when another comes under its name, so the name must be nobody else's to know.
        self._brokers = Brokers(f"{setup.client_id}-{os.urandom(8).hex()}", tls=setup.tls, deliver=self.deliver)
        places = [Place(line.port, line.port, line.search) for line in setup.point.line]
        self._ports = Ports(places, deliver=self.deliver, log=log, record=record)
        self._own_button = self._open_own_button(setup)

    def _open_own_button(self, setup: Setup) -> OwnButtonKeeper | None:
        button = setup.point.button
        if button is None:
            return None
        from sos_agent.edge.gpio import OwnButtonKeeper  # gpiozero costs memory that most points need not pay

        port = local_port(button)
        add, drop = partial(self._ports.add_local, port), partial(self._ports.drop_local, port)
        return OwnButtonKeeper(
            button, setup.data, setup.local_key, add=add, drop=drop, log=self._log, record=self._record
        )

    async def run(self) -> None:
        """Until asked to stop. Raises SafezoneError when it cannot go on."""
        self._loop.set_exception_handler(self._loop_error)
        threading.excepthook = self._thread_error
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._read_clock()
        self.deliver(events.Started(os.urandom(32), timebase(), self._outbox.contents))
        self._ports.start()
        self._loop.call_later(REFILL_S, self._refill)
        interval_s = watchdog_interval_s()
        if interval_s:
            self._feed_watchdog(interval_s)
        try:
            error = await self._ended
        finally:
            await self._close()
        if error is not None:
            raise error

    def stop(self) -> None:
        """End in order: the core says goodbye to the broker first."""
        self._notifier.stopping()
        self.deliver(events.Stopping())
        self._end(None)

    def deliver(self, event: events.Event) -> None:
        """The only way into the core. An event that comes up while effects are carried out waits its turn."""
        self._queue.append(event)
        if self._busy or self._ended.done():
            return
        self._busy = True
        try:
            while self._queue:
                now = now_ms()
                for effect in self._agent.handle(self._queue.popleft(), now):
                    self._carry_out(effect)
            self._arm_timer()
        except Exception as error:  # the supervisor: the one place where a mistake of our own is met
            self._bug(error)
        finally:
            self._busy = False

    def _carry_out(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.WriteBytes | effects.OpenPort | effects.ClosePort):
            self._ports.carry_out(effect)
        elif isinstance(effect, effects.Publish | effects.Connect | effects.Disconnect | effects.Subscribe):
            self._brokers.carry_out(effect)
        elif isinstance(effect, effects.StoreKeys):
            self._keys.carry_out(effect)
        elif isinstance(effect, effects.Log):
            self._log.say(effect.message, level=effect.level, **dict(effect.fields))
        elif isinstance(effect, effects.Ready):
            self._notifier.ready()
            self._log.say("armed")
        elif isinstance(effect, effects.Summary):
            self._notifier.status(effect.text)
        else:
            self._outbox.carry_out(effect)

    # --- time

    def _arm_timer(self) -> None:
        due_ms = self._agent.next_timer_ms()
        if due_ms is None or (self._timer is not None and self._timer_ms <= due_ms):
            return  # a timer that comes too early only looks again
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = due_ms
        # One more millisecond: a timer that fires in the last fraction before its time would only fire again.
        self._timer = self._loop.call_later(max(0, due_ms - now_ms() + 1) / 1000, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        due_ms = self._agent.next_timer_ms()
        if due_ms is not None and due_ms <= now_ms():
            self.deliver(events.Timer())
        else:
            self._arm_timer()

    def _read_clock(self) -> None:
        self._loop.call_later(CLOCK_S, self._read_clock)
        self._quality = clock.quality()
        self.deliver(events.Clock(clock.wall_ms(), self._quality))

    def _refill(self) -> None:
        self._loop.call_later(REFILL_S, self._refill)
        # Not while it is being closed: a file that is closed meanwhile may be another one under its number.
        if not self._ended.done() and not self._outbox.disk_ok:
            self._outbox.refill()

    def _feed_watchdog(self, interval_s: float) -> None:
        self._loop.call_later(interval_s, self._feed_watchdog, interval_s)
        if self._outbox.waited_s() < STALLED_S:
            self._notifier.watchdog()

    # --- the end

    def _broken(self, reason: str) -> None:
        self._end(SafezoneError(f"outbox: {reason}; it is moved aside and begun anew at the next start"))

    def _loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._bug(error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))))

    def _thread_error(self, about: threading.ExceptHookArgs) -> None:
        error = about.exc_value if isinstance(about.exc_value, Exception) else RuntimeError(str(about.exc_type))
        self._loop.call_soon_threadsafe(self._bug, error)

    def _bug(self, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        self._log.say("mistake of our own, stopping", level="critical", error=repr(error), where=where)
        self._end(BugError(f"stopped by a mistake of its own ({error!r} in {where}); please report this line"))

    def _end(self, error: SafezoneError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._own_button is not None:
            self._own_button.close()
        self._ports.stop()
        if self._record is not None:
            self._record.close()
        await self._brokers.close(GOODBYE_S)
        self._keys.close()
        # In a thread: a disk that hangs must not keep the loop from its last words.
        if not await asyncio.to_thread(self._outbox.close, GOODBYE_S * 5):
            self._log.say("outbox did not close in time", level="error")
        self._notifier.close()


async def _main(setup: Setup, log: Log, record: Recorder | None) -> None:
    runtime = Runtime(setup, log=log, notifier=Notifier(), record=record)
    await runtime.run()
    log.say("stopped")


def run(
    site: Path,
    point: str,
    *,
    log_level: str = "info",
    record: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> None:
    """Run the agent of ``point`` until SIGTERM or SIGINT. Raises SafezoneError, one line, for what cannot be helped.

    ``record``: folder for a record of its ports (``edge/record.py``).
    """
    set_up(log_level, write=say)
    setup = read_setup(site, point)
    log = Log("agent", point=point)
    if setup.complaint:
        log.say(setup.complaint, level="error")
    log.say("starting", site=site, data=setup.data, poles=",".join(setup.pole_ids), pid=os.getpid())
    if setup.tls is not None and (words := open_key(setup.tls.key)):
        log.say(words, level="warning")
    # The loop hands sockets and pipes of the press's path around; shorter slices keep its latency when threads work.
    sys.setswitchinterval(0.001)
    recorder = Recorder(record, point, log=log) if record is not None else None
    asyncio.run(_main(setup, log, recorder))
