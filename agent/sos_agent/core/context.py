"""What the parts of the agent's core share: the time, the effects so far, one source of chance, the connection."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from sos_agent.core.effects import Effect, Log, Publish
from sos_agent.core.events import Config, Started
from sos_contract import payloads, topics
from sos_wire.seal import Stream


def sooner(one: int | None, other: int | None) -> int | None:
    """The earlier of two times; None is never."""
    return other if one is None or (other is not None and other < one) else one


class Context:
    """Handed to every part. ``effects`` collects what one call of ``Agent.handle`` returns."""

    def __init__(self, config: Config, started: Started, now_ms: int) -> None:
        self.config = config
        self.timebase = started.timebase
        self.outbox = started.contents.outbox
        self.random = Stream(started.entropy)
        self.session = self.random.take(8).hex()  # of this run of the program
        self.started_ms = now_ms
        self.now_ms = now_ms
        self.wall_ms = 0  # wall time of this call; 0 while no clock can be trusted
        self.connection = ""  # session of the broker connection that is up, or empty
        self.effects: list[Effect] = []
        # what peers sent that was refused, and what went wrong and was mended, by reason
        self.counts: Counter[str] = Counter()
        self._token = 0

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def log(self, level: Literal["info", "warning", "error"], message: str, **fields: object) -> None:
        self.emit(Log(level, message, tuple(fields.items())))

    def about(self, middle_ms: int) -> int:
        """``middle_ms`` give or take a quarter, so that a town of agents does not act in step."""
        return self.random.about(middle_ms, middle_ms // 4)

    def publish(self, leaf: str, payload: msgspec.Struct, *, retain: bool = False) -> int:
        """Publish under one of the point's topics on the connection that is up; returns the token."""
        assert self.connection
        self._token += 1
        topic = topics.of_point(self.config.station, self.config.point, leaf)
        self.emit(Publish(self.connection, topic, payloads.encode(payload), retain, self._token))
        return self._token
