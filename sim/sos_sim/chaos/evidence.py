"""What was seen of a live town, and when: the material that the checks judge. Times in seconds of time.monotonic()."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sos_contract.payloads import Identity


@dataclass(frozen=True)
class Finding:
    """A promise that was broken, when, at which part, and in words how that was seen."""

    promise: str
    at_s: float
    part: str
    words: str


@dataclass(frozen=True)
class Touch:
    """A finger on a button: first contact, and until when it lasted. ``brief``: too short to be a press.

    ``sure``: the pole had power and ran all the while, and the button had been at rest before.
    """

    at_s: float
    until_s: float
    pole: str
    kind: str
    brief: bool = False
    sure: bool = True


@dataclass(frozen=True)
class Mint:
    """A press came into the flash of its pole."""

    at_s: float
    identity: Identity
    kind: str


@dataclass(frozen=True)
class Claim:
    """A lamp began to show ``look``, of the press ``owner``. What was true then: ``stage`` in the inbox, or empty if it
    was not there; ``held``: an outbox had it, or had had it."""

    at_s: float
    pole: str
    look: str
    owner: Identity | None
    stage: str = ""
    held: bool = False


@dataclass(frozen=True)
class Overdue:
    """A press was not in the inbox some time after its lamp should have said so; what the lamp showed then."""

    at_s: float
    identity: Identity
    minted_s: float
    look: str


@dataclass(frozen=True)
class Stale:
    """A press is in the inbox, nothing was wrong between it and its lamp for ``calm_s``, and the lamp still says
    ``look``."""

    at_s: float
    identity: Identity
    look: str
    calm_s: float


@dataclass(frozen=True)
class Outage:
    """``part`` did nothing from ``since_s`` to ``until_s``."""

    part: str
    since_s: float
    until_s: float


@dataclass
class Outages:
    """What is away, and what was. The same part may be away for two reasons at once."""

    over: list[Outage] = field(default_factory=list)
    _open: dict[tuple[str, str], float] = field(default_factory=dict)

    def begin(self, part: str, why: str, now_s: float) -> None:
        """It is away from now on, for that reason."""
        self._open.setdefault((part, why), now_s)

    def end(self, part: str, why: str, now_s: float) -> None:
        """That reason is over."""
        since_s = self._open.pop((part, why), None)
        if since_s is not None:
            self.over.append(Outage(part, since_s, now_s))

    def of(self, parts: Iterable[str], now_s: float) -> list[Outage]:
        """When any of these was away: joined where one ends no earlier than the next begins, in order."""
        wanted = set(parts)
        known = [one for one in self.over if one.part in wanted]
        known += [Outage(part, since_s, now_s) for (part, _), since_s in self._open.items() if part in wanted]
        return list(_joined(sorted(known, key=lambda one: one.since_s)))


def _joined(outages: list[Outage]) -> Iterator[Outage]:
    last: Outage | None = None
    for one in outages:
        if last is not None and one.since_s <= last.until_s:
            last = Outage(last.part, last.since_s, max(last.until_s, one.until_s))
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last


@dataclass
class Lag:
    """How late this machine is: what a promise in seconds is forgiven for. ``samples``: (when, seconds late)."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    def worst_s(self, since_s: float, until_s: float) -> float:
        """The worst in that time."""
        return max((late_s for at_s, late_s in self.samples if since_s <= at_s <= until_s), default=0.0)


@dataclass
class Evidence:
    """All of it."""

    touches: list[Touch] = field(default_factory=list)
    mints: list[Mint] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    overdue: list[Overdue] = field(default_factory=list)
    stale: dict[Identity, Stale] = field(default_factory=dict)  # the last look at each
    outages: Outages = field(default_factory=Outages)
    lag: Lag = field(default_factory=Lag)
