"""Commands of officers and technicians for the poles: refused in words or carried out once, and answered.

A command names the run of this agent that it is for, and expires in that run's uptime, so that no clock is needed to
refuse an old one. A key is replaced in steps, of which each leaves a key on disk that both ends hold: ours and the new
one go to our disk, the new one to the pole's flash, a session of the new one proves that it is there, ours goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sos_agent.core.context import Context
from sos_agent.core.effects import StoreKeys
from sos_agent.core.events import KeysNotStored, KeysStored
from sos_agent.core.lines import Lines, PoleEnd
from sos_contract import payloads
from sos_contract.payloads import Command, CommandAnswer, Refused
from sos_wire import messages
from sos_wire.wrap import WRAPPED, fingerprint, unwrap

# A pole that takes a command greets, or falls silent, within 10 s; three times that for a bad line.
OUTCOME_MS = 30_000
# A command is for now. What would be good for longer was not made by our station.
VALID_MOST_MS = 120_000
# Commands that are still good, and whose repeats are answered again. Officers type.
ANSWERS_MOST = 256

_WORDS = {
    "retained": "it was kept by a broker, which a command never is",
    "session": "it is for another run of the agent, which was started anew; ask again",
    "expired": "it came too late; ask again",
    "crowded": "too many commands at once; ask again",
    "pole": "the agent serves no such pole",
    "command": "the agent knows no such command; is its release older than the station's?",
    "busy": "another command for that pole is under way; ask again",
    "silent": "the agent does not hear that pole",
    "key": "its new key is not wrapped under the key that the agent has; is your key file the newest?",
    "changing": "the pole is just changing to another new key; ask again",
}
_REFUSED = "the pole refused it: somebody waits for help there, or its flash is broken"


@dataclass(slots=True)
class _Task:
    """A command that was begun. ``ident`` names it to the pole; 0: the key that the pole is sent in each session."""

    command: Command
    ident: int
    until_ms: int


class Commands:
    """Decides and answers. What a pole says or does comes from ``lines``, by ``changed``, ``lost`` and ``refused``."""

    def __init__(self, context: Context, lines: Lines) -> None:
        self._context = context
        self._lines = lines
        self._tasks: dict[str, _Task] = {}  # by pole
        self._answers: dict[str, tuple[int, CommandAnswer | None]] = {}  # id -> end, answer; None: under way

    def take(self, payload: bytes, *, retained: bool) -> None:
        """The station says it."""
        command = payloads.decode(payload, Command)
        if isinstance(command, Refused):
            self._count("unreadable", command.reason)
        elif command.id in self._answers:
            self._context.counts["command_again"] += 1
            self._publish(self._answers[command.id][1])
        else:
            self._begin(command, self._complaint(command, retained))

    def _complaint(self, command: Command, retained: bool) -> str:
        """Why it is not to be begun, as a word of ours; empty if it is."""
        now = self._context.now_ms - self._context.started_ms
        self._answers = {one: kept for one, kept in self._answers.items() if kept[0] > now}
        end = self._lines.poles.get(command.pole)
        if retained:
            return "retained"
        if command.session.partition(".")[0] != self._context.session:
            return "session"
        if not now < command.until_ms <= now + VALID_MOST_MS:
            return "expired"
        if len(self._answers) >= ANSWERS_MOST:
            return "crowded"
        if end is None or not end.config.supervised:
            return "pole"
        if command.command not in messages.COMMANDS:
            return "command"
        if command.pole in self._tasks:
            return "busy"
        return "" if end.up else "silent"

    def _begin(self, command: Command, why: str) -> None:
        known = not why or why in ("pole", "command", "busy", "silent")  # else it is judged anew each time
        if known:
            self._answers[command.id] = (command.until_ms, None)
        if why:
            self._refuse(command, why)
            return
        self._log(command, "command begins")
        end = self._lines.poles[command.pole]
        task = _Task(command, 0, self._context.now_ms + OUTCOME_MS)
        self._tasks[command.pole] = task
        if command.command == "replace_key":
            self._replace(command, end)
        else:
            task.ident = 1 + self._context.random.below(0xFFFFFF)
            self._lines.command(command.pole, messages.Command(command.command, task.ident))

    def _replace(self, command: Command, end: PoleEnd) -> None:
        key = unwrap(end.key, bytes.fromhex(command.wrapped)) if _is_wrapped(command.wrapped) else b""
        if command.check != fingerprint(key or end.key):
            self._refuse(command, "key")
        elif not key:  # it was asked for before, and is done but for the answer, or for our disk
            self._context.emit(StoreKeys(command.pole, end.key, b""))
        elif not self._lines.drop_trial(command.pole, but=key):
            self._refuse(command, "changing")
        else:
            self._context.emit(StoreKeys(command.pole, end.key, key))

    # -- what comes of it -----------------------------------------------------------------------------------------

    def stored(self, event: KeysStored) -> None:
        """Both keys are on our disk: now the pole may have the new one. Or one alone is: the change is done."""
        effect = event.effect
        end = self._lines.poles[effect.pole]
        if effect.key != end.key:
            return  # of before the change, which is stored behind it
        if effect.next:
            self._lines.try_key(effect.pole, effect.next)
        elif effect.pole in self._tasks:
            name = fingerprint(end.key)
            done = name == self._tasks[effect.pole].command.check
            self._settle(effect.pole, "done" if done else "failed", f"the pole and the agent run on key {name}")

    def not_stored(self, event: KeysNotStored) -> None:
        self._settle(
            event.effect.pole, "failed", f"the agent's disk does not take the keys ({event.reason}); ask again"
        )

    def changed(self, pole: str) -> None:
        """It has spoken with the new key."""
        end = self._lines.poles[pole]
        self._context.log("info", "a pole's key was replaced", pole=pole, key=fingerprint(end.key))
        self._context.emit(StoreKeys(pole, end.key, b""))

    def refused(self, pole: str, ident: int) -> None:
        """It says that it did not follow the command of that number."""
        task = self._tasks.get(pole)
        if task is not None and task.ident == ident:
            self._settle(pole, "refused", _REFUSED)

    def lost(self, pole: str) -> None:
        """It fell silent, as a pole does whose REPL was opened."""
        task = self._tasks.get(pole)
        if task is not None and task.command.command == "open_repl":
            self._settle(
                pole, "done", "the pole has fallen silent: its REPL is open, unless its cable was cut just then"
            )

    def timer(self) -> None:
        for pole, task in list(self._tasks.items()):
            if self._context.now_ms < task.until_ms:
                continue
            if task.command.command == "replace_key":
                words = "the pole has not shown that it runs on the new key; both ends keep both, ask again"
            else:
                words = "the pole neither refused it nor fell silent; is its firmware older than the agent?"
            self._settle(pole, "failed", words)

    def next_due_ms(self) -> int | None:
        return min((task.until_ms for task in self._tasks.values()), default=None)

    # -- answers --------------------------------------------------------------------------------------------------

    def _refuse(self, command: Command, why: str) -> None:
        self._count(why, _WORDS[why], command)
        answer = CommandAnswer(id=command.id, outcome="refused", words=_WORDS[why])
        if command.pole in self._tasks and self._tasks[command.pole].command.id == command.id:
            del self._tasks[command.pole]
        self._answer(answer)

    def _settle(self, pole: str, outcome: Literal["done", "refused", "failed"], words: str) -> None:
        task = self._tasks.pop(pole, None)
        if task is not None:
            self._log(task.command, f"command {outcome}", why=words)
            self._answer(CommandAnswer(id=task.command.id, outcome=outcome, words=words))

    def _answer(self, answer: CommandAnswer) -> None:
        if answer.id in self._answers:
            self._answers[answer.id] = (self._answers[answer.id][0], answer)
        self._publish(answer)

    def _publish(self, answer: CommandAnswer | None) -> None:
        """Lost with the connection: the station says the command again while an officer waits."""
        if answer is not None and self._context.connection:
            self._context.publish("command_answer", answer)

    def _count(self, reason: str, words: str, command: Command | None = None) -> None:
        self._context.counts[f"command_{reason}"] += 1
        count = self._context.counts[f"command_{reason}"]
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, ...: nobody fills the log with it
            fields = {"pole": command.pole, "officer": command.officer} if command is not None else {}
            self._context.log("warning", "refused a command", **fields, reason=words, count=count)

    def _log(self, command: Command, what: str, **more: object) -> None:
        self._context.log(
            "info", what, pole=command.pole, command=command.command, officer=command.officer,
            terminal=command.terminal, id=command.id, **more,
        )  # fmt: skip


def _is_wrapped(text: str) -> bool:
    return len(text) == 2 * WRAPPED and set(text) <= set("0123456789abcdef")
