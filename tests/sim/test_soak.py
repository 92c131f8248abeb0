"""``safezone soak``: its last line, its exit codes, and what it says of what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from safezone.cli import main
from sos_agent.core.effects import StoreKeys
from sos_sim.bugs import BUGS
from sos_sim.campaign import Summary
from sos_sim.draw import draw
from sos_sim.play import Result, Run
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
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "1"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "5:5"], "is empty or too large"),
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
