"""The officers at the desk: they look at their screens and take each incident from *received* to *closed*.

They are as real terminals let them be: they know only what their screen showed, and ask for one thing at a time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sos_contract.payloads import AlarmView, DeskAnswer
from sos_contract.stages import ACCEPTED, CLOSED, DISPATCHED, DISPOSITIONS, ON_SCENE, RECEIVED
from sos_sim.trace import Row

if TYPE_CHECKING:
    from sos_sim.world.terminal import TerminalNode
    from sos_sim.world.zone import Zone

NAMES = ("Malee", "Somchai")
# What follows on what; the last word closes.
_NEXT = {RECEIVED: "accept", ACCEPTED: "dispatch", DISPATCHED: "arrive", ON_SCENE: "close"}
# A look at the list while something is open, and while nothing is known to be: as `alarms list --watch` does it.
LOOK_S, IDLE_S = (3.0, 6.0), 45.0
# From seeing an alarm to acting on it, when nobody is slow.
THINK_S = (0.5, 4.0)
# Incidents that one officer takes from one look at the list.
AT_ONCE = 3
# A call that turns out to be none is closed unseen.
CLOSED_UNSEEN = 0.08
OLD_SCREENS = 8
# Looks at one alarm's history, or at the faults, beside those at the list. What is looked at so may be acted on, too.
CURIOUS = 0.1


class Desk:
    """Two officers, each at a terminal. ``habits``: slow (times as slow), twice, old; set and cleared by faults."""

    def __init__(self, zone: Zone, rng: random.Random, names: Sequence[str] = NAMES) -> None:
        self.habits: dict[str, float] = {}
        self.asked = 0
        self._zone = zone
        self._rng = rng
        self._open: set[int] = set()  # numbers of alarms that the bell rang for and that are not known to be closed
        self._screens: list[DeskAnswer] = []
        zone.trace.listen("received", self._bell)
        for index, name in enumerate(names):
            zone.loop.after(int((2.0 + index) * 1e6), partial(self._look, zone.terminal(name)))

    def _bell(self, row: Row) -> None:
        number = row.fields[2]
        assert isinstance(number, int)
        self._open.add(number)

    def _later(self, span_s: float, terminal: TerminalNode) -> None:
        self._zone.loop.after(int(span_s * 1e6), partial(self._look, terminal))

    def _look(self, terminal: TerminalNode) -> None:
        self._later(self._rng.uniform(*LOOK_S) if self._open else IDLE_S, terminal)
        if self._rng.random() < CURIOUS and not terminal.busy:
            number = self._rng.choice(sorted(self._open)) if self._open else 1
            action, alarm = self._rng.choice((("show", number), ("notices", "")))
            terminal.ask(action, alarm, then=partial(self._shown, terminal))
        elif not terminal.busy:
            terminal.ask("list", then=partial(self._listed, terminal), by_incident=True, limit=50)

    def _listed(self, terminal: TerminalNode, answer: DeskAnswer | None) -> None:
        if answer is None or answer.error:
            return
        if not answer.alarms:
            self._open.clear()
        self._screens = [*self._screens[-OLD_SCREENS + 1 :], answer]
        if "old" in self.habits and self._rng.random() < 0.5:
            answer = self._screens[0]
        waits_s = self._rng.uniform(*THINK_S) * self.habits.get("slow", 1.0)
        for alarm in self._chosen(answer.alarms):
            self._zone.loop.after(int(waits_s * 1e6), partial(self._act, terminal, alarm, answer.run))
            waits_s += 0.2

    def _shown(self, terminal: TerminalNode, answer: DeskAnswer | None) -> None:
        """One press of an incident, whichever, and not the one that most needs an officer."""
        open_ = [alarm for alarm in answer.alarms if alarm.stage != CLOSED] if answer is not None else []
        if answer is not None and open_:
            waits_s = self._rng.uniform(*THINK_S) * self.habits.get("slow", 1.0)
            self._zone.loop.after(int(waits_s * 1e6), partial(self._act, terminal, self._rng.choice(open_), answer.run))

    def _chosen(self, alarms: tuple[AlarmView, ...]) -> list[AlarmView]:
        """The first of the list, and by chance some others."""
        open_ = [alarm for alarm in alarms if alarm.stage != CLOSED]
        rest = open_[AT_ONCE - 1 :]
        return open_[: AT_ONCE - 1] + ([self._rng.choice(rest)] if rest else [])

    def _act(self, terminal: TerminalNode, alarm: AlarmView, run: str) -> None:
        action = _NEXT.get(alarm.stage, "close")
        more: dict[str, Any] = {"seen": alarm.newest, "run": run}
        if self._rng.random() < 0.7:
            more["seen_stage"] = alarm.stage
        if alarm.stage == RECEIVED and self._rng.random() < CLOSED_UNSEEN:
            action, more["disposition"] = "close", "false"
        elif action == "close":
            more["disposition"] = self._rng.choice(DISPOSITIONS)
        again = [name for name in NAMES if name != terminal.name] if "twice" in self.habits else []
        for who in (terminal, *(self._zone.terminal(name) for name in again)):
            self.asked += 1
            asked = (action, alarm.number, alarm.newest, more.get("seen_stage", ""))
            self._zone.trace.say(self._zone.loop.now_us, "asked", who.name, who.name, *asked)
            who.ask(action, alarm.number, **more)
