"""The process of one live pole and its control channel: JSON lines both ways, listed in CONTROL.md."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sos_contract.errors import SafezoneError
from sos_sim.live import runtime

POLE_MJS = runtime.NODE_DIR / "pole.mjs"
OFF_TIMEOUT_S = 2.0  # it has nothing to save: what takes longer hangs
Event = dict[str, Any]  # what a line holds is told by its `ev`


class _Lines(asyncio.SubprocessProtocol):
    """Cuts what the process says into lines. ``err`` keeps the last of what it complains about."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self.err = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hear = hear
        self._rest = b""
        self._over: set[str] = set()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.err = (self.err + data)[-4096:]
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._end("silent")

    def process_exited(self) -> None:
        self._end("exited")

    def _end(self, what: str) -> None:
        """It has ended once it is gone and its last words have been heard: what it said before never comes after."""
        self._over.add(what)
        if self._over == {"silent", "exited"} and not self.ended.done():
            self.ended.set_result(None)


class PoleProcess:
    """One run of ``pole.mjs``, from power-on to whatever ends it. ``hear`` is told each event, in order."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self._lines: _Lines | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def running(self) -> bool:
        return self._transport is not None and self._transport.get_returncode() is None

    @property
    def pid(self) -> int:
        """Process id; raises SafezoneError when it is not running."""
        if self._transport is None or not self.running:
            raise SafezoneError("this pole is switched off")
        return self._transport.get_pid()

    async def start(self, config: Event) -> None:
        """Start it and switch the board on; ``config`` is the line ``power_on`` without its name."""
        found = await asyncio.to_thread(runtime.find)
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Lines(self._hear),
            str(found.node),
            "--no-warnings",
            str(POLE_MJS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path("/"),
            start_new_session=True,  # a Ctrl-C in the terminal is for the simulator, which switches the poles off
            env={"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")},
        )
        self._transport, self._lines = transport, protocol
        self.send({"op": "power_on", "micropython": found.micropython.as_uri(), **config})

    def send(self, line: Event) -> None:
        """Say one line; a process that has ended does not hear it."""
        if self._transport is None or not self.running:
            return
        pipe = self._transport.get_pipe_transport(0)
        if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
            pipe.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    async def stop(self) -> None:
        """Let it end by itself, and kill it when it does not."""
        self.send({"op": "off"})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), OFF_TIMEOUT_S)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self.wait()
        if self._transport is not None:
            self._transport.close()

    async def wait(self) -> None:
        """Until the process has ended."""
        if self._lines is not None:
            await asyncio.shield(self._lines.ended)

    def complaint(self) -> str:
        """The last line that it wrote to standard error: a fault of the simulator, not of the firmware."""
        text = self._lines.err.decode(errors="replace") if self._lines else ""
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
