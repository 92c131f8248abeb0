"""Each planted bug is planted where it says, is gone afterwards, and the product behaves otherwise meanwhile."""

from __future__ import annotations

import pytest

from sos_contract.errors import UserError
from sos_sim.bugs import BUGS, find_bug, scenario_of
from sos_sim.checkers import base
from sos_sim.scenario import read_scenario
from sos_sim.shrink import first_finding


def test_there_are_enough_and_each_says_what_it_breaks() -> None:
    assert len(BUGS) >= 18
    for bug in BUGS.values():
        assert bug.promises and set(bug.promises) <= set(base.PROMISES)
        assert bug.sentence.endswith(".") and bug.name == bug.name.lower()


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_there_while_planted_and_gone_afterwards(name: str) -> None:
    swaps = BUGS[name].swaps()
    assert swaps
    before = [swap.get() for swap in swaps]
    with BUGS[name].planted():
        for swap, old in zip(swaps, before, strict=True):
            assert swap.get() is not old and swap.get() != old
    assert [swap.get() for swap in swaps] == before


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_in_its_scenario_and_nothing_without_it(name: str) -> None:
    """Each scenario was made so that the bug shows whatever the seed's delays; it replays what the hunt once found."""
    bug, scenario = BUGS[name], read_scenario(scenario_of(name))
    with bug.planted():
        found, _ = first_finding(scenario, lambda one: one.promise in bug.promises)
    assert found is not None, f"no finding of {', '.join(bug.promises)}: {bug.sentence}"
    assert first_finding(scenario)[0] is None, "without the bug all is well"


def test_a_bug_is_taken_out_when_the_run_fails() -> None:
    from sos_wire import link

    before = link.LINK_LOST_MS
    with pytest.raises(ZeroDivisionError), BUGS["link-lost-late"].planted():
        raise ZeroDivisionError
    assert before == link.LINK_LOST_MS


def test_an_unknown_bug_is_one_line_that_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown bug 'release-at-hold'; did you mean 'release-at-held'\?"):
        find_bug("release-at-hold")
