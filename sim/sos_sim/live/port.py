"""A serial port that is not there: a pseudo-terminal under a stable name, opened by the agent like a device."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable
from pathlib import Path

from sos_contract.errors import SafezoneError

_READ_BYTES = 4096


class Port:
    """One port. ``hear`` is told what the other side of the terminal writes. Closed until ``plug()``."""

    def __init__(self, path: Path, hear: Callable[[bytes], None]) -> None:
        self.path = path
        self.overrun_bytes = 0  # nobody read what came in: lost, as in a driver whose buffer is full
        self._hear = hear
        self._master = -1
        self._slave = -1

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    def plug(self, path: Path | None = None) -> None:
        """Appear, under another name if one is given. Raises SafezoneError where that name is taken or not allowed."""
        if self.plugged:
            return
        self.path = path or self.path
        master, slave = os.openpty()
        # Held open, so that an agent that goes away and comes back finds the same port.
        try:
            tty.setraw(slave)
            os.set_blocking(master, False)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_symlink():
                self.path.unlink()  # of a simulator that was killed
            self.path.symlink_to(os.ttyname(slave))
        except OSError as error:
            os.close(master)
            os.close(slave)
            raise SafezoneError(f"cannot make the port {self.path}: {error.strerror}") from error
        self._master, self._slave = master, slave
        asyncio.get_running_loop().add_reader(master, self._read)

    def unplug(self) -> None:
        """Vanish: whoever has it open gets an I/O error, and the name is gone."""
        if not self.plugged:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def write(self, data: bytes) -> None:
        """Bytes that arrive at the port; those that find its buffer full are lost."""
        if not self.plugged:
            return
        try:
            written = os.write(self._master, data)
        except BlockingIOError:
            written = 0
        self.overrun_bytes += len(data) - written

    def _read(self) -> None:
        try:
            data = os.read(self._master, _READ_BYTES)
        except (BlockingIOError, OSError):
            return
        self._hear(data)
