"""Scenarios: drawn the same each time, said in TOML and read back, refused in one line where they cannot be played."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from sos_agent.core.effects import ClosePort
from sos_contract.errors import UserError
from sos_contract.site import find_site
from sos_sim.coverage import all_rows, recording
from sos_sim.draw import draw
from sos_sim.faults import FAULTS, page
from sos_sim.faults.base import drawn, usual, wrong
from sos_sim.faults.seldom import MADE_WORSE, SELDOM
from sos_sim.play import Run
from sos_sim.scenario import (
    SETTLE_S,
    Cycle,
    Planned,
    Scenario,
    Touch,
    dump,
    load,
    places,
    read_scenario,
    site_of,
    town_of,
)
from sos_station.core import points

ROOT = Path(__file__).parents[2]


def test_the_page_of_faults_is_that_of_the_code() -> None:
    assert (ROOT / "sim/FAULTS.md").read_text(encoding="utf-8") == page(), "run: .venv/bin/python -m sos_sim.faults"
    assert all(kind.__doc__ and len(kind.__doc__) > 40 for kind in FAULTS.values())


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_draws_the_same_and_what_it_draws_can_be_said(seed: int) -> None:
    scenario = draw(seed, 1.0)
    assert scenario == draw(seed, 1.0) != draw(seed + 1, 1.0)
    assert load(dump(scenario)) == scenario
    assert len(scenario.swarm) >= 4
    companions = (*(seldom.by for seldom in SELDOM.values()), *MADE_WORSE.values())
    others = {"wire-cut", "network-cut", *(one.name for one in companions if one is not None)}
    assert {fault.name for fault in scenario.fault} <= set(scenario.swarm) | others


def test_presses_are_dense_and_faults_of_all_kinds_are_drawn() -> None:
    drawn_ = [draw(seed, 1.0) for seed in range(60)]
    assert sum(touch.times for one in drawn_ for touch in one.press) > 60 * 200
    assert {fault.name for one in drawn_ for fault in one.fault} == set(FAULTS)
    assert sum(len({fault.name for fault in one.fault}) for one in drawn_) >= 60 * 3


def test_some_fingers_tremble() -> None:
    """A pole that took each of their contacts for a press was not found: nobody ever let go for less than 250 ms."""
    for seed in range(3):
        shaky = [touch for touch in draw(seed, 1).press if touch.times > 1 and touch.every_s - touch.ms / 1000 < 0.235]
        assert shaky and all(touch.every_s - touch.ms / 1000 >= 0.04 for touch in shaky)


def test_some_runs_have_concealed_buttons_and_somebody_presses_them() -> None:
    drawn_ = [draw(seed, 1.0) for seed in range(60)]
    assert 5 <= sum(bool(one.silent) for one in drawn_) <= 40
    pressed = {touch.pole for one in drawn_ for touch in one.press if touch.button == 1}
    assert pressed == {pole for one in drawn_ for pole in one.silent}
    fewer = load('hours = 0.1\npoints = ["merlin"]\nsilent = ["merlin-1", "market-1"]')
    assert town_of(site_of(fewer), 1).silent == {"merlin-1"}


def test_a_short_run_still_has_faults_and_then_progress() -> None:
    (cycle,) = draw(1, 0.01).cycle
    assert cycle.heal_s - cycle.begin_s >= 30
    assert cycle.end_s - cycle.settle_s == pytest.approx(SETTLE_S)


def test_what_is_drawn_for_an_argument_may_be_said() -> None:
    import random

    rng = random.Random(1)
    for kind in FAULTS.values():
        for knob in kind.knobs.values():
            assert not wrong(knob, usual(knob))
            assert all(not wrong(knob, drawn(knob, rng)) for _ in range(20))


_HEAD = 'site = "betong"\nhours = 0.1\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hours = [", "not a TOML file"),
        ("", "my.toml: no 'hours' at the top; write one"),
        (_HEAD + '[[press]]\nat_s=1', "my.toml: no 'pole' in a [[press]]; write one"),
        (_HEAD + "sed = 4", "unknown key 'sed' at the top; did you mean 'seed'?"),
        (_HEAD + '[[fault]]\nname="wire-cut"\nat_s=1\nuntil_s=2\nwere="x"', "unknown key 'were' in [[fault]]"),
        (_HEAD + '[[fault]]\nname="wire-cutt"\nat_s=1\nuntil_s=2',
         "unknown fault 'wire-cutt'; did you mean 'wire-cut'?"),
        (_HEAD + '[[fault]]\nname="wire-cut"\nwhere="merlin"\nat_s=1\nuntil_s=2', "did you mean 'merlin-1'?"),
        (_HEAD + '[[fault]]\nname="wire-cut"\nwhere="merlin-1"\nat_s=5\nuntil_s=2', "does not fit into the run"),
        (_HEAD + '[[fault]]\nname="wire-loss"\nwhere="merlin-1"\nat_s=1\nuntil_s=2\nwith={probability=3}',
         "is outside"),
        (_HEAD + '[[fault]]\nname="wire-loss"\nwhere="merlin-1"\nat_s=1\nuntil_s=2\nwith={prob=0.1}',
         "no argument 'prob'"),
        (_HEAD + '[[press]]\npole="merlin-2"\nat_s=1', "did you mean 'merlin-1'?"),
        (_HEAD + '[[press]]\npole="merlin-1"\nat_s=1\nms=0', "0 ms is outside 1 to 600000"),
        (_HEAD + '[[press]]\npole="merlin-1"\nat_s=9999', "outside the run"),
        (_HEAD + '[[press]]\npole="merlin-1"\nat_s=1\nbutton=1', "has no button 1"),
        ('hours = 1\nsilent = ["merlin"]', "a concealed button at unknown pole 'merlin'; did you mean 'merlin-1'?"),
        (_HEAD + "[expect]\nlots = 0", "unknown expectation 'lots'; did you mean 'lost'?"),
        (_HEAD + "[expect]\nlost = -1", "expectation lost = -1 is impossible"),
        (_HEAD + "[expect]\np99_ms = 0", "is impossible"),
        ("hours = 1e9", "outside 0 to 744"),
        ("hours = 1\nbrokers = 1000", "brokers = 1000 is outside"),
        ('hours = 1\nversion = 7', "version 7"),
        ('hours = 1\nversion = 7\nwords = "of another release"', "version 7"),
        ('hours = 1\nsite = "paris"', "my.toml: no site file 'paris'"),
        ('hours = 1\npoints = ["merlyn"]', "my.toml: unknown point 'merlyn'; did you mean 'merlin'?"),
        (_HEAD + '[[press]]\npole="merlin-1"\nat_s=1\nms=500\ntimes=2\nevery_s=0.5', "begins when the last is over"),
        (_HEAD + '[[press]]\npole="merlin-1"\nat_s=1\ntimes=1000000\nevery_s=3600', "it ends after 1e+06 hours; 744"),
        (_HEAD + '[[cycle]]\nbegin_s=0\nheal_s=1\nsettle_s=2\nend_s=1e12', "744 at most"),
        (_HEAD + '[[cycle]]\nbegin_s=0\nheal_s=1\nsettle_s=2\nend_s=inf', "744 at most"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        load(text, "my.toml")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pipe_is_no_scenario_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "my.toml")
    with pytest.raises(UserError, match="it is a pipe or a device"):
        read_scenario(tmp_path / "my.toml")


def test_a_site_file_may_lie_beside_its_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked for only where the command was typed."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/town.toml").write_bytes(find_site("betong").read_bytes())
    (tmp_path / "there/my.toml").write_text('hours = 0.1\nsite = "town.toml"\n')
    monkeypatch.chdir(tmp_path)
    scenario = read_scenario(Path("there/my.toml"))
    assert scenario.site == "there/town.toml" and load(dump(scenario)) == scenario
    (tmp_path / "town.toml").write_bytes(find_site("betong").read_bytes())
    (tmp_path / "there/town.toml").unlink()
    assert read_scenario(Path("there/my.toml")).site == "town.toml"


def test_a_point_named_twice_is_there_once() -> None:
    assert [point.id for point in site_of(Scenario(hours=1, points=("merlin", "merlin"))).point] == ["merlin"]


def _every_fault() -> Scenario:
    """Each kind of fault once, one after the other, with a press in the middle of each."""
    town = town_of(site_of(Scenario(hours=1)), 2)
    at_s, planned, touches = 12.0, [], []
    for index, (name, kind) in enumerate(FAULTS.items()):
        known = places(town, kind.place)
        where = known[index % len(known)]
        planned.append(Planned(name=name, where=where, at_s=at_s, until_s=at_s + 2.5))
        touches.append(Touch(at_s=at_s + 1.2, pole=town.poles[index % len(town.poles)]))
        at_s += 2.0
    return Scenario(hours=(at_s + SETTLE_S + 10) / 3600, seed=5, brokers=2, fault=tuple(planned), press=tuple(touches))


def test_every_fault_begins_and_ends_and_the_town_gets_well() -> None:
    result = Run(_every_fault()).play()
    assert not result.findings
    assert {f"fault {name}" for name in FAULTS} <= result.visited
    assert result.kinds == len(FAULTS)
    assert result.presses > 50


def test_who_replays_on_a_cut_cable_is_no_cable() -> None:
    """Seed 1005 met one who said at each end what a cut kept from it, handshake and all: pole and agent rightly had
    each other again, and the checker rightly called that a lie of the cut."""
    attack = Planned(name="attack-wire-replay", where="merlin-1", at_s=25, until_s=90, with_={"per_s": 4.0})
    cut = Planned(name="wire-cut", where="merlin-1", at_s=35, until_s=90)
    result = Run(Scenario(hours=0.03, seed=1, fault=(attack, cut), press=(Touch(at_s=45, pole="merlin-1"),))).play()
    assert not result.findings
    assert 5 < result.figures["link_lost_s"] <= 10


def test_the_same_scenario_twice_is_the_same_row_by_row() -> None:
    whole = _every_fault()
    cycle = Cycle(begin_s=0, heal_s=70, settle_s=70, end_s=75)
    short = msgspec.structs.replace(whole, fault=whole.fault[:28], press=whole.press[:28], hours=0.01, cycle=(cycle,))
    assert Run(short).play().digest == Run(short).play().digest


def test_expectations_are_held_against_figures() -> None:
    fault = Planned(name="agent-frozen", where="merlin", at_s=20, until_s=45)
    press = Touch(at_s=15, pole="market-1")
    expect = {"link_lost_within_s": 10.0, "p99_ms": 1.0, "presses_least": 2, "lost": 0.0}
    result = Run(Scenario(hours=0.02, fault=(fault,), press=(press,), expect=expect)).play()
    assert len(result.missed) == 2
    assert result.missed[0].startswith("p99_ms = ")
    assert result.missed[1] == "1 presses, expected 2 at least"
    assert 5 < result.figures["link_lost_s"] <= 10


def test_tables_are_recorded_row_by_row_and_put_back() -> None:
    table, seen = points.TABLE, []
    with recording(lambda *row: seen.append(row)):
        point = points._Point()
        for _ in range(2):
            points.Points._move(point, points.HEARD)
        with pytest.raises(KeyError):
            points.TABLE["lost", "silence"]
    assert seen == [("station point", "unknown", "heard"), ("station point", "present", "heard")]
    assert points.TABLE is table
    assert ("pole debounce", "trying", "enough") in all_rows()


def test_a_pole_that_gave_itself_to_the_repl_is_turned_off_and_on_by_whoever_closes_it() -> None:
    """Opened, and somebody held the button as the power came back: it would have stood still for good (seed 126, one
    hour)."""
    scenario = Scenario(
        hours=0.05, points=("merlin",), press=(Touch(at_s=38, pole="merlin-1", ms=6_000),),
        fault=(
            Planned(name="pole-senses", at_s=35, until_s=50, where="merlin-1", with_={"what": "tamper"}),
            Planned(name="pole-brown-out", at_s=37, until_s=40, where="merlin-1"),
        ),
    )  # fmt: skip
    run = Run(scenario, keep=True)
    assert not run.play().findings
    assert [row.at_us // 1_000_000 for row in run.trace.rows if row.kind == "down" and row.fields == ("repl",)] == [40]
    assert [row.at_us // 1_000_000 for row in run.trace.rows if row.kind == "up" and row.part == "merlin-1"][1:] == [
        40,
        50,
    ]


def test_a_crash_at_an_effect_that_comes_seldom_comes_with_what_brings_it_about() -> None:
    """Two hundred hours had met none of them (seeds 1 to 199)."""
    brought: set[str] = set()
    for seed in range(80):
        faults = draw(seed, 1.0).fault
        for crash in faults:
            effect = str(crash.with_.get("effect"))
            by = SELDOM[effect].by if effect in SELDOM else None
            if by is not None:
                brought |= {effect for other in faults if other.name == by.name and other.at_s == crash.at_s}
    assert brought == {effect for effect, seldom in SELDOM.items() if seldom.by is not None}


def test_faults_that_seldom_meet_are_made_to_meet_now_and_then() -> None:
    """Two hundred hours had not met it (seeds 1 to 199)."""
    met: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for seed in range(40):
        faults = draw(seed, 1.0).fault
        begun = {(fault.name, fault.at_s) for fault in faults}
        for one in faults:
            if one.name in MADE_WORSE:
                met[one.name] += 1
                worse = MADE_WORSE[one.name]
                made[one.name] += (worse.name, worse.span_s(one.at_s, one.until_s, math.inf)[0]) in begun
    assert set(met) == set(MADE_WORSE)
    assert all(0 < made[name] < met[name] for name in met)


def test_a_cable_on_another_adapter_is_found_and_found_again_at_home() -> None:
    press = tuple(Touch(at_s=at_s, pole="merlin-1", ms=300) for at_s in (50, 80))
    fault = (Planned(name="wire-moved", at_s=35, until_s=65, where="merlin-1"),)
    run = Run(Scenario(hours=0.05, points=("merlin",), press=press, fault=fault), keep=True)
    assert not run.play().findings
    found = [row.fields[1] for row in run.trace.rows if row.kind == "pole_lost"]
    assert found == ["on", "off", "on", "off"] and run.zone.agents["merlin"].effects[ClosePort] == 3
