"""The fault table: what each notice opens or ends, and what a point's health says is open now.

A fault has the time found, the last time it was known to be good, and its end (EN 50136), and is kept for two years
where the site says nothing else.
"""

from __future__ import annotations

from sos_contract.payloads import Health
from sos_contract.stages import ALARM_KINDS
from sos_contract.who import RENEW_WEEKS
from sos_station.core.effects import Effect, EndFaults, SetFault
from sos_station.core.records import Stamp
from sos_wire.messages import FAULTS

# EN 50136 asks for two years of fault records; one of them may have a leap day.
KEEP_MS = 731 * 24 * 3_600_000
RENEW_MS = RENEW_WEEKS * 7 * 24 * 3_600_000

OPENS, ENDS, HAPPENS, DETAIL = "opens", "ends", "happens", "detail"

# kind of a notice -> the fault it is about, and what it does to it; None: what its `on` says.
# Kinds that are not listed (of a later release) are faults of their own name that `on` opens and ends.
NOTICES: dict[str, tuple[str, str | None]] = {
    "mains_lost": ("mains_lost", None),
    "mains_back": ("mains_lost", ENDS),
    "link_lost": ("link_lost", None),
    "link_back": ("link_lost", ENDS),
    "pole_restarted": ("pole_restarted", HAPPENS),
    "outbox_damaged": ("outbox_damaged", HAPPENS),
    "press_detail": ("", DETAIL),
    **{kind: (kind, HAPPENS) for kind in ALARM_KINDS},  # a press is an alarm: as a notice it is only recorded
}


def meaning(kind: str, on: bool) -> tuple[str, str]:
    """Fault that a notice is about, and what it does: OPENS, ENDS, HAPPENS (begins and ends at once) or DETAIL."""
    fault, does = NOTICES.get(kind, (kind, None))
    return fault, does or (OPENS if on else ENDS)


class HealthWatch:
    """Turns a point's health into fault changes, so that a notice that was merged or lost leaves nothing standing.

    Health is a snapshot: what it lists is open, what it does not list has ended. Only changes become effects.
    """

    def __init__(self, poles: dict[str, str]) -> None:
        self._poles = poles
        self._last: dict[tuple[str, str, str], bool] = {}  # bounded: poles of the site x FAULTS
        self._good_wall_ms: dict[tuple[str, str, str], int] = {}
        self._listed: dict[str, tuple[str, ...]] = {}  # bounded: points of the site; the poles of which each told last
        self._ends: dict[tuple[str, str], int | None] = {}  # bounded: the station and its brokers

    def last_good_wall_ms(self, point: str, pole: str, kind: str) -> int:
        """When that was last known to be good; 0: never heard."""
        return self._good_wall_ms.get((point, pole, meaning(kind, True)[0]), 0)

    def noticed(self, point: str, pole: str, kind: str) -> None:
        """A notice may have changed this fault: the next health is compared afresh."""
        self._last.pop((point, pole, meaning(kind, True)[0]), None)
        if pole and pole not in self._listed.get(point, ()):
            self.unlisted(point)  # of a pole that it had once, told late

    def unlisted(self, point: str) -> None:
        """What stands open of poles that the point has no more is ended with its next health (once more)."""
        self._listed.pop(point, None)

    def told(self, point: str, health: Health, at: Stamp) -> list[Effect]:
        """Fault changes that follow from the health of ``point``."""
        effects = self._compare(point, "", "disk_full", not health.disk_ok, at)
        effects += self._certificate(point, "", health.certificate_until_ms, at)
        poles = tuple(sorted({pole.pole for pole in health.poles}))
        if self._listed.get(point) != poles:
            self._listed[point] = poles
            self._last = {key: on for key, on in self._last.items() if key[0] != point or key[1] in ("", *poles)}
            effects.append(EndFaults(point, poles, at))
        for pole in health.poles:
            if self._poles.get(pole.pole) != point:
                continue
            effects += self._compare(point, pole.pole, "link_lost", not pole.link, at)
            # What a pole that is not heard once said of itself is no news; and one that was heard by an agent that has
            # just started, with a press before its first beat, has said nothing of itself.
            if pole.link and pole.lamp:
                for kind in FAULTS:
                    effects += self._compare(point, pole.pole, kind, kind in pole.faults, at)
        return effects

    def shown(self, place: str, part: str, until_ms: int | None, at: Stamp) -> list[Effect]:
        """Remember the end of a certificate that ``tick`` is to watch, and look at it."""
        self._ends[place, part] = until_ms
        return self._certificate(place, part, until_ms, at)

    def tick(self, at: Stamp) -> list[Effect]:
        """Faults of certificates that were ``shown`` once and have come near their end since."""
        return [
            effect
            for (place, part), until_ms in self._ends.items()
            for effect in self._certificate(place, part, until_ms, at)
        ]

    def _certificate(self, place: str, part: str, until_ms: int | None, at: Stamp) -> list[Effect]:
        if until_ms is None or at.quality == "unset":
            return []
        return self._compare(place, part, "certificate_ends", until_ms - at.wall_ms < RENEW_MS, at)

    def _compare(self, point: str, pole: str, kind: str, on: bool, at: Stamp) -> list[Effect]:
        key = point, pole, kind
        good_wall_ms = self._good_wall_ms.get(key, 0)
        if not on:
            self._good_wall_ms[key] = at.wall_ms
        if self._last.get(key) == on:
            return []
        self._last[key] = on
        return [SetFault(point, pole, kind, on, at, good_wall_ms)]
