"""Serial ports: looked for every second, opened one owner each, read and written on the loop.

A port is named by its device's real path, whatever links point at it. Unplugging is an event, never an exception.
Ports without a device (the own button's) join by ``add_local``.
"""

from __future__ import annotations

import asyncio
import errno
import glob
import os
import select
import stat
import termios
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import serial

from sos_agent.core import effects, events
from sos_agent.edge.record import Recorder
from sos_edge.log import Log

LOOK_S = 1.0
# Devices that one machine could have; a pattern that matches more is a mistake in the site file.
MAX_CANDIDATES = 64
# Bytes read in one turn of the loop: 0.35 s at 115,200 baud, so that no port starves the others.
READ_BYTES = 4096
# Bytes that wait for a slow port: a few frames. More would only be stale; the link sends again what is lost.
MAX_UNSENT_BYTES = 2048
# A port that is readable and has nothing, this often in a row, has gone (or another program reads it too).
MAX_EMPTY_READS = 3


class LocalPort(Protocol):
    """A port whose cable is memory."""

    def open(self, heard: Callable[[bytes], None]) -> None:
        """From now on ``heard`` is called with what the other end says."""

    def write(self, data: bytes) -> None:
        """Say that to the other end."""

    def close(self) -> None:
        """The other end hears and says nothing more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line may be found: ``port`` by id or path, ``search`` patterns."""

    line: str
    port: str
    search: tuple[str, ...] = ()


@dataclass(slots=True)
class _Open:
    device: serial.Serial | LocalPort
    fd: int = -1
    unsent: bytearray = field(default_factory=bytearray)
    empty: int = 0


class Ports:
    """All ports of an agent. Events go to ``deliver`` from the loop, never from inside a call of this class."""

    def __init__(
        self,
        places: Sequence[Place],
        *,
        deliver: Callable[[events.Event], None],
        log: Log,
        record: Recorder | None = None,
    ) -> None:
        """``record`` hears what goes over real ports; nobody but us could hear the own button's."""
        self._places = places
        self._record = record
        self._deliver = deliver
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._local: dict[str, LocalPort] = {}
        self._open: dict[str, _Open] = {}
        self._opening: dict[str, effects.OpenPort] = {}
        self._working: set[str] = set()
        self._seen: tuple[events.Candidate, ...] | None = None
        self._homes: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.dropped_bytes = 0

    def add_local(self, name: str, port: LocalPort) -> None:
        """``name`` is both line and port."""
        self._local[name] = port

    def drop_local(self, name: str, reason: str) -> None:
        """It is there no more; another may be added under its name."""
        self._local.pop(name, None)
        if name in self._open:
            self._lost(name, reason)

    def start(self) -> None:
        """Look for ports now and every second."""
        self._look()

    def stop(self) -> None:
        """Close everything; nothing is delivered any more."""
        if self._timer:
            self._timer.cancel()
        self._opening.clear()
        for name in list(self._open):
            self.close(name)

    # --- looking

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        seen = (*look_for(self._places, self._complain), *(events.Candidate(name, name, True) for name in self._local))
        if seen != self._seen:
            self._seen = seen
            self._homes = {candidate.port for candidate in seen if candidate.home}
            self._loop.call_soon(self._deliver, events.PortsSeen(seen))

    def _complain(self, place: Place, found: int) -> None:
        if found:
            self._log.outage_over(f"absent {place.port}", "port is there", port=place.port)
        else:
            self._log.outage(
                f"absent {place.port}", "port absent: plug in the pole or mend the site file", port=place.port
            )

    # --- effects

    def carry_out(self, effect: effects.OpenPort | effects.ClosePort | effects.WriteBytes) -> None:
        if isinstance(effect, effects.WriteBytes):
            self._write(effect.port, effect.data)
        elif isinstance(effect, effects.OpenPort):
            self._begin_open(effect)
        else:
            self.close(effect.port)

    def _begin_open(self, effect: effects.OpenPort) -> None:
        self.close(effect.port)
        local = self._local.get(effect.port)
        if local is not None:
            self._open[effect.port] = _Open(local)
            local.open(partial(self._heard, effect.port, local))
            self._loop.call_soon(self._deliver, events.PortOpened(effect.port))
            return
        self._opening[effect.port] = effect
        if effect.port not in self._working:
            self._open_in_thread(effect)

    def _open_in_thread(self, effect: effects.OpenPort) -> None:
        # Opening may hang in a driver; neither the other poles nor our end may hang with it.
        self._working.add(effect.port)
        threading.Thread(target=self._open_device, args=(effect,), name="port-open", daemon=True).start()

    def _open_device(self, effect: effects.OpenPort) -> None:
        device = open_device(effect.port, effect.baud)
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(self._opened, effect, device)

    def _opened(self, effect: effects.OpenPort, device: serial.Serial | str) -> None:
        port = effect.port
        self._working.discard(port)
        wanted = self._opening.get(port)
        if wanted is not effect:
            if not isinstance(device, str):
                device.close()
            if wanted is not None:  # closed and opened again meanwhile: only now is the port free for it
                self._open_in_thread(wanted)
            return
        del self._opening[port]
        if isinstance(device, str):
            if port not in self._homes:  # of a line's home the core tells itself
                self._log.outage(f"open {port}", "port found but not usable", port=port, why=device)
            self._deliver(events.PortClosed(port, device))
            return
        self._log.outage_over(f"open {port}", "port usable again", port=port)
        fd = device.fileno()
        self._open[port] = _Open(device, fd)
        self._loop.add_reader(fd, self._readable, port)
        if self._record is not None:
            self._record.opened(port, effect.baud)
        self._deliver(events.PortOpened(port))

    def close(self, port: str) -> None:
        """Close ``port`` if it is open or being opened; silent otherwise."""
        self._opening.pop(port, None)
        opened = self._open.pop(port, None)
        if opened is None:
            return
        if not isinstance(opened.device, serial.Serial):
            opened.device.close()
            return
        self._loop.remove_reader(opened.fd)
        self._loop.remove_writer(opened.fd)
        with suppress(OSError, termios.error, serial.SerialException):
            # Else the kernel waits up to 30 s for bytes that a stalled port will never send.
            opened.device.reset_output_buffer()
        with suppress(OSError):
            opened.device.close()

    # --- bytes

    def _heard(self, port: str, local: LocalPort, data: bytes) -> None:
        opened = self._open.get(port)
        if opened is not None and opened.device is local:
            self._deliver(events.PortBytes(port, data))

    def _readable(self, port: str) -> None:
        opened = self._open[port]
        try:
            data = os.read(opened.fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(port, f"unplugged ({error.strerror})")
            return
        if data:
            opened.empty = 0
            if self._record is not None:
                self._record.heard(port, data)
            self._deliver(events.PortBytes(port, data))
            return
        opened.empty += 1
        poll = select.poll()
        poll.register(opened.fd, select.POLLIN)
        gone = any(what & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, what in poll.poll(0))
        if gone or opened.empty >= MAX_EMPTY_READS:
            self._lost(port, "unplugged")

    def _write(self, port: str, data: bytes) -> None:
        opened = self._open.get(port)
        if opened is None:
            return
        if not isinstance(opened.device, serial.Serial):
            opened.device.write(data)
            return
        if len(opened.unsent) + len(data) > MAX_UNSENT_BYTES:
            self.dropped_bytes += len(data)
            return
        if self._record is not None:
            self._record.said(port, data)
        opened.unsent += data
        if len(opened.unsent) == len(data):
            self._writable(port)

    def _writable(self, port: str) -> None:
        opened = self._open[port]
        try:
            del opened.unsent[: os.write(opened.fd, opened.unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            # Not from inside the core's own call: the event comes in the next turn of the loop.
            self._loop.remove_reader(opened.fd)
            self._loop.remove_writer(opened.fd)
            opened.unsent.clear()
            self._loop.call_soon(self._lost_later, port, opened, f"unplugged ({error.strerror})")
            return
        if opened.unsent:
            self._loop.add_writer(opened.fd, self._writable, port)
        else:
            self._loop.remove_writer(opened.fd)

    def _lost_later(self, port: str, opened: _Open, reason: str) -> None:
        if self._open.get(port) is opened:
            self._lost(port, reason)

    def _lost(self, port: str, reason: str) -> None:
        self.close(port)
        self._deliver(events.PortClosed(port, reason))


def look_for(
    places: Sequence[Place], tell: Callable[[Place, int], None] = lambda _place, _found: None
) -> tuple[events.Candidate, ...]:
    """Every device that exists and could be one of ``places``; ``tell`` hears of each place how many there are."""
    candidates: list[events.Candidate] = []
    for place in places:
        names = [place.port, *(name for pattern in place.search for name in sorted(glob.glob(pattern)))]  # noqa: PTH207
        found: dict[str, bool] = {}
        for name in names:
            if len(found) >= MAX_CANDIDATES:
                break
            path = os.path.realpath(name)
            if path not in found and _is_terminal(path):
                found[path] = name == place.port
        candidates += [events.Candidate(path, place.line, home) for path, home in found.items()]
        tell(place, len(found))
    return tuple(candidates)


def _is_terminal(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return False


def open_device(port: str, baud: int) -> serial.Serial | str:
    """The port, opened raw, non-blocking and exclusive; or why not and what to do, in words."""
    try:
        return serial.Serial(port, baud, timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError, termios.error, serial.SerialException) as error:
        return explain(error)


def explain(error: Exception) -> str:
    """Why a port cannot be opened and what to do."""
    number = getattr(error, "errno", None)
    if number is None and error.__context__ is not None and error.__context__.args:
        number = error.__context__.args[0]  # termios.error, which pyserial wraps, has no errno
    if number == errno.EACCES:
        return "no permission; run: sudo usermod -aG dialout <user of the agent>, then log in again"
    if number in (errno.EBUSY, errno.EAGAIN):
        return "in use by another program; stop that one"
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return "not there; plug it in"
    if number in (errno.ENOTTY, errno.EINVAL) or isinstance(error, ValueError):
        return "no serial port, or it does not know this baud rate; mend the site file"
    return str(error)
