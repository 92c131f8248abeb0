"""Faults of a button and its loop: contacts and wires, never a finger's doing."""

from __future__ import annotations

from typing import ClassVar

from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT
from sos_sim.faults.base import Fault, Knob

_MS_US = 1000

# How contacts bounce, in microseconds between one flip and the next after the first contact, for closing and for
# opening: shapes that oscilloscopes show of a good microswitch, a cheap push button, a worn one, a toggle, and one
# full of water.
BOUNCES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "clean": ((), ()),
    "microswitch": ((180, 90, 420, 60), (60, 240)),
    "push button": ((350, 1_150, 240, 600, 800, 150), (500, 900, 200, 300)),
    "worn": ((900, 2_300, 1_400, 3_100, 700, 1_900, 2_600, 800), (1_200, 3_400, 600, 2_200, 1_800, 900)),
    "toggle": ((40, 30, 60, 40, 3_900, 2_400, 120, 80), (2_100, 700, 90, 60)),
    "wet": ((2_500, 4_800, 1_100, 6_200, 3_000, 5_500, 900, 7_000), (4_000, 9_000, 2_500, 12_000, 1_500, 8_000)),
}


class ButtonBounce(Fault):
    """The contact is worn: each touch of that button bounces as its recorded trace says, closing and opening."""

    name = "button-bounce"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"like": ("worn", "wet", "toggle", "push button")}
    lasts_s = (30.0, 200.0)

    def begin(self) -> None:
        self.field.worn[self.where] = self.word("like")

    def end(self) -> None:
        self.field.worn.pop(self.where, None)


class ButtonChatter(Fault):
    """The contact closes by itself (vibration), each time too briefly for a finger, some times a second. It must make
    no press; the pole says that it chatters."""

    name = "button-chatter"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"most_ms": (1, 20)}
    lasts_s = (2.0, 25.0)

    def begin(self) -> None:
        self._on = True
        self._close()

    def _close(self) -> None:
        if self._on and not self.field.busy(self.where, 0):
            self.field.pole(self.where).loop_level(0, PRESSED)
            self.field.loop.after(self.rng.randint(100, int(self.number("most_ms") * _MS_US)), self._open)
        elif self._on:
            self.field.loop.after(50 * _MS_US, self._close)

    def _open(self) -> None:
        if not self.field.busy(self.where, 0):
            self.field.pole(self.where).loop_level(0, IDLE)
        self.field.loop.after(self.rng.randint(45 * _MS_US, 220 * _MS_US), self._close)

    def end(self) -> None:
        self._on = False


class _Loop(Fault):
    """The loop of the first button has a level of its own for a while; fingers do nothing meanwhile."""

    place = "pole"
    level: ClassVar[int]

    def begin(self) -> None:
        self.field.occupy(self.where, self)
        self.field.pole(self.where).loop_level(0, self.level)

    def end(self) -> None:
        self.field.pole(self.where).loop_level(0, IDLE)
        self.field.vacate(self.where, self)


class _Wire(_Loop):
    """Begins at once, or some milliseconds into the next touch."""

    knobs: ClassVar[dict[str, Knob]] = {"when": ("at once", "in a touch"), "after_ms": (1, 40)}

    def begin(self) -> None:
        self._over = False
        if self.word("when") == "at once":
            super().begin()
        else:
            self.field.on_touch(self.where, self, self._touched)

    def _touched(self) -> None:
        self.field.on_touch(self.where, self, None)
        self.field.loop.after(int(self.number("after_ms") * _MS_US), self._break)

    def _break(self) -> None:
        if not self._over:
            super().begin()

    def end(self) -> None:
        self._over = True
        self.field.on_touch(self.where, self, None)
        super().end()


class ButtonCut(_Wire):
    """The wire to the button is cut: a fault that is told, never a press, and no service at that pole."""

    name = "button-cut"
    level = OPEN
    lasts_s = (0.05, 40.0)


class ButtonShort(_Wire):
    """The wire to the button is shorted: a fault that is told, never a press, and no service at that pole."""

    name = "button-short"
    level = SHORT
    lasts_s = (0.05, 40.0)


class _Stuck(_Loop):
    """Ends by being released, or by a cut of the wire before that."""

    knobs: ClassVar[dict[str, Knob]] = {"ends": ("released", "cut")}

    def end(self) -> None:
        if self.word("ends") == "released":
            super().end()
            return
        self.field.pole(self.where).loop_level(0, OPEN)
        self.field.loop.after(500 * _MS_US, super().end)


class ButtonStuck(_Stuck):
    """The contact closes and stays closed. That it closed is one press; that it stays is a fault after a minute. It is
    released, or its wire is cut."""

    name = "button-stuck"
    level = PRESSED
    lasts_s = (5.0, 110.0)
    often = 0.5


class ButtonClosedAtStart(_Stuck):
    """The contact is closed while the pole starts: it must count only once it has been released."""

    name = "button-closed-at-start"
    level = PRESSED
    lasts_s = (3.0, 80.0)
    often = 0.5

    def begin(self) -> None:
        self.field.hold(self.where, self, self.field.pole(self.where).power_cut)
        super().begin()
        self.field.loop.after(2_000 * _MS_US, lambda: self.field.let(self.where, self))


BUTTON: tuple[type[Fault], ...] = (
    ButtonBounce, ButtonChatter, ButtonCut, ButtonShort, ButtonStuck, ButtonClosedAtStart,
)  # fmt: skip
