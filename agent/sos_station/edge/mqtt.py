"""The core's connections: one to each broker of the site, over ``sos_edge.mqtt``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from sos_edge.link import MakeLink
from sos_edge.mqtt import Connected, Disconnected, Message, MqttEvent, MqttLink, Tls
from sos_station.core import effects as fx
from sos_station.core import events as ev

MqttEffect = fx.Connect | fx.Disconnect | fx.Subscribe | fx.Publish


class Links:
    """Carries out what the core wants of its brokers, and tells it what they said."""

    def __init__(
        self,
        brokers: Iterable[str],
        client_id: str,
        *,
        tls: Tls | None,
        deliver: Callable[[ev.Event], None],
        link: MakeLink = MqttLink,
    ) -> None:
        self._deliver = deliver
        self._links = {broker: link(broker, client_id, deliver=self._happened, tls=tls) for broker in brokers}

    def carry_out(self, effect: MqttEffect) -> bool:
        """False: the broker cannot take what was to be published."""
        link = self._links[effect.broker]
        if isinstance(effect, fx.Publish):
            return link.publish(effect.topic, effect.payload, retain=effect.retain)
        if isinstance(effect, fx.Connect):
            link.connect(effect.session, (effect.will_topic, effect.will))
        elif isinstance(effect, fx.Subscribe):
            link.subscribe(effect.topics)
        else:
            link.close()
        return True

    async def close(self, timeout_s: float) -> None:
        """End all connections in order; what was published is given ``timeout_s`` to arrive."""
        await asyncio.gather(*(link.drain(timeout_s) for link in self._links.values()))
        for link in self._links.values():
            link.close()

    def _happened(self, event: MqttEvent) -> None:
        if isinstance(event, Message):
            self._deliver(ev.Message(event.broker, event.topic, event.payload, event.retained))
        elif isinstance(event, Connected):
            self._deliver(ev.BrokerUp(event.broker, event.until_ms))
        elif isinstance(event, Disconnected):
            self._deliver(ev.BrokerDown(event.broker, event.reason))
