"""What all faults share: the hands on the world (``Field``), and the form that every fault has."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from sos_sim.checkers.base import Town
from sos_sim.world.program import Program
from sos_sim.world.wire import AGENT

if TYPE_CHECKING:
    from sos_sim.officers import Desk
    from sos_sim.world.broker import Broker
    from sos_sim.world.network import Path
    from sos_sim.world.pole import PoleNode
    from sos_sim.world.wire import End, Wire
    from sos_sim.world.zone import Zone

Value = float | int | str | bool
Arguments = Mapping[str, Value]
# What an argument may be: from-to (a number is drawn between, whole if both are), or a choice of words.
Knob = tuple[int, int] | tuple[float, float] | tuple[str, ...]

PLACES = ("line", "shared", "pole", "point", "station", "broker", "path", "desk", "town")


class Field:
    """Holds what several faults want at once: a machine stays down until the last that holds it lets go, and an
    attribute keeps the value of the last that turned it."""

    def __init__(self, zone: Zone, town: Town, desk: Desk) -> None:
        self.zone = zone
        self.town = town
        self.desk = desk
        self.loop = zone.loop
        self.worn: dict[str, str] = {}  # pole -> how the contact of its first button bounces
        self._holds: dict[str, list[object]] = {}
        self._turned: dict[tuple[int, str], list[tuple[object, object]]] = {}
        self._things: list[object] = []  # whose attributes were turned: their ids stay theirs
        self._occupied: dict[str, list[object]] = {}
        self._fingers: set[tuple[str, int]] = set()
        self._touched: dict[str, dict[object, Callable[[], object]]] = {}
        self._pulled: dict[str, list[object]] = {}
        self._strangers: dict[str, End] = {}
        self._tapes: dict[str, deque[tuple[str, bytes]]] = {}

    # --- machines, by the part that they have in the trace

    def machine(self, part: str) -> Program | PoleNode | Broker:
        """The machine of that part."""
        kind, _, name = part.partition(":")
        if kind == "agent":
            return self.zone.agents[name]
        if kind == "broker":
            return self.zone.brokers[name]
        return self.zone.station if part == "station" else self.zone.poles[part]

    def hold(self, part: str, who: object, stop: Callable[[], object] | None = None) -> None:
        """``who`` keeps that machine from running, which ``stop`` ends if it runs."""
        holds = self._holds.setdefault(part, [])
        if who not in holds:
            holds.append(who)
        if stop is not None and self.machine(part).running:
            stop()

    def let(self, part: str, who: object) -> None:
        """``who`` does not hold it any more; it goes on if nobody else does."""
        holds = self._holds.get(part, [])
        if who in holds:
            holds.remove(who)
        if not holds:
            self.revive(part)

    def held(self, part: str) -> bool:
        """Whether anybody keeps that machine from running."""
        return bool(self._holds.get(part))

    def revive(self, part: str) -> None:
        """Start it if it does not run, let it go on if it is frozen. What refuses to start is tried again, as systemd
        would, until it runs or somebody holds it."""
        machine = self.machine(part)
        if getattr(machine, "frozen", False):
            machine.thaw()
        elif not machine.running:
            machine.start()
        if not machine.running and not self.held(part):
            self.loop.after(RESTART_US, lambda: None if self.held(part) else self.revive(part))

    # --- attributes

    def turn(self, thing: object, name: str, value: object, who: object) -> None:
        """Set an attribute until ``back``."""
        if (id(thing), name) not in self._turned:
            self._things.append(thing)
        turned = self._turned.setdefault((id(thing), name), [(None, getattr(thing, name))])
        turned.append((who, value))
        setattr(thing, name, value)

    def back(self, thing: object, name: str, who: object) -> None:
        """What ``who`` set holds no longer; what was set before, or after by others, does."""
        turned = self._turned.get((id(thing), name), [])
        kept = [one for one in turned if one[0] is not who or one[0] is None]
        if len(kept) != len(turned):
            self._turned[id(thing), name] = kept
            setattr(thing, name, kept[-1][1])

    # --- buttons: one finger at a time

    def finger(self, pole: str, button: int, down: bool) -> None:
        """Whether a finger is on that button now."""
        if down:
            self._fingers.add((pole, button))
            for heard in list(self._touched.get(pole, {}).values()):
                heard()
        else:
            self._fingers.discard((pole, button))

    def busy(self, pole: str, button: int) -> bool:
        """Whether a finger, or a fault of the loop, has that button."""
        return (pole, button) in self._fingers or bool(self._occupied.get(pole))

    def occupy(self, pole: str, who: object) -> None:
        """A fault of the loop has the pole's first button."""
        self._occupied.setdefault(pole, []).append(who)

    def vacate(self, pole: str, who: object) -> None:
        """It is over."""
        if who in self._occupied.get(pole, ()):
            self._occupied[pole].remove(who)

    def on_touch(self, pole: str, who: object, call: Callable[[], object] | None) -> None:
        """Call that at each first contact of a finger; None: no more."""
        calls = self._touched.setdefault(pole, {})
        calls.pop(who, None)
        if call is not None:
            calls[who] = call

    # --- places

    def pole(self, pole: str) -> PoleNode:
        """That pole."""
        return self.zone.poles[pole]

    def wire(self, pole: str) -> Wire:
        """The cable on which that pole hangs."""
        return self.zone.wires[self.town.line_of[pole]]

    def pull(self, pole: str, who: object) -> None:
        """Pull that pole's cable off its agent."""
        line = self.town.line_of[pole]
        self._pulled.setdefault(line, []).append(who)
        self.zone.serials[self.town.point_of[pole]].unplug(line)

    def plug(self, pole: str, who: object, under: str | None) -> None:
        """Plug it in again, unless somebody else has pulled it, too."""
        line = self.town.line_of[pole]
        self._pulled[line].remove(who)
        if not self._pulled[line]:
            self.zone.serials[self.town.point_of[pole]].plug(line, under)

    def move(self, pole: str, under: str | None) -> None:
        """Hang that pole's cable on another adapter, or home again; the one that it hung on stays."""
        line = self.town.line_of[pole]
        if not self._pulled.get(line):
            self.zone.serials[self.town.point_of[pole]].move(line, under)

    def stranger(self, pole: str) -> End:
        """Another device on that pole's cable."""
        line = self.town.line_of[pole]
        if line not in self._strangers:
            self._strangers[line] = self.wire(pole).attach("stranger", lambda data: None)
        return self._strangers[line]

    def tape(self, pole: str) -> deque[tuple[str, bytes]]:
        """What went over that pole's cable since somebody first asked: (talker, bytes), the newest only.

        Not what a cut kept from the other end: whoever says that again carries it over the cut, and is a whole cable.
        """
        line = self.town.line_of[pole]
        if line not in self._tapes:
            tape = self._tapes[line] = deque(maxlen=TAPE_FRAMES)
            wire = self.wire(pole)

            def record(_at_us: int, talker: str, data: bytes) -> None:
                if not (wire.cut or (wire.cut_down if talker == AGENT else wire.cut_up)):
                    tape.append((talker, data))

            wire.record = record
        return self._tapes[line]

    def path(self, where: str) -> Path:
        """``point>broker`` or ``station>broker``."""
        host, _, broker = where.partition(">")
        part = host if host == "station" else f"agent:{host}"
        return self.zone.paths[part, self.url(broker)]

    def url(self, broker: str) -> str:
        """The address of the broker of that name."""
        return self.zone.site.station.brokers[list(self.zone.brokers).index(broker)]

    def say(self, kind: str, part: str, *fields: object) -> None:
        """A row of the trace, now."""
        self.zone.trace.say(self.loop.now_us, kind, part, *fields)


# Frames that an attacker keeps of one cable: some minutes of it.
TAPE_FRAMES = 400
# systemd's RestartSec of both units.
RESTART_US = 2_000_000


class Fault:
    """One fault at one place, from ``begin`` to ``end``. The docstring of each kind is its model, in prose."""

    name: ClassVar[str]
    place: ClassVar[str]
    lasts_s: ClassVar[tuple[float, float]] = (5.0, 60.0)
    often: ClassVar[float] = 1.0  # how often beside others, where it is on
    knobs: ClassVar[dict[str, Knob]] = {}

    def __init__(self, field: Field, where: str, arguments: Arguments, rng: random.Random) -> None:
        self.field = field
        self.where = where
        self.rng = rng
        self.arguments = {**{name: usual(knob) for name, knob in self.knobs.items()}, **arguments}

    def begin(self) -> None:
        """From now on it is wrong."""
        raise NotImplementedError

    def end(self) -> None:
        """From now on it is right again."""
        raise NotImplementedError

    def number(self, name: str) -> float:
        """The argument of that name."""
        return float(self.arguments[name])

    def word(self, name: str) -> str:
        """The argument of that name."""
        return str(self.arguments[name])


def usual(knob: Knob) -> Value:
    """What an argument is where a scenario does not say: the middle, or the first word."""
    if isinstance(knob[0], str):
        return knob[0]
    low, high = float(knob[0]), float(knob[-1])
    middle = (low + high) / 2
    return round(middle) if all(isinstance(one, int) for one in knob) else middle


def drawn(knob: Knob, rng: random.Random) -> Value:
    """One value of what may be."""
    if isinstance(knob[0], str):
        return rng.choice([str(word) for word in knob])
    low, high = knob[0], knob[-1]
    if isinstance(low, int) and isinstance(high, int):
        return rng.randint(low, high)
    return round(rng.uniform(float(low), float(high)), 4)


def wrong(knob: Knob, value: Value) -> str:
    """Why an argument cannot have that value; empty if it can."""
    if isinstance(knob[0], str):
        return "" if value in knob else f"is none of {', '.join(str(word) for word in knob)}"
    if isinstance(value, (str, bool)):
        return "is no number"
    low, high = float(knob[0]), float(knob[-1])
    return "" if low <= value <= high else f"is outside {low:g} to {high:g}"


class Turns(Fault):
    """A fault that is an attribute of something, set to ``value()`` and back again."""

    attribute: ClassVar[str]

    def things(self) -> list[object]:
        """Whose attribute it is."""
        raise NotImplementedError

    def value(self) -> object:
        """What it is set to."""
        return True

    def begin(self) -> None:
        for thing in self.things():
            self.field.turn(thing, self.attribute, self.value(), self)

    def end(self) -> None:
        for thing in self.things():
            self.field.back(thing, self.attribute, self)
