"""Makes a failing scenario small: fewer faults, presses and points, less time, as long as it fails in the same way.

Delta debugging (Zeller and Hildebrandt, 2002), with a bound on the number of plays: halves, then quarters, then eighths
of a list are left out in turn until nothing more can be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from sos_sim.checkers import Finding
from sos_sim.play import Run
from sos_sim.scenario import START_S, Cycle, Planned, Scenario, Touch, complaints, site_of

T = TypeVar("T")

MOST_PLAYS = 250  # minutes at worst; what is not small by then stays as it is
QUIET_S = 3.0  # between one thing and the next where nothing has to be waited for
LEAST_S = 0.5  # of a fault


class _Enough(BaseException):
    """What was looked for is found: the run need not go on. No mistake that a run could take for its own."""


def kind_of(finding: Finding) -> tuple[str, str]:
    """Findings of one kind say the same but for names and numbers."""
    return finding.promise, re.sub(r"[\w-]*[\d/:][\w/.:-]*|'[^']*'", "#", finding.words)[:60]


def first_finding(
    scenario: Scenario, like: Callable[[Finding], bool] = lambda _finding: True, *, keep: bool = False
) -> tuple[Finding | None, Run]:
    """Play until something is found that is ``like`` that; the run, too, for its trace (``keep``)."""
    run = Run(scenario, keep=keep)
    assert run.checkers is not None
    findings, found = run.checkers.findings, []
    tell = findings.tell

    def listen(promise: str, at_us: int, words: str, part: str) -> None:
        tell(promise, at_us, words, part)
        finding = Finding(promise, at_us, words, part)
        if like(finding):
            found.append(finding)
            raise _Enough

    findings.tell = listen  # type: ignore[method-assign]
    with suppress(_Enough):
        run.play()
    if not found and run.mistake is not None and like(run.mistake):
        found.append(run.mistake)
    return (found[0] if found else None), run


@dataclass(slots=True)
class Shrunk:
    """A scenario that still fails, with its finding; ``plays``: how many runs it took."""

    scenario: Scenario
    finding: Finding
    plays: int


class Shrinker:
    """Tries smaller scenarios. ``fails`` gives the finding if a scenario still fails in the same way, else None."""

    def __init__(
        self,
        fails: Callable[[Scenario], Finding | None],
        most_plays: int = MOST_PLAYS,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self._fails = fails
        self._most_plays = most_plays
        self._enough = enough
        self.plays = 0

    @property
    def _over(self) -> bool:
        return self.plays >= self._most_plays or self._enough()

    def shrink(self, scenario: Scenario, finding: Finding) -> Shrunk:
        """The smallest that was found; at worst ``scenario`` itself."""
        best = Shrunk(scenario, finding, 0)
        for _ in range(4):  # each round may open a way for the next; more rounds than these never helped
            before = best
            for step in (
                self._end_sooner, self._fewer_faults, self._fewer_presses, self._fewer_points, self._one_broker,
                self._single_presses, self._shorter_faults, self._close_gaps, self._plain_faults,
            ):  # fmt: skip
                best = step(best)
            if best.scenario == before.scenario or self._over:
                break
        best.plays = self.plays
        return best

    # --- trying

    def _try(self, best: Shrunk, scenario: Scenario) -> Shrunk | None:
        """``scenario`` with its finding if it fails, too."""
        if scenario == best.scenario or self._over or complaints(scenario):
            return None
        self.plays += 1
        finding = self._fails(scenario)
        return Shrunk(scenario, finding, 0) if finding is not None else None

    def _leave_out(
        self, best: Shrunk, items: Sequence[T], with_items: Callable[[Scenario, tuple[T, ...]], Scenario]
    ) -> Shrunk:
        """ddmin: ``with_items`` makes the scenario that has only these."""
        left, parts = list(items), 2
        if left and (smaller := self._try(best, with_items(best.scenario, ()))) is not None:
            return smaller
        while len(left) >= 2 and not self._over:
            size = -(-len(left) // parts)
            for at in range(0, len(left), size):
                rest = left[:at] + left[at + size :]
                smaller = self._try(best, with_items(best.scenario, tuple(rest)))
                if smaller is not None:
                    best, left, parts = smaller, rest, max(2, parts - 1)
                    break
            else:
                if size == 1:
                    break
                parts = min(len(left), parts * 2)
        return best

    # --- what can be smaller

    def _end_sooner(self, best: Shrunk) -> Shrunk:
        """Nothing that comes after the finding; one cycle, at whose end all must be well, or those that are over."""
        found_s = best.finding.at_us / 1e6
        scenario = best.scenario
        press = tuple(touch for touch in scenario.press if touch.at_s <= found_s)
        fault = tuple(
            msgspec.structs.replace(planned, until_s=round(min(planned.until_s, found_s + 1), 3))
            for planned in scenario.fault
            if planned.at_s < found_s
        )
        for cycle in ((), tuple(one for one in scenario.cycles if one.end_s <= found_s + 1)):
            smaller = self._try(
                best,
                msgspec.structs.replace(
                    scenario, hours=round(found_s / 3600 + 1e-4, 4), press=press, fault=fault, cycle=cycle, swarm=(),
                    expect={},
                ),
            )  # fmt: skip
            if smaller is not None:
                return smaller
        return best

    def _fewer_faults(self, best: Shrunk) -> Shrunk:
        def only(scenario: Scenario, faults: tuple[Planned, ...]) -> Scenario:
            return msgspec.structs.replace(scenario, fault=faults)

        return self._leave_out(best, best.scenario.fault, only)

    def _fewer_presses(self, best: Shrunk) -> Shrunk:
        def only(scenario: Scenario, touches: tuple[Touch, ...]) -> Scenario:
            return msgspec.structs.replace(scenario, press=touches)

        return self._leave_out(best, best.scenario.press, only)

    def _fewer_points(self, best: Shrunk) -> Shrunk:
        site = site_of(best.scenario)

        def only(scenario: Scenario, points: tuple[str, ...]) -> Scenario:
            return _at_points(scenario, points) if points else scenario

        return self._leave_out(best, [point.id for point in site.point], only)

    def _one_broker(self, best: Shrunk) -> Shrunk:
        few = [planned for planned in best.scenario.fault if planned.where not in ("2", "3", "4", "5")]
        small = msgspec.structs.replace(best.scenario, brokers=1, fault=tuple(few))
        return self._try(best, small) or best

    def _single_presses(self, best: Shrunk) -> Shrunk:
        once = tuple(msgspec.structs.replace(touch, times=1, like="clean") for touch in best.scenario.press)
        return self._try(best, msgspec.structs.replace(best.scenario, press=once)) or best

    def _shorter_faults(self, best: Shrunk) -> Shrunk:
        """Halves of each, from its end."""
        for index in range(len(best.scenario.fault)):
            for _ in range(6):
                planned = best.scenario.fault[index]
                span_s = (planned.until_s - planned.at_s) / 2
                if span_s < LEAST_S:
                    break
                shorter = msgspec.structs.replace(planned, until_s=round(planned.at_s + span_s, 3))
                faults = (*best.scenario.fault[:index], shorter, *best.scenario.fault[index + 1 :])
                smaller = self._try(best, msgspec.structs.replace(best.scenario, fault=faults))
                if smaller is None:
                    break
                best = smaller
        return best

    def _plain_faults(self, best: Shrunk) -> Shrunk:
        """Without arguments a fault is the usual one of its kind."""
        plain = tuple(msgspec.structs.replace(planned, with_={}) for planned in best.scenario.fault)
        return self._try(best, msgspec.structs.replace(best.scenario, fault=plain)) or best

    def _close_gaps(self, best: Shrunk) -> Shrunk:
        """Where nothing begins or ends for a while the rest comes earlier: all such gaps at once, or one by one."""
        smaller = self._try(best, _without_gaps(best.scenario, None))
        if smaller is not None:
            return smaller
        for index in range(len(_instants(best.scenario)) - 1):
            best = self._try(best, _without_gaps(best.scenario, index)) or best
        return best


def _at_points(scenario: Scenario, points: tuple[str, ...]) -> Scenario:
    """Only these points, and what befalls them."""
    small = msgspec.structs.replace(scenario, points=points)
    site = site_of(small)
    names = {point.id for point in site.point} | set(site.pole_ids()) | {"station"}

    def there(where: str) -> bool:
        place = where.partition(">")[0]
        return not place or place.isdigit() or place in names

    return msgspec.structs.replace(
        small,
        press=tuple(touch for touch in small.press if touch.pole in names),
        fault=tuple(planned for planned in small.fault if there(planned.where)),
    )


def _instants(scenario: Scenario) -> list[float]:
    """When something begins or ends, from the moment at which the town is up."""
    at = {START_S, *(touch.at_s for touch in scenario.press)}
    for planned in scenario.fault:
        at |= {planned.at_s, planned.until_s}
    return sorted(one for one in at if one >= START_S)


def _without_gaps(scenario: Scenario, only: int | None) -> Scenario:
    """``only``: the number of the one gap to be closed; None: all."""
    instants = _instants(scenario)
    moved: dict[float, float] = {}
    gone_s = 0.0
    for index, at_s in enumerate(instants):
        if index:
            gap_s = at_s - instants[index - 1]
            if gap_s > QUIET_S and only in (None, index - 1):
                gone_s += gap_s - QUIET_S
        moved[at_s] = round(at_s - gone_s, 4)

    def place(at_s: float) -> float:
        return moved.get(at_s, at_s)

    last_s = max(instants, default=START_S)
    shift_s = last_s - place(last_s)
    cycle = tuple(
        Cycle(begin_s=0.0, heal_s=one.heal_s - shift_s, settle_s=one.settle_s - shift_s, end_s=one.end_s - shift_s)
        for one in scenario.cycle[-1:]
        if one.heal_s - shift_s >= 0
    )
    return msgspec.structs.replace(
        scenario,
        hours=round(max(START_S, scenario.hours * 3600 - shift_s) / 3600 + 1e-6, 6),
        cycle=cycle,
        press=tuple(msgspec.structs.replace(one, at_s=place(one.at_s)) for one in scenario.press),
        fault=tuple(
            msgspec.structs.replace(one, at_s=place(one.at_s), until_s=place(one.until_s)) for one in scenario.fault
        ),
    )
