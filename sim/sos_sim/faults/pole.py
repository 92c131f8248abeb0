"""Faults of a pole: its power, its flash, its clock, its processor, its other inputs."""

from __future__ import annotations

from typing import ClassVar

from sos_sim.faults.base import Fault, Knob

_MS_US = 1000


class _Down(Fault):
    """The pole has no power for a while."""

    place = "pole"
    lasts_s = (0.05, 40.0)

    def begin(self) -> None:
        self.field.hold(self.where, self, self.field.pole(self.where).power_cut)

    def end(self) -> None:
        self.field.let(self.where, self)


class PoleBrownOut(_Down):
    """The power goes at a moment like any other, between two steps, and comes back."""

    name = "pole-brown-out"
    often = 2.0


class PoleBrownOutAtPress(Fault):
    """The power goes some milliseconds after somebody touched the button: while it is debounced, written down, sent."""

    name = "pole-brown-out-at-press"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"after_ms": (1, 120)}
    lasts_s = (5.0, 60.0)
    often = 2.0

    def begin(self) -> None:
        self._cut = False
        self.field.on_touch(self.where, self, self._touched)

    def _touched(self) -> None:
        if not self._cut:
            self._cut = True
            pole = self.field.pole(self.where)
            self.field.loop.after(
                int(self.number("after_ms") * _MS_US), lambda: self.field.hold(self.where, self, pole.power_cut)
            )

    def end(self) -> None:
        self.field.on_touch(self.where, self, None)
        self.field.loop.after(150 * _MS_US, lambda: self.field.let(self.where, self))


class PoleFlashTorn(Fault):
    """The power goes inside the next write to the flash, at a drawn byte of it: of a press, of its end, of an erase."""

    name = "pole-flash-torn"
    place = "pole"
    lasts_s = (2.0, 60.0)
    often = 2.0

    def begin(self) -> None:
        pole = self.field.pole(self.where)
        self.field.hold(self.where, self)
        pole.power_cut(tear=True)

    def end(self) -> None:
        pole = self.field.pole(self.where)
        pole.flash.tear_next = pole.flash.tear_at = None
        self.field.let(self.where, self)


class PoleFlashLost(_Down):
    """The flash has lost all that was in it when the power comes back: the pole begins a new incarnation."""

    name = "pole-flash-lost"
    often = 0.4

    def begin(self) -> None:
        super().begin()
        self.field.pole(self.where).lose_flash()


class PoleBoardSwapped(_Down):
    """Another board with the same key is put in, and its flash is new."""

    name = "pole-board-swapped"
    often = 0.4
    lasts_s = (5.0, 60.0)

    def begin(self) -> None:
        super().begin()
        self.field.pole(self.where).swap_board()


class PoleFlashBroken(Fault):
    """The flash takes no write, or some of its bytes keep their bits: the pole says so, and its presses live in its
    memory."""

    name = "pole-flash-broken"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"how": ("stuck bytes", "no write")}
    lasts_s = (5.0, 60.0)
    often = 0.5

    def begin(self) -> None:
        self._flash = flash = self.field.pole(self.where).flash
        if self.word("how") == "no write":
            flash.broken = True
        else:
            flash.stuck |= {self.rng.randrange(flash.size) for _ in range(200)}

    def end(self) -> None:
        self._flash.broken = False
        self._flash.stuck.clear()


class PoleResetLoop(Fault):
    """The chip is reset again and again, by its watchdog or by a bad supply, each time after a drawn while."""

    name = "pole-reset-loop"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"every_ms": (200, 6000), "cause": ("watchdog", "brown_out", "soft")}
    lasts_s = (3.0, 40.0)

    def begin(self) -> None:
        self._on = True
        self._reset()

    def _reset(self) -> None:
        if self._on:
            self.field.pole(self.where).reset(self.word("cause"))
            self.field.loop.after(int(self.number("every_ms") * self.rng.uniform(0.5, 1.5) * _MS_US), self._reset)

    def end(self) -> None:
        self._on = False


class PoleHangs(Fault):
    """The program hangs with the lamp as it was. The watchdog bites 8 s after the last step, if it does not go on by
    itself before."""

    name = "pole-hangs"
    place = "pole"
    lasts_s = (0.1, 12.0)

    def begin(self) -> None:
        self.field.pole(self.where).freeze()

    def end(self) -> None:
        self.field.pole(self.where).thaw()


class PoleTickWraps(_Down):
    """The pole starts with a millisecond counter that is about to wrap, and wraps it while presses are under way."""

    name = "pole-tick-wraps"
    knobs: ClassVar[dict[str, Knob]] = {"after_ms": (400, 20_000)}
    lasts_s = (0.05, 5.0)

    def end(self) -> None:
        self.field.pole(self.where).wraps_in_ms = int(self.number("after_ms"))
        super().end()


class PoleDrifts(_Down):
    """The crystal is off by far more than any data sheet allows, from a start on."""

    name = "pole-drifts"
    knobs: ClassVar[dict[str, Knob]] = {"ppm": (-3000, 3000)}
    lasts_s = (0.05, 5.0)

    def end(self) -> None:
        self.field.pole(self.where).drift_ppm = int(self.number("ppm"))
        super().end()


class PoleDeaf(Fault):
    """The processor looks away for up to 50 ms at a time, as it does while its flash is written: what comes then is
    lost to it."""

    name = "pole-deaf"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.5, 6.0)}
    lasts_s = (5.0, 60.0)

    def begin(self) -> None:
        self._on = True
        self._later()

    def _later(self) -> None:
        self.field.loop.after(int(self.rng.expovariate(self.number("per_s")) * 1e6), self._look_away)

    def _look_away(self) -> None:
        if self._on:
            self.field.pole(self.where).deafen(self.rng.randint(1, 50) * _MS_US)
            self._later()

    def end(self) -> None:
        self._on = False


class PoleSenses(Fault):
    """Enclosure opened, mains lost, battery low or the lamp dead: told as notices, and never in an alarm's way. A pole
    that starts while the enclosure is open and the button is held has given itself to the REPL: whoever closes it sees
    the lamp say so and turns it off and on."""

    name = "pole-senses"
    place = "pole"
    knobs: ClassVar[dict[str, Knob]] = {"what": ("tamper", "mains_lost", "supply_mv", "lamp_draws")}
    lasts_s = (5.0, 60.0)
    _VALUES: ClassVar[dict[str, tuple[int, int]]] = {
        "tamper": (1, 0), "mains_lost": (1, 0), "supply_mv": (9_000, 12_600), "lamp_draws": (0, 1),
    }  # fmt: skip

    def begin(self) -> None:
        self.field.pole(self.where).sense(self.word("what"), self._VALUES[self.word("what")][0])

    def end(self) -> None:
        pole, what = self.field.pole(self.where), self.word("what")
        pole.sense(what, self._VALUES[what][1])
        if what == "tamper" and not pole.running and not self.field.held(self.where):
            self.field.revive(self.where)


POLE: tuple[type[Fault], ...] = (
    PoleBrownOut, PoleBrownOutAtPress, PoleFlashTorn, PoleFlashLost, PoleBoardSwapped, PoleFlashBroken, PoleResetLoop,
    PoleHangs, PoleTickWraps, PoleDrifts, PoleDeaf, PoleSenses,
)  # fmt: skip
