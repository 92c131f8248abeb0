"""Promise 3, never made up: one press is one alarm, once, and only officers move it.

- An identity comes into the outbox or the inbox only if its pole minted it. (Exception: a pole that lost its power
  while it wrote a press down may have written all of it without living to say so; one identity for each such moment.)
- It becomes *new* once in each inbox. (An inbox that was restored from an older copy lacks what came after the copy:
  that may become new again. So may, in an outbox, what a lost disk held.)
- A *clash*, the same identity with another content, cannot happen: nobody mints twice.
- What arrives has the kind of what was pressed.
- A stage beyond *received* is committed only when an officer asked for it, at that pole, and stages never go back.
  What an officer accepts is no newer than the newest alarm of that pole that was on the screen.
- A lamp belongs to a press of its own pole, and never to a silent one.
"""

from __future__ import annotations

from sos_contract.stages import RECEIVED, rank
from sos_sim.checkers.base import Findings, Town
from sos_sim.checkers.ledger import Ledger, bare
from sos_sim.trace import Row, Trace

# stage -> what an officer has to have asked for
_NEEDS = {"accepted": "accept", "dispatched": "dispatch", "on_scene": "arrive", "closed": "close"}


class NeverMadeUp:
    """Hears what outbox, inbox and lamps come to hold."""

    def __init__(self, trace: Trace, town: Town, findings: Findings, ledger: Ledger) -> None:
        self._town = town
        self._findings = findings
        self._ledger = ledger
        self._held: dict[str, set[str]] = {point: set() for point in town.points}
        self._new: set[str] = set()  # in the present inbox
        self._numbers: dict[str, set[int]] = {}  # identity -> its alarm's numbers, one an inbox
        self._poles: dict[int, set[str]] = {}  # alarm's number -> the poles that had it, in one inbox or another
        self._asked: set[tuple[str, str]] = set()  # action and pole
        self._seen: dict[str, int] = {}  # pole -> newest alarm that was on a screen when something was asked for
        for kind, hear in (
            ("held", self._hears_held), ("received", self._received), ("stage", self._stage), ("asked", self._asks),
            ("disk", self._disk), ("look", self._look),
        ):  # fmt: skip
            trace.listen(kind, hear)

    def finish(self, _now_us: int) -> None:
        """All is judged as it comes."""

    def _made_up(self, row: Row, words: str) -> None:
        self._findings.tell("forged", row.at_us, words, row.part)

    def _hears_held(self, row: Row) -> None:
        identity, outcome = str(row.fields[0]), str(row.fields[1])
        press = self._ledger.find(identity, row.at_us)
        if press is None:
            self._made_up(row, f"press {identity} is held, and nobody pressed")
        elif outcome == "clash":
            self._made_up(row, f"press {identity} is held with a content that its pole never gave it")
        elif outcome == "new":
            held = self._held.setdefault(row.part, set())
            if identity in held:
                self._findings.tell("duplicated", row.at_us, f"press {identity} is held twice", row.part)
            held.add(identity)

    def _received(self, row: Row) -> None:
        identity, verdict, kind = str(row.fields[0]), str(row.fields[1]), str(row.fields[3])
        press = self._ledger.find(identity, row.at_us, kind)
        if press is None:
            self._made_up(row, f"alarm {identity} was received, and nobody pressed")
            return
        number = row.fields[2]
        assert isinstance(number, int)
        self._numbers.setdefault(press.identity, set()).add(number)
        self._poles.setdefault(number, set()).add(press.pole)
        if kind != press.kind:
            self._made_up(row, f"alarm {identity} was received as {kind}, and it was a {press.kind}")
        if verdict == "clash":
            self._made_up(row, f"alarm {identity} was received with a content that its pole never gave it")
        elif verdict == "new":
            if press.identity in self._new:
                self._findings.tell("duplicated", row.at_us, f"alarm {identity} became two", row.part)
            self._new.add(press.identity)

    def _disk(self, row: Row) -> None:
        what = row.fields[0]
        if what not in ("lost", "damaged", "restored"):
            return
        if row.part == "station":
            self._new = {identity for identity in self._new if self._ledger.presses[identity].in_inbox}
        else:
            self._held[row.part.removeprefix("agent:")] = set()

    def _asks(self, row: Row) -> None:
        _, action, number, newest = row.fields
        assert isinstance(number, int) and isinstance(newest, int)
        for pole in self._poles.get(number, ()):
            self._asked.add((str(action), pole))
            self._seen[pole] = max(self._seen.get(pole, 0), newest, number)

    def _stage(self, row: Row) -> None:
        identity, stage = str(row.fields[0]), str(row.fields[1])
        press = self._ledger.presses.get(bare(identity))
        if press is None or press.received_us is None:
            self._made_up(row, f"alarm {identity} became {stage}, and it was never received")
            return
        if stage == RECEIVED:
            return
        if (_NEEDS.get(stage, ""), press.pole) not in self._asked:
            self._made_up(row, f"alarm {identity} became {stage}, and no officer asked for that")
        elif min(self._numbers[press.identity], default=0) > self._seen[press.pole]:
            self._made_up(row, f"alarm {identity} became {stage}, and no officer had seen it")
        before = press.stages[-2][1] if len(press.stages) > 1 else RECEIVED
        if rank(stage) <= rank(before):
            self._made_up(row, f"alarm {identity} went back from {before} to {stage}")

    def _look(self, row: Row) -> None:
        identity = str(row.fields[1])
        if not identity:
            return
        press = self._ledger.find(identity, row.at_us)
        if press is None:
            self._made_up(row, f"the lamp belongs to press {identity}, and nobody pressed")
        elif press.pole != row.part:
            self._made_up(row, f"the lamp belongs to press {identity} of another pole")
        elif press.kind == "silent_press":
            self._made_up(row, f"the lamp belongs to the silent press {identity}")
