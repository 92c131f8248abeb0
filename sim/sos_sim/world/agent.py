"""The agent of a reporting point on virtual time: the real core, carried out as ``sos_agent.app`` does."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

from sos_agent.app import CLOCK_S, REFILL_S, STALLED_S
from sos_agent.core import effects as fx
from sos_agent.core import events as ev
from sos_agent.core.agent import Agent
from sos_agent.edge.mqtt import Brokers
from sos_sim.trace import Trace
from sos_sim.world.clock import MachineClock
from sos_sim.world.disk import Disk
from sos_sim.world.keys import KeyStore, with_kept
from sos_sim.world.loop import Loop
from sos_sim.world.network import Host
from sos_sim.world.outbox import Outbox
from sos_sim.world.pole import PoleNode
from sos_sim.world.program import Program
from sos_sim.world.serial import Serial

# The kernel's buffer of a serial port while nobody reads it.
TTY_BYTES = 4096
STORES = (
    fx.StoreAlarm, fx.MarkReceipted, fx.MarkWaiting, fx.StoreProgress, fx.StoreNotice, fx.DropNotices, fx.StoreBoot,
    fx.StoreTimebase, fx.FetchWaiting, fx.FetchNotices, fx.FetchReceipted, fx.PurgeReceipted,
)  # fmt: skip


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what only waits where a real edge would."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a twin waits for nothing")


class AgentNode(Program):
    """``deliver`` is the only way into the core; what comes up while effects are carried out waits its turn."""

    def __init__(
        self,
        loop: Loop,
        trace: Trace,
        rng: random.Random,
        config: ev.Config,
        client_id: str,
        *,
        clock: MachineClock,
        disk: Disk,
        host: Host,
        ports: Serial,
        own: PoleNode | None = None,
    ) -> None:
        """``ports`` and ``own``, the point's own button, outlive the program and live with it."""
        super().__init__(loop, trace, rng, f"agent:{config.point}", clock=clock, disk=disk, host=host)
        self.config = config
        self.client_id = client_id
        self.ports = ports
        self.own = own
        self.agent: Agent | None = None
        self.outbox: Outbox | None = None
        self.ready = False
        self.summary = ""
        self._queue: deque[ev.Event] = deque()
        self._busy = False
        self._unread: Counter[str] = Counter()  # bytes a port that nobody reads while the program is frozen

    # --- its life

    def open(self) -> None:
        """As ``Runtime.__init__``."""
        outbox = Outbox(
            self.loop,
            self.rng,
            self.disk,
            self.deliver,
            trace=self.trace,
            point=self.config.point,
            broken=self._broken,
        )
        self._queue.clear()
        self._unread.clear()
        self._busy = False
        self.ready = False
        self.outbox = outbox
        self.agent = Agent(with_kept(self.config, self.disk))
        self.brokers = Brokers(self.client_id, tls=None, deliver=self.deliver, link=self.host.link)
        self.keys = KeyStore(self.disk, self.later, self.deliver)
        self._does = self._table(outbox, self.keys)

    def _table(self, outbox: Outbox, keys: KeyStore) -> dict[type, Callable[[Any], object]]:
        return {
            fx.WriteBytes: self.ports.carry_out,
            fx.OpenPort: self.ports.carry_out,
            fx.ClosePort: self.ports.carry_out,
            **dict.fromkeys((fx.Publish, fx.Connect, fx.Disconnect, fx.Subscribe), self.brokers.carry_out),
            **dict.fromkeys(STORES, outbox.carry_out),
            fx.StoreKeys: keys.carry_out,
            fx.Log: lambda effect: self.note(effect.level, effect.message, effect.fields),
            fx.Ready: lambda effect: setattr(self, "ready", True),
            fx.Summary: lambda effect: setattr(self, "summary", effect.text),
        }

    def begin(self) -> None:
        """As ``Runtime.run``."""
        assert self.outbox is not None
        life = self._life
        self._read_clock()
        self.deliver(ev.Started(self.rng.randbytes(32), self.clock.timebase, self.outbox.contents))
        if self._life == life:
            self.ports.deliver = self.deliver
            self.ports.start()
            if self.own is not None:
                self.own.start()

    def say_goodbye(self) -> None:
        self.deliver(ev.Stopping())
        at_once(self.brokers.close(0.0))

    def close(self, how: str) -> None:
        assert self.outbox is not None
        self.ports.stop()
        if self.own is not None:
            self.own.power_cut()
        self.agent = None
        self.keys.close(how)
        {"kill": self.outbox.kill, "power": self.outbox.power_cut, "stop": self.outbox.close}[how]()

    def hold(self, frozen: bool) -> None:
        assert self.outbox is not None
        if self.own is not None:
            (self.own.freeze if frozen else self.own.thaw)()
        if frozen:
            self.outbox.freeze()
            return
        self._unread.clear()
        self.outbox.thaw()
        if self.running:  # what it tells may be its end
            self._work()

    @property
    def commits_of_life(self) -> int:
        return self.outbox.commits if self.outbox is not None else 0

    @property
    def stalled(self) -> bool:
        """The disk hangs for so long that the watchdog is no longer fed."""
        return self.running and self.outbox is not None and self.outbox.waited_s() >= STALLED_S

    def _broken(self, _reason: str) -> None:
        # The program ends in order, as far as brokers and disk let it, but the core hears nothing any more.
        if self.running:
            at_once(self.brokers.close(0.0))
            self.end("stop", "broken")

    # --- events and time

    def deliver(self, event: ev.Event) -> None:
        """Bring ``event`` to the core and carry out what it wants."""
        if not self.running:
            return
        if self.frozen:
            self._keep(event)
            return
        self._queue.append(event)
        if not self._busy:
            self._work()

    def _work(self) -> None:
        life, agent = self._life, self.agent
        assert agent is not None
        self._busy = True
        queue = self._queue
        while queue:
            self.handled += 1
            if not self.carry_out(agent.handle(queue.popleft(), self.clock.ms(self.loop.now_us)), self._does):
                return
        self._busy = False
        if self._life == life:
            self.arm_timer()

    def _keep(self, event: ev.Event) -> None:
        if isinstance(event, ev.PortBytes):
            if self._unread[event.port] + len(event.data) > TTY_BYTES:
                return
            self._unread[event.port] += len(event.data)
        self._queue.append(event)

    def next_timer_ms(self) -> int | None:
        return self.agent.next_timer_ms() if self.agent is not None else None

    def timer_due(self) -> None:
        self.deliver(ev.Timer())

    def _read_clock(self) -> None:
        self.later(int(CLOCK_S * 1e6), self._read_clock)
        now_us = self.loop.now_us
        # Whether there is room again, the real one looks once a minute; to ask more often finds it a little earlier.
        if self.outbox is not None and not self.outbox.disk_ok and now_us % int(REFILL_S * 1e6) < CLOCK_S * 1e6:
            self.outbox.refill()
        self.deliver(ev.Clock(self.clock.wall_ms(now_us), self.clock.quality(now_us)))
