"""A town on virtual time for one test: what befalls it, what its people do, and every promise checked until its end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from sos_contract.errors import UserError
from sos_contract.payloads import AlarmView, DeskAnswer
from sos_contract.site import Site, nearest
from sos_contract.stages import CLOSED
from sos_sim.checkers import Checkers
from sos_sim.draw import faults_of
from sos_sim.faults import FAULTS, Fault, Field
from sos_sim.faults.base import Value
from sos_sim.faults.button import BOUNCES
from sos_sim.fingers import press
from sos_sim.ground import ZoneGround
from sos_sim.officers import NAMES, Desk
from sos_sim.scenario import SETTLE_S, START_S, Cycle, Planned, Scenario, town_of, wrong_fault
from sos_sim.testing.watch import OFF, ExpectationError, Found, Shown, Watch, span
from sos_sim.trace import Row, Trace
from sos_sim.world.terminal import ROUNDS
from sos_sim.world.zone import Zone

_S_US = 1_000_000
# From one drawn fault to the next, on average.
FAULT_EVERY_S = 20.0
FINDINGS_SHOWN = 5
OFFICER = "tester"


class Trouble:
    """A fault that lasts until ``end``; as a context, until its end."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def end(self) -> None:
        """It is over. Once is enough, twice does no harm."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self) -> Trouble:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class VirtualZone(Watch):
    """In service when it is there. ``zone``, ``trace`` and ``checkers`` are there for who looks closer."""

    def __init__(
        self,
        site: Site,
        seed: int,
        folder: Path,
        *,
        brokers: int = 1,
        hours: float = 0.0,
        faults: Sequence[str] = (),
        officers: bool = False,
    ) -> None:
        """``faults`` of these names befall the town, drawn from the seed, for so many ``hours``; ``officers``: two are
        at the desk and do what they do."""
        self.seed = seed
        self.hours = hours
        self.town = town_of(site, brokers)
        super().__init__(site, self.town.poles, folder)
        self.trace = Trace(keep=True)
        self.zone = Zone(site, seed, self.trace, brokers=len(self.town.brokers))
        self.checkers = Checkers(self.trace, self.town, ZoneGround(self.zone, self.town))
        self._staffed = officers
        self.desk = Desk(self.zone, self.zone.rng("officers"), NAMES if officers else ())
        self.field = Field(self.zone, self.town, self.desk)
        self._troubles: list[Trouble] = []
        self._known: dict[tuple[str, str], Trouble] = {}  # what ``mend`` and ``up`` end: (verb, where)
        for kind in ("look", "down"):
            self.trace.listen(kind, self._seen)
        self.zone.start()
        if not self.zone.run_until(self.zone.in_service, START_S):
            raise self.missed("", f"the town is not in service after {START_S:g} s")
        self._draw_faults(tuple(faults))

    @property
    def now_s(self) -> float:
        return self.zone.loop.now_us / _S_US

    @property
    def rows(self) -> Sequence[Row]:
        return self.trace.rows

    def wait(self, condition: Callable[[], bool], most_s: float) -> bool:
        return condition() or self.zone.run_until(condition, span(most_s))

    def _seen(self, row: Row) -> None:
        if row.part in self.shown:
            self.shown[row.part].append(Shown(row.at_us / _S_US, str(row.fields[0]) if row.kind == "look" else OFF))

    # --- what people do

    def press(self, pole: str, ms: int = 150, *, like: str = "clean", button: int = 0) -> None:
        """A finger closes the contact for so long, now; ``like``: how the contact bounces. Time does not pass."""
        self.known(pole)
        if like not in BOUNCES:
            raise UserError(f"a press that bounces like '{like}'{nearest(like, BOUNCES)}")
        if button not in ((0, 1) if pole in self.town.silent else (0,)):
            raise UserError(f"pole '{pole}' has no button {button}")
        if self.field.busy(pole, button):
            raise UserError(f"somebody has a finger on {pole} already; let time pass first")
        self.finger(pole, ms)
        press(self.field, pole, ms, like, button)

    # --- what fails

    def fail(self, name: str, where: str = "", **arguments: Value) -> Trouble:
        """A fault of sim/FAULTS.md begins; it lasts until ``end()``, until the ``with`` is left, or the test's end."""
        planned = Planned(name=name, where=where, at_s=0.0, until_s=1.0, with_=arguments)
        wrong = wrong_fault(planned, self.town, Scenario(hours=1.0))
        if wrong:
            raise UserError(wrong)
        fault = FAULTS[name](self.field, where, arguments, self.zone.rng(f"fault/{name}/{where}/{self.now_s}"))
        words = ", ".join(f"{knob} {value}" for knob, value in fault.arguments.items())
        self.field.say("fault", where or "town", name, "on", words)
        fault.begin()
        trouble = Trouble(partial(self._over, fault))
        self._troubles.append(trouble)
        return trouble

    def _over(self, fault: Fault) -> None:
        fault.end()
        self.field.say("fault", fault.where or "town", fault.name, "off", "")

    def cut(self, pole: str) -> None:
        """Cut the cable on which that pole hangs."""
        self._begin("cable", self.known(pole), "wire-cut", pole)

    def mend(self, pole: str) -> None:
        """Mend it."""
        self._end("cable", pole)

    def down(self, part: str) -> None:
        """``station``, ``broker``, ``agent:POINT`` or a pole is gone: killed, or without power."""
        name, where = self._gone(part)
        self._begin("down", part, name, where)

    def up(self, part: str) -> None:
        """It is back."""
        self._end("down", part)

    def _gone(self, part: str) -> tuple[str, str]:
        kind, _, which = part.partition(":")
        if part == "station":
            return "station-killed", ""
        if kind == "broker":
            return "broker-stopped", which or "1"
        if kind == "agent":
            return "agent-killed", which
        if part in self.shown:
            return "pole-brown-out", part
        known = ("station", "broker", *(f"agent:{point}" for point in self.town.points), *self.poles)
        raise UserError(f"unknown part '{part}'{nearest(part, known)}")

    def _begin(self, verb: str, part: str, name: str, where: str) -> None:
        if (verb, part) in self._known:
            raise UserError(f"{part}: it is {'cut' if verb == 'cable' else 'down'} already")
        self._known[verb, part] = self.fail(name, where)

    def _end(self, verb: str, part: str) -> None:
        trouble = self._known.pop((verb, part), None)
        if trouble is None:
            raise UserError(f"{part}: it is not {'cut' if verb == 'cable' else 'down'}")
        trouble.end()

    def _draw_faults(self, names: tuple[str, ...]) -> None:
        """Faults of these names from now on, each where and when chance has it."""
        if not names:
            return
        heal_s = max(self.hours * 3600, self.now_s + 1.0)
        cycle = Cycle(begin_s=self.now_s, heal_s=heal_s, settle_s=heal_s, end_s=heal_s)
        rng = random.Random(f"{self.seed}/test")
        for one in faults_of(rng, self.town, names, cycle, FAULT_EVERY_S, alone=True):
            self.zone.loop.at(round(one.at_s * _S_US), partial(self._befall, one))

    def _befall(self, planned: Planned) -> None:
        trouble = self.fail(planned.name, planned.where, **planned.with_)
        self.zone.loop.at(round(planned.until_s * _S_US), trouble.end)

    # --- the officer

    def alarms(self) -> tuple[AlarmView, ...]:
        answer = self._ask("list", limit=500, everything=True)
        if answer is None:
            raise self.missed("", "the station does not answer an officer's terminal")
        return answer.alarms

    def act(self, pole: str, action: str, disposition: str) -> str:
        open_ = [one for one in self.alarms() if one.id.pole == pole and one.stage != CLOSED]
        if not open_:
            return "it has no open alarm"
        alarm = max(open_, key=lambda one: one.number)
        self.trace.say(self.zone.loop.now_us, "asked", OFFICER, OFFICER, action, alarm.number, alarm.newest, "")
        answer = self._ask(action, alarm.number, seen=alarm.newest, disposition=disposition)
        return "no answer" if answer is None else answer.error

    def _ask(self, action: str, alarm: int | str = "", **more: object) -> DeskAnswer | None:
        answers: list[DeskAnswer | None] = []
        self.zone.terminal(OFFICER).ask(action, alarm, then=answers.append, **more)
        self.zone.run_until(lambda: bool(answers), 10.0 * ROUNDS)
        return answers[0] if answers else None

    # --- its end

    def finish(self) -> None:
        """The test is over: what was drawn goes on until its time, all faults end, officers close what is open, and
        all must be well. Raises ExpectationError with what the checkers found."""
        __tracebackhide__ = True
        self.run(max(0.0, self.hours * 3600 - self.now_s))
        for trouble in self._troubles:
            trouble.end()
        self.field.say("phase", "scenario", "heal")
        if not self._staffed:
            Desk(self.zone, self.zone.rng("officers at the end"))
        last_s = self.now_s + SETTLE_S
        while self.now_s < last_s and self.checkers.progress.stuck(self.zone.loop.now_us):
            self.run(1.0)
        self.run(1.0)
        self.field.say("phase", "scenario", "end")
        self.checkers.finish(self.zone.loop.now_us)
        findings = sorted(self.checkers.findings.found, key=lambda finding: finding.at_us)
        if findings:
            first = findings[0]
            words = "\n".join(str(one) for one in findings[:FINDINGS_SHOWN])
            more = f"\nand {len(findings) - FINDINGS_SHOWN} more" if len(findings) > FINDINGS_SHOWN else ""
            where = self.draw(Found(first.promise, first.at_us, first.words, first.part))
            raise ExpectationError(f"seed {self.seed}: a promise was broken\n{words}{more}{where}")
