"""A real mosquitto for the figures: loopback, a free port, a folder of its own; certificates for TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_keys.acl import MAX_IN_FLIGHT, MAX_QUEUED
from sos_sim.live.child import Child
from sos_sim.live.layout import KeptPort

START_TIMEOUT_S = 10.0
_DAYS = "30"  # that a certificate of a bench is good for: one run
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Tls:
    """Files for mutual TLS: one certificate for the broker, one for all its clients."""

    ca: Path
    server_cert: Path
    server_key: Path
    cert: Path
    key: Path


def find_mosquitto() -> str:
    """Path of the broker; Debian puts it where an ordinary user's PATH does not look."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("mosquitto", path=places)
    if not found:
        raise SafezoneError("no mosquitto here, and this needs a real broker: sudo apt-get install mosquitto")
    return found


def certify(folder: Path) -> Tls:
    """A certificate authority of this run alone, and what it signs for 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    _openssl("req", "-x509", *curve, "-days", _DAYS, "-subj", "/CN=bench CA", "-keyout", ca_key, "-out", ca)
    extra = folder / "names"
    extra.write_text(f"subjectAltName=IP:{_HOST}\n", encoding="ascii")
    signed = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", _DAYS, "-extfile", extra)
    for name in ("broker", "client"):
        cert, key, request = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.csr"
        _openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, *signed, "-out", cert)
    return Tls(ca, folder / "broker.pem", folder / "broker.key", folder / "client.pem", folder / "client.key")


def _openssl(*words: str | Path) -> None:
    try:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SafezoneError("no openssl here, and the figures over TLS need certificates: install openssl") from None
    if done.returncode:
        raise SafezoneError(f"openssl {words[0]} failed: {done.stderr.strip().splitlines()[-1][:200]}")


class Mosquitto:
    """Started and stopped by its own process id, also again. ``url`` is for clients.

    ``persistent``: a restart forgets neither sessions nor what waits for their owners.
    """

    def __init__(self, folder: Path, tls: Tls | None, *, persistent: bool = False) -> None:
        self._persistent = persistent
        self._folder = folder
        self._tls = tls
        self._kept = KeptPort()
        self.port = self._kept.number
        self.url = f"{'mqtts' if tls else 'mqtt'}://{_HOST}:{self.port}"
        self.child = Child("mosquitto", [find_mosquitto(), "-c", str(folder / "mosquitto.conf")], folder / "log")

    async def start(self) -> None:
        """Comes back when it listens."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "mosquitto.conf").write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
        await self.child.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while self.child.running:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection(_HOST, self.port)
                        writer.close()
                        return
                    await asyncio.sleep(0.01)
        raise SafezoneError(f"mosquitto does not listen: {self.child.last_words()}")

    def _lines(self) -> list[str]:
        # Nagle's algorithm costs 35 ms at p99 even on the loopback.
        lines = [f"listener {self.port} {_HOST}", "set_tcp_nodelay true", "allow_anonymous true"]
        lines += (
            ["persistence true", f"persistence_location {self._folder}/"] if self._persistent else ["persistence false"]
        )
        lines += [f"max_inflight_messages {MAX_IN_FLIGHT}", f"max_queued_messages {MAX_QUEUED}"]  # as for a site
        if os.geteuid() == 0:
            lines.append("user root")  # else it leaves the rights with which it may read its folder
        if self._tls:
            files = {"cafile": self._tls.ca, "certfile": self._tls.server_cert, "keyfile": self._tls.server_key}
            lines += [f"{word} {path}" for word, path in files.items()]
            lines.append("require_certificate true")
        return lines

    async def stop(self) -> None:
        """For good: the port is anybody's."""
        await self.child.stop()
        self._kept.close()
