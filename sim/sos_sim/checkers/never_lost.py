"""Promise 1, never lost: a press that its pole wrote down reaches the station's inbox, and stays there.

A press lies in up to three places that survive a loss of power: its pole's flash (from *minted* on), the outbox of its
agent (from *held* on) and the station's inbox (from *received* on). It may leave one of them only for the next one.

Exceptions, all of them physics. A press may be lost where the last of these copies was destroyed from outside:
 - the flash that alone held it was lost, or its board swapped, before the outbox had it;
 - flash (or board) and outbox were both lost before the inbox had it;
 - the inbox was replaced by an older copy (or lost) while the outbox of that point was lost, too. That the pole still
   has it cannot be counted on: it lets go of a press that is received.
A press that could not be written down (the flash is broken) was never shown as *pressed*; it lives in the pole's memory
and may go with its power.

What is nowhere, and has no such excuse, is *lost*. What lies somewhere and yet does not arrive is *stuck*, and that is
found by ``progress``.
"""

from __future__ import annotations

from sos_sim.checkers.base import Findings, Ground, Town, seconds
from sos_sim.checkers.ledger import Ledger, Press
from sos_sim.trace import Row, Trace

_FLASH, _MEMORY, _OUTBOX, _INBOX = "the pole's flash", "the pole's memory", "the outbox", "the inbox"


class NeverLost:
    """Counts copies; at the end of each phase of progress, and of the run, looks for what has none left."""

    def __init__(self, trace: Trace, town: Town, ground: Ground, findings: Findings, ledger: Ledger) -> None:
        self._town = town
        self._ground = ground
        self._findings = findings
        self._ledger = ledger
        self._copies: dict[str, set[str]] = {}  # of presses that are not surely in the inbox for good
        self._told: set[str] = set()
        self.excused = 0
        for kind, hear in (
            ("minted", self._minted), ("forgot", self._forgot), ("held", self._held), ("received", self._received),
            ("down", self._down), ("disk", self._disk), ("phase", self._phase),
        ):  # fmt: skip
            trace.listen(kind, hear)

    def finish(self, now_us: int) -> None:
        """The last look."""
        self._look(now_us)

    def _phase(self, row: Row) -> None:
        if row.fields[0] == "end":
            self._look(row.at_us)

    def _look(self, now_us: int) -> None:
        inbox = self._ground.inbox()
        for press in self._ledger.presses.values():
            if press.identity in inbox or press.excuse or press.identity in self._told:
                continue
            where = self._ground.whereabouts(press.identity)
            if not where and (press.durable or press.received_us is not None):
                self._told.add(press.identity)
                words = f"press {press.identity} of {seconds(press.minted_us)} is nowhere any more"
                if press.received_us is not None:
                    words += f", though it was received at {seconds(press.received_us)}"
                self._findings.tell("lost", now_us, words, press.pole)

    def _at(self, press: Press) -> set[str]:
        return self._copies.setdefault(press.identity, set())

    def _minted(self, row: Row) -> None:
        press = self._ledger.presses[str(row.fields[0])]
        self._at(press).add(_FLASH if row.fields[2] else _MEMORY)

    def _held(self, row: Row) -> None:
        press = self._ledger.find(str(row.fields[0]), row.at_us)
        if press is not None:
            self._at(press).add(_OUTBOX)

    def _received(self, row: Row) -> None:
        press = self._ledger.find(str(row.fields[0]), row.at_us)
        if press is not None:
            copies = self._at(press)
            copies.add(_INBOX)
            copies -= {_FLASH, _MEMORY}

    def _forgot(self, row: Row) -> None:
        press = self._ledger.presses.get(str(row.fields[0]))
        if press is not None:
            self._gone(press, _FLASH, "flash lost")

    def _down(self, row: Row) -> None:
        if row.fields[0] == "freeze":
            return
        for press in self._ledger.by_pole.get(row.part, ())[-128:]:
            if not press.durable:
                self._gone(press, _MEMORY, "power lost, and it could not be written down")

    def _disk(self, row: Row) -> None:
        what = str(row.fields[0])
        if row.part == "station" and what in ("restored", "lost", "damaged"):
            for press in self._ledger.presses.values():
                if not press.in_inbox:
                    self._gone(press, _INBOX, f"inbox {what}")
        elif row.part.startswith("agent:") and what in ("lost", "damaged"):
            point = row.part.removeprefix("agent:")
            for pole in self._town.poles:
                if self._town.point_of[pole] == point:
                    for press in self._ledger.by_pole[pole]:
                        self._gone(press, _OUTBOX, f"outbox {what}")

    def _gone(self, press: Press, place: str, why: str) -> None:
        copies = self._at(press)
        if place in copies:
            copies.discard(place)
            if not copies and not press.excuse:
                press.excuse = why
                self.excused += 1
                self._ledger.outstanding.pop(press.identity, None)
