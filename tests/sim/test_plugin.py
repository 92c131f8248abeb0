"""The pytest plug-in: what it says when something is missed, what its end finds, and what it costs others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sos_contract.errors import UserError
from sos_contract.payloads import AlarmView
from sos_contract.site import find_site, read_site
from sos_sim.bugs import find_bug
from sos_sim.scenario import only
from sos_sim.testing.virtual import VirtualZone
from sos_sim.testing.watch import ExpectationError, Shown, Watch
from sos_sim.trace import Row

pytest_plugins = ["pytester"]
POLE = "market-1"


def small(**words: object) -> str:
    """A test file's head: the market only."""
    told = "".join(f", {name}={value!r}" for name, value in words.items())
    return f"import pytest\npytestmark = pytest.mark.zone(points=['market']{told})\ndef test_it(zone):\n"


def outcome(pytester: pytest.Pytester, body: str) -> pytest.RunResult:
    pytester.makepyfile(body)
    return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=")


@pytest.mark.zone(points=["market"])
def test_a_lamp_that_shows_something_else_is_told_in_words(zone: VirtualZone, tmp_path: Path) -> None:
    zone.cut(POLE)
    zone.press(POLE)
    with pytest.raises(ExpectationError) as caught:
        zone.expect(POLE).shows("received", within_s=5)
    words = str(caught.value)
    assert "market-1 did not show 'received' within 5 s" in words
    assert "at first  in_service\n" in words
    assert " s  pressed\n" in words
    assert str(tmp_path / "timeline.html") in words
    assert (tmp_path / "timeline.txt").read_text(encoding="utf-8") == zone.drawn
    assert "wire-cut" in zone.drawn
    zone.mend(POLE)
    assert 0 < zone.expect(POLE).shows("received", within_s=15) < 15


@pytest.mark.zone(points=["market"])
def test_what_was_shown_before_a_press_does_not_count_for_it(zone: VirtualZone) -> None:
    zone.press(POLE)
    zone.expect(POLE).shows("received", within_s=2)
    zone.down("station")
    zone.run(1)
    zone.press(POLE)
    with pytest.raises(ExpectationError):
        zone.expect(POLE).shows("received", within_s=3)
    zone.expect(POLE).never_shows("accepted", for_s=1)
    with pytest.raises(ExpectationError, match="showed 'held' within"):
        zone.expect(POLE).never_shows("held", for_s=1)
    zone.up("station")
    zone.expect(POLE).shows("received", within_s=20)
    zone.expect_alarms(2, of=POLE)
    with pytest.raises(ExpectationError, match="has 2 alarms, not 1: market-1 press 2"):
        zone.expect_alarms(1)
    for verb in (zone.accept, zone.dispatch, zone.arrive, zone.close):
        verb(POLE)
    zone.expect(POLE).shows("in_service", within_s=5)
    with pytest.raises(ExpectationError, match="it has no open alarm"):
        zone.accept(POLE)


@pytest.mark.zone(points=["market"], brokers=2)
def test_a_fault_lasts_as_long_as_it_is_said(zone: VirtualZone) -> None:
    with zone.fail("broker-stopped", "1"), zone.fail("wire-delay", POLE, most_ms=5):
        zone.run(20)
        zone.expect(POLE).shows("in_service", within_s=40)
    zone.down(POLE)
    assert zone.look(POLE) == "off"
    zone.up(POLE)
    zone.expect(POLE).shows("in_service", within_s=10)
    zone.expect(POLE).keeps("in_service", for_s=5)
    with pytest.raises(ExpectationError, match="did not keep"):
        zone.expect(POLE).keeps("off", for_s=5)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda zone: zone.press("market-2"), "unknown pole 'market-2'; did you mean 'market-1'"),
        (lambda zone: zone.press(POLE, like="wett"), "did you mean 'wet'"),
        (lambda zone: zone.press(POLE, button=1), "has no button 1"),
        (lambda zone: zone.fail("wire-lost", POLE), "unknown fault 'wire-lost'; did you mean 'wire-loss'"),
        (lambda zone: zone.fail("wire-loss", POLE, probability=3), "outside 0.02 to 0.4"),
        (lambda zone: zone.fail("wire-loss", "merlin-1"), "unknown line 'merlin-1'"),
        (lambda zone: zone.expect(POLE).shows("green", within_s=1), "unknown look 'green'"),
        (lambda zone: zone.run(1e12), "outside 0 to"),
        (lambda zone: zone.press(POLE, ms=-4), "a press of -4 ms is outside 1 to 600000"),
        (lambda zone: zone.press(POLE, ms=float("nan")), "a press of nan ms is outside"),
        (lambda zone: zone.mend(POLE), "it is not cut"),
        (lambda zone: zone.down("stashion"), "did you mean 'station'"),
    ],
)
def test_what_cannot_be_said_is_refused_in_a_line(act: object, words: str, tmp_path: Path) -> None:
    zone = VirtualZone(only(read_site(find_site("betong")), ["market"]), 0, tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        act(zone)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_broken_promise_fails_a_test_that_does_not_look_for_it(pytester: pytest.Pytester) -> None:
    body = small() + "    zone.press('market-1')\n    zone.run(5)\n"
    outcome(pytester, body).assert_outcomes(passed=1)
    with find_bug("held-before-commit").planted():
        broken = outcome(pytester, body + "    zone.down('agent:market')\n    zone.up('agent:market')\n")
    broken.assert_outcomes(failed=1)
    broken.stdout.fnmatch_lines(["*a promise was broken*", "*lied at *market-1: held*"])
    broken.stdout.fnmatch_lines(["*- timeline -*"])


def test_faults_come_from_the_seed_and_each_seed_is_a_test(pytester: pytest.Pytester) -> None:
    body = small(seeds=[3, 4], hours=0.02, faults=["wire-noise", "agent-killed"]) + (
        "    zone.run(60)\n    print('DIGEST', zone.seed, zone.trace.digest, zone.trace.counts['fault'])\n"
    )
    pytester.makepyfile(body)
    told = [
        [line for line in pytester.runpytest_inprocess("-q", "-s", "-p", "no:xdist").outlines if "DIGEST" in line]
        for _ in range(2)
    ]
    assert told[0] == told[1]
    assert len(set(told[0])) == 2


def test_no_fault_befalls_a_test_that_it_did_not_name(pytester: pytest.Pytester) -> None:
    """In one of four seeds all cables of the town were cut one by one, whatever a test had asked for."""
    body = small(seeds=range(8), hours=0.05, faults=["agent-killed"]) + (
        "    names = []\n    zone.trace.listen('fault', lambda row: names.append(row.fields[0]))\n"
        "    zone.run(200)\n    assert set(names) == {'agent-killed'}\n"
    )
    outcome(pytester, body).assert_outcomes(passed=8)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"seed": 3}, "*has no word 'seed'; did you mean 'seeds'?"),
        ({"hours": 1, "faults": ["agent-kiled"]}, "*unknown fault 'agent-kiled'; did you mean 'agent-killed'?"),
        ({"faults": ["agent-killed"]}, "*add hours=0.1"),
        ({"hours": 1e9}, "*has 1e+09 hours, which is outside 0 to 744"),
        ({"seeds": range(10**7)}, "*has 1e+07 seeds, which is outside 1 to 10000"),
        ({"site": "betonk"}, "*no site file 'betonk'; did you mean 'betong'?"),
        ({"site": None}, "*has site=None; it takes a name or a file"),
        ({"seeds": 5}, "*has seeds=5; it takes a list of whole numbers, such as range(5)"),
        ({"seeds": ["a"]}, "*has seeds=?'a'?; it takes a list of whole numbers*"),
        ({"hours": 1, "faults": "wire-cut"}, "*has faults='wire-cut'; it takes a list of names*"),
        ({"hours": "1"}, "*has hours='1'; it takes a number"),
        ({"brokers": 1.5}, "*has brokers=1.5; it takes a whole number"),
    ],
)
def test_a_marker_that_cannot_be_is_refused_in_a_line(
    pytester: pytest.Pytester, words: dict[str, object], said: str
) -> None:
    done = outcome(pytester, small(**words) + "    pass\n")
    assert done.ret != 0
    done.stdout.fnmatch_lines([said])
    done.stdout.no_fnmatch_line("*Traceback*")
    assert len(done.outlines) < 15


def test_a_site_that_is_not_there_is_refused_in_a_line_by_real_processes_too(pytester: pytest.Pytester) -> None:
    body = "import pytest\n@pytest.mark.zone(points=['merlyn'])\ndef test_it(live_zone):\n    pass\n"
    done = outcome(pytester, body)
    done.stdout.fnmatch_lines(["unknown point 'merlyn'; did you mean 'merlin'?"])
    assert len(done.outlines) < 15


@pytest.mark.parametrize("word", ["seeds=range(3)", "hours=0.1", "brokers=2", "officers=True"])
def test_what_real_processes_do_not_do_is_refused_in_a_line(pytester: pytest.Pytester, word: str) -> None:
    """A test with three seeds was one test, and one with a tenth of an hour lasted as long as it liked."""
    done = outcome(pytester, f"import pytest\n@pytest.mark.zone({word})\ndef test_it(live_zone):\n    pass\n")
    name = word.split("=")[0]
    done.stdout.fnmatch_lines([f"*the marker 'zone' has {name}, which is for 'zone' alone; 'live_zone' takes site*"])
    assert done.ret != 0
    assert len(done.outlines) < 15


def test_a_site_file_may_be_a_path_and_a_zone_be_asked_for_by_name(pytester: pytest.Pytester) -> None:
    body = (
        "import pytest\nfrom pathlib import Path\nfrom sos_contract.site import find_site\n"
        "@pytest.mark.zone(site=find_site('betong'), points=['market'], seeds=[7])\n"
        "def test_it(request):\n    assert request.getfixturevalue('zone').seed == 7\n"
    )
    outcome(pytester, body).assert_outcomes(passed=1)


class Hasty(Watch):
    """Its lamp does two things before anybody looks again."""

    now_s = 0.0
    rows: Sequence[Row] = ()

    def wait(self, condition: Callable[[], bool], most_s: float) -> bool:
        self.shown[POLE] += [Shown(1.0, "pressed"), Shown(1.005, "held")]
        return condition()

    def alarms(self) -> tuple[AlarmView, ...]:
        return ()

    def act(self, pole: str, action: str, disposition: str) -> str:
        return ""


def test_a_look_that_is_over_before_anybody_looks_again_was_shown(tmp_path: Path) -> None:
    zone = Hasty(read_site(find_site("betong")), [POLE], tmp_path)
    zone.finger(POLE, 150)
    assert zone.expect(POLE).shows("pressed", within_s=2) == 1.0
    with pytest.raises(ExpectationError, match="showed 'pressed' within 2 s"):
        zone.expect(POLE).never_shows("pressed", for_s=2)
    with pytest.raises(ExpectationError, match="did not keep 'held' for 2 s"):
        zone.expect(POLE).keeps("held", for_s=2)


def test_a_run_that_does_not_use_it_imports_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test_it():\n"
        "    assert 'sos_sim.plugin' in sys.modules\n"
        "    assert [m for m in sys.modules if m.startswith('sos_')] in (['sos_sim', 'sos_sim.plugin'],)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
