"""Real processes for the edge tests: a station, an officer's terminal, and a point that speaks as an agent does."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from sos_contract import topics
from sos_contract.payloads import Refused, decode, encode

SAFEZONE = [sys.executable, "-m", "safezone"]
WAIT_S = 30.0

P = TypeVar("P", bound=msgspec.Struct)


def site_file(folder: Path, brokers: list[str]) -> Path:
    """Betong's site with brokers and an inbox of the test's own."""
    bundled = Path(__file__).parents[2] / "hardware" / "sites" / "betong.toml"
    text = bundled.read_text(encoding="utf-8")
    own = f'[station]\ndata = "{folder / "inbox"}"\n'
    text = text.replace("[station]\n", own, 1).replace('["mqtt://127.0.0.1:1883"]', json.dumps(brokers), 1)
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


class StationProcess:
    """``with StationProcess(site) as station``: armed when entered, ended when left."""

    def __init__(self, site: Path, prefix: Sequence[str] = ()) -> None:
        """``prefix``: a command that runs the station's."""
        self.site = site
        self._prefix = prefix
        self.log = site.parent / "station.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        before = self._log().count("armed")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self._prefix, *SAFEZONE, "station", "--site", str(self.site)], stderr=output
            )
        until(lambda: self._log().count("armed") > before or self._ended())

    def _ended(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the station ended: {self._log()[-500:]}")
        return False

    def _log(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def __enter__(self) -> StationProcess:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


class PointClient:
    """Speaks for a reporting point; keeps all that the station tells it."""

    def __init__(self, port: int, point: str = "merlin", *, tls: tuple[Path, Path, Path] | None = None) -> None:
        """``tls``: CA, certificate and key."""
        self.point = point
        self.heard: queue.SimpleQueue[tuple[topics.Topic, bytes]] = queue.SimpleQueue()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        if tls:
            self._client.tls_set(str(tls[0]), str(tls[1]), str(tls[2]))
        self._client.connect("127.0.0.1", port)
        sock = self._client.socket()
        assert isinstance(sock, socket.socket)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        acked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._client.on_subscribe = lambda *_: acked.put(1)
        self._client.loop_start()
        wanted = [(topics.of_point("betong", point, leaf), 1) for leaf in topics.TO_POINT]
        self._client.subscribe([*wanted, (topics.of_station("betong", "state"), 1)])
        acked.get(timeout=WAIT_S)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        topic = topics.parse(message.topic)
        assert topic is not None
        self.heard.put((topic, bytes(message.payload)))

    def say(self, leaf: str, payload: msgspec.Struct, *, retain: bool = False) -> None:
        self._client.publish(topics.of_point("betong", self.point, leaf), encode(payload), qos=1, retain=retain)

    def next(self, leaf: str, kind: type[P], fits: Callable[[P], bool] = lambda _: True) -> P:
        """The next message of that leaf that ``fits``; others are passed over."""
        deadline = time.monotonic() + WAIT_S
        while True:
            topic, data = self.heard.get(timeout=max(0.01, deadline - time.monotonic()))
            if topic.leaf == leaf:
                payload = decode(data, kind)
                assert not isinstance(payload, Refused), payload.reason
                if fits(payload):
                    return payload

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def alarms(site: Path, *words: str, user: str = "somchai") -> subprocess.CompletedProcess[str]:
    """``safezone alarms ...`` as an officer types it."""
    environment = {**os.environ, "USER": user}
    return subprocess.run(
        [*SAFEZONE, "alarms", *words, "--site", str(site)],
        capture_output=True, text=True, timeout=30, env=environment, check=False,
    )  # fmt: skip


def rows(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Objects that ``--json`` printed."""
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]
