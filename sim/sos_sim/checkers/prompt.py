"""Promise 2, never a lie, while all is well: what is true is said at once, and nothing else.

A press that is in the flash has the lamp of its pole within a second, whatever is wrong elsewhere (a silent one never).
When nothing at all has been wrong between a pole and the station for a minute, and nothing is, then

- a press is in the inbox within seconds;
- a lamp that speaks of a press says how far that press is, within as long, and never *not delivered* of one that was
  received;
- no lamp says *out of service*, or *starting* any more, unless its own button cannot be pressed.

Each stretch of time is judged when it ends: when the lamp, the press, the button or what is wrong there changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sos_contract.stages import HELD, PRESSED, rank
from sos_sim.checkers.base import Findings, Town, seconds
from sos_sim.checkers.ledger import Ledger, Press
from sos_sim.checkers.reach import Reach
from sos_sim.trace import Row, Trace
from sos_wire.messages import STAGES

_OF_PRESSES = (*STAGES, "not_delivered")
# Links, connections and passes over the outbox have settled by then.
CALM_US = 60_000_000
# From the identity to the lamp: a step, and a bank of the journal.
LIT_US = 1_000_000
# Two commits, four hops and a frame, all of them slow, behind what else the machines do then.
NEWS_US = 5_000_000
# A button that was released is seen to be so, and the lamp with it.
BUTTON_US = 1_000_000


@dataclass(slots=True)
class _Pole:
    look: str = ""
    identity: str = ""
    true: str = ""  # how far that press is, as far as its lamp can know
    since_us: int = 0  # nothing of this has changed since
    pressed: bool = False  # the first button's loop is anything but idle
    unlit: Press | None = None  # should have the lamp
    way: list[Press] = field(default_factory=list)  # made while all was well, and not in the inbox yet
    told: str = ""  # one finding a stretch


class Prompt:
    """See above."""

    def __init__(self, trace: Trace, town: Town, findings: Findings, ledger: Ledger, reach: Reach) -> None:
        self._findings = findings
        self._ledger = ledger
        self._reach = reach
        self._poles = {pole: _Pole() for pole in town.poles}
        self.judged = 0  # presses whose way was measured
        for kind, hear in (
            ("look", self._look), ("minted", self._minted), ("held", self._moves), ("received", self._moves),
            ("stage", self._moves), ("loop", self._loop), ("down", self._out), ("fault", self._hangs),
        ):  # fmt: skip
            trace.listen(kind, hear)
        reach.listen(self._judge_all, lambda at_us: None)

    def finish(self, now_us: int) -> None:
        """Judge what stands."""
        self._judge_all(now_us)

    def _judge_all(self, now_us: int) -> None:
        for pole in self._poles:
            self._judge(pole, now_us)

    def _lie(self, pole: str, at_us: int, words: str) -> None:
        if self._poles[pole].told != words:
            self._poles[pole].told = words
            self._findings.tell("lied", at_us, f"{words}, and nothing was wrong", pole)

    def _judge(self, pole: str, now_us: int) -> None:
        """The stretch that ends now."""
        this = self._poles[pole]
        if this.unlit is not None and now_us - this.unlit.minted_us > LIT_US:
            self._findings.tell("lied", now_us, f"has said nothing of {this.unlit.identity} for a second", pole)
            this.unlit = None
        calm_us = self._reach.calm_us(pole, now_us) - CALM_US
        if calm_us <= 0:
            this.way.clear()
            return
        from_us = max(this.since_us, now_us - calm_us)
        if this.look in ("out_of_service", "starting"):
            if not this.pressed and now_us - from_us > BUTTON_US:
                self._lie(pole, now_us, f"says {this.look} since {seconds(this.since_us)}")
        elif this.identity and now_us - from_us > NEWS_US:
            shown = rank(this.look) if this.look in STAGES else rank(HELD)
            if this.true and rank(this.true) > shown:
                self._lie(pole, now_us, f"says {this.look} of {this.identity}, which is {this.true}")
        for press in this.way:
            if now_us - press.minted_us > NEWS_US:
                waits = seconds(now_us - press.minted_us)
                self._lie(pole, now_us, f"press {press.identity} of {waits} ago was not received")
        this.way = [press for press in this.way if now_us - press.minted_us <= NEWS_US]

    def _true(self, identity: str) -> str:
        press = self._ledger.presses.get(identity)
        if press is None or press.excuse:
            return ""
        if press.in_inbox:
            return press.stages[-1][1]
        return HELD if press.held_us is not None else PRESSED

    def _look(self, row: Row) -> None:
        self._judge(row.part, row.at_us)
        this = self._poles[row.part]
        this.look, this.identity, this.since_us = str(row.fields[0]), str(row.fields[1]), row.at_us
        this.true, this.told = self._true(this.identity), ""
        if this.unlit is not None and this.identity == this.unlit.identity and this.look in _OF_PRESSES:
            this.unlit = None

    def _out(self, row: Row) -> None:
        if row.part in self._poles:
            self._poles[row.part].unlit = None

    def _hangs(self, row: Row) -> None:
        if row.fields[0] == "pole-hangs":
            self._poles[row.part].unlit = None

    def _loop(self, row: Row) -> None:
        if row.fields[0] == 0:
            self._judge(row.part, row.at_us)
            this = self._poles[row.part]
            this.pressed = row.fields[1] != "idle"
            if not this.identity:
                this.since_us = row.at_us

    def _minted(self, row: Row) -> None:
        press = self._ledger.presses[str(row.fields[0])]
        self._judge(row.part, row.at_us)
        if press.minted_us != row.at_us:
            return  # counted once more
        this = self._poles[row.part]
        if press.durable and press.kind == "press":
            this.unlit = press
        if self._reach.calm_us(row.part, row.at_us) > CALM_US:
            this.way.append(press)
            self.judged += 1

    def _moves(self, row: Row) -> None:
        press = self._ledger.find(str(row.fields[0]), row.at_us)
        if press is None or press.pole not in self._poles:
            return
        self._judge(press.pole, row.at_us)
        this = self._poles[press.pole]
        if row.kind == "received" and press in this.way:
            this.way.remove(press)
        if press.identity == this.identity and this.true != self._true(this.identity):
            this.true, this.told, this.since_us = self._true(this.identity), "", row.at_us
