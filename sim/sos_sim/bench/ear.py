"""A subscriber that notes when messages came: what anybody at the broker could see of a press."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from sos_contract.errors import SafezoneError
from sos_sim.bench.broker import Tls

READY_TIMEOUT_S = 10.0
HOP, HOP_BYTES = "bench/hop", 250  # as long as an alarm
RETRY_S = 1  # after the broker was away: its session is kept there, so that nothing passes unheard meanwhile


class Ear:
    """``heard``: (seconds of time.monotonic(), topic, payload), in order. Belongs to one event loop."""

    def __init__(self, port: int, topics: Sequence[str], tls: Tls | None = None) -> None:
        self.heard: list[tuple[float, str, bytes]] = []
        self._port = port
        self._hop_s = math.inf
        self._topics = [(topic, 1) for topic in (*topics, HOP)]
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._ready = asyncio.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="ear", clean_session=False)
        if tls:
            self._client.tls_set(str(tls.ca), str(tls.cert), str(tls.key))
        self._client.reconnect_delay_set(RETRY_S, RETRY_S)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics)
        self._client.on_subscribe = lambda *_: self._tell(self._ready)
        self._client.on_message = self._on_message

    async def start(self) -> None:
        """Until it is subscribed."""
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        try:
            await asyncio.wait_for(self._ready.wait(), READY_TIMEOUT_S)
        except TimeoutError:
            raise SafezoneError("the bench cannot subscribe at its own broker") from None

    async def stop(self) -> None:
        """Hang up."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def wait(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Until ``true()``, asked after each message; False when that did not come about."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not true():
                    self._news.clear()
                    await self._news.wait()
        return true()

    def first(self, leaf: str, after: float) -> float | None:
        """When the first message of a topic that ends so came, after that time."""
        return next((at for at, topic, _ in self.heard if at > after and topic.endswith(leaf)), None)

    async def hop_s(self) -> float:
        """How long a message of its own takes to the broker and back, seconds: one hop from a client to another. The
        shortest so far, for what else the machine does meanwhile is no part of it."""
        began = time.monotonic()
        self._client.publish(HOP, bytes(HOP_BYTES), qos=1)
        if not await self.wait(lambda: self.first(HOP, began) is not None, READY_TIMEOUT_S):
            raise SafezoneError("the bench's broker does not hand on a message")
        self._hop_s = min(self._hop_s, (self.first(HOP, began) or began) - began)
        return self._hop_s

    # --- in paho's thread

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard.append((time.monotonic(), message.topic, bytes(message.payload)))
        self._tell(self._news)

    def _tell(self, event: asyncio.Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)
