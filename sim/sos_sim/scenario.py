"""A scenario: all that befalls the town in one run, as a file can say it (TOML). Drawn from a seed by ``draw``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import tomli_w

from sos_contract.errors import UserError
from sos_contract.files import read_file
from sos_contract.site import Point, Site, find_site, nearest, read_site
from sos_contract.toml import parse_toml
from sos_sim.checkers import Town
from sos_sim.faults import FAULTS
from sos_sim.faults.base import Value, wrong
from sos_sim.faults.button import BOUNCES

VERSION = 1
# A month of virtual time; a run longer than that proves nothing that two runs do not.
HOURS_MOST = 744.0
BROKERS_MOST = 5
PRESSES_MOST, FAULTS_MOST = 2_000_000, 200_000
PRESS_MS = (1, 600_000)
MOST_BYTES = 64 * 1024 * 1024  # so many faults, some three hundred bytes each
# From the last fault's end to the demand that the town be well: what back-off (5 s), a link (8 s), a broker that is
# given up (15 s), a round of progress (30 s) and a pass over the outbox (60 s) may take one after the other.
SETTLE_S = 150.0
# The town needs some seconds to come up before anything befalls it.
START_S = 30.0

# what a scenario may expect -> (least, most) of the bound
EXPECTATIONS: dict[str, tuple[float, float]] = {
    "lost": (0, 0), "duplicated": (0, 0), "lied": (0, 0), "forged": (0, 0), "stuck": (0, 0),
    "p50_ms": (1, 1e9), "p99_ms": (1, 1e9), "presses_least": (0, PRESSES_MOST),
    "link_lost_within_s": (1, 3600), "station_lost_within_s": (1, 3600),
}  # fmt: skip


class Touch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A finger on a button: from ``at_s`` for ``ms``, bouncing ``like`` a contact; ``times``, each ``every_s``."""

    at_s: float
    pole: str
    ms: int = 150
    button: int = 0
    like: str = "clean"
    times: int = 1
    every_s: float = 1.0


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault, where and when. ``with_``: its arguments."""

    name: str
    at_s: float
    until_s: float
    where: str = ""
    with_: dict[str, Value] = msgspec.field(name="with", default_factory=dict)


class Cycle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults from ``begin_s``, none after ``heal_s`` .. ``settle_s``, at ``end_s`` all must be well."""

    begin_s: float
    heal_s: float
    settle_s: float
    end_s: float


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a run. The seed also draws what is not said here: keys, clocks, delays, chances."""

    version: int = VERSION
    site: str = "betong"
    seed: int = 0
    hours: float
    brokers: int = 1
    points: tuple[str, ...] = ()  # only these of the site; none named: all
    silent: tuple[str, ...] = ()  # poles that have a concealed button here, whatever the site file says
    swarm: tuple[str, ...] = ()  # the faults that were turned on
    expect: dict[str, float] = {}
    cycle: tuple[Cycle, ...] = ()
    press: tuple[Touch, ...] = ()
    fault: tuple[Planned, ...] = ()

    @property
    def cycles(self) -> tuple[Cycle, ...]:
        """As said, or one: faults until the last of them ends, and then progress."""
        if self.cycle:
            return self.cycle
        last_s = max((fault.until_s for fault in self.fault), default=START_S)
        last_s = max([last_s, *(touch.at_s + touch.times * touch.every_s for touch in self.press)])
        return (Cycle(begin_s=0.0, heal_s=last_s, settle_s=last_s, end_s=max(self.hours * 3600, last_s + SETTLE_S)),)


def dump(scenario: Scenario) -> str:
    """The scenario as TOML; ``load`` gives the same one back."""
    data = msgspec.to_builtins(scenario)
    kept = {name: value for name, value in data.items() if value not in ((), [], {})}
    return tomli_w.dumps(kept)


def read_scenario(path: Path) -> Scenario:
    """Read and check a scenario file; raises UserError, one line, for what cannot be played."""
    try:
        text = read_file(path, MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read the scenario ({error.strerror}); name one with --scenario") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a TOML file: {error}") from None
    return load(text, str(path), path.parent)


def load(text: str, named: str = "scenario", folder: Path | None = None) -> Scenario:
    """A scenario from TOML; raises UserError that begins with ``named``. ``folder``: where its site may lie, too."""
    try:
        data = parse_toml(text)
        version = data.get("version", VERSION)
        if isinstance(version, int) and version != VERSION:  # first: another version may have other words
            known = f"version {version} of a scenario is unknown here; this release reads version {VERSION}"
            raise UserError(f"{named}: {known}")
        scenario = msgspec.convert(data, Scenario)
    except msgspec.ValidationError as error:
        raise UserError(f"{named}: {_explain(error)}") from None
    except ValueError as error:
        raise UserError(f"{named}: not a TOML file: {error}") from None
    with suppress(OSError, ValueError):  # what is no file's name is told below
        if folder is not None and (folder / scenario.site).is_file():
            scenario = msgspec.structs.replace(scenario, site=str(folder / scenario.site))
    try:
        for complaint in complaints(scenario):
            raise UserError(complaint)
    except UserError as error:  # also of its site or points
        raise UserError(f"{named}: {error}") from None
    return scenario


_UNKNOWN = re.compile(r"unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_MISSING = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_STRUCT_AT: dict[str, type[msgspec.Struct]] = {"": Scenario, "press": Touch, "fault": Planned, "cycle": Cycle}


def _explain(error: msgspec.ValidationError) -> str:
    unknown = _UNKNOWN.search(str(error))
    if unknown:
        where = re.sub(r"\[[^\]]*\]", "", unknown[2] or "")
        fields = [field.encode_name for field in msgspec.structs.fields(_STRUCT_AT.get(where, Scenario))]
        place = f"in [[{where}]]" if where else "at the top"
        return f"unknown key '{unknown[1]}' {place}{nearest(unknown[1], fields)}"
    missing = _MISSING.match(str(error))
    if missing:
        where = re.sub(r"\[[^\]]*\]", "", missing[2] or "")
        return f"no '{missing[1]}' {f'in a [[{where}]]' if where else 'at the top'}; write one"
    return str(error).replace("`$", "`").replace("`", "'")


def site_of(scenario: Scenario) -> Site:
    """The site that it plays in, with no more points than it names; raises SiteError."""
    site = only(read_site(find_site(scenario.site)), scenario.points)
    return msgspec.structs.replace(site, point=tuple(_with_silent(point, scenario.silent) for point in site.point))


def only(site: Site, points: Iterable[str]) -> Site:
    """The site with these points alone, each once; all of them if none is named. Raises SiteError."""
    kept = tuple(site.find_point(point) for point in dict.fromkeys(points))
    return msgspec.structs.replace(site, point=kept) if kept else site


def _with_silent(point: Point, silent: tuple[str, ...]) -> Point:
    """That point, with a concealed button besides at each of its poles that is named."""
    lines = []
    for line in point.line:
        poles = tuple(
            msgspec.structs.replace(pole, silent_button=True) if pole.id in silent else pole for pole in line.pole
        )
        lines.append(msgspec.structs.replace(line, pole=poles))
    return msgspec.structs.replace(point, line=tuple(lines))


def town_of(site: Site, brokers: int) -> Town:
    """The names of that town, with so many brokers at least."""
    count = max(brokers, len(site.station.brokers))
    return Town.of(site, tuple(str(number) for number in range(1, count + 1)))


def places(town: Town, place: str) -> list[str]:
    """All places of that sort (see ``faults.base.PLACES``)."""
    if place == "line":
        return [pole for pole in town.wired if town.mates[pole][0] == pole]
    if place == "shared":
        return [pole for pole in town.wired if pole in town.shared and town.mates[pole][0] == pole]
    if place == "path":
        return [f"{host}>{broker}" for host in (*town.points, "station") for broker in town.brokers]
    by_place = {"pole": list(town.wired), "point": list(town.points), "broker": list(town.brokers)}
    return by_place.get(place, [""])


def complaints(scenario: Scenario) -> list[str]:
    """What cannot be played, a sentence each."""
    if not 0 < scenario.hours <= HOURS_MOST:
        return [f"hours = {scenario.hours:g} is outside 0 to {HOURS_MOST:g}"]
    if not 1 <= scenario.brokers <= BROKERS_MOST:
        return [f"brokers = {scenario.brokers} is outside 1 to {BROKERS_MOST}"]
    presses = sum(max(0, touch.times) for touch in scenario.press)
    if presses > PRESSES_MOST or len(scenario.fault) > FAULTS_MOST:
        return [f"{presses} presses and {len(scenario.fault)} faults; {PRESSES_MOST} and {FAULTS_MOST} at most"]
    town = town_of(site_of(scenario), scenario.brokers)
    found = [words for touch in scenario.press if (words := _wrong_touch(touch, town, scenario))]
    if scenario.silent:  # of the whole site, whichever points of it are there
        poles = town_of(read_site(find_site(scenario.site)), scenario.brokers).wired
        unknown = [pole for pole in scenario.silent if pole not in poles]
        found += [f"a concealed button at unknown pole '{pole}'{nearest(pole, poles)}" for pole in unknown]
    found += [words for planned in scenario.fault if (words := wrong_fault(planned, town, scenario))]
    for name in scenario.swarm:
        if name not in FAULTS:
            found.append(f"unknown fault '{name}' in swarm{nearest(name, FAULTS)}")
    return found + _wrong_expectations(scenario) + _wrong_cycles(scenario) + _too_long(scenario)


def _wrong_touch(touch: Touch, town: Town, scenario: Scenario) -> str:
    if touch.pole not in town.point_of:
        return f"a press at unknown pole '{touch.pole}'{nearest(touch.pole, town.point_of)}"
    if touch.like not in BOUNCES:
        return f"a press that bounces like '{touch.like}'{nearest(touch.like, BOUNCES)}"
    if not PRESS_MS[0] <= touch.ms <= PRESS_MS[1]:
        return f"a press of {touch.ms} ms is outside {PRESS_MS[0]} to {PRESS_MS[1]}"
    if touch.button not in ((0, 1) if touch.pole in town.silent else (0,)):
        return f"pole '{touch.pole}' has no button {touch.button}"
    if not touch.times >= 1 or not 0.1 <= touch.every_s <= 3600:
        return f"a press {touch.times} times every {touch.every_s:g} s; once at least, each 0.1 to 3600 s"
    if touch.times > 1 and touch.every_s * 1000 <= touch.ms:
        return f"a press of {touch.ms} ms every {touch.every_s:g} s; the next begins when the last is over"
    if not 0 <= touch.at_s <= scenario.hours * 3600:
        return f"a press at {touch.at_s:g} s is outside the run of {scenario.hours:g} hours"
    return ""


def wrong_fault(planned: Planned, town: Town, scenario: Scenario) -> str:
    """What is wrong with it, in words; empty if it can be played."""
    kind = FAULTS.get(planned.name)
    if kind is None:
        return f"unknown fault '{planned.name}'{nearest(planned.name, FAULTS)}"
    known = places(town, kind.place)
    if kind.place in ("line", "shared"):
        known = [pole for pole in town.wired if kind.place == "line" or pole in town.shared]
    if planned.where not in known:
        return f"fault {planned.name} at unknown {kind.place} '{planned.where}'{nearest(planned.where, known)}"
    if not 0 <= planned.at_s < planned.until_s <= scenario.hours * 3600 + SETTLE_S:
        return f"fault {planned.name} from {planned.at_s:g} to {planned.until_s:g} s does not fit into the run"
    for name, value in planned.with_.items():
        if name not in kind.knobs:
            return f"fault {planned.name} has no argument '{name}'{nearest(name, kind.knobs)}"
        why = wrong(kind.knobs[name], value)
        if why:
            return f"fault {planned.name}: {name} = {value!r} {why}"
    return ""


def _wrong_expectations(scenario: Scenario) -> list[str]:
    found = []
    for name, bound in scenario.expect.items():
        if name not in EXPECTATIONS:
            found.append(f"unknown expectation '{name}'{nearest(name, EXPECTATIONS)}")
            continue
        least, most = EXPECTATIONS[name]
        if not least <= bound <= most:
            limits = f"can only be {least:g}" if least == most else f"is outside {least:g} to {most:g}"
            found.append(f"expectation {name} = {bound:g} is impossible: it {limits}")
    return found


def _wrong_cycles(scenario: Scenario) -> list[str]:
    before_s = 0.0
    for cycle in scenario.cycle:
        if not before_s <= cycle.begin_s <= cycle.heal_s <= cycle.settle_s <= cycle.end_s:
            return [f"the cycle that begins at {cycle.begin_s:g} s is not in order"]
        if any(cycle.settle_s < fault.until_s and fault.at_s < cycle.end_s for fault in scenario.fault):
            return [f"faults reach into the progress from {cycle.settle_s:g} to {cycle.end_s:g} s"]
        before_s = cycle.end_s
    return []


def _too_long(scenario: Scenario) -> list[str]:
    """Presses that repeat, and cycles, may go on behind ``hours``."""
    end_h = scenario.cycles[-1].end_s / 3600
    return [f"it ends after {end_h:g} hours; {HOURS_MOST:g} at most"] if not end_h <= HOURS_MOST + 1 else []
