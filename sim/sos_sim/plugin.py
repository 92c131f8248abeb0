"""pytest plug-in: ``zone``, a town on virtual time, and ``live_zone``, one of real processes. See sim/TESTING.md.

Nothing of the simulator is imported before a test asks for one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sos_contract.site import Site
    from sos_sim.testing.live import LiveZone
    from sos_sim.testing.virtual import VirtualZone

_MARKER = "zone(site, points, seeds, brokers, hours, faults, officers): the town that `zone` and `live_zone` make"
# A seed is a test: more than these are a campaign, for which there is `safezone soak`.
SEEDS_MOST = 10_000
_ZONE: pytest.StashKey[Any] = pytest.StashKey()
# word of the marker -> what it has to be: of a list, each of its things; and how that is said
_SORTS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "site": ((str, Path), "a name or a file"), "brokers": (int, "a whole number"), "hours": ((int, float), "a number"),
    "officers": (bool, "True or False"), "seeds": (int, "a list of whole numbers, such as range(5)"),
    "points": (str, 'a list of names, such as ["market"]'), "faults": (str, 'a list of names, such as ["wire-cut"]'),
}  # fmt: skip
_LISTS = ("seeds", "points", "faults")
_LIVE = ("site", "points")


@dataclass(frozen=True)
class Wanted:
    """What the marker says. ``points``: of the site, only these; ``seeds``: a test each; ``hours``: how long the town
    lives at least; ``faults``: names in sim/FAULTS.md that befall it meanwhile; ``officers``: two are at the desk."""

    site: str | Path = "betong"
    points: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    brokers: int = 1
    hours: float = 0.0
    faults: Sequence[str] = ()
    officers: bool = False


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each seed."""
    if "zone" in metafunc.fixturenames:
        wanted = _wanted(metafunc.definition)
        ids = [f"seed{seed}" for seed in wanted.seeds] if len(wanted.seeds) > 1 else [pytest.HIDDEN_PARAM]
        metafunc.parametrize("zone", wanted.seeds, indirect=True, ids=ids)


@pytest.fixture
def zone(request: pytest.FixtureRequest, tmp_path: Path) -> VirtualZone:
    """A town on virtual time, in service; every promise is checked to the end of the test, and at its end."""
    from sos_sim.testing.virtual import VirtualZone

    wanted = _wanted(request.node)
    seed = getattr(request, "param", wanted.seeds[0])  # without one where a test asks for the fixture by its name
    with _one_line():
        made = VirtualZone(
            _site(wanted), seed, tmp_path, brokers=wanted.brokers, hours=wanted.hours, faults=wanted.faults,
            officers=wanted.officers,
        )  # fmt: skip
    request.node.stash[_ZONE] = made
    return made


@pytest.fixture
def live_zone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveZone]:
    """A zone of real processes, in service; all of them are ended with the test."""
    from sos_sim.testing.live import LiveZone

    wanted = _wanted(request.node)
    if "zone" not in request.fixturenames:
        _check_live(request.node)
    with _one_line():
        made = LiveZone(_site(wanted), tmp_path / "zone", tmp_path)
    request.node.stash[_ZONE] = made
    try:
        yield made
    finally:
        made.stop()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """What the checkers found fails the test itself, not only its tidying up."""
    result = yield
    made = pyfuncitem.stash.get(_ZONE, None)
    if made is not None and hasattr(made, "finish"):
        made.finish()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the timeline with the failure."""
    report = yield
    made = item.stash.get(_ZONE, None)
    if report.when == "call" and report.failed and made is not None and made.drawn:
        report.sections.append(("timeline", made.drawn))
    return report


@contextmanager
def _one_line() -> Iterator[None]:
    """What the project says in one line fails the test with that line and no traceback."""
    from sos_contract.errors import SafezoneError

    try:
        yield
    except SafezoneError as error:
        pytest.fail(str(error), pytrace=False)


def _site(wanted: Wanted) -> Site:
    from sos_contract.site import find_site, read_site
    from sos_sim.scenario import only

    return only(read_site(find_site(str(wanted.site))), wanted.points)


def _wanted(node: pytest.Item) -> Wanted:
    """What the test's marker says; fails it, in one line, for what cannot be."""
    marker = node.get_closest_marker("zone")
    if marker is None:
        return Wanted()
    if marker.args:
        wrong = "takes words only, such as zone(seeds=range(5))"
    else:
        given = marker.kwargs
        wrong = _unknown(given, Wanted.__dataclass_fields__) or _wrong_sort(given) or _impossible(Wanted(**given))
    if wrong:
        pytest.fail(f"{node.nodeid}: the marker 'zone' {wrong}", pytrace=False)
    return Wanted(**marker.kwargs)


def _check_live(node: pytest.Item) -> None:
    """Nothing is said in vain: real processes know no seeds, and nothing befalls them by itself."""
    marker = node.get_closest_marker("zone")
    for name in marker.kwargs if marker else ():
        if name not in _LIVE:
            wrong = f"has {name}, which is for 'zone' alone; 'live_zone' takes {' and '.join(_LIVE)}"
            pytest.fail(f"{node.nodeid}: the marker 'zone' {wrong}", pytrace=False)


def _unknown(given: Collection[str], known: Collection[str]) -> str:
    from sos_contract.site import nearest

    return next((f"has no word '{name}'{nearest(name, known)}" for name in given if name not in known), "")


def _wrong_sort(given: Mapping[str, object]) -> str:
    for name, value in given.items():
        sort, words = _SORTS[name]
        if name in _LISTS:
            good = isinstance(value, range) and sort is int
            if isinstance(value, Sequence) and not isinstance(value, str | bytes | range):
                good = all(isinstance(one, sort) for one in value)
        else:
            good = isinstance(value, sort)
        if not good:
            return f"has {name}={value!r}; it takes {words}"
    return ""


def _impossible(wanted: Wanted) -> str:
    from sos_contract.site import nearest
    from sos_sim.faults import FAULTS
    from sos_sim.scenario import BROKERS_MOST, HOURS_MOST

    for what, value, least, most in (
        ("seeds", len(wanted.seeds), 1, SEEDS_MOST), ("hours", wanted.hours, 0, HOURS_MOST),
        ("brokers", wanted.brokers, 1, BROKERS_MOST),
    ):  # fmt: skip
        if not least <= value <= most:
            return f"has {value:g} {what}, which is outside {least:g} to {most:g}"
    for name in wanted.faults:
        if name not in FAULTS:
            return f"names an unknown fault '{name}'{nearest(name, FAULTS)}"
    if wanted.faults and not wanted.hours:
        return "has faults and no hours in which they befall the town: add hours=0.1"
    return ""
