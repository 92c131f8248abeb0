"""Shrinking: what does not matter goes, what matters stays, and what is written replays the finding."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safezone.cli import main
from sos_contract.errors import UserError
from sos_sim import soak_cli
from sos_sim.bugs import planted, scenario_of
from sos_sim.checkers import Finding
from sos_sim.draw import draw
from sos_sim.findings import PAGE, SCENARIO, TEXT, small, write_up
from sos_sim.scenario import Planned, Scenario, Touch, complaints, read_scenario
from sos_sim.shrink import Shrinker, first_finding, kind_of

POLES = ("merlin-1", "clock-tower-1", "market-1")


def noisy(*things: Touch | Planned) -> Scenario:
    """A scenario of things that do not matter, and of these."""
    presses = [Touch(at_s=31 + 2.0 * n, pole=POLES[n % 3]) for n in range(12)]
    faults = [Planned(name="wire-loss", at_s=32 + 4.0 * n, until_s=60 + 4.0 * n, where=POLES[n % 3]) for n in range(8)]
    presses += [one for one in things if isinstance(one, Touch)]
    faults += [one for one in things if isinstance(one, Planned)]
    return Scenario(hours=0.1, press=tuple(presses), fault=tuple(faults), brokers=3)


def test_of_a_synthetic_failure_only_its_causes_are_left() -> None:
    """No play: it fails while the agent is killed, two presses are at merlin-1 after that, and the run is so long."""

    def fails(one: Scenario) -> Finding | None:
        killed = [fault.at_s for fault in one.fault if fault.name == "agent-killed"]
        after = [touch for touch in one.press if touch.pole == "merlin-1" and killed and touch.at_s > killed[0]]
        lasts = one.hours * 3600 >= 33
        return Finding("lost", 100_000_000, "gone", "merlin-1") if len(after) >= 2 and lasts else None

    whole = noisy(Planned(name="agent-killed", at_s=33, until_s=80, where="merlin"))
    found = fails(whole)
    assert found is not None
    shrunk = Shrinker(fails).shrink(whole, found)
    left = shrunk.scenario
    assert [fault.name for fault in left.fault] == ["agent-killed"]
    assert [touch.pole for touch in left.press] == ["merlin-1", "merlin-1"]
    assert left.points == ("merlin",) and left.brokers == 1
    assert left.fault[0].until_s - left.fault[0].at_s < 1.5
    assert not complaints(left) and shrunk.plays <= 250


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 11), min_size=1, max_size=4), st.integers(5, 60))
def test_the_plays_are_bounded_and_what_is_left_fails(needed: set[int], most_plays: int) -> None:
    whole = noisy()
    wanted = {whole.press[index].at_s for index in needed}

    def fails(one: Scenario) -> Finding | None:
        kept = wanted <= {touch.at_s for touch in one.press}
        return Finding("lost", 400_000_000, "gone", "merlin-1") if kept else None

    found = fails(whole)
    assert found is not None
    shrunk = Shrinker(fails, most_plays).shrink(whole, found)
    assert shrunk.plays <= most_plays and fails(shrunk.scenario) is not None
    assert len(shrunk.scenario.press) == len(needed) or shrunk.plays == most_plays


def test_whoever_has_waited_enough_gets_the_smallest_so_far() -> None:
    whole = noisy()
    finding = Finding("lost", 400_000_000, "gone", "merlin-1")
    shrunk = Shrinker(lambda _one: finding, enough=lambda: True).shrink(whole, finding)
    assert shrunk.scenario == whole and shrunk.plays == 0


def test_kinds_of_finding_are_the_same_but_for_names_and_numbers() -> None:
    one = Finding("lied", 1, "held, and no outbox ever had merlin-1/00aa/1/2", "merlin-1")
    other = Finding("lied", 2, "held, and no outbox ever had market-1/00bb/3/4", "market-1")
    assert kind_of(one) == kind_of(other)
    assert kind_of(one) != kind_of(Finding("lied", 1, "received, and no inbox ever had merlin-1/00aa/1/2", "merlin-1"))


def test_a_drawn_failure_becomes_one_press() -> None:
    whole = draw(0, 0.05)
    with planted("identity-again"):
        found, _ = first_finding(whole)
        assert found is not None
        shrunk = small(whole, found)
    assert len(shrunk.scenario.press) == 1 and not shrunk.scenario.fault
    assert len(shrunk.scenario.points) == 1 and shrunk.scenario.hours < 0.012


def test_what_is_written_up_replays_the_finding(tmp_path: Path) -> None:
    whole = noisy()
    with planted("identity-again"):
        found, _ = first_finding(whole)
    assert found is not None
    told: list[str] = []
    shrunk = write_up(whole, found, tmp_path / "out", bug="identity-again", tell=told.append)
    assert told[-1] == f"reproduce: safezone soak --scenario {tmp_path}/out/{SCENARIO} --bug identity-again"
    again = read_scenario(tmp_path / "out" / SCENARIO)
    assert again == shrunk.scenario
    with planted("identity-again"):
        assert first_finding(again, lambda one: kind_of(one) == kind_of(found))[0] == shrunk.finding
    assert first_finding(again)[0] is None, "without the bug nothing is wrong with it"
    assert "FORGED" in (tmp_path / "out" / TEXT).read_text("utf-8")
    assert "identity-again" in (tmp_path / "out" / PAGE).read_text("utf-8")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    whole = Scenario(hours=0.01, press=(Touch(at_s=33, pole="merlin-1"),))
    with planted("identity-again"):
        found, _ = first_finding(whole)
    assert found is not None
    with pytest.raises(UserError, match=r"file/out: cannot be written \(.*\); name another one with --out"):
        write_up(whole, found, tmp_path / "file/out", bug="identity-again", enough=lambda: True)


def test_the_command_line_finds_a_bug_and_says_where_its_story_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak_cli, "SHRINK_S", 0.0)
    words = ["soak", "--seeds", "0:200", "--jobs", "1", "--hours", "0.02", "--bug", "identity-again"]
    assert main([*words, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    (folder,) = tmp_path.iterdir()
    assert f"timeline: {folder / PAGE}" in told.err and "FORGED at" in told.err
    assert "reproduce: safezone soak --seeds 0:1 --hours 0.02 --bug identity-again" in told.err
    assert "runs            1\n" in told.out, "the first finding ends the hunt"


def test_the_command_line_plays_a_scenario_with_a_bug_and_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["soak", "--scenario", str(scenario_of("retained-alarm"))]
    assert main(words) == 0
    assert main([*words, "--bug", "retained-alarm", "--out", str(tmp_path)]) == 1
    assert "DUPLICATED at" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "retained-alarm").iterdir()} == {SCENARIO, PAGE, TEXT}
    assert main(["soak", "--bug", "help"]) == 0
    assert "release-at-held" in capsys.readouterr().out
    assert main(["soak", "--bug", "release-at-hold"]) == 2
    assert "did you mean 'release-at-held'?" in capsys.readouterr().err
