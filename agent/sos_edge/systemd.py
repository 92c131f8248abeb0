"""Notices to systemd (``sd_notify``): ready, watchdog, status, stopping. Without systemd they go nowhere."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Sends to ``$NOTIFY_SOCKET``; a service manager that has gone, or is busy, is not our fault and stops nothing."""

    def __init__(self, address: str | None = None) -> None:
        name = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket: socket.socket | None = None
        self._status = ""
        self._owed: dict[str, str] = {}  # what systemd was too busy to take, by its first word
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def ready(self) -> None:
        """Armed: what depends on this unit may start."""
        self._send("READY=1")

    def stopping(self) -> None:
        """On the way out, in order."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Still making progress."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; said only when it changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={' '.join(text.split())}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is not None:
            self._owed[text.partition("=")[0]] = text
            try:
                self._socket.sendto("\n".join(self._owed.values()).encode(), self._address)
            except BlockingIOError:
                self._owed.pop("WATCHDOG", None)  # a sign of life is none later
                return
            except OSError:
                pass
            self._owed.clear()


def watchdog_interval_s() -> float | None:
    """Half of what systemd waits for a sign of life; None if it waits for none or for another process."""
    try:
        wait_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        process = int(os.environ.get("WATCHDOG_PID", "0"))
    except ValueError:
        return None
    if wait_us <= 0 or process not in (0, os.getpid()):
        return None
    return wait_us / 2_000_000
