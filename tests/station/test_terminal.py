"""An officer's terminal between several brokers, on links that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

import pytest
from tests.station.test_screen import alarm

from safezone.cli import main
from sos_contract import topics
from sos_contract.errors import SafezoneError
from sos_contract.payloads import CommandView, DeskAnswer, DeskRequest, State, decode, encode
from sos_edge import mqtt
from sos_station import cli, orders, terminal

OFF, LATE, GONE = "mqtt://off", "mqtt://late", "mqtt://gone"


class FakeLink:
    """``off``: a broker at once, without a station; ``late``: one with the station, after a second and a half;
    ``gone``: never one."""

    def __init__(
        self, broker: str, _client_id: str, *, deliver: Callable[[mqtt.MqttEvent], None], tls: mqtt.Tls | None
    ) -> None:
        self._broker = broker
        self._deliver = deliver
        self.connected = False

    def connect(self, _session: str) -> None:
        if self._broker != GONE:
            loop = asyncio.get_running_loop()
            loop.call_later(1.5 * terminal.AGAIN_S if self._broker == LATE else 0, self._up)

    def _up(self) -> None:
        self.connected = True
        self._deliver(mqtt.Connected(self._broker, ""))

    def subscribe(self, _topics: list[str]) -> None:
        state = encode(State(online=self._broker == LATE, session="s"))
        self._deliver(mqtt.Message(self._broker, topics.of_station("town", "state"), state, retained=True))

    def publish(self, topic: str, payload: bytes) -> None:
        request = decode(payload, DeskRequest)
        if self._broker == LATE and isinstance(request, DeskRequest):
            answer = encode(DeskAnswer(number=request.number))
            self._deliver(mqtt.Message(self._broker, topic.replace("request", "answer"), answer, retained=False))

    def close(self) -> None:
        self.connected = False


def ask(monkeypatch: pytest.MonkeyPatch, *brokers: str) -> DeskAnswer:
    monkeypatch.setattr(mqtt, "MqttLink", FakeLink)
    monkeypatch.setattr(terminal, "AGAIN_S", 0.02)
    monkeypatch.setattr(terminal, "ANSWER_TIMEOUT_S", 0.1)

    async def main() -> DeskAnswer:
        async with terminal.Terminal("town", brokers) as ours:
            return await ours.ask(DeskRequest(number="", officer="", action="list"))

    return asyncio.run(main())


def test_a_broker_that_takes_its_time_is_waited_for_though_another_has_no_station(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The station was called off after a second, by the broker that did not have it."""
    assert ask(monkeypatch, OFF, LATE).error == ""


def test_a_station_that_no_broker_has_is_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for brokers in ((OFF,), (OFF, GONE)):
        with pytest.raises(SafezoneError, match="is off as far as its brokers know"):
            ask(monkeypatch, *brokers)


class Answers:
    """A terminal that gets these answers, one after the other; an empty one: nobody answers."""

    def __init__(self, *outcomes: str | None) -> None:
        self._outcomes = list(outcomes)

    async def ask(self, _request: DeskRequest) -> DeskAnswer:
        outcome = self._outcomes.pop(0)
        if outcome is None:
            raise SafezoneError("no broker can be reached")
        view = CommandView(
            id="c1", pole="gate-1", point="gate", command="open_repl", officer="malee", terminal="t",
            asked_wall_ms=0, outcome=outcome,
        )  # fmt: skip
        return DeskAnswer(number="1", commands=(view,))


def ordered(monkeypatch: pytest.MonkeyPatch, *outcomes: str | None) -> str:
    monkeypatch.setattr(orders, "ASK_AGAIN_S", 0.01)
    answers = cast("terminal.Terminal", Answers(*outcomes))
    request = DeskRequest(number="", officer="malee", action="command", pole="gate-1", command="open_repl")
    return asyncio.run(orders.order(answers, request)).outcome


def test_a_broker_that_goes_while_a_command_is_carried_out_hides_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """The officer was told that no broker can be reached, of a pole that had just been stopped, or had another key."""
    assert ordered(monkeypatch, "", None, None, "", "done") == "done"
    monkeypatch.setattr(orders, "OUTCOME_S", 0.05)
    assert ordered(monkeypatch, "", *[None] * 50) == "", "and there is an end to it"
    with pytest.raises(SafezoneError, match="no broker"):
        ordered(monkeypatch, None)  # which was never asked for


def test_an_officer_whose_answer_is_lost_is_told_which_call_may_be_theirs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tried again without a number, 'accept' took the next call, and nobody knew of the first, whose lamp said
    *accepted*."""

    class Mute:
        async def ask(self, request: DeskRequest) -> DeskAnswer:
            if request.action == "accept":
                raise SafezoneError("the station 'town' does not answer within 5 s")
            return DeskAnswer(number="1", alarms=(alarm(12),))

    def with_mute(
        _site: str, _brokers: object, work: Callable[[Mute], Coroutine[None, None, DeskAnswer]]
    ) -> DeskAnswer:
        return asyncio.run(work(Mute()))

    monkeypatch.setattr(cli, "with_terminal", with_mute)
    for number in ([], ["12"]):
        assert main(["alarms", "accept", *number, "--officer", "malee"]) == 1
        said = capsys.readouterr().err
        assert "does not answer within 5 s; accept of alarm 12 may be done: see 'safezone alarms show 12'\n" in said
