"""The agent's end of a cable in a few lines: it answers a live pole as far as a test wants, and notes what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE, Link
from sos_wire.messages import Command, Notice, Press, Progress, Service, Status, unpack
from sos_wire.ticks import TICKS_MASK

POLL_S = 0.002


class Peer:
    """Opens ``port`` and talks to the poles in ``keys`` (address -> key). ``stage``: said to each press, if any."""

    def __init__(self, port: Path, keys: dict[int, bytes], *, shared: bool = False, stage: str = "received") -> None:
        self.stage = stage
        self.in_service = True
        self.presses: list[tuple[int, Press]] = []
        self.notices: list[Notice] = []
        self.line = AgentLine(shared, 115200)
        self.links = {address: AgentLink(address, key, os.urandom(32)) for address, key in keys.items()}
        self._opened = dict.fromkeys(keys, 0)
        self._waiting: list[tuple[int, bytes]] = []
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._heard = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._heard.set)
        self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        await asyncio.wait({self._task})
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def say(self, data: bytes) -> None:
        """Put bytes on the port that no agent would."""
        os.write(self._fd, data)

    def tell(self, stage: str, press: Press, address: int = 1) -> None:
        """Say that stage of that press."""
        self.send(Progress(press.incarnation, press.boot, press.press, stage), address)

    def send(self, message: Progress | Service | Command, address: int = 1) -> None:
        """Send it as soon as there is room."""
        self._waiting.append((address, message.pack()))

    def status(self, address: int = 1) -> Status | None:
        """What the pole's last beat said."""
        payload = self.links[address].peer_status
        found = unpack(payload) if payload else None
        return found if isinstance(found, Status) else None

    async def until(self, true: Callable[[], Any], timeout_s: float) -> None:
        """Wait; raises TimeoutError."""
        end = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"heard {self.presses}, {self.notices}; {self.links[1].counts}, {self.line.counts}")
            await asyncio.sleep(POLL_S)

    async def _run(self) -> None:
        while True:
            now = int(time.monotonic() * 1000) & TICKS_MASK
            self._heard.clear()
            try:
                data = os.read(self._fd, 4096)
                if not data:
                    return  # the port has vanished
            except BlockingIOError:
                data = b""
            except OSError:
                return
            for frame in self.line.feed(data, now) if data else ():
                if frame.address in self.links:
                    self.links[frame.address].receive(frame, now)
            for address, link in self.links.items():
                self._turn(address, link, now)
            wait_s = min(POLL_S, self.line.wait(now) / 1000 or POLL_S)
            timer = asyncio.get_running_loop().call_later(wait_s, self._heard.set)
            await self._heard.wait()
            timer.cancel()

    def _turn(self, address: int, link: Link, now: int) -> None:
        for _lane, payload, _uptime_ms in link.take():
            message = unpack(payload)
            if isinstance(message, Press):
                self.presses.append((address, message))
                if self.stage:
                    self.tell(self.stage, message, address)
            elif isinstance(message, Notice):
                self.notices.append(message)
        if link.opened != self._opened[address]:
            self._opened[address] = link.opened
            if self.in_service:
                self.send(Service("in_service"), address)
        for waiting in list(self._waiting):
            if waiting[0] == address and link.send(LIVE, waiting[1]):
                self._waiting.remove(waiting)
        while self.line.quiet(now) and (wire := link.poll(now, now)) is not None:
            self.line.sent(len(wire), now)
            with contextlib.suppress(OSError):
                os.write(self._fd, wire)
