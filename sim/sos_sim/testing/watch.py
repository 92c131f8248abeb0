"""What a test says of a zone and expects of it: the words that a virtual and a live zone have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sos_contract.errors import UserError
from sos_contract.payloads import AlarmView
from sos_contract.site import Site, nearest
from sos_sim.scenario import PRESS_MS
from sos_sim.timeline import page, text
from sos_sim.timeline.picture import around
from sos_sim.trace import Row
from sos_wire.messages import LOOKS

# Longer than any promise and any outage that a test should need; a wrong unit is more likely.
MOST_S = 31 * 86_400.0
OFF = "off"
_PAGE, _TEXT = "timeline.html", "timeline.txt"
_ACTIONS = ("accept", "dispatch", "arrive", "close")


class ExpectationError(AssertionError):
    """A zone did not do what was expected of it; the message says what it did instead, and when."""


class Shown(NamedTuple):
    """What a lamp began to show, and when, in seconds of the zone's time."""

    at_s: float
    look: str


class Found(NamedTuple):
    """A missed expectation, in the form in which the timeline takes a finding."""

    promise: str
    at_us: int
    words: str
    part: str


class Watch(ABC):
    """A zone under test. ``rows``: all that happened, for the timeline. Times in seconds since the zone began."""

    def __init__(self, site: Site, poles: Sequence[str], folder: Path) -> None:
        self.site = site
        self.poles = tuple(poles)
        self.shown: dict[str, list[Shown]] = {pole: [] for pole in poles}
        self._folder = folder
        self._pressed_s: dict[str, float] = {}
        self._drawn = ""  # the last timeline, as text

    # --- what each sort of zone does in its own way

    @property
    @abstractmethod
    def now_s(self) -> float:
        """The zone's time."""

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """What happened so far, in the trace's words."""

    @abstractmethod
    def wait(self, condition: Callable[[], bool], most_s: float) -> bool:
        """Let time pass until ``condition`` holds; False if it does not within ``most_s``."""

    @abstractmethod
    def alarms(self) -> tuple[AlarmView, ...]:
        """All alarms, closed ones too, as the station tells them to an officer's terminal."""

    @abstractmethod
    def act(self, pole: str, action: str, disposition: str) -> str:
        """Let an officer act on the newest open alarm of that pole; what the station refuses it with, or nothing."""

    # --- the officer

    def accept(self, pole: str) -> None:
        """An officer accepts the newest open alarm of that pole."""
        self._officer(pole, "accept")

    def dispatch(self, pole: str) -> None:
        """An officer sends somebody."""
        self._officer(pole, "dispatch")

    def arrive(self, pole: str) -> None:
        """Somebody is there."""
        self._officer(pole, "arrive")

    def close(self, pole: str, disposition: str = "test") -> None:
        """An officer closes it: genuine, false, test or duplicate."""
        self._officer(pole, "close", disposition)

    def _officer(self, pole: str, action: str, disposition: str = "") -> None:
        __tracebackhide__ = True  # a failing test shows its own line
        self.known(pole)
        refused = self.act(pole, action, disposition)
        if refused:
            raise self.missed(pole, f"an officer could not {action} the alarm of {pole}: {refused}")

    # --- expectations

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wait(lambda: False, span(seconds))

    def expect(self, pole: str) -> Expectation:
        """``zone.expect("merlin-1").shows("received", within_s=5)``."""
        self.known(pole)
        return Expectation(self, pole)

    def expect_alarms(self, count: int, *, of: str = "", within_s: float = 0.0) -> tuple[AlarmView, ...]:
        """The station has just so many alarms (of that pole), at the latest then; which ones."""
        __tracebackhide__ = True  # a failing test shows its own line
        if of:
            self.known(of)
        last_s = self.now_s + span(within_s)
        while True:
            found = tuple(alarm for alarm in self.alarms() if of in ("", alarm.id.pole))
            if len(found) == count:
                return found
            if self.now_s >= last_s:
                break
            self.run(min(0.2, max(0.001, last_s - self.now_s)))
        told = ", ".join(f"{one.id.pole} press {one.id.press} ({one.stage})" for one in found) or "none"
        raise self.missed(of, f"the station has {len(found)} alarms, not {count}: {told}")

    def look(self, pole: str) -> str:
        """What that lamp shows; ``off`` without power."""
        self.known(pole)
        return self.shown[pole][-1].look if self.shown[pole] else OFF

    def known(self, pole: str) -> str:
        """The pole, if there is one of that name; raises UserError that names the nearest one."""
        if pole not in self.shown:
            raise UserError(f"unknown pole '{pole}'{nearest(pole, self.shown)}")
        return pole

    def finger(self, pole: str, ms: float) -> None:
        """Note that somebody presses that pole for so long, now; raises UserError for what nobody does."""
        self.known(pole)
        if not PRESS_MS[0] <= ms <= PRESS_MS[1]:
            raise UserError(f"a press of {ms:g} ms is outside {PRESS_MS[0]} to {PRESS_MS[1]}")
        self._pressed_s[pole] = self.now_s

    def began(self, pole: str, look: str, first: int) -> Shown | None:
        """When that lamp began to show that, from its ``first`` look on and behind the last press."""
        since_s = self._pressed_s.get(pole, 0.0)
        return next((one for one in self.shown[pole][first:] if one.look == look and one.at_s >= since_s), None)

    # --- when something was missed

    def missed(self, pole: str, words: str, instead: str = "") -> ExpectationError:
        """The error for a missed expectation, with the timeline written beside; ``instead``: what was so."""
        where = self.draw(Found("missed", round(self.now_s * 1e6), words, pole or "station"))
        return ExpectationError(f"{words}{'. ' + instead if instead else ''}{where}")

    def draw(self, finding: Found) -> str:
        """Write the timeline of that; a line that says where it lies."""
        picture = around(finding, list(self.rows), self.site, [])
        self._drawn = text.draw(picture)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / _TEXT).write_text(self._drawn, encoding="utf-8")
            (self._folder / _PAGE).write_text(page.draw(picture), encoding="utf-8")
        except OSError as error:
            return f"\ntimeline: cannot be written to {self._folder} ({error.strerror})"
        return f"\ntimeline: {self._folder / _PAGE}"

    @property
    def drawn(self) -> str:
        """The timeline of what was missed last, as text; nothing if nothing was."""
        return self._drawn


class Expectation:
    """What one lamp has to show. Each method returns when it is so, and raises ExpectationError if it is not."""

    def __init__(self, watch: Watch, pole: str) -> None:
        self._watch = watch
        self._pole = pole

    def shows(self, look: str, within_s: float) -> float:
        """It shows that now, or begins to within so long; after how many seconds. Behind a press only what the lamp
        shows since that press counts."""
        __tracebackhide__ = True  # a failing test shows its own line
        watch, began_s = self._watch, self._watch.now_s
        _known_look(look)
        # Not only what it shows when we look: real processes do not wait for us, and a look may last milliseconds.
        first = max(0, len(watch.shown[self._pole]) - 1)
        watch.wait(lambda: watch.began(self._pole, look, first) is not None, span(within_s))
        began = watch.began(self._pole, look, first)
        if began is not None:
            return max(0.0, began.at_s - began_s)
        words = f"{self._pole} did not show '{look}' within {within_s:g} s"
        raise watch.missed(self._pole, words, self._instead(began_s))

    def keeps(self, look: str, for_s: float) -> None:
        """It shows that all the time."""
        __tracebackhide__ = True  # a failing test shows its own line
        watch, began_s = self._watch, self._watch.now_s
        _known_look(look)
        shown = watch.shown[self._pole]
        first = max(0, len(shown) - 1)
        if watch.wait(lambda: not shown or any(one.look != look for one in shown[first:]), span(for_s)):
            words = f"{self._pole} did not keep '{look}' for {for_s:g} s"
            raise watch.missed(self._pole, words, self._instead(began_s))

    def never_shows(self, look: str, for_s: float) -> None:
        """It does not show that, now or meanwhile."""
        __tracebackhide__ = True  # a failing test shows its own line
        watch, began_s = self._watch, self._watch.now_s
        _known_look(look)
        shown = watch.shown[self._pole]
        first = max(0, len(shown) - 1)
        if watch.wait(lambda: any(one.look == look for one in shown[first:]), span(for_s)):
            words = f"{self._pole} showed '{look}' within {for_s:g} s"
            raise watch.missed(self._pole, words, self._instead(began_s))

    def _instead(self, began_s: float) -> str:
        """What the lamp showed, and when, in words."""
        shown = self._watch.shown[self._pole]
        before = [one for one in shown if one.at_s <= began_s]
        lines = [f"{'at first':>12}  {before[-1].look}"] if before else []
        lines += [f"{one.at_s - began_s:10.3f} s  {one.look}" for one in shown if one.at_s > began_s]
        return f"From {began_s:.3f} s on its lamp showed:\n" + "\n".join(lines or ["           nothing"])


def span(seconds: float) -> float:
    """The span, if it is one; raises UserError."""
    if not 0 <= seconds <= MOST_S:
        raise UserError(f"{seconds:g} s is outside 0 to {MOST_S:g} s")
    return seconds


def _known_look(look: str) -> None:
    if look not in (*LOOKS, OFF):
        raise UserError(f"unknown look '{look}'{nearest(look, (*LOOKS, OFF))}")
