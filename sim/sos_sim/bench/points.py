"""Many points at once: MQTT 3.1.1 clients of a few lines, all on one loop, each with so many alarms under way.

A real agent costs a quarter of a millisecond an alarm; a thousand of them on the station's own machine would measure
themselves. These say what an agent says, wait for the receipt as it does, and say the next.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Iterator

from sos_contract.errors import SafezoneError
from sos_contract.payloads import Alarm, Identity, Probe, Receipt, decode, encode
from sos_contract.topics import of_point

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90
QOS1 = 0x02
CLEAN_SESSION = 0x02
INCARNATION, SESSION = "0123456789abcdef", "fedcba9876543210"
AT_ONCE = 50  # connections that are opened at a time: mosquitto's queue of new ones is a hundred long
READY_TIMEOUT_S = 30.0
PROBE_EVERY_S = 0.2


def packet(kind: int, body: bytes) -> bytes:
    """With its length in front, seven bits a byte."""
    length, left = bytearray(), len(body)
    while True:
        left, low = divmod(left, 128)
        length.append(low | (128 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + body


def word(text: str) -> bytes:
    """A string as MQTT has it."""
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def unpack(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """The whole packets at the beginning of ``buffer``, which keeps the rest."""
    while len(buffer) >= 2:
        length = shift = at = 0
        while at < len(buffer) - 1:
            at += 1
            length |= (buffer[at] & 127) << shift
            shift += 7
            if buffer[at] < 128:
                break
        else:
            return
        if len(buffer) < at + 1 + length:
            return
        yield buffer[0], bytes(buffer[at + 1 : at + 1 + length])
        del buffer[: at + 1 + length]


class Point(asyncio.Protocol):
    """One connection. ``crowd`` owns what is to be sent and hears what came back."""

    def __init__(self, crowd: Crowd, name: str, pole: str) -> None:
        self._crowd, self._name, self._pole = crowd, name, pole
        self._buffer = bytearray()
        self._sent: deque[float] = deque()
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def itself(self) -> Point:
        """What asyncio makes of it."""
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        head = word("MQTT") + bytes([4, CLEAN_SESSION]) + struct.pack(">H", 0)
        self._write(packet(CONNECT, head + word(self._name)))

    def connection_lost(self, error: Exception | None) -> None:
        self._crowd.lost(self._name)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for kind, body in unpack(self._buffer):
            if kind == CONNACK:
                wanted = (of_point(self._crowd.station, self._name, leaf) for leaf in ("receipt", "probe_answer"))
                self._write(packet(SUBSCRIBE, b"\0\1" + b"".join(word(topic) + b"\1" for topic in wanted)))
            elif kind == SUBACK and not self.ready.done():
                self.ready.set_result(None)
            elif kind & 0xF0 == PUBLISH:
                self._heard(kind, body)

    def _heard(self, kind: int, body: bytes) -> None:
        (length,) = struct.unpack_from(">H", body)
        topic, at = body[2 : 2 + length], 2 + length
        if kind & QOS1:
            self._write(packet(PUBACK, body[at : at + 2]))
            at += 2
        if topic.endswith(b"probe_answer"):
            self._crowd.answered.set()
            return
        now = time.monotonic()
        for _ in range(self._crowd.receipted(body[at:])):
            self._crowd.took((now - self._sent.popleft()) * 1000)
        self.send()

    def send(self) -> None:
        """Alarms, as many as may be under way."""
        while len(self._sent) < self._crowd.window and self._crowd.take():
            self._number += 1
            self._sent.append(time.monotonic())
            identity = Identity(self._pole, INCARNATION, 1, self._number)
            wall_ms = int(time.time() * 1000)
            alarm = Alarm(
                id=identity, kind="press", pressed_at_ms=self._number, age_ms=10, sent_wall_ms=wall_ms,
                clock="synced", agent=SESSION,
            )  # fmt: skip
            self._publish("alarm", encode(alarm), self._number)

    def probe(self, number: int) -> None:
        """Ask whether the station is there."""
        self._publish("probe", encode(Probe(session=SESSION, number=number)), number)

    def _publish(self, leaf: str, payload: bytes, number: int) -> None:
        topic = word(of_point(self._crowd.station, self._name, leaf))
        self._write(packet(PUBLISH | QOS1, topic + struct.pack(">H", number % 65535 + 1) + payload))

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class Crowd:
    """``points`` of them, with ``window`` alarms under way each. ``times``: milliseconds from each to its receipt.

    ``bare``: the station is the floor's, whose receipts are numbers.
    """

    def __init__(self, station: str, points: int, window: int, *, bare: bool) -> None:
        self.station, self.window = station, window
        self.answered = asyncio.Event()
        self.times: list[float] = []
        self._bare = bare
        self._left = self._wanted = 0
        self._done = asyncio.Event()
        self._failed = ""
        self._points = [Point(self, f"point-{number}", f"pole-{number}") for number in range(1, points + 1)]

    async def connect(self, port: int) -> None:
        """Until all are subscribed and, where it can say so, the station answers."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                for first in range(0, len(self._points), AT_ONCE):
                    some = self._points[first : first + AT_ONCE]
                    await asyncio.gather(*(loop.create_connection(p.itself, "127.0.0.1", port) for p in some))
                    await asyncio.gather(*(point.ready for point in some))
                number = 0
                while not self._bare and not self.answered.is_set():
                    self._points[0].probe(number := number + 1)
                    await asyncio.sleep(PROBE_EVERY_S)
        except TimeoutError:
            raise SafezoneError(f"no answer to {len(self._points)} points within {READY_TIMEOUT_S:g} s") from None

    async def send(self, count: int, timeout_s: float) -> float:
        """``count`` alarms, all in all; seconds until the last is receipted."""
        self._left = self._wanted = count
        began = time.monotonic()
        for point in self._points:
            point.send()
        try:
            async with asyncio.timeout(timeout_s):
                await self._done.wait()
        except TimeoutError:
            raise SafezoneError(f"{count - len(self.times)} of {count} alarms were not receipted") from None
        if self._failed:
            raise SafezoneError(self._failed)
        return time.monotonic() - began

    def take(self) -> bool:
        """Whether there is one more to send."""
        self._left -= 1
        return self._left >= 0

    def took(self, ms: float) -> None:
        """So long from an alarm to its receipt."""
        self.times.append(ms)
        if len(self.times) == self._wanted:
            self._done.set()

    def receipted(self, payload: bytes) -> int:
        """How many alarms that receipt is for."""
        if self._bare:
            return int(payload)
        receipt = decode(payload, Receipt)
        if not isinstance(receipt, Receipt) or receipt.refused:
            self._end(f"the station did not receipt an alarm: {receipt}")
            return 0
        return len(receipt.alarms)

    def lost(self, name: str) -> None:
        """The broker ended that connection."""
        self._end(f"the broker hung up on {name}")

    def _end(self, why: str) -> None:
        self._failed = self._failed or why
        self._done.set()

    def close(self) -> None:
        """Hang up all of them."""
        for point in self._points:
            point.close()
