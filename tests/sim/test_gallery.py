"""The gallery's scenarios in short forms meet what they expect; what cannot be played is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from safezone.cli import main
from sos_contract.errors import UserError
from sos_contract.site import MAX_POLES_ON_A_LINE, read_site
from sos_sim.bigtown import POLES_MOST, town
from sos_sim.checkers.base import PROMISES
from sos_sim.gallery import find_scenario, names, read_shortened
from sos_sim.live.layout import dump
from sos_sim.play import play
from sos_sim.scenario import read_scenario

# Virtual hours of each: what processor time a test may cost, and long enough for what it shows.
SHORT_H = {
    "broker-lost-for-a-day": 0.1,
    "flood-of-false-presses": 0.03,
    "market-day-storm": 0.12,
    "new-years-eve": 0.04,
    "town-blackout": 0.15,
    "week-of-an-old-cable": 0.5,
}


def test_each_has_a_short_form_and_says_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(SHORT_H) == names()
    assert main(["soak", "--scenario", "help"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == names()
    assert all(len(line.split()) > 10 for line in told)


@pytest.mark.parametrize("name", SHORT_H)
def test_each_meets_what_it_expects(name: str) -> None:
    scenario = read_shortened(name, SHORT_H[name])
    assert {*PROMISES, "presses_least"} <= set(scenario.expect)
    result = play(scenario)
    assert [*map(str, result.findings), *result.missed] == []


def test_a_short_form_keeps_all_that_befalls() -> None:
    for name in names():
        whole = read_scenario(find_scenario(name))
        short = read_shortened(name, SHORT_H[name])
        assert [one.name for one in short.fault] == [one.name for one in whole.fault]
        assert [one.pole for one in short.press] == [one.pole for one in whole.press]
        assert not [one for one in short.expect if one.endswith("_within_s")], "it may be too short for that"
        assert read_shortened(name, whole.hours) == whole


def test_soak_plays_one_by_name_and_writes_junit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.xml"
    words = ["soak", "--scenario", "week-of-an-old-cable", "--hours", "0.1", "--json", "--junit", str(out)]
    assert main(words) == 0
    assert '"lost": 0' in capsys.readouterr().out
    assert 'failures="0"' in out.read_text(encoding="utf-8")
    strict = tmp_path / "strict.toml"
    text = find_scenario("town-blackout").read_text(encoding="utf-8").replace("hours = 0.5", "hours = 0.3")
    strict.write_text(text.replace("p99_ms = 5000", "p99_ms = 1"), encoding="utf-8")
    assert main(["soak", "--scenario", str(strict), "--hours", "0.05", "--junit", str(out)]) == 1
    assert "expected <= 1" in capsys.readouterr().err
    assert 'failures="1"' in out.read_text(encoding="utf-8")


GOOD = 'version = 1\nhours = 0.1\npress = [{ at_s = 40.0, pole = "merlin-1" }]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hours = [", "not a TOML file"),
        ("hours = 'long'", "Expected `float`"),
        (GOOD.replace("version = 1", "version = 7"), "version 7 of a scenario is unknown here"),
        (GOOD.replace("hours = 0.1", "hours = 1e9"), "outside 0 to 744"),
        (GOOD.replace("merlin-1", "merlyn-1"), "did you mean 'merlin-1'"),
        (GOOD + "times = 3\n", "unknown key 'times' at the top"),
        (GOOD.replace("at_s = 40.0", "at_s = 40.0, times = 9000000"), "2000000 and 200000 at most"),
        (GOOD + "[expect]\nlots = 0\n", "unknown expectation 'lots'; did you mean 'lost'"),
        (GOOD + "[expect]\nlost = 3\n", "is impossible: it can only be 0"),
        (GOOD + "[expect]\np99_ms = -1\n", "is impossible"),
        (GOOD + '[[fault]]\nname = "broker-lost"\nat_s = 1.0\nuntil_s = 2.0\n', "unknown fault 'broker-lost'; did you"),
        (
            GOOD + '[[fault]]\nname = "wire-cut"\nwhere = "merlin"\nat_s = 1.0\nuntil_s = 2.0\n',
            "did you mean 'merlin-1'",
        ),
    ],
)
def test_what_cannot_be_played_is_refused_in_a_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    assert main(["soak", "--scenario", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words.replace("`", "'") in said, said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["soak", "--scenario", "town-blakout"], "did you mean 'town-blackout'"),
        (["soak", "--scenario", "no/such.toml"], "No such file"),
        (["soak", "--scenario", "town-blackout", "--hours", "nan"], "outside 0 to 744"),
        (["soak", "--scenario", "town-blackout", "--hours", "-1"], "outside 0 to 744"),
        (["soak", "--scenario", "town-blackout", "--seeds", "0:1"], "not both"),
        (["sim", "site", "--poles", "0"], "outside 1 to 1000"),
        (["sim", "site", "--poles", "1000000"], "outside 1 to 1000"),
        (["sim", "site", "--on-a-line", "17"], "outside 1 to 16"),
        (["sim", "replay", __file__], "test_gallery.py"),
        (["sim", "replay", "no/such.rec"], "No such file"),
    ],
)
def test_bad_words_are_refused_in_a_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err, err


@pytest.mark.parametrize(("poles", "on_a_line"), [(1, 1), (17, 8), (POLES_MOST, MAX_POLES_ON_A_LINE), (POLES_MOST, 1)])
def test_a_made_up_town_is_a_site_like_any_other(poles: int, on_a_line: int, tmp_path: Path) -> None:
    made = town(poles, on_a_line)
    path = tmp_path / "town.toml"
    path.write_text(dump(made), encoding="utf-8")
    assert read_site(path) == made
    assert len(made.pole_ids()) == poles
    with pytest.raises(UserError):
        town(poles, MAX_POLES_ON_A_LINE + 1)
