"""A process of the live zone: started, stopped, frozen and killed by its own id, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from sos_contract.errors import SafezoneError

STOP_TIMEOUT_S = 5.0  # an agent commits and says good-bye in milliseconds; after this it is killed
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: be killed when the simulator dies, however it dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One command that can be run again and again. ``log`` collects what all its runs printed."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Process id; raises SafezoneError when it is not running."""
        if self._process is None or not self.running:
            raise SafezoneError(f"{self.name} is not running; its output is in {self.log}")
        return self._process.pid

    async def start(self) -> None:
        """Start it unless it runs. Its own session, so that a Ctrl-C in the terminal reaches the simulator alone."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    async def stop(self) -> None:
        """Ask it to end, and kill it when it does not."""
        if self._process is None or not self.running:
            return
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL: no warning, no last words."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: there, connected, and doing nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def last_words(self) -> str:
        """The last line it printed, for an error message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n") if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
