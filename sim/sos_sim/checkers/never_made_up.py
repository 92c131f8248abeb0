"""Promise 3, never made up: one press is one alarm, once, and only officers move it.

- An identity comes into the outbox or the inbox only if its pole minted it. (Exception: a pole that lost its power
  while it wrote a press down may have written all of it without living to say so; one identity for each such moment.)
- It becomes *new* once in each inbox. (An inbox that was restored from an older copy lacks what came after the copy:
  that may become new again. So may, in an outbox, what a lost disk held.)
- A *clash*, the same identity with another content, cannot happen: nobody mints twice.
- What arrives has the kind of what was pressed, and counts as many repeats as its pole counted.
- It joins the incident that is open at its pole; where none is, it is one of its own.
- A stage beyond *received* is committed only when that officer asked for just that step of it, at that pole, and stages
  never go back. The request covers nothing newer than the newest alarm of that pole that was in the inbox then; where
  it told the stage that was shown, it moves nothing that stands at another one. What waits is accepted before anything
  else becomes of it, and only an accept may take it on to where its incident is.
- A lamp belongs to a press of its own pole, and never to a silent one.
"""

from __future__ import annotations

from sos_contract.stages import ACCEPTED, CLOSED, RECEIVED, rank
from sos_sim.checkers.base import Findings, Town
from sos_sim.checkers.ledger import Ledger, Press, bare
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
        self._newest: dict[str, int] = {}  # pole -> its newest alarm
        self._incidents: dict[str, int] = {}  # identity -> its incident, as was told last
        # officer, action, pole and the stage that was shown -> the newest alarm that it covers
        self._asked: dict[tuple[str, str, str, str], int] = {}
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
        incident, repeats = row.fields[7], row.fields[8]
        press = self._ledger.find(identity, row.at_us, kind)
        if press is None:
            self._made_up(row, f"alarm {identity} was received, and nobody pressed")
            return
        number = row.fields[2]
        assert isinstance(number, int) and isinstance(incident, int)
        self._incidents[press.identity] = incident
        self._newest[press.pole] = max(self._newest.get(press.pole, 0), number)
        self._numbers.setdefault(press.identity, set()).add(number)
        self._poles.setdefault(number, set()).add(press.pole)
        if kind != press.kind:
            self._made_up(row, f"alarm {identity} was received as {kind}, and it was a {press.kind}")
        if repeats != press.repeats and not press.unsaid:
            self._made_up(row, f"alarm {identity} was received with {repeats} repeats, and it has {press.repeats}")
        if verdict == "clash":
            self._made_up(row, f"alarm {identity} was received with a content that its pole never gave it")
        elif verdict == "new":
            if press.identity in self._new:
                self._findings.tell("duplicated", row.at_us, f"alarm {identity} became two", row.part)
            else:
                self._joins(row, press, number, incident)
            self._new.add(press.identity)

    def _joins(self, row: Row, press: Press, number: int, incident: int) -> None:
        others = [one for one in self._ledger.by_pole[press.pole] if one is not press and one.in_inbox]
        open_ = {self._incidents[one.identity] for one in others if one.stages[-1][1] != CLOSED}
        if incident not in (open_ or {number}):
            told = " and ".join(map(str, sorted(open_))) or "none"
            words = f"alarm {press.identity}, number {number}, is of incident {incident}, and open there is {told}"
            self._findings.tell("lied", row.at_us, words, row.part)

    def _disk(self, row: Row) -> None:
        what = row.fields[0]
        if what not in ("lost", "damaged", "restored"):
            return
        if row.part == "station":
            self._new = {identity for identity in self._new if self._ledger.presses[identity].in_inbox}
        else:
            self._held[row.part.removeprefix("agent:")] = set()

    def _asks(self, row: Row) -> None:
        officer, action, number, newest, shown = row.fields
        assert isinstance(number, int) and isinstance(newest, int)
        for pole in self._poles.get(number, ()):
            covers = str(officer), str(action), pole, str(shown)
            upto = min(max(newest, number), self._newest[pole])
            self._asked[covers] = max(self._asked.get(covers, 0), upto)

    def _stage(self, row: Row) -> None:
        identity, stage, officer = map(str, row.fields)
        press = self._ledger.presses.get(bare(identity))
        if press is None or press.received_us is None:
            self._made_up(row, f"alarm {identity} became {stage}, and it was never received")
            return
        if stage == RECEIVED:
            return
        before = press.stages[-2][1] if len(press.stages) > 1 else RECEIVED
        if rank(stage) <= rank(before):
            self._made_up(row, f"alarm {identity} went back from {before} to {stage}")
        needs = _NEEDS.get(stage, "")
        if before == RECEIVED and stage != CLOSED:
            needs = "accept"
            if stage != ACCEPTED and not self._is_at(press, stage):
                self._made_up(row, f"alarm {identity} became {stage} from received, and its incident is not that far")
        upto = max(self._asked.get((officer, needs, press.pole, shown), 0) for shown in ("", before))
        if not upto:
            self._made_up(row, f"alarm {identity} became {stage}, and {officer or 'nobody'} did not {needs} there")
        elif min(self._numbers[press.identity], default=0) > upto:
            self._made_up(row, f"alarm {identity} became {stage}, and {officer} had not seen it")

    def _is_at(self, press: Press, stage: str) -> bool:
        """Whether another alarm of that pole is that far."""
        others = (one for one in self._ledger.by_pole[press.pole] if one is not press and one.in_inbox)
        return any(one.stages[-1][1] == stage for one in others)

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
