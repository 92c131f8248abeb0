"""What the adapters need of a connection to a broker: ``MqttLink`` gives it, and its twin in the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from sos_edge.mqtt import MqttEvent, Tls


class Link(Protocol):
    """One connection to one broker; ``MqttLink`` says what each verb does."""

    def connect(self, session: str, will: tuple[str, bytes] | None = None) -> None: ...
    def close(self) -> None: ...
    async def drain(self, timeout_s: float) -> None: ...
    def subscribe(self, topics: Iterable[str]) -> None: ...
    def publish(self, topic: str, payload: bytes, *, retain: bool = False, token: int = 0) -> bool: ...


class MakeLink(Protocol):
    """Makes the connection to a broker; only the simulator makes another than MqttLink."""

    def __call__(
        self, broker: str, client_id: str, *, deliver: Callable[[MqttEvent], None], tls: Tls | None
    ) -> Link: ...
