"""What a bench finds: numbers, each beside its floor where there is one, and what they are to reach."""

from __future__ import annotations

import math
import os
import platform
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_sim.bench.broker import find_mosquitto
from sos_sim.live import runtime

_PROGRAM_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Figure:
    """One number. ``ratio`` is value / floor, or floor / value where more is better (see ``more``).

    ``reach``: what the design wants, in words, empty where it wants nothing; ``met``: whether it is so in this run.
    """

    bench: str
    what: str
    unit: str
    value: float
    count: int = 1
    floor: float | None = None
    ratio: float | None = None
    reach: str = ""
    met: bool | None = None


Tell = Callable[[Figure], None]


@dataclass(frozen=True)
class Reach:
    """At most so much of the unit (``most``), at least so much (``least``), at most so many times the floor
    (``times``): all that are given."""

    most: float | None = None
    times: float | None = None
    least: float | None = None

    def words(self, unit: str) -> str:
        """``<= 60 ms``, ``<= 1.5 x floor``, ``>= 3000 x real time``."""
        parts = [f"<= {self.most:g} {unit}"] if self.most is not None else []
        if self.least is not None:
            parts.append(f">= {self.least:g} {unit}")
        if self.times is not None:
            parts.append(f"<= {self.times:g} x floor")
        return " and ".join(parts)

    def met(self, value: float, ratio: float | None) -> bool | None:
        """None where the reach is one of the ratio and there is no floor."""
        if self.times is not None and ratio is None:
            return None
        fits = (self.most is None or value <= self.most) and (self.least is None or value >= self.least)
        return fits and (self.times is None or (ratio is not None and ratio <= self.times))


def figure(
    bench: str,
    what: str,
    unit: str,
    value: float,
    *,
    count: int = 1,
    floor: float | None = None,
    reach: Reach | None = None,
    more: bool = False,
) -> Figure:
    """A figure with its ratio and verdict. ``more``: a rate, of which more is better."""
    ratio = None
    if floor is not None and floor > 0 and value > 0:
        ratio = floor / value if more else value / floor
    words = reach.words(unit) if reach else ""
    return Figure(bench, what, unit, value, count, floor, ratio, words, reach.met(value, ratio) if reach else None)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of them lie, the nearest one of them; at least one is needed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def spread(
    bench: str,
    what: str,
    values: Sequence[float],
    floors: Sequence[float] = (),
    *,
    median: Reach | None = None,
    p99: Reach | None = None,
) -> list[Figure]:
    """Median and p99 in milliseconds, each beside the floor's own."""
    found = []
    for name, share, reach in (("median", 0.5, median), ("p99", 0.99, p99)):
        floor = percentile(floors, share) if floors else None
        value = percentile(values, share)
        found.append(figure(bench, f"{what}, {name}", "ms", value, count=len(values), floor=floor, reach=reach))
    return found


# --- the machine


def machine(folder: Path) -> dict[str, str | float]:
    """What the figures depend on. ``load``: of the last minute, per core, before the run; ``nice``: ours."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
        "nice": os.nice(0),
        "system": f"{platform.system()} {platform.release()}",
        "disk": _file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "node": _version_of(lambda: [str(runtime.find_node()), "--version"]).lstrip("v"),
        "mosquitto": _version_of(lambda: [find_mosquitto(), "-h"]).removeprefix("mosquitto version "),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Kind of the file system on which ``folder`` lies: on tmpfs a commit costs nothing."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, found, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, found
    return kind


def _version_of(command: Callable[[], list[str]]) -> str:
    try:
        words = command()
        told = subprocess.run(words, capture_output=True, text=True, timeout=_PROGRAM_TIMEOUT_S, check=False).stdout
    except (SafezoneError, OSError, subprocess.TimeoutExpired):
        return "absent"
    return (told.splitlines() or ["unknown"])[0].strip()


# --- for people


def number(value: float) -> str:
    """Three figures are what such a measurement is worth."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def in_words(facts: dict[str, str | float]) -> str:
    """The machine in a line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def cells(one: Figure) -> tuple[str, ...]:
    """The columns of a table: what, figure, floor, ratio, to reach, reached."""
    met = {None: "", True: "yes", False: "NO"}[one.met]
    floor = "" if one.floor is None else f"{number(one.floor)} {one.unit}"
    ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
    return one.what, f"{number(one.value)} {one.unit}", floor, ratio, one.reach, met


TITLES = ("what", "figure", "floor", "ratio", "to reach", "reached")


def as_json(one: Figure) -> dict[str, object]:
    """One line of ``--json``."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(one).items()}


def markdown(facts: dict[str, str | float], command: str, date: str, found: Sequence[Figure]) -> str:
    """The section of a bench in FIGURES.md."""
    lines = [f"`{command}`, {date}: {in_words(facts)}", ""]
    lines += [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    lines += [f"| {' | '.join(cells(one))} |" for one in found]
    return "\n".join(lines)


def put_into(path: Path, bench: str, section: str) -> None:
    """Replace what stands between ``<!-- bench NAME -->`` and ``<!-- end -->`` in a file; add it if it is not there."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    begin, end = f"<!-- bench {bench} -->\n", "<!-- end -->"
    head, found, rest = text.partition(begin)
    if not found:
        head, rest = f"{text}\n## {bench}\n\n", f"{end}\n"
    path.write_text(f"{head}{begin}{section}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
