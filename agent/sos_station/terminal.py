"""An officer's terminal: asks the station over MQTT, through every broker of the site at once.

The first answer counts. The request's number makes it harmless that it may arrive more than once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import TracebackType

import msgspec

from sos_contract import topics
from sos_contract.errors import SafezoneError, UserError
from sos_contract.payloads import DeskAnswer, DeskRequest, Refused, State, decode, encode
from sos_contract.who import who
from sos_edge import mqtt
from sos_edge.address import Address
from sos_edge.certificate import read_certificate

# An officer waits for a list this long at most; the station answers within some milliseconds.
ANSWER_TIMEOUT_S = 5.0
# The request is sent again as often as this: the station may have started after the first. Where every broker says
# that it is off, one round is enough.
AGAIN_S = 1.0


def _name(tls: mqtt.Tls | None) -> str:
    """Our level of the topics: the terminal that our certificate names, or any name where none is shown.

    Raises SafezoneError for a certificate that cannot be read, or that is no terminal's: a broker drops its requests.
    """
    if tls is None or tls.cert is None:
        return os.urandom(6).hex()
    try:
        holder = who(read_certificate(tls.cert).common_name)
    except OSError as error:
        raise SafezoneError(f"{tls.cert}: cannot read our certificate ({error.strerror})") from None
    if holder is not None and holder.kind != "terminal":
        raise UserError(f"{tls.cert}: belongs to the {holder.kind} '{holder.name}'; an officer needs a terminal's own")
    return holder.name if holder is not None else os.urandom(6).hex()


class Terminal:
    """``async with Terminal(...) as terminal: await terminal.ask(request)``."""

    def __init__(self, station: str, brokers: tuple[str, ...], tls: mqtt.Tls | None = None) -> None:
        self._station = station
        self._name = _name(tls)
        self._topic = topics.desk_answer(station, self._name)
        self._state_topic = topics.of_station(station, "state")
        self._links = {broker: self._link(broker, tls) for broker in brokers}
        self._reasons: dict[str, str] = {}
        self._states: dict[str, bool] = {}
        self._waiting: dict[str, tuple[DeskRequest, asyncio.Future[DeskAnswer]]] = {}

    def _link(self, broker: str, tls: mqtt.Tls | None) -> mqtt.MqttLink:
        deliver: Callable[[mqtt.MqttEvent], None] = self._heard
        return mqtt.MqttLink(broker, f"{self._station}-desk-{os.urandom(6).hex()}", deliver=deliver, tls=tls)

    async def __aenter__(self) -> Terminal:
        self._connect()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for link in self._links.values():
            link.close()

    async def ask(self, request: DeskRequest) -> DeskAnswer:
        """The station's answer, whether it is an error or not. Raises SafezoneError if there is none in time."""
        request = msgspec.structs.replace(request, number=os.urandom(8).hex())
        answer: asyncio.Future[DeskAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[request.number] = request, answer
        self._send_all(request)
        for broker in list(self._reasons):
            del self._reasons[broker]
            self._links[broker].connect("")
        try:
            for _ in range(round(ANSWER_TIMEOUT_S / AGAIN_S)):
                await asyncio.wait([answer], timeout=AGAIN_S)
                if answer.done() or (self._is_off() and not self._still_connecting()):
                    break
                self._send_all(request)
        finally:
            del self._waiting[request.number]
        if not answer.done():
            raise SafezoneError(self._why_not())
        return answer.result()

    def _send_all(self, request: DeskRequest) -> None:
        for link in self._links.values():
            if link.connected:
                self._send(link, request)

    def _is_off(self) -> bool:
        """Every broker that can be asked says that the station program is not there."""
        known = [self._states.get(broker, False) for broker, link in self._links.items() if link.connected]
        return bool(known) and not any(known)

    def _still_connecting(self) -> bool:
        """A broker may yet come that knows more."""
        return any(not link.connected and broker not in self._reasons for broker, link in self._links.items())

    def _connect(self) -> None:
        for link in self._links.values():
            link.connect("")

    def _send(self, link: mqtt.MqttLink, request: DeskRequest) -> None:
        link.publish(topics.desk_request(self._station, self._name), encode(request))

    def _heard(self, event: mqtt.MqttEvent) -> None:
        if isinstance(event, mqtt.Connected):
            link = self._links[event.broker]
            link.subscribe([self._topic, self._state_topic])
            for request, _ in self._waiting.values():
                self._send(link, request)
        elif isinstance(event, mqtt.Disconnected):
            where = Address.of(event.broker).where
            self._reasons[event.broker] = event.reason if where in event.reason else f"{where}: {event.reason}"
            if len(self._reasons) == len(self._links):
                self._fail(f"no broker can be reached: {'; '.join(self._reasons.values())}")
        elif isinstance(event, mqtt.Message):
            self._message(event)

    def _message(self, event: mqtt.Message) -> None:
        if event.topic == self._state_topic:
            state = decode(event.payload, State)
            self._states[event.broker] = isinstance(state, State) and state.online
            return
        if event.topic != self._topic:
            return  # some brokers send retained messages that nobody subscribed to
        answer = decode(event.payload, DeskAnswer)
        if isinstance(answer, Refused):
            self._fail(f"the station's answer cannot be read ({answer.reason}); update this program or the station's")
        elif answer.number in self._waiting:
            future = self._waiting[answer.number][1]
            if not future.done():
                future.set_result(answer)

    def _fail(self, why: str) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(SafezoneError(why))

    def _why_not(self) -> str:
        if not any(link.connected for link in self._links.values()):
            reasons = "; ".join(self._reasons.values()) or "no answer in time"
            return f"no broker can be reached: {reasons}"
        if self._is_off():
            return f"the station '{self._station}' does not answer: it is off as far as its brokers know; start it"
        return f"the station '{self._station}' does not answer within {ANSWER_TIMEOUT_S:.0f} s; look whether it hangs"
