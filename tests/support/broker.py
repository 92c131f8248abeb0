"""A real mosquitto for tests: on a free port of the loopback, with a folder of its own, stopped by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from sos_sim.live.layout import KeptPort

START_TIMEOUT_S = 10.0


def find_mosquitto() -> str:
    """Path of the broker; Debian puts it where an ordinary user's PATH does not look."""
    found = shutil.which(
        "mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    )
    if not found:
        raise RuntimeError("no mosquitto here; run: sudo apt-get install mosquitto")
    return found


# Ports are few, and given back with the process: another run of the tests may begin at any moment.
_kept: list[KeptPort] = []


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on, and that nobody but us is given while this process lives."""
    _kept.append(KeptPort())
    return _kept[-1].number


class Broker:
    """``with Broker(tmp_path) as broker: broker.url``. Start, stop, freeze and thaw as often as wanted; same port."""

    def __init__(
        self, folder: Path, *, tls: tuple[Path, Path, Path] | None = None, lines: Sequence[str] = (), port: int = 0
    ) -> None:
        """``tls``: the broker's CA, certificate and key; clients need one too. ``lines``: more config."""
        self.port = port or free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self.folder = folder
        self._lines = list(lines)
        if tls:
            ca, cert, key = tls
            self._lines += [f"cafile {ca}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"]
        if not any(line.startswith(("password_file", "allow_anonymous")) for line in lines):
            self._lines.append("allow_anonymous true")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        config = self.write_config()
        log = self.folder / "mosquitto.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen([find_mosquitto(), "-c", str(config)], stdout=output, stderr=output)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"mosquitto ended: {log.read_text(errors='replace')[-500:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.01)
        self.stop()
        raise RuntimeError("mosquitto does not listen")

    def write_config(self) -> Path:
        """The file that mosquitto is started with."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "mosquitto.conf"
        # Nagle's algorithm costs 35 ms at p99 even on the loopback.
        head = [f"listener {self.port} 127.0.0.1", "set_tcp_nodelay true", "persistence false"]
        user = ["user root"] if os.geteuid() == 0 else []
        config.write_text("\n".join([*head, *user, *self._lines, ""]))
        return config

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def end(self) -> None:
        """SIGTERM: it says wills and writes its store, if it has one."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        self._process = None

    def save(self) -> None:
        """Write the store, if it has one; done when it is there anew."""
        assert self._process is not None
        store = self.folder / "mosquitto.db"
        store.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not store.exists():
            assert time.monotonic() < deadline, "mosquitto does not save"
            time.sleep(0.01)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
