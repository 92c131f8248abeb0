"""The ledger: every press that was minted and what became of it, told from the trace. Checkers read it.

Identities are the trace's words for them. The ledger judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sos_contract.stages import CLOSED, RECEIVED
from sos_sim.checkers.base import Town
from sos_sim.trace import Row, Trace

# A press whose journal write was cut with the power may be whole in the flash although the pole never came to say so:
# the button was touched for as long as a press takes, not longer than a bank of the journal takes to be changed.
_CUT_LEAST_US, _CUT_MOST_US = 26_000, 2_000_000
_CALM_US = 250_000
# From the power to the first look at a button: what is minted by then was read from the flash.
_BOOT_US = 300_000 + 400_000


@dataclass(slots=True, eq=False)
class Press:
    """One identity. Times are the world's, in microseconds; None: not yet."""

    identity: str
    pole: str
    kind: str
    minted_us: int
    durable: bool
    repeats: int = 0  # further presses that it stands for
    forgotten: bool = False  # the flash that held it is gone: swapped or lost
    unsaid: bool = False  # its pole lost power while it wrote it down
    held_us: int | None = None
    received_us: int | None = None  # first
    in_inbox: bool = False
    stages: list[tuple[int, str]] = field(default_factory=list)  # as the station committed them, from ``received`` on
    excuse: str = ""  # the last durable copy went with a thing that was destroyed

    def stage_at(self, since_us: int, until_us: int) -> set[str]:
        """The stages that were true at some time between."""
        true = set()
        for index, (at_us, stage) in enumerate(self.stages):
            ended_us = self.stages[index + 1][0] if index + 1 < len(self.stages) else until_us
            if at_us <= until_us and ended_us >= since_us:
                true.add(stage)
        return true


def bare(identity: str) -> str:
    """The identity without the number of a clash."""
    return identity.split(".", 1)[0]


class Ledger:
    """Listens before all checkers, so that what they read is up to date with the row that they hear."""

    def __init__(self, trace: Trace, town: Town) -> None:
        self.presses: dict[str, Press] = {}
        self.by_pole: dict[str, list[Press]] = {pole: [] for pole in town.poles}
        self.outstanding: dict[str, Press] = {}  # minted, and not in the inbox
        self._open: dict[str, Press] = {}  # in the inbox and not closed
        self.up_since_us: dict[str, int | None] = {}  # by part
        self._copied: dict[str, str] = {}  # identity -> its stage in the copy of the station's disk
        self._cut: dict[str, int] = {}  # pole -> presses that may have been cut while they were written
        self._touch_us: dict[str, int] = {}  # pole -> first contact of the last touch
        self._contact_us: dict[str, int] = {}  # pole -> last change of its buttons
        self._minted_us: dict[str, int] = {}
        for kind, hear in (
            ("loop", self._touched), ("minted", self._minted), ("held", self._held),
            ("received", self._received), ("stage", self._stage), ("up", self._up), ("down", self._down),
            ("disk", self._disk), ("forgot", self._forgot),
        ):  # fmt: skip
            trace.listen(kind, hear)

    def is_up(self, part: str) -> bool:
        """Whether that machine's program runs."""
        return self.up_since_us.get(part) is not None

    def open_at(self, since_us: int) -> list[Press]:
        """Alarms that have been in the inbox, open and at their stage since then or longer."""
        return [press for press in self._open.values() if press.stages[-1][0] <= since_us]

    def orphans(self) -> set[str]:
        """Identities of presses whose last durable copy was destroyed."""
        return {press.identity for press in self.presses.values() if press.excuse}

    def _touched(self, row: Row) -> None:
        closes = row.fields[1] == "pressed"
        if closes and row.at_us - self._contact_us.get(row.part, -_CALM_US) >= _CALM_US:
            self._touch_us[row.part] = row.at_us
        self._contact_us[row.part] = row.at_us

    def _minted(self, row: Row) -> None:
        identity, kind, durable = str(row.fields[0]), str(row.fields[1]), bool(row.fields[2])
        self.find(identity, row.at_us, kind)
        self._minted_us[row.part] = row.at_us
        if identity not in self.presses:
            self._add(Press(identity, row.part, kind, row.at_us, durable))
        repeats = row.fields[3]
        assert isinstance(repeats, int)
        self.presses[identity].repeats = repeats

    def _add(self, press: Press) -> None:
        self.presses[press.identity] = press
        self.by_pole.setdefault(press.pole, []).append(press)
        self.outstanding[press.identity] = press

    def find(self, identity: str, at_us: int, kind: str = "press") -> Press | None:
        """The press of that identity; an unsaid one is found while its pole starts, if it may have been written as the
        power went. (A pole says what it has found in its flash before anything else.)"""
        identity = bare(identity)
        press = self.presses.get(identity)
        if press is None:
            pole = identity.split("/", 1)[0]
            if self._cut.get(pole, 0) > 0 and self._starts(pole, at_us):
                self._cut[pole] -= 1
                press = Press(identity, pole, kind, self._touch_us.get(pole, at_us), True, unsaid=True)
                self._add(press)
        return press

    def _starts(self, pole: str, at_us: int) -> bool:
        up_us = self.up_since_us.get(pole)
        return up_us is not None and at_us - up_us < _BOOT_US

    def _forgot(self, row: Row) -> None:
        press = self.presses.get(str(row.fields[0]))
        if press is not None:
            press.forgotten = True

    def _held(self, row: Row) -> None:
        press = self.find(str(row.fields[0]), row.at_us)
        if press is not None and press.held_us is None:
            press.held_us = row.at_us

    def _received(self, row: Row) -> None:
        press = self.find(str(row.fields[0]), row.at_us, str(row.fields[3]))
        if press is None:
            return
        if press.received_us is None:
            press.received_us = row.at_us
        if not press.in_inbox:
            press.in_inbox = True
            press.stages.append((row.at_us, RECEIVED))
            self._open[press.identity] = press
        self.outstanding.pop(press.identity, None)

    def _stage(self, row: Row) -> None:
        press = self.find(str(row.fields[0]), row.at_us)
        if press is not None:
            press.stages.append((row.at_us, str(row.fields[1])))
            if row.fields[1] == CLOSED:
                self._open.pop(press.identity, None)

    def _up(self, row: Row) -> None:
        self.up_since_us[row.part] = row.at_us

    def _down(self, row: Row) -> None:
        if str(row.fields[0]).startswith("refused"):
            return
        if not self._starts(row.part, row.at_us):
            self._cut.pop(row.part, None)  # what it might have found it would have said
        self.up_since_us[row.part] = None
        touched_us = self._touch_us.get(row.part)
        if touched_us is None or self._minted_us.get(row.part, -1) >= touched_us:
            return
        if _CUT_LEAST_US <= row.at_us - touched_us <= _CUT_MOST_US:
            self._cut[row.part] = self._cut.get(row.part, 0) + 1

    def _disk(self, row: Row) -> None:
        if row.part != "station":
            return
        what = row.fields[0]
        if what == "copied":
            self._copied = {press.identity: press.stages[-1][1] for press in self.presses.values() if press.in_inbox}
        elif what in ("restored", "lost", "damaged"):
            kept = self._copied if what == "restored" else {}
            for press in self.presses.values():
                if press.in_inbox:
                    self._set_back(press, kept.get(press.identity, ""), row.at_us)

    def _set_back(self, press: Press, stage: str, at_us: int) -> None:
        """The inbox is another one, in which the press has that stage, or is not at all."""
        self._open.pop(press.identity, None)
        if stage:
            if stage != press.stages[-1][1]:
                press.stages.append((at_us, stage))
            if stage != CLOSED:
                self._open[press.identity] = press
        else:
            press.in_inbox = False
            if not press.excuse:
                self.outstanding[press.identity] = press
