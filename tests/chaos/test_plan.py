"""The plan of a campaign: the seed decides all of it, and it does what the documented run promises."""

from __future__ import annotations

import msgspec
import pytest

from sos_contract.site import Site, find_site, read_site
from sos_sim.chaos.plan import OFTEN_S, Act, Round, plan

BETONG = read_site(find_site("betong"))
BUSY = ("kill", "tear", "stop")


def acts_of(rounds: list[Round]) -> list[Act]:
    """All acts, round by round."""
    return [act for one in rounds for act in one.acts]


def test_the_seed_decides_all_of_it() -> None:
    assert plan(7, 9, BETONG) == plan(7, 9, BETONG)
    assert plan(7, 9, BETONG) != plan(8, 9, BETONG)
    assert len({str(one) for one in plan(7, 9, BETONG)}) == 3, "each round is another"


def test_half_an_hour_kills_five_hundred_times() -> None:
    for seed in range(5):
        rounds = plan(seed, 30, BETONG)
        assert sum(one.count("kill", "tear") for one in rounds) >= 500
        assert sum(one.count("press") for one in rounds) >= 1000


def test_every_kind_of_fault_comes_and_each_round_does_without_some() -> None:
    rounds = plan(3, 30, BETONG)
    assert {act.what for act in acts_of(rounds)} == {"kill", "tear", "press", *OFTEN_S}
    assert any(set(OFTEN_S) - set(one.kinds) for one in rounds)
    assert {act.args[0][0] for act in acts_of(rounds) if act.what == "net"} >= {"hole", "refuse", "reset", "late_s"}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_happens_twice_at_once_to_the_same_part_and_all_is_over_when_the_storm_is(seed: int) -> None:
    for one in plan(seed, 6, BETONG):
        until: dict[str, float] = {}
        assert [act.at_s for act in one.acts] == sorted(act.at_s for act in one.acts)
        for act in one.acts:
            assert (act.at_s >= 0 and act.at_s + act.for_s <= one.storm_s + 0.01) or act.what == "press"
            if act.what in BUSY:
                assert act.where not in one.spared
                assert until.get(act.where, -1) < act.at_s
                until[act.where] = act.at_s + act.for_s


def test_some_faults_outlast_the_promised_seconds() -> None:
    acts = acts_of(plan(1, 30, BETONG))
    assert any(act.for_s > 12 for act in acts if act.what in BUSY and act.where.startswith("agent:"))
    assert any(act.for_s > 22 for act in acts if act.what in BUSY and act.where in ("station", "broker"))
    assert any(act.for_s > 22 for act in acts if act.what == "net")


def test_silent_buttons_are_pressed_where_there_are_some_and_brief_contacts_are_made() -> None:
    presses = [act for act in acts_of(plan(1, 6, BETONG)) if act.what == "press"]
    assert {act.arg("button") for act in presses} == {"button"}
    assert any(act.number("ms") < 30 for act in presses)
    presses = [act for act in acts_of(plan(1, 6, with_silent(BETONG))) if act.what == "press"]
    assert {act.where for act in presses if act.arg("button") == "silent"} == {"market-1"}


def with_silent(site: Site) -> Site:
    """The site with a concealed button at the market."""
    market = site.find_point("market")
    line = market.line[0]
    pole = msgspec.structs.replace(line.pole[0], silent_button=True)
    point = msgspec.structs.replace(market, line=(msgspec.structs.replace(line, pole=(pole,)),))
    return msgspec.structs.replace(site, point=tuple(point if one.id == "market" else one for one in site.point))
