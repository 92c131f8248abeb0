"""Promise 2, never a lie, at the pole: what the lamp says of a press is true, and "not delivered" comes in time.

- *pressed*: the press is in the flash (after a restart it was found there). *held*: it was synced in an outbox
  before. *received*: it was synced in the inbox before. *accepted*, *dispatched*, *on the way*: the station committed
  just that stage, for that very press, before. ("Before" is for good: an outbox or inbox that is lost later makes no
  liar of a lamp that spoke before.)
- For one press, within one start of its pole, a lamp never goes back. (A press read back after a restart is *pressed*
  again: the pole's memory of more is gone.)
- *not delivered* stands 20 s after the newest press at that pole if the inbox does not have it by then, or 20 s after
  the start of a pole that found it in its flash. (The 20 s run from the moment the press was minted. The lamp may be
  late by a step of the pole and by its crystal. A pole without power says nothing, and one whose flash is lost
  knows of nothing; one whose program hung says it once that goes on.) It may stand although the press was received
  just then: the pole has to be told first.
- *in service* is not said while the pole's own button cannot be pressed: its wire cut, short, or the contact stuck.
"""

from __future__ import annotations

from dataclasses import dataclass

from sos_contract.stages import RECEIVED, rank
from sos_sim.checkers.base import Findings, Town
from sos_sim.checkers.ledger import Ledger, Press
from sos_sim.trace import Row, Trace
from sos_wire.messages import STAGES

NOT_DELIVERED_US = 20_000_000
# A step of the pole beside a change of the journal's banks (50 ms), and 1 % for the worst crystal over 20 s.
LATE_US = 250_000
# A fault of the loop is one after 100 ms; a contact is stuck after 60 s. Twice and 1 s: room for samples and crystal.
BROKEN_US, STUCK_US = 200_000, 62_000_000
_OF_PRESSES = (*STAGES, "not_delivered")


@dataclass(slots=True)
class _Lamp:
    look: str = ""
    identity: str = ""
    furthest: int = -1  # rank of the look for that identity
    since_us: int = 0  # of the look
    waits: Press | None = None  # newest press that the lamp has to speak of
    waits_from_us: int = 0
    level: str = "idle"  # of the first button
    level_us: int = 0
    hung: bool = False  # its program stands still, and the lamp with it


class Lamps:
    """Looks at each lamp whenever something happens at its pole: nothing changes between two rows."""

    def __init__(self, trace: Trace, town: Town, findings: Findings, ledger: Ledger) -> None:
        self._findings = findings
        self._ledger = ledger
        self._lamps = {pole: _Lamp() for pole in town.poles}
        for kind, hear in (
            ("look", self._look), ("minted", self._minted), ("received", self._received), ("forgot", self._forgot),
            ("up", self._up), ("down", self._down), ("loop", self._button),
            ("fault", self._fault),
        ):  # fmt: skip
            trace.listen(kind, hear)

    def finish(self, now_us: int) -> None:
        """Judge what stands."""
        for pole, lamp in self._lamps.items():
            self._judge(pole, lamp, now_us)

    def _lie(self, at_us: int, words: str, pole: str) -> None:
        self._findings.tell("lied", at_us, words, pole)

    def _judge(self, pole: str, lamp: _Lamp, now_us: int) -> None:
        """What was shown from the last row of this pole until now."""
        press = lamp.waits
        if press is not None and lamp.look != "not_delivered" and not lamp.hung:
            due_us = lamp.waits_from_us + NOT_DELIVERED_US + LATE_US
            if now_us > due_us:
                words = f"press {press.identity} was not received in 20 s, and the lamp says {lamp.look or 'nothing'}"
                self._lie(due_us, words, pole)
                lamp.waits = None
        if lamp.look == "in_service" and lamp.level != "idle":
            bound_us = STUCK_US if lamp.level == "pressed" else BROKEN_US
            since_us = max(lamp.level_us, lamp.since_us)
            if now_us - since_us > bound_us:
                self._lie(now_us, f"in service, and its button's loop is {lamp.level}", pole)
                lamp.level_us = now_us

    def _look(self, row: Row) -> None:
        lamp = self._lamps[row.part]
        self._judge(row.part, lamp, row.at_us)
        look, identity = str(row.fields[0]), str(row.fields[1])
        if look in _OF_PRESSES:
            self._check(row, look, identity)
            at = rank(look) if look in STAGES else 0
            if identity == lamp.identity and at < lamp.furthest and (look in STAGES or lamp.furthest >= rank(RECEIVED)):
                self._lie(row.at_us, f"went back from {lamp.look} to {look} for press {identity}", row.part)
            lamp.furthest = max(at, lamp.furthest) if identity == lamp.identity else at
            lamp.identity = identity
        lamp.look, lamp.since_us = look, row.at_us

    def _check(self, row: Row, look: str, identity: str) -> None:
        press = self._ledger.find(identity, row.at_us)
        if press is None:
            return  # made up: never_made_up tells
        held = press.held_us is not None or press.received_us is not None
        since_us = self._ledger.up_since_us.get(row.part) or 0
        if look == "pressed" and not press.durable and press.minted_us >= since_us:
            self._lie(row.at_us, f"pressed, and {identity} is not in the flash", row.part)
        elif look == "held" and not held:
            self._lie(row.at_us, f"held, and no outbox ever had {identity}", row.part)
        elif look == RECEIVED and press.received_us is None:
            self._lie(row.at_us, f"received, and no inbox ever had {identity}", row.part)
        elif look in STAGES and rank(look) > rank(RECEIVED) and look not in {stage for _, stage in press.stages}:
            self._lie(row.at_us, f"{look}, and the station never committed that of {identity}", row.part)

    def _wait(self, pole: str, press: Press | None, at_us: int) -> None:
        lamp = self._lamps[pole]
        lamp.waits, lamp.waits_from_us = press, at_us

    def _minted(self, row: Row) -> None:
        press = self._ledger.presses[str(row.fields[0])]
        if press.kind == "silent_press" or press.minted_us != row.at_us:
            return  # a silent one has no lamp; one that is only counted once more is no newer
        self._judge(row.part, self._lamps[row.part], row.at_us)
        self._wait(row.part, press, row.at_us)

    def _received(self, row: Row) -> None:
        press = self._ledger.find(str(row.fields[0]), row.at_us)
        if press is not None and press.pole in self._lamps:
            lamp = self._lamps[press.pole]
            self._judge(press.pole, lamp, row.at_us)
            if lamp.waits is press:
                lamp.waits = None

    def _forgot(self, row: Row) -> None:
        lamp = self._lamps[row.part]
        if lamp.waits is not None and lamp.waits.identity == row.fields[0]:
            lamp.waits = None

    def _up(self, row: Row) -> None:
        if row.part not in self._lamps:
            return
        self._lamps[row.part].hung = False  # the watchdog has bitten
        left = [
            press
            for press in self._ledger.by_pole[row.part][-1:]
            if press.durable and not press.forgotten and press.received_us is None and press.kind != "silent_press"
        ]
        self._wait(row.part, left[0] if left else None, row.at_us)

    def _down(self, row: Row) -> None:
        lamp = self._lamps.get(row.part)
        if lamp is not None:
            self._judge(row.part, lamp, row.at_us)
            lamp.look, lamp.identity, lamp.furthest, lamp.waits = "", "", -1, None

    def _fault(self, row: Row) -> None:
        if row.fields[0] != "pole-hangs":
            return
        lamp = self._lamps[row.part]
        self._judge(row.part, lamp, row.at_us)
        lamp.hung = row.fields[1] == "on"
        if not lamp.hung:
            lamp.waits_from_us = max(lamp.waits_from_us, row.at_us - NOT_DELIVERED_US)

    def _button(self, row: Row) -> None:
        if row.fields[0] != 0:
            return
        lamp = self._lamps[row.part]
        self._judge(row.part, lamp, row.at_us)
        lamp.level, lamp.level_us = str(row.fields[1]), row.at_us
