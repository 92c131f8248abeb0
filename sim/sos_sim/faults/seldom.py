"""What comes seldom by itself and has to be met.

One table of effects at which a program is to crash, with when they come and what brings them about, and one of faults
that make another one worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Companion:
    """A fault that comes with another one. ``share``: from when to when of the other's time it lasts, or ``after_s``:
    from when to when behind its end; ``with_``: those of its arguments that are not drawn."""

    name: str
    share: tuple[float, float] = (0.0, 1.0)
    after_s: tuple[float, float] | None = None
    with_: dict[str, float | str] = field(default_factory=dict)

    def span_s(self, at_s: float, until_s: float, heal_s: float) -> tuple[float, float]:
        """When it begins and ends beside one that lasts so long; what comes behind it ends with ``heal_s``."""
        if self.after_s is not None:
            begin_s, end_s = (until_s + after_s for after_s in self.after_s)
            return round(begin_s, 3), round(min(end_s, heal_s), 3)
        begin_s, end_s = (at_s + share * (until_s - at_s) for share in self.share)
        return round(begin_s, 3), round(end_s, 3)


@dataclass(frozen=True, slots=True)
class Seldom:
    """An effect whose first is the one to crash at. ``at_starts``: wanted at a program's start, so that it is started
    again; ``awaited``: somebody has to ask for it, so that the crash waits until the heal; ``by``: what brings it
    about."""

    at_starts: bool = False
    awaited: bool = False
    by: Companion | None = None


_AT_STARTS = (
    "Ready", "Summary", "Connect", "Subscribe", "OpenPort", "PurgeReceipted", "Prune", "EndFaults", "Log",
    "FetchWaiting", "FetchReceipted",
)  # fmt: skip
_BY_ITSELF = (
    "StoreNotice", "DropNotices", "FetchNotices", "StoreCommand", "SettleCommand", "ReadCommands", "ReadAlarm",
    "ReadFaults",
)  # fmt: skip
SELDOM: dict[str, Seldom] = {
    **dict.fromkeys(_AT_STARTS, Seldom(at_starts=True)),
    **dict.fromkeys(_BY_ITSELF, Seldom()),
    "ClosePort": Seldom(by=Companion("wire-moved", (0.0, 0.9))),
    "StoreBoot": Seldom(by=Companion("pole-brown-out", (0.0, 0.2))),
    "StoreTimebase": Seldom(by=Companion("agent-power-cut", (0.0, 0.2))),
    "StoreKeys": Seldom(awaited=True),
    "MarkWaiting": Seldom(
        by=Companion("station-restored", (0.0, 0.4), with_={"how": "over the old file", "off_s": 1.0})
    ),
    "Disconnect": Seldom(by=Companion("network-half-cut", (0.0, 0.9), with_={"direction": "cut_down"})),
}

# Fault -> what then happens on top of it now and then, for the two seldom meet.
MADE_WORSE = {
    "agent-disk-full": Companion("agent-disk-failing", (0.4, 0.6)),
    "attack-wire-forge": Companion("wire-half-cut", (0.2, 0.5)),
    # The pole says then what it has of a start that its agent may have forgotten.
    "agent-killed": Companion("pole-brown-out", (0.4, 0.6)),
    # It has to find out that its agent is gone while its counter wraps.
    "pole-tick-wraps": Companion("wire-cut", after_s=(3.0, 80.0)),
}
