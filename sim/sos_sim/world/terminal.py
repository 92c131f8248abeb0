"""An officer's terminal on virtual time: twin of ``sos_station.terminal``, which asks through every broker at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sos_contract import topics
from sos_contract.payloads import AlarmView, DeskAnswer, DeskRequest, decode, encode
from sos_edge.mqtt import Connected, Disconnected, Message, MqttEvent
from sos_sim.trace import Trace
from sos_sim.world.loop import Loop
from sos_sim.world.mqtt import MqttClient
from sos_sim.world.network import Host
from sos_sim.world.outbox import in_words
from sos_station.terminal import AGAIN_S, ANSWER_TIMEOUT_S

Answered = Callable[[DeskAnswer | None], object]
AGAIN_US = int(AGAIN_S * 1e6)
ROUNDS = round(ANSWER_TIMEOUT_S / AGAIN_S)


@dataclass(slots=True)
class _Asked:
    request: DeskRequest
    then: Answered
    at_us: int
    rounds: int = 1


class TerminalNode:
    """``alarms`` is what the screen shows. Each answer with alarms is a ``screen`` row of the part ``name``."""

    def __init__(
        self,
        loop: Loop,
        trace: Trace,
        rng: random.Random,
        name: str,
        station: str,
        brokers: tuple[str, ...],
        *,
        host: Host,
    ) -> None:
        self.name = name
        self.alarms: tuple[AlarmView, ...] = ()
        self._loop = loop
        self._trace = trace
        self._rng = rng
        self._station = station
        self._id = f"{rng.getrandbits(48):012x}"
        self._topic = topics.desk_answer(station, self._id)
        client_id = f"{station}-desk-{self._id}"
        self._links = {broker: host.link(broker, client_id, deliver=self._heard) for broker in brokers}
        self._down = set(brokers)
        self._waiting: dict[str, _Asked] = {}

    @property
    def busy(self) -> bool:
        """Something that was asked is not answered yet."""
        return bool(self._waiting)

    def ask(
        self, action: str, alarm: int | str = "", then: Answered = lambda answer: None, **more: object
    ) -> DeskRequest:
        """Ask the station; ``then`` gets its answer, or None if there is none in time. ``more``: as in DeskRequest."""
        number = f"{self._rng.getrandbits(64):016x}"
        fields: dict[str, Any] = {"officer": self.name, **more, "action": action, "alarm": str(alarm)}
        request = DeskRequest(number=number, **fields)
        self._waiting[number] = _Asked(request, then, self._loop.now_us)
        for broker, link in self._links.items():
            if broker in self._down:
                self._down.remove(broker)
                link.connect("")
        self._send_all(request)
        self._loop.after(AGAIN_US, partial(self._again, number))
        return request

    def close(self) -> None:
        """The officer is done: nothing is waited for any more."""
        self._waiting.clear()
        for link in self._links.values():
            link.close()
        self._down = set(self._links)

    def _again(self, number: str) -> None:
        asked = self._waiting.get(number)
        if asked is None:
            return
        if asked.rounds == ROUNDS:
            del self._waiting[number]
            asked.then(None)
            return
        asked.rounds += 1
        self._send_all(asked.request)
        self._loop.after(AGAIN_US, partial(self._again, number))

    def _send_all(self, request: DeskRequest) -> None:
        for link in self._links.values():
            self._send(link, request)

    def _send(self, link: MqttClient, request: DeskRequest) -> None:
        link.publish(topics.desk_request(self._station, self._id), encode(request))

    def _heard(self, event: MqttEvent) -> None:
        if isinstance(event, Connected):
            link = self._links[event.broker]
            link.subscribe([self._topic])
            for asked in self._waiting.values():
                self._send(link, asked.request)
        elif isinstance(event, Disconnected):
            self._down.add(event.broker)
        elif isinstance(event, Message) and event.topic == self._topic:
            self._answered(event.payload)

    def _answered(self, payload: bytes) -> None:
        answer = decode(payload, DeskAnswer)
        asked = self._waiting.pop(answer.number, None) if isinstance(answer, DeskAnswer) else None
        if asked is None or not isinstance(answer, DeskAnswer):
            return
        if answer.alarms or asked.request.action == "list":
            self.alarms = answer.alarms
            shown = tuple(
                (in_words(one.id), one.stage, one.age_ms, one.late, one.kind, one.number, one.newest, one.repeats)
                for one in answer.alarms
            )
            what = _asked_for(asked.request, answer)
            self._trace.say(self._loop.now_us, "screen", self.name, shown, what, answer.more, asked.at_us)
        asked.then(answer)


def _asked_for(request: DeskRequest, answer: DeskAnswer) -> str:
    """The action; ``open`` for the first page of the list of open incidents, as officers look at it, if it was read."""
    plain = request.by_incident and not request.everything and request.offset == 0 and not answer.error
    return "open" if request.action == "list" and plain else request.action
