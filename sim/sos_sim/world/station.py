"""The station program on virtual time: the real core, carried out as ``sos_station.app`` does."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from sos_contract.site import Site
from sos_sim.trace import Trace
from sos_sim.world.clock import MachineClock
from sos_sim.world.disk import Disk
from sos_sim.world.inbox import Inbox
from sos_sim.world.loop import Loop
from sos_sim.world.network import Host
from sos_sim.world.program import Program
from sos_station.app import CLOCK_EVERY_S, STORE_HANGS_S, settings_of
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.core.station import Station
from sos_station.edge.mqtt import Links


class StationNode(Program):
    """Its rows are those of the part ``station``."""

    def __init__(
        self,
        loop: Loop,
        trace: Trace,
        rng: random.Random,
        site: Site,
        *,
        clock: MachineClock,
        disk: Disk,
        host: Host,
    ) -> None:
        super().__init__(loop, trace, rng, "station", clock=clock, disk=disk, host=host)
        self.site = site
        self.station: Station | None = None
        self.inbox: Inbox | None = None
        self.ready = False
        self._stores = 0
        self._stored_us = 0

    # --- its life

    def open(self) -> None:
        """As ``App.__init__``."""
        wall_ms = self.clock.wall_ms(self.loop.now_us)
        inbox = Inbox(
            self.loop, self.rng, self.disk, self._inbox_event, trace=self.trace, wall_ms=wall_ms, broken=self._broken
        )
        self.inbox = inbox
        self.ready = False
        self.station = Station(settings_of(self.site))
        self._stores = 0
        client_id = f"{self.site.station.id}-station-{self.rng.getrandbits(32):08x}"
        brokers = self.site.station.brokers
        links = Links(brokers, client_id, tls=None, deliver=self.take, link=self.host.link)
        self._does = self._table(inbox, links)

    def _table(self, inbox: Inbox, links: Links) -> dict[type, Callable[[Any], object]]:
        return {
            **dict.fromkeys((fx.Connect, fx.Disconnect, fx.Subscribe, fx.Publish), links.carry_out),
            fx.Log: lambda e: self.note(e.level, e.text, e.fields),
            fx.Ready: lambda e: setattr(self, "ready", True),
            **dict.fromkeys(fx.STORE_EFFECTS, partial(self._store, inbox)),
            **dict.fromkeys(fx.READ_EFFECTS, inbox.read),
        }

    def begin(self) -> None:
        """As ``App.run``."""
        assert self.inbox is not None
        self._tell_time()
        self.take(ev.Started(self.rng.randbytes(32), self.inbox.incarnation, self.clock.timebase))

    def say_goodbye(self) -> None:
        assert self.station is not None
        # TCP keeps the order: what is said before the end of a connection is there before it.
        self.carry_out(self.station.handle(ev.Stopping(), self.now_ms), self._does)

    def close(self, how: str) -> None:
        assert self.inbox is not None
        self.station = None
        {"kill": self.inbox.kill, "power": self.inbox.power_cut, "stop": self.inbox.close}[how]()

    def hold(self, frozen: bool) -> None:
        assert self.inbox is not None
        (self.inbox.freeze if frozen else self.inbox.thaw)()

    @property
    def commits_of_life(self) -> int:
        return self.inbox.commits if self.inbox is not None else 0

    @property
    def stalled(self) -> bool:
        """The disk hangs for so long that the watchdog is no longer fed."""
        return self.running and self._stores > 0 and self.loop.now_us - self._stored_us >= STORE_HANGS_S * 1e6

    def _broken(self, _reason: str) -> None:
        if self.running:
            self.say_goodbye()
            if self.running:
                self.end("stop", "broken")

    # --- events and time

    def take(self, event: ev.Event) -> None:
        """Bring ``event`` to the core and carry out what it wants."""
        if not self.running:
            return
        assert self.station is not None
        self.handled += 1
        if self.carry_out(self.station.handle(event, self.clock.ms(self.loop.now_us)), self._does):
            self.arm_timer()

    def _inbox_event(self, event: ev.Committed | ev.CommitFailed | ev.Read | ev.ReadFailed) -> None:
        if isinstance(event, ev.Committed | ev.CommitFailed):
            self._stores -= len(event.results if isinstance(event, ev.Committed) else event.effects)
            self._stored_us = self.loop.now_us
        self.take(event)

    def next_timer_ms(self) -> int | None:
        return self.station.next_timer_ms() if self.station is not None else None

    def timer_due(self) -> None:
        self.take(ev.Tick())

    def _tell_time(self) -> None:
        self.later(int(CLOCK_EVERY_S * 1e6), self._tell_time)
        now_us = self.loop.now_us
        self.take(ev.Clock(self.clock.wall_ms(now_us), self.clock.quality(now_us)))

    def _store(self, inbox: Inbox, effect: fx.StoreEffect) -> None:
        if self._stores == 0:
            self._stored_us = self.loop.now_us
        self._stores += 1
        inbox.store(effect)
