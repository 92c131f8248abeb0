"""Faults of officers: people who are slow, act twice, or act on what an old screen shows."""

from __future__ import annotations

from typing import ClassVar

from sos_sim.faults.base import Fault, Knob


class _Habit(Fault):
    place = "desk"
    lasts_s = (30.0, 300.0)
    habit: ClassVar[str]

    def begin(self) -> None:
        self.field.desk.habits[self.habit] = self.strength()

    def strength(self) -> float:
        """How much of it."""
        return 1.0

    def end(self) -> None:
        self.field.desk.habits.pop(self.habit, None)


class OfficerSlow(_Habit):
    """Nobody looks at the screen for minutes, and each step takes as long."""

    name = "officer-slow"
    habit = "slow"
    knobs: ClassVar[dict[str, Knob]] = {"times": (3.0, 20.0)}

    def strength(self) -> float:
        return self.number("times")


class OfficerTwice(_Habit):
    """Each request is made twice, by one impatient officer or by two at two terminals at the same moment."""

    name = "officer-twice"
    habit = "twice"


class OfficerOldScreen(_Habit):
    """Officers act on a list that they were shown a while ago: on alarms that have moved on or are closed. Nothing may
    go back, and what is refused is refused in words."""

    name = "officer-old-screen"
    habit = "old"


OFFICER: tuple[type[Fault], ...] = (OfficerSlow, OfficerTwice, OfficerOldScreen)
