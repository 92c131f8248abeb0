"""What all checkers share: findings, the town that they watch, and what they may ask of the world beside its trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from sos_agent.edge.setup import local_port
from sos_contract.site import Site

# ``late`` is no broken promise but a figure of a scenario file that was missed.
PROMISES = ("lost", "duplicated", "lied", "forged", "stuck")


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken: which one, when, where, and in words how that was seen."""

    promise: str
    at_us: int
    words: str
    part: str

    def __str__(self) -> str:
        return f"{self.promise} at {self.at_us / 1e6:.3f} s, {self.part}: {self.words}"


@dataclass(frozen=True)
class Town:
    """The site as checkers and faults need it: names only."""

    point_of: dict[str, str]  # pole -> point
    mates: dict[str, tuple[str, ...]]  # pole -> all poles on its line, itself too
    shared: frozenset[str]  # poles on a shared pair
    silent: frozenset[str]  # poles with a second, concealed button
    line_of: dict[str, str]  # pole -> name of its cable
    own: frozenset[str] = frozenset()  # the agents' own buttons: poles that live in the agent's process
    brokers: tuple[str, ...] = ("1",)
    points: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(dict.fromkeys(self.point_of.values())))

    @property
    def wired(self) -> tuple[str, ...]:
        """Poles at the end of a cable."""
        return tuple(pole for pole in self.point_of if pole not in self.own)

    @property
    def poles(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.point_of)

    def poles_behind(self, part: str) -> list[str]:
        """Those that something at that part concerns, on the way to their agents: a pole's line, or an agent."""
        return [pole for pole in self.poles if part in self.mates[pole] or part == f"agent:{self.point_of[pole]}"]

    @classmethod
    def of(cls, site: Site, brokers: tuple[str, ...] = ("1",)) -> Town:
        """The town of a site file."""
        point_of, mates, line_of = {}, {}, {}
        shared, silent, own = set(), set(), set()
        for point in site.point:
            for line in point.line:
                together = tuple(pole.id for pole in line.pole)
                for pole in line.pole:
                    point_of[pole.id], mates[pole.id], line_of[pole.id] = point.id, together, line.port
                    if line.shared:
                        shared.add(pole.id)
                    if pole.silent_button:
                        silent.add(pole.id)
            if point.button is not None:
                button = point.button.id
                point_of[button], mates[button], line_of[button] = point.id, (button,), local_port(point.button)
                own.add(button)
        return cls(point_of, mates, frozenset(shared), frozenset(silent), line_of, frozenset(own), brokers)


class Ground(Protocol):
    """The truth that is not in the trace. Asked seldom: at the end of a touch or of a phase."""

    def blind_ms(self, pole: str) -> int:
        """Milliseconds in which that pole's board could not look at its button, since the world began."""

    def inbox(self) -> frozenset[str]:
        """Identities that the station's inbox holds now."""

    def whereabouts(self, identity: str) -> list[str]:
        """Where a press that the inbox lacks lies now, in words a place; empty: nowhere."""

    def unsettled(self, orphans: Collection[str] = ()) -> list[str]:
        """What is not as it should be when nothing fails any more, in words; empty if the town is well. A lamp may go
        on speaking of a press of ``orphans``: those that nobody holds any more, so that nobody can end them."""

    def faults_told(self) -> Counter[tuple[str, str]]:
        """How often the station's table has been told of a fault, by pole and kind."""

    def ledgers(self) -> Iterator[tuple[str, str]]:
        """What does not hold in the ledgers of station and agents now: part, and in words."""

    def cores(self) -> Iterator[tuple[str, object]]:
        """The programs' cores, with the part that each belongs to."""


Tell = Callable[[Finding], None]


class Findings:
    """Collects findings; of one promise at one part the first few only, so that one mistake does not fill a screen."""

    MOST_A_PART = 5

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.counts: dict[str, int] = dict.fromkeys(PROMISES, 0)
        self._told: dict[tuple[str, str], int] = {}

    def tell(self, promise: str, at_us: int, words: str, part: str) -> None:
        """Take a finding."""
        self.counts[promise] += 1
        key = promise, part
        self._told[key] = self._told.get(key, 0) + 1
        if self._told[key] <= self.MOST_A_PART:
            self.found.append(Finding(promise, at_us, words, part))


def seconds(us: float) -> str:
    """``12.345 s``."""
    return f"{us / 1e6:.3f} s"
