"""Commands for poles: recorded with who asked, said to the point while they are good, and what came of them recorded.

A command is made for one run of the agent and expires in its uptime, both as its ``health`` told them. It is said once
it is on disk, and again while the officer's terminal asks after it: the point carries it out once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sos_contract import topics
from sos_contract.payloads import (
    Command,
    CommandAnswer,
    CommandView,
    DeskAnswer,
    DeskRequest,
    Health,
    Refused,
    decode,
    encode,
)
from sos_station.core.effects import CommandStored, Effect, Log, Publish, ReadCommands, SettleCommand, StoreCommand
from sos_station.core.records import Stamp
from sos_wire.messages import COMMANDS
from sos_wire.wrap import WRAPPED

# Long enough for a broker that is just coming back, short enough that nobody has forgotten what they asked for.
VALID_MS = 30_000
# Health comes each minute; an agent that missed two of them may have been started anew.
HEALTH_GOOD_MS = 130_000
# Commands that are said again when they are asked after.
OPEN_MOST = 256
# Commands in one answer.
SHOWN_MOST = 100
MAX_NAME, MAX_WORDS, CHECK_DIGITS = 64, 300, 16


@dataclass(frozen=True, slots=True)
class _Heard:
    """An agent's run, its uptime, and when it told that."""

    session: str
    uptime_ms: int
    at_ms: int


class Commands:
    """Bounded by the site's points and OPEN_MOST. The record itself is on disk."""

    def __init__(self, station: str, poles: dict[str, str]) -> None:
        """``poles``: point of each pole of the site."""
        self._station = station
        self._poles = poles
        self._heard: dict[str, _Heard] = {}
        self._open: OrderedDict[str, tuple[str, Command]] = OrderedDict()  # by id: point, as it is said
        # By number, of requests that come again (through another broker, by an impatient terminal): those that are on
        # their way to disk (no more than its writer takes), and what was answered where nothing was done.
        self._storing: set[str] = set()
        self._undone: OrderedDict[str, str] = OrderedDict()
        self.refused = 0

    def heard(self, point: str, health: Health, now: Stamp) -> None:
        """The agent is alive and said that of itself."""
        self._heard[point] = _Heard(health.session, health.uptime_ms, now.mono_ms)

    def request(self, broker: str, terminal: str, request: DeskRequest, now: Stamp) -> list[Effect]:
        """A terminal asks for a command, or after some. ``desk.complaint`` of the request is empty."""
        if request.action == "commands":
            return [ReadCommands(broker, terminal, request, max(1, min(request.limit, SHOWN_MOST)))]
        if request.number in self._storing:
            return []  # answered with the first
        why = self._undone.get(request.number) or self._complaint(request, now)
        if why:
            self.refused += 1
            return [self._not_done(broker, terminal, request.number, why)]
        self._storing.add(request.number)
        point = self._poles[request.pole]
        heard = self._heard[point]
        command = Command(
            id=request.number, session=heard.session, until_ms=heard.uptime_ms + now.mono_ms - heard.at_ms + VALID_MS,
            pole=request.pole, command=request.command, officer=request.officer, terminal=terminal,
            wrapped=request.wrapped, check=request.check,
        )  # fmt: skip
        return [StoreCommand(broker, terminal, point, command, now)]

    def _complaint(self, request: DeskRequest, now: Stamp) -> str:
        if request.pole not in self._poles:
            return f"no pole '{request.pole}' in the station's site file"
        if request.command not in COMMANDS:
            return f"no command '{request.command}'; known are: {', '.join(COMMANDS)}"
        wanted = (2 * WRAPPED, CHECK_DIGITS) if request.command == "replace_key" else (0, 0)
        if (len(request.wrapped), len(request.check)) != wanted:
            return f"{request.command} takes {'a wrapped key and its fingerprint' if wanted[0] else 'no key'}"
        heard = self._heard.get(self._poles[request.pole])
        if heard is None or now.mono_ms - heard.at_ms > HEALTH_GOOD_MS:
            return f"the agent of point '{self._poles[request.pole]}' has not told of late how it is; ask in a minute"
        return ""

    def stored(self, effect: StoreCommand, outcome: CommandStored, brokers: list[str]) -> list[Effect]:
        """It is on disk: now it may be said. ``brokers``: those that can take it."""
        command, view = effect.command, outcome.row
        self._storing.discard(command.id)
        if (view.command, view.pole, view.officer) != (command.command, command.pole, command.officer):
            error = "another command had this number; nothing was done"
            return [self._answer(effect.broker, effect.terminal, DeskAnswer(number=command.id, error=error))]
        answer = self._answer(effect.broker, effect.terminal, DeskAnswer(number=command.id, commands=(view,)))
        if not outcome.new:
            return [*self._say_again(command.id, brokers), answer]
        self._open[command.id] = effect.point, command
        while len(self._open) > OPEN_MOST:
            self._open.popitem(last=False)
        return [*self._say_again(command.id, brokers), answer, _log(view, "command_asked")]

    def _say_again(self, command_id: str, brokers: list[str]) -> list[Effect]:
        if command_id not in self._open:
            return []
        point, command = self._open[command_id]
        topic = topics.of_point(self._station, point, "command")
        return [Publish(broker, topic, encode(command)) for broker in brokers]

    def failed(self, effect: StoreCommand, reason: str) -> list[Effect]:
        """Not on disk: it is not said, and the officer is told."""
        error = f"nothing was done, the station's inbox does not take it: {reason}"
        self._storing.discard(effect.command.id)
        return [self._not_done(effect.broker, effect.terminal, effect.command.id, error)]

    def _not_done(self, broker: str, terminal: str, number: str, error: str) -> Effect:
        """Answer for good: what comes again under this number is told the same, and not done after all."""
        self._undone[number] = error
        while len(self._undone) > OPEN_MOST:
            self._undone.popitem(last=False)
        return self._answer(broker, terminal, DeskAnswer(number=number, error=error))

    def answered(self, point: str, payload: bytes, now: Stamp) -> list[Effect]:
        """The point tells what came of one."""
        answer = decode(payload, CommandAnswer)
        why = answer.reason if isinstance(answer, Refused) else ""
        if isinstance(answer, CommandAnswer):
            fits = 0 < len(answer.id) <= MAX_NAME and len(answer.words) <= MAX_WORDS and answer.words.isprintable()
            why = "" if fits else "its id or its words do not fit"
        if why or isinstance(answer, Refused):
            self.refused += 1
            count = self.refused
            told = Log("warning", "command_answer_refused", (("point", point), ("why", why), ("count", count)))
            return [] if count & (count - 1) else [told]
        return [SettleCommand(point, answer, now)]

    def settled(self, row: CommandView | None) -> list[Effect]:
        """What came of it is on disk. None: it is no command of that point, or was answered before."""
        if row is None:
            return []
        self._open.pop(row.id, None)
        return [_log(row, f"command_{row.outcome}")]

    def listed(self, effect: ReadCommands, rows: tuple[CommandView, ...], brokers: list[str]) -> list[Effect]:
        """Answer to ``commands``; one that was asked after by its id, and has no answer yet, is said once more."""
        wanted = effect.request.id
        again = self._say_again(wanted, brokers) if wanted and rows and not rows[0].outcome else []
        error = f"the station knows no command {wanted}" if wanted and not rows else ""
        answer = DeskAnswer(number=effect.request.number, commands=rows, error=error)
        return [*again, self._answer(effect.broker, effect.terminal, answer)]

    def read_failed(self, effect: ReadCommands, reason: str) -> list[Effect]:
        error = f"the station cannot read its inbox: {reason}"
        return [self._answer(effect.broker, effect.terminal, DeskAnswer(number=effect.request.number, error=error))]

    def _answer(self, broker: str, terminal: str, answer: DeskAnswer) -> Effect:
        return Publish(broker, topics.desk_answer(self._station, terminal), encode(answer))


def _log(row: CommandView, what: str) -> Log:
    fields = [("pole", row.pole), ("command", row.command), ("officer", row.officer), ("terminal", row.terminal)]
    return Log("info", what, (*fields, ("id", row.id), *((("why", row.words),) if row.words else ())))
