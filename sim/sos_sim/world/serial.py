"""An agent's serial ports on virtual cables: the twin of ``sos_agent.edge.serial``.

A line's cable is plugged in under a device's name. Its home is there while the cable hangs where the site file says;
under another name it is found by search. What is plugged outlives the agent's program, whose ``start`` and ``stop``
these are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from functools import partial

from sos_agent.core import effects, events
from sos_agent.edge.serial import LOOK_S, MAX_UNSENT_BYTES
from sos_sim.world.loop import Loop
from sos_sim.world.wire import AGENT, End, Wire

_LOOK_US = int(LOOK_S * 1_000_000)
_OPEN_US = (500, 5000)  # opening a port, in a thread of its own
_KERNEL_BYTES = 4095  # that a terminal takes before it makes the writer wait
_LOST = "unplugged"
_NOTHING = ""  # hangs on a bare adapter
_ABSENT = "not there; plug it in"


class Serial:
    """All ports of an agent. ``wires``: line -> its cable; lines in ``local`` are own buttons, which nobody unplugs.

    ``search``: the lines whose site file lets them be found under other names. Events go to ``deliver`` from the loop,
    never from inside a call of this class.
    """

    def __init__(
        self,
        loop: Loop,
        rng: random.Random,
        wires: dict[str, Wire],
        deliver: Callable[[events.Event], None],
        search: Collection[str] | None = None,
    ) -> None:
        self.deliver = deliver
        self.dropped_bytes = 0
        self._loop = loop
        self._rng = rng
        self._wires = wires
        self._local = [line for line in wires if line.startswith("local:")]
        self._lines = [line for line in wires if line not in self._local]
        self._search = self._lines if search is None else search
        self._devices = {line: line for line in wires}  # device's name -> line of the cable that hangs on it
        self._homes = dict(self._devices)  # line -> device while it hangs at home
        self._bare: dict[str, str] = {}  # adapter that its cable was taken off, and which stays -> line of that cable
        self._open: dict[str, End | None] = {}  # None: nothing hangs on it
        self._opening: dict[str, list[object]] = {}
        self._ends = {line: wire.attach(AGENT, partial(self._heard, line), eager=wire.shared)
                      for line, wire in wires.items()}  # fmt: skip
        self._seen: tuple[events.Candidate, ...] | None = None
        self._began_us = 0
        self._running = False
        self._due: list[list[object]] = []

    # -- the technician's hands

    def unplug(self, line: str) -> None:
        """Pull that line's cable off the agent, wherever it hangs, and the adapters on which it hung before."""
        for device, at in list(self._devices.items()):
            if line in (at, self._bare.get(device)):
                del self._devices[device]
                self._bare.pop(device, None)
                self._homes.pop(line, None)
                if device in self._open:
                    end = self._open.pop(device)
                    if end is not None:
                        end.hush()
                    self._soon(0, events.PortClosed(device, _LOST))
        self._look_later()

    def plug(self, line: str, under: str | None = None) -> None:
        """Plug it in again, at home or as a device of another name."""
        self.unplug(line)
        device = under or line
        self._devices[device] = line
        if under is None:
            self._homes[line] = device

    def move(self, line: str, under: str | None = None) -> None:
        """Take it off its adapter, which stays, and hang it on another one: at home, or of another name."""
        device = under or line
        for adapter, at in list(self._devices.items()):
            if at == line and adapter != device:
                self._devices[adapter], self._bare[adapter] = _NOTHING, line
                end = self._open.get(adapter)
                if end is not None:
                    end.hush()
                    self._open[adapter] = None
        self._bare.pop(device, None)
        self._devices[device] = line
        if device in self._open:
            self._open[device] = self._ends[line]
        self._look_later()

    # -- the program

    def start(self) -> None:
        """Look for ports now and every second."""
        self._running = True
        self._began_us = self._loop.now_us
        self._seen = None
        self._look()

    def stop(self) -> None:
        """Close everything; nothing is delivered any more."""
        self._running = False
        for device in [*self._opening, *self._open]:
            self._close(device)
        for entry in self._due:
            self._loop.cancel(entry)
        self._due.clear()

    def carry_out(self, effect: effects.OpenPort | effects.ClosePort | effects.WriteBytes) -> None:
        """As the real one does."""
        if isinstance(effect, effects.WriteBytes):
            self._write(effect.port, effect.data)
        elif isinstance(effect, effects.OpenPort):
            self._begin_open(effect.port)
        else:
            self._close(effect.port)

    def _look(self) -> None:
        if not self._running:
            return
        candidates = []
        for line in self._lines:
            home = self._homes.get(line)
            names = [] if home is None else [home]
            if line in self._search:
                names += sorted(name for name, at in self._devices.items() if name != home and at not in self._local)
            candidates += [events.Candidate(name, line, name == home) for name in names]
        seen = (*candidates, *(events.Candidate(name, name, True) for name in self._local))
        if seen != self._seen:
            self._seen = seen
            self._soon(0, events.PortsSeen(seen))

    def _look_later(self) -> None:
        """The next of the looks, one a second, that finds something changed."""
        if self._running:
            passed_us = (self._loop.now_us - self._began_us) % _LOOK_US
            self._loop.after(_LOOK_US - passed_us, self._look)

    def _begin_open(self, device: str) -> None:
        self._close(device)
        wait_us = 0 if device in self._local else self._rng.randint(*_OPEN_US)
        self._opening[device] = self._loop.after(wait_us, partial(self._opened, device))

    def _opened(self, device: str) -> None:
        del self._opening[device]
        line = self._devices.get(device)
        if line is None:
            self.deliver(events.PortClosed(device, _ABSENT))
            return
        end = self._open[device] = self._ends.get(line)
        if end is not None:
            end.pending = b""
        self.deliver(events.PortOpened(device))

    def _close(self, device: str) -> None:
        opening = self._opening.pop(device, None)
        if opening is not None:
            self._loop.cancel(opening)
        end = self._open.pop(device, None)
        if end is not None:
            end.hush()

    def _heard(self, line: str, data: bytes) -> None:
        for device, at in self._devices.items():
            if at == line and device in self._open:
                self.deliver(events.PortBytes(device, data))
                return

    def _write(self, device: str, data: bytes) -> None:
        end = self._open.get(device)
        if end is None:
            return
        wire = self._wires[self._devices[device]]
        unsent = (end.free_us - self._loop.now_us) * wire.baud // 10_000_000
        if unsent + len(data) > _KERNEL_BYTES + MAX_UNSENT_BYTES:
            self.dropped_bytes += len(data)
            return
        end.send(data)

    def _soon(self, wait_us: int, event: events.Event) -> None:
        """Deliver it from the loop, unless the program has ended by then."""
        self._due = [entry for entry in self._due if entry[2] is not None and entry[0] >= self._loop.now_us]  # type: ignore[operator]
        self._due.append(self._loop.after(wait_us, partial(self._deliver, event)))

    def _deliver(self, event: events.Event) -> None:
        if self._running:
            self.deliver(event)
