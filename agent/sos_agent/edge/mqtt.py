"""The core's brokers: one connection a session, over ``sos_edge.mqtt``."""

from __future__ import annotations

from collections.abc import Callable

from sos_agent.core import effects, events
from sos_edge.link import Link, MakeLink
from sos_edge.mqtt import Connected, Disconnected, Message, MqttEvent, MqttLink, Tls

MqttEffect = effects.Connect | effects.Disconnect | effects.Subscribe | effects.Publish


class Brokers:
    """Carries out what the core wants of its brokers; every event bears the session of its connection."""

    def __init__(
        self,
        client_id: str,
        *,
        tls: Tls | None,
        deliver: Callable[[events.Event], None],
        link: MakeLink = MqttLink,
    ) -> None:
        self._client_id = client_id
        self._tls = tls
        self._deliver = deliver
        self._make_link = link
        self._links: dict[str, Link] = {}  # by broker: an attempt that hangs blocks only its own broker
        self._sessions: dict[str, str] = {}  # broker by session

    def carry_out(self, effect: MqttEffect) -> None:
        """Effects of a session that has ended do nothing."""
        if isinstance(effect, effects.Connect):
            self._connect(effect)
            return
        link = self._links.get(self._sessions.get(effect.session, ""))
        if link is None:
            return
        if isinstance(effect, effects.Publish):
            link.publish(effect.topic, effect.payload, retain=effect.retain, token=effect.token)
        elif isinstance(effect, effects.Subscribe):
            link.subscribe(effect.topics)
        else:
            del self._sessions[effect.session]
            link.close()

    async def close(self, timeout_s: float) -> None:
        """End all connections in order; what was published is given ``timeout_s`` to arrive."""
        self._sessions.clear()
        for link in self._links.values():
            await link.drain(timeout_s)
            link.close()

    def _connect(self, effect: effects.Connect) -> None:
        self._sessions = {one: broker for one, broker in self._sessions.items() if broker != effect.broker}
        self._sessions[effect.session] = effect.broker
        link = self._links.get(effect.broker)
        if link is None:
            link = self._make_link(effect.broker, self._client_id, deliver=self._happened, tls=self._tls)
            self._links[effect.broker] = link
        link.connect(effect.session, (effect.will_topic, effect.will_payload))

    def _happened(self, event: MqttEvent) -> None:
        session = next((one for one, broker in self._sessions.items() if broker == event.broker), None)
        if session is None:
            return
        if isinstance(event, Message):
            self._deliver(events.BrokerMessage(session, event.topic, event.payload, event.retained))
        elif isinstance(event, Connected):
            self._deliver(events.BrokerUp(session))
        elif isinstance(event, Disconnected):
            del self._sessions[session]
            self._deliver(events.BrokerDown(session, event.reason))
        else:
            self._deliver(events.Published(session, event.token))
