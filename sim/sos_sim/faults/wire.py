"""Faults of the cable between an agent and its poles."""

from __future__ import annotations

from typing import ClassVar

from sos_sim.faults.base import Fault, Knob, Turns

_SECOND_US = 1_000_000


class _OnTheWire(Turns):
    """Sets an attribute of the line's cable. ``knobs`` has one entry, the value."""

    place = "line"
    scale: ClassVar[float] = 1.0

    def things(self) -> list[object]:
        return [self.field.wire(self.where)]

    def value(self) -> object:
        for name in self.knobs:
            value = self.number(name) * self.scale
            return round(value) if self.scale > 1 else value
        return True


class WireLoss(_OnTheWire):
    """Whole frames vanish, each by its own chance: a wet splice. At 30 % a link must still hold."""

    name = "wire-loss"
    attribute = "loss"
    knobs: ClassVar[dict[str, Knob]] = {"probability": (0.02, 0.4)}
    lasts_s = (10.0, 120.0)


class WireFlips(_OnTheWire):
    """One bit of a frame turns over, each frame by its own chance. Such a frame must be refused."""

    name = "wire-flips"
    attribute = "flip"
    knobs: ClassVar[dict[str, Knob]] = {"probability": (0.02, 0.4)}
    lasts_s = (10.0, 120.0)


class WireDuplicates(_OnTheWire):
    """Frames come twice, one behind the other, as from a repeater that stutters."""

    name = "wire-duplicates"
    attribute = "duplicate"
    knobs: ClassVar[dict[str, Knob]] = {"probability": (0.05, 0.6)}
    lasts_s = (10.0, 120.0)


class WireDelay(_OnTheWire):
    """What is said comes late by a drawn time, in order: a radio bridge or a serial server in between."""

    name = "wire-delay"
    attribute = "delay_us"
    scale = 1000.0
    knobs: ClassVar[dict[str, Knob]] = {"most_ms": (1, 300)}
    lasts_s = (10.0, 120.0)


class WireNoise(_OnTheWire):
    """Bursts of one to eight random bytes, in the middle of frames and on the quiet line: a motor that starts."""

    name = "wire-noise"
    attribute = "noise_per_s"
    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.5, 20.0)}
    lasts_s = (5.0, 60.0)


class WireCut(_OnTheWire):
    """Nothing passes between the agent and the poles of that line, in the middle of a frame or not. Poles on a shared
    pair hear each other still."""

    name = "wire-cut"
    attribute = "cut"
    lasts_s = (0.2, 90.0)
    often = 2.0


class WireHalfCut(Turns):
    """One wire of the pair is broken: ``up``, the agent hears no pole; ``down``, no pole hears the agent. The other
    direction works, so that one end hears a peer that cannot hear it."""

    name = "wire-half-cut"
    place = "line"
    knobs: ClassVar[dict[str, Knob]] = {"direction": ("up", "down")}
    lasts_s = (1.0, 60.0)

    def begin(self) -> None:
        self.attribute = f"cut_{self.word('direction')}"  # type: ignore[misc]
        super().begin()

    def things(self) -> list[object]:
        return [self.field.wire(self.where)]


class WireEcho(_OnTheWire):
    """Whoever talks hears itself: an adapter whose receiver stays on."""

    name = "wire-echo"
    attribute = "echo"
    lasts_s = (10.0, 120.0)


class WireCollisions(Fault):
    """Another device on a shared pair talks whenever it likes, over whoever speaks just then: what overlaps is garbage
    for all. The poles of that pair are pressed at the same moment meanwhile, so that they collide by themselves,
    too."""

    name = "wire-collisions"
    place = "shared"
    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.5, 8.0)}
    lasts_s = (10.0, 60.0)

    def begin(self) -> None:
        self._on = True
        self._end = self.field.stranger(self.where)
        self._later()

    def _later(self) -> None:
        wait_us = int(self.rng.expovariate(self.number("per_s")) * _SECOND_US)
        self.field.loop.after(wait_us, self._talk)

    def _talk(self) -> None:
        if self._on:
            self._end.send(self.rng.randbytes(self.rng.randint(4, 60)))
            self._later()

    def end(self) -> None:
        self._on = False


class WireUnplugged(Fault):
    """The cable is pulled off the agent, and plugged in again under another name, or under its own: a USB adapter that
    comes back as another device."""

    name = "wire-unplugged"
    place = "line"
    knobs: ClassVar[dict[str, Knob]] = {"comes_back_as": ("the same", "another")}
    lasts_s = (0.5, 40.0)

    def begin(self) -> None:
        self.field.pull(self.where, self)

    def end(self) -> None:
        same = self.word("comes_back_as") == "the same"
        self.field.plug(self.where, self, None if same else f"usb-{self.rng.getrandbits(24):06x}")


class WireMoved(Fault):
    """The cable is hung on another adapter while the one that it hung on stays, open and silent; and then hung back."""

    name = "wire-moved"
    place = "line"
    lasts_s = (12.0, 60.0)
    often = 0.5

    def begin(self) -> None:
        self.field.move(self.where, f"moved-{self.field.town.line_of[self.where]}")

    def end(self) -> None:
        self.field.move(self.where, None)


WIRE: tuple[type[Fault], ...] = (
    WireLoss, WireFlips, WireDuplicates, WireDelay, WireNoise, WireCut, WireHalfCut, WireEcho, WireCollisions,
    WireUnplugged, WireMoved,
)  # fmt: skip
