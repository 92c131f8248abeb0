"""A town of three poles that exists only as a trace: what the checkers make of rows that nobody but the test wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from sos_sim.checkers import Checkers, Town
from sos_sim.trace import Trace

TOWN = Town(
    point_of={"a-1": "a", "a-2": "a", "b-1": "b"},
    mates={"a-1": ("a-1", "a-2"), "a-2": ("a-1", "a-2"), "b-1": ("b-1",)},
    shared=frozenset({"a-1", "a-2"}),
    silent=frozenset(),
    line_of={"a-1": "line-a", "a-2": "line-a", "b-1": "line-b"},
)
INCARNATION = "00000000000000aa"


def identity(pole: str = "a-1", press: int = 1, boot: int = 1) -> str:
    return f"{pole}/{INCARNATION}/{boot}/{press}"


@dataclass
class Ground:
    """What the test says is true."""

    blind: int = 0
    stored: set[str] = field(default_factory=set)
    where: dict[str, list[str]] = field(default_factory=dict)
    unwell: list[str] = field(default_factory=list)
    core: dict[str, object] = field(default_factory=dict)
    unsound: list[tuple[str, str]] = field(default_factory=list)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)

    def blind_ms(self, pole: str) -> int:
        return self.blind

    def inbox(self) -> frozenset[str]:
        return frozenset(self.stored)

    def whereabouts(self, identity: str) -> list[str]:
        return self.where.get(identity, [])

    def unsettled(self, orphans: Collection[str] = ()) -> list[str]:
        return [words for words in self.unwell if words.rsplit(" ", 1)[-1] not in orphans]

    def faults_told(self) -> Counter[tuple[str, str]]:
        return Counter(self.told)

    def ledgers(self) -> Iterator[tuple[str, str]]:
        yield from self.unsound

    def cores(self) -> Iterator[tuple[str, object]]:
        yield from self.core.items()


class Story:
    """``say`` rows at times in seconds; all machines are up from 0 on, and every lamp in service from 2 s on. A press
    that is minted has the lamp, unless this is told not to be so with ``lit``."""

    def __init__(self, *, lit: bool = True) -> None:
        self.lit = lit
        self.trace = Trace()
        self.incidents: dict[str, int] = {}  # pole -> its open incident
        self.numbers: dict[str, int] = {}  # identity -> its alarm's number
        self.ground = Ground()
        self.checkers = Checkers(self.trace, TOWN, self.ground)
        for part in ("broker:1", "station", "agent:a", "agent:b", *TOWN.poles):
            self.say(0.0, "up", part, "start")
        for pole in TOWN.poles:
            self.say(2.0, "look", pole, "in_service", "")

    def say(self, at_s: float, kind: str, part: str, *fields: object) -> None:
        self.trace.say(round(at_s * 1e6), kind, part, *fields)
        if kind == "minted" and fields[1:3] == ("press", True) and self.lit:
            self.say(at_s, "look", part, "pressed", fields[0])

    def contact(self, at_s: float, ms: float, pole: str = "a-1") -> None:
        """The wires of the first button touch for so long."""
        self.say(at_s, "loop", pole, 0, "pressed")
        self.say(at_s + ms / 1000, "loop", pole, 0, "idle")

    def mint(
        self,
        at_s: float,
        pole: str = "a-1",
        press: int = 1,
        *,
        durable: bool = True,
        kind: str = "press",
        repeats: int = 0,
    ) -> str:
        """The button is touched, and 40 ms later the press has its identity."""
        self.say(at_s, "loop", pole, 0, "pressed")
        self.say(at_s + 0.04, "minted", pole, identity(pole, press), kind, durable, repeats)
        self.say(at_s + 0.1, "loop", pole, 0, "idle")
        return identity(pole, press)

    def held(self, at_s: float, who: str, outcome: str = "new") -> None:
        self.say(at_s, "held", who[0], who, outcome)

    def received(
        self,
        at_s: float,
        who: str,
        *,
        verdict: str = "new",
        number: int = 1,
        age_ms: int | None = 50,
        late: bool = False,
        kind: str = "press",
        incident: int | None = None,
        repeats: int = 0,
    ) -> None:
        """Its ``incident`` is that of the first alarm of its pole, if it is not given."""
        self.ground.stored.add(who.split(".")[0])
        if incident is None:
            incident = self.incidents.setdefault(who.split("/")[0], number)
        self.numbers[who] = number
        self.say(at_s, "received", "station", who, verdict, number, kind, 1000, age_ms, late, incident, repeats)

    def ask(self, at_s: float, action: str, number: int, newest: int, officer: str = "Malee", shown: str = "") -> None:
        """An officer asks for that, with the stage that was shown, if it is told."""
        self.say(at_s, "asked", officer, officer, action, number, newest, shown)

    def screen(
        self, at_s: float, *lines: tuple[str, str, int | None, bool], asked_for: str = "list", asked_s: float = -1.0
    ) -> None:
        """Malee is shown these: identity, stage, age and late. She asked for it ``asked_s``, or just now."""
        shown = tuple((*line, "press", self.numbers.get(line[0], 1), self.numbers.get(line[0], 1), 0) for line in lines)
        since_s = at_s - 0.05 if asked_s < 0 else asked_s
        self.say(at_s, "screen", "Malee", shown, asked_for, 0, round(since_s * 1e6))

    def through(self, at_s: float, pole: str = "a-1", press: int = 1) -> str:
        """A press that goes its way without trouble."""
        who = self.mint(at_s, pole, press)
        self.held(at_s + 0.05, who)
        self.received(at_s + 0.06, who, number=press, age_ms=20)
        return who

    def end(self, at_s: float, *, progress: bool = True) -> dict[str, int]:
        """What was found by then, without what was not."""
        if progress:
            self.say(at_s, "phase", "scenario", "end")
        self.checkers.finish(round(at_s * 1e6))
        return {promise: count for promise, count in self.checkers.findings.counts.items() if count}

    @property
    def words(self) -> str:
        return "; ".join(finding.words for finding in self.checkers.findings.found)
