"""What the agents tell the station of their poles' links: the panel listens to the same retained messages."""

from __future__ import annotations

import asyncio
import os

from sos_contract import topics
from sos_contract.payloads import Health, State, decode
from sos_edge import mqtt

_AGAIN_S = 1.0  # loopback: a broker that is down refuses at once, and one that is back is seen within this


class HealthWatch:
    """A client of the broker that only listens."""

    def __init__(self, station: str, broker: str) -> None:
        self._station = station
        self._broker = broker
        self._mqtt: mqtt.MqttLink | None = None
        self._again: asyncio.TimerHandle | None = None
        self._links: dict[str, bool] = {}
        self._poles_of: dict[str, list[str]] = {}

    def start(self) -> None:
        """Listen from now on, through every outage."""
        self._mqtt = mqtt.MqttLink(self._broker, f"panel-{os.urandom(4).hex()}", deliver=self._heard)
        self._mqtt.connect("")

    def close(self) -> None:
        """Stop listening."""
        if self._again is not None:
            self._again.cancel()
        if self._mqtt is not None:
            self._mqtt.close()

    def link(self, pole: str) -> str:
        """``up``, ``lost`` or ``unknown``."""
        known = self._links.get(pole)
        return "unknown" if known is None else "up" if known else "lost"

    def _heard(self, event: mqtt.MqttEvent) -> None:
        assert self._mqtt is not None
        if isinstance(event, mqtt.Connected):
            leaves = ("health", "state")
            self._mqtt.subscribe([topics.of_point(self._station, "+", leaf) for leaf in leaves])
        elif isinstance(event, mqtt.Disconnected):
            self._links.clear()
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._mqtt.connect, "")
        elif isinstance(event, mqtt.Message):
            self._message(event)

    def _message(self, event: mqtt.Message) -> None:
        topic = topics.parse(event.topic)
        if topic is None:
            return
        if topic.leaf == "health":
            health = decode(event.payload, Health)
            if isinstance(health, Health):
                self._poles_of[topic.point] = [pole.pole for pole in health.poles]
                self._links.update({pole.pole: pole.link for pole in health.poles})
        elif topic.leaf == "state":
            state = decode(event.payload, State)
            if isinstance(state, State) and not state.online:
                for pole in self._poles_of.get(topic.point, []):
                    self._links.pop(pole, None)
