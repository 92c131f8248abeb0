"""Watches every lamp, flash, outbox and inbox of a live town while it lasts, and writes the evidence down."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from sos_contract.payloads import Identity
from sos_contract.site import Site
from sos_contract.stages import RECEIVED, rank
from sos_sim.chaos.evidence import Claim, Evidence, Mint, Overdue, Stale, Touch
from sos_sim.chaos.flash import PoleFlash, Written
from sos_sim.chaos.plan import line_name
from sos_sim.chaos.stores import Stores
from sos_sim.chaos.truth import LAG_TIMES, MARGIN_S, NOT_DELIVERED_S
from sos_sim.live.pole_host import Change, LivePole
from sos_wire.messages import STAGES

_LOOK_AGAIN_S = 0.05  # a database that is just being opened
_TRIES = 40
# Two touches closer than this are one to the debounce, or may be.
_APART_S = 0.4
# A button counts once it was seen at rest for a quarter of a second; and the flash is written a moment after.
_UP_BEFORE_S, _UP_AFTER_S = 1.0, 0.5


def _between(point: str, line: str, pole: str) -> tuple[str, ...]:
    """All parts whose trouble keeps a lamp from knowing, as ``Town`` names them."""
    ways = [f"{what}:{where}" for what in ("path", "slow", "disk") for where in ("station", point)]
    return (f"agent:{point}", "station", "broker", f"line:{line}", f"weather:{line}", f"pole:{pole}", *ways)


class Witness:
    """``poles``: the live ones, by name. ``seen`` is the evidence of the present round; ``kinds`` all presses ever."""

    def __init__(self, site: Site, folder: Path, poles: dict[str, LivePole], journal: dict[str, int]) -> None:
        self.stores = Stores(folder)
        self.seen = Evidence()
        self.mints: list[Mint] = []
        self.kinds: dict[Identity, str] = {}
        self.looks: dict[str, list[tuple[float, str]]] = {}
        self.owner: dict[str, Identity | None] = {}
        self.crashes: list[tuple[float, str, str]] = []
        self.unread = 0  # looks for which no database could be read in time
        self._waking: set[str] = set()  # poles that have started and not made a step yet
        self._ever_held: set[Identity] = set()
        self._waits_from: dict[str, float] = {}
        self._poles = poles
        self._point_of = {pole.id: point.id for point in site.point for line in point.line for pole in line.pole}
        self._flash = {
            name: PoleFlash(name, pole.flash, journal["start"], journal["len"]) for name, pole in poles.items()
        }
        self._stale_since: dict[str, tuple[Identity, float]] = {}
        self._between = {
            pole.id: _between(point.id, line_name(point.id, number), pole.id)
            for point in site.point
            for number, line in enumerate(point.line)
            for pole in line.pole
        }
        for name, pole in poles.items():
            pole.subscribe(self._heard)
            self.looks[name] = [(time.monotonic(), pole.look)]
            self.owner[name] = None

    # --- rounds

    def next_round(self) -> None:
        """Forget what was judged; what stands now stands at the beginning of the next."""
        self.seen = Evidence()
        self.crashes = []
        for name, looks in self.looks.items():
            del looks[:-1]
            assert self._poles[name].look == looks[-1][1]

    def remember(self, point: str) -> None:
        """That outbox is about to be lost: what it held was held."""
        self._ever_held |= self.stores.held(point)

    def touched(self, pole: str, kind: str, at_s: float, until_s: float, brief: bool) -> None:
        """A finger was on that button."""
        self.seen.touches.append(Touch(at_s, until_s, pole, kind, brief))

    def touches(self, now_s: float) -> list[Touch]:
        """Those of this round, each with how sure it is that it must have made a press."""
        judged = []
        for touch in self.seen.touches:
            near = [
                other
                for other in self.seen.touches
                if other is not touch
                and (other.pole, other.kind) == (touch.pole, touch.kind)
                and other.at_s - _APART_S < touch.until_s
                and touch.at_s < other.until_s + _APART_S
            ]
            away = self.seen.outages.of([f"pole:{touch.pole}"], now_s)
            late_s = LAG_TIMES * self.seen.lag.worst_s(touch.at_s - _UP_BEFORE_S, touch.until_s + _UP_AFTER_S)
            up_s, down_s = touch.at_s - _UP_BEFORE_S - late_s, touch.until_s + _UP_AFTER_S + late_s
            ran = not any(out.since_s < down_s and out.until_s > up_s for out in away)
            brief = touch.brief and not near
            judged.append(Touch(touch.at_s, touch.until_s, touch.pole, touch.kind, brief, ran and not near))
        return judged

    def unreleased(self, pole: str) -> set[Identity]:
        """What that pole would offer again after a start."""
        return {written.identity for written in self._flash[pole].unreleased()}

    # --- what happens at a pole

    def _heard(self, change: Change) -> None:
        pole, t = change.pole, change.t
        if change.kind == "flash" and change.value.get("op") == "program":
            # That slot alone: by the time that we hear of it, the pole may have written more into the page.
            address, begin, end = (int(change.value[name]) for name in ("address", "from", "to"))
            for written in self._flash[pole].slots(address + begin, address + end):
                self._minted(written, t)
        elif change.kind == "look":
            self.looks[pole].append((t, str(change.value)))
            if change.value in STAGES:
                self._claim(pole, str(change.value), self.owner[pole], t)
        elif change.kind == "power_cut":
            self.seen.outages.begin(f"pole:{pole}", "power", t)
        elif change.kind == "power" and not change.value:
            self._waking.discard(pole)
            self.seen.outages.begin(f"pole:{pole}", "power", t)
            for written in self._flash[pole].everything():
                self._minted(written, t)
        elif change.kind == "power":
            self._found(pole)
        elif change.kind == "reset":
            self.seen.outages.begin(f"pole:{pole}", "power", t)
            self._found(pole)
        elif change.kind == "started":
            self._waking.add(pole)
        elif change.kind == "lamp" and pole in self._waking and any(change.value):
            self._waking.discard(pole)  # its first step is made: from here on it looks at its buttons
            self.seen.outages.end(f"pole:{pole}", "power", t)
            self._wait(pole, t)
        elif change.kind == "crash":
            self.crashes.append((t, pole, str(change.value)))

    def _found(self, pole: str) -> None:
        """The pole starts: the lamp belongs to the newest press that it finds in its flash."""
        left = [written.identity for written in self._flash[pole].unreleased() if written.kind == "press"]
        self.owner[pole] = left[-1] if left else None

    def _minted(self, written: Written, t: float) -> None:
        if written.identity in self.kinds:
            return
        mint = Mint(t, written.identity, written.kind)
        self.kinds[written.identity] = written.kind
        self.mints.append(mint)
        self.seen.mints.append(mint)
        if written.kind == "press":
            pole = written.identity.pole
            before = self.owner[pole]
            self.owner[pole] = written.identity
            if before is None or self._stage(before) != "":
                self._wait(pole, t)

    # --- what its lamp says

    def _claim(self, pole: str, look: str, owner: Identity | None, t: float, tries: int = _TRIES) -> None:
        stage, held = "", owner in self._ever_held
        try:
            if owner is not None and look != "pressed":
                stage = self.stores.stage(owner)
                held = held or self.stores.holds(self._point_of[pole], owner)
        except sqlite3.OperationalError:
            if tries:
                loop = asyncio.get_running_loop()
                loop.call_later(_LOOK_AGAIN_S, self._claim, pole, look, owner, t, tries - 1)
            else:
                self.unread += 1
            return
        self.seen.claims.append(Claim(t, pole, look, owner, stage, held))

    def look_for_stale(self, now_s: float) -> None:
        """Which lamps do not know yet what the inbox knows, and for how long nothing has been in the way."""
        for pole, owner in self.owner.items():
            live = self._poles[pole]
            told = live.look == "in_service" or (live.look in STAGES and rank(live.look) >= rank(RECEIVED))
            if owner is None or not live.running or told or not self._stage(owner):
                self._stale_since.pop(pole, None)
                continue
            since_s = self._stale_since.setdefault(pole, (owner, now_s))
            if since_s[0] != owner:
                since_s = self._stale_since[pole] = owner, now_s
            wrong = self.seen.outages.of(self._between[pole], now_s)
            calm_s = now_s - max([since_s[1], *(one.until_s for one in wrong[-1:])])
            if calm_s > 0:
                worst = self.seen.stale.get(owner)
                if worst is None or calm_s > worst.calm_s:
                    self.seen.stale[owner] = Stale(now_s, owner, live.look, calm_s)

    def _stage(self, identity: Identity) -> str | None:
        """Its stage in the inbox, empty if it is not there; None if that cannot be read just now."""
        try:
            return self.stores.stage(identity)
        except sqlite3.OperationalError:
            return None

    def _wait(self, pole: str, t: float) -> None:
        """From now on the lamp's press waits to be received."""
        self._waits_from[pole] = t
        self._later(pole, t, NOT_DELIVERED_S + MARGIN_S)

    def _later(self, pole: str, since_s: float, after_s: float) -> None:
        wait_s = max(0.0, since_s + after_s - time.monotonic())
        asyncio.get_running_loop().call_later(wait_s, self._is_it_said, pole, since_s)

    def _is_it_said(self, pole: str, since_s: float) -> None:
        owner, now = self.owner[pole], time.monotonic()
        if owner is None or self._waits_from[pole] != since_s:
            return
        due_s = NOT_DELIVERED_S + MARGIN_S + LAG_TIMES * self.seen.lag.worst_s(since_s, now)
        stage = self._stage(owner)
        if now < since_s + due_s or stage is None:
            self._later(pole, since_s, max(due_s, now - since_s + _LOOK_AGAIN_S))
        elif not stage:
            self.seen.overdue.append(Overdue(now, owner, since_s, self._poles[pole].look))
