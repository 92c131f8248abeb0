"""``safezone soak``: its last line, its exit codes, and what it says of what it cannot do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from safezone.cli import main
from sos_agent.core.effects import StoreKeys
from sos_sim.bugs import BUGS, scenario_of
from sos_sim.campaign import Summary
from sos_sim.checkers import Finding
from sos_sim.draw import draw
from sos_sim.gallery import find_scenario, read_shortened
from sos_sim.junit import Case, write
from sos_sim.play import Result, Run
from sos_sim.scenario import load
from sos_station.core.effects import SettleCommand

QUICK = 'hours = 0.01\nseed = 3\n[[press]]\npole = "merlin-1"\nat_s = 20\n'


def test_a_campaign_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--seeds", "3:5", "--hours", "0.01", "--jobs", "2", "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = ["runs", "presses", "lost", "duplicated", "lied", "forged", "stuck", "virtual_s", "wall_s"]
    assert list(line) == names
    assert line["runs"] == 2
    assert [line[name] for name in names[2:7]] == [0] * 5
    assert line["virtual_s"] > 400


def test_a_scenario_file_is_played_and_told_as_junit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, junit = tmp_path / "one.toml", tmp_path / "out.xml"
    file.write_text(QUICK + "[expect]\nlost = 0\np99_ms = 1000\n")
    assert main(["soak", "--scenario", str(file), "--junit", str(junit), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["presses"] == 1
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "0"
    file.write_text(QUICK + "[expect]\np99_ms = 1\n")
    assert main(["soak", "--scenario", str(file), "--junit", str(junit)]) == 1
    assert "p99_ms = " in capsys.readouterr().err
    suite = ElementTree.parse(junit).getroot()
    assert suite.attrib["failures"] == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.text is not None
    assert failure.attrib["message"].startswith("p99_ms = ")
    assert failure.text.splitlines() == [failure.attrib["message"], f"reproduce: safezone soak --scenario {file}"]


def test_the_junit_of_a_campaign_has_a_case_for_each_seed(tmp_path: Path) -> None:
    junit = tmp_path / "out.xml"
    assert main(["soak", "--seeds", "3:5", "--hours", "0.01", "--jobs", "2", "--json", "--junit", str(junit)]) == 0
    suite = ElementTree.parse(junit).getroot()
    assert [case.attrib["name"] for case in suite] == ["seed 3", "seed 4"]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "0")
    assert all(float(case.attrib["time"]) > 0 for case in suite)


def test_junit_is_xml_whatever_is_in_the_words(tmp_path: Path) -> None:
    """A control character in a name of somebody's file, or a name that is no text, made a report that no CI reads."""
    told = ["\x1b[31m \ufffe\tred \udc80"]
    write(tmp_path / "out.xml", [Case("a <b> & \x07 é", told, again="c", timeline="\x00 t\n")])
    case = ElementTree.parse(tmp_path / "out.xml").getroot()[0]
    assert case.attrib["name"] == "a <b> & \\x07 é"
    assert [one.text for one in case] == ["\\x1b[31m \\xfffe\\x09red \\xdc80\nreproduce: c", "\\x00 t\n"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "5:5"], "is empty or too large"),
        (["--seeds", f"{10**20}:{10**21}"], "is empty or too large"),
        (["--seeds", ""], "--seeds is empty"),
        (["--scenario", ""], "--scenario is empty"),
        (["--scenario", "x" * 300], "no scenario file"),
        (["--scenario", "/dev/zero"], "it is a pipe or a device"),
        (["--junit", "/proc/self/nowhere/out.xml"], "name another one with --junit"),
        (["--junit", "/"], "a folder; name a file with --junit"),
        (["--out", "/dev/null/out"], "name another one with --out"),
        (["--scenario", "town-blackout", "--site", "other.toml"], "a scenario names its site itself"),
        (["--bug", "held-before-comit"], "did you mean 'held-before-commit'?"),
        (["--seeds", "a:b"], "write A:B"),
        (["--seeds", "0:99999999"], "is empty or too large"),
        (["--seeds", "0:1", "--hours", "0"], "outside 0 to 744"),
        (["--seeds", "0:1", "--hours", "1e9"], "outside 0 to 744"),
        (["--seeds", "0:1", "--jobs", "-1"], "--jobs -1"),
        (["--seeds", "0:1", "--site", "betogn"], "did you mean 'betong'?"),
        (["--seeds", "0:1", "--scenario", "x.toml"], "not both"),
    ],
)
def test_what_it_cannot_do_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1


def _workers(pid: int) -> list[int]:
    """The processes of which ``pid`` is the parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(words[1]) == pid and words[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def _until_gone(pids: list[int], most_s: float = 60.0) -> bool:
    last_s = time.monotonic() + most_s
    while time.monotonic() < last_s:
        if not any(Path(f"/proc/{pid}/stat").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@contextmanager
def _long_campaign() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """One whose runs last for minutes, in a process group of its own, with two workers."""
    words = [sys.executable, "-m", "safezone", "soak", "--seeds", "1:9", "--hours", "100", "--jobs", "2", "--json"]
    campaign = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        last_s = time.monotonic() + 60
        while len(workers := _workers(campaign.pid)) < 2:
            assert time.monotonic() < last_s and campaign.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)  # until they are at work
        yield campaign, workers
    finally:
        campaign.kill()
        assert _until_gone(workers), "a campaign leaves nobody behind"
        campaign.communicate()


@pytest.mark.parametrize("whom", ["the terminal's whole group", "the campaign alone"])
def test_ctrl_c_ends_a_campaign_at_once_and_without_a_traceback(whom: str) -> None:
    with _long_campaign() as (campaign, workers):
        (os.killpg if whom.startswith("the terminal") else os.kill)(campaign.pid, signal.SIGINT)
        out, told = campaign.communicate(timeout=60)
        assert (campaign.returncode, out, told) == (130, "", "")
        assert _until_gone(workers)


def test_a_campaign_that_is_killed_leaves_no_processes_behind() -> None:
    """A job of a CI that was cancelled played on for hours, and then waited for ever."""
    with _long_campaign() as (campaign, workers):
        campaign.kill()
        assert _until_gone(workers)


def test_a_process_of_a_campaign_that_is_killed_is_one_line() -> None:
    with _long_campaign() as (campaign, workers):
        os.kill(workers[0], signal.SIGKILL)
        _, told = campaign.communicate(timeout=60)
        assert campaign.returncode == 1
        why = "one of the campaign's processes was killed, perhaps for want of memory"
        assert told == f"safezone: {why}; play with fewer: --jobs 1\n"


def test_what_comes_of_a_campaign_is_written_where_no_folder_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the command that it prints can be pasted, whatever the folder is called."""
    file, out, junit = tmp_path / "one.toml", tmp_path / "an out", tmp_path / "reports/out.xml"
    file.write_bytes(scenario_of("held-before-commit").read_bytes())
    words = ["soak", "--scenario", str(file), "--bug", "held-before-commit", "--out", str(out), "--junit", str(junit)]
    assert main(words) == 1
    again = f"safezone soak --scenario '{out}/one/scenario.toml' --bug held-before-commit"
    assert f"reproduce: {again}\n" in capsys.readouterr().err
    assert f"again: {again}\n" in (out / "one/timeline.txt").read_text(encoding="utf-8"), "on one line, to be copied"
    case = ElementTree.parse(junit).getroot()[0]
    assert [one.tag for one in case] == ["failure", "system-out"]
    assert case[1].text == (out / "one/timeline.txt").read_text(encoding="utf-8")


def test_a_loss_that_never_was_meets_no_expectation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.toml"
    file.write_text(QUICK + "[expect]\nlink_lost_within_s = 10\n")
    assert main(["soak", "--scenario", str(file)]) == 1
    assert "link_lost_within_s: nothing was measured, expected <= 10" in capsys.readouterr().err


def test_a_scenario_is_shown_and_not_played(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--scenario", "town-blackout", "--hours", "0.25", "--show"]) == 0
    assert load(capsys.readouterr().out) == read_shortened("town-blackout", 0.25)


def test_a_folder_of_findings_does_not_stand_for_the_scenario_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "town-blackout").mkdir()
    assert find_scenario("town-blackout").suffix == ".toml"


def test_a_campaign_says_what_it_did_not_visit_and_is_held_to_it_only_when_long() -> None:
    summary = Summary()
    summary.add(Result(1, [], {}, presses=10, virtual_s=3600.0, kinds=1))
    lacking = summary.lacking()
    assert "only 1.0 kinds of fault a run" in lacking
    assert "only 10 presses an hour" in lacking
    assert "crash agent: StoreAlarm" in lacking
    assert not summary.demanded()
    summary.add(Result(2, [], {"lost": 1}, presses=10, virtual_s=3.6e6, kinds=1))
    assert summary.demanded()
    assert summary.line()["lost"] == 1


def test_a_long_campaign_that_did_not_visit_everything_fails_in_its_junit_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with exit 1, and its report was all green."""
    monkeypatch.setattr("sos_sim.campaign.COVERED_H", 0.001)
    junit = tmp_path / "out.xml"
    assert main(["soak", "--seeds", "3:4", "--hours", "0.01", "--json", "--junit", str(junit)]) == 1
    seed, coverage = ElementTree.parse(junit).getroot()
    assert not list(seed)
    assert coverage.attrib["name"] == "coverage"
    assert "crash agent: StoreKeys" in [failure.attrib["message"] for failure in coverage]


def test_what_a_seed_has_without_the_bug_too_is_no_find_of_a_hunt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two hunts ended at a finding of the checkers' own, and it was written down as the bug's."""
    stuck = Result(3, [Finding("stuck", 1, "it hangs", "scenario")], {"stuck": 1})
    monkeypatch.setattr("sos_sim.campaign.run_seed", lambda *_, **__: stuck)
    assert main(["soak", "--seeds", "3:4", "--hours", "0.5", "--bug", "late-will-believed"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("safezone: seed 3 has a finding without the bug, too (stuck at ")
    assert told.endswith("; play it: safezone soak --seeds 3:4 --hours 0.5\n")


def test_bugs_are_named_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A script hunts them all with these words and no others."""
    assert main(["soak", "--list-bugs"]) == 0
    assert capsys.readouterr().out.split("\n") == [*BUGS, ""]
    assert main(["soak", "--list-bugs", "--json"]) == 0
    assert [json.loads(line)["bug"] for line in capsys.readouterr().out.splitlines()] == list(BUGS)


def test_a_technician_whose_orders_change_nothing_is_answered_and_no_key_is_changed() -> None:
    run = Run(draw(3, 0.1))
    assert not run.play().findings
    assert run.technician.done and run.technician.refused, "an order was carried out, and one was refused"
    assert run.zone.agents["merlin"].effects[StoreKeys] and run.zone.station.effects[SettleCommand]
    for pole in run.zone.poles.values():
        assert pole.pole is not None and list(pole.pole.link.keys) == [pole.spec.key]
