"""The checks of a campaign on evidence that is made up: each finds what it is for, and forgives what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from sos_contract.payloads import Identity
from sos_sim.chaos import truth
from sos_sim.chaos.evidence import Claim, Evidence, Finding, Mint, Outages, Overdue, Stale, Touch
from sos_sim.chaos.resources import Use, grown, most_grown, use_of
from sos_sim.chaos.stores import Row

POLE, PART = "market-1", "agent:market"


def identity(press: int, pole: str = POLE) -> Identity:
    """The press of that number."""
    return Identity(pole, "00000000000000ab", 1, press)


def row(press: int, number: int = 0, kind: str = "press", age_s: float | None = 1.0, clash: bool = False) -> Row:
    """It is in the inbox, received at 100 s on the wall's clock."""
    return Row(number or press, identity(press), kind, "received", clash, 100.0, age_s)


def mint(press: int, at_s: float = 99.0, kind: str = "press") -> Mint:
    """It was made."""
    return Mint(at_s, identity(press), kind)


def promises(findings: list[Finding]) -> list[str]:
    """What was broken."""
    return [finding.promise for finding in findings]


# --- the inbox


def test_each_press_is_there_once_and_nothing_else() -> None:
    assert not truth.arrived([mint(1), mint(2)], [row(1), row(2)], 0.0)
    assert promises(truth.arrived([mint(1)], [row(1), row(2)], 0.0)) == ["forged"]
    assert promises(truth.arrived([mint(1)], [row(1), row(1, number=2)], 0.0)) == ["duplicated"]
    assert promises(truth.arrived([mint(1)], [row(1, clash=True)], 0.0)) == ["forged"]
    assert promises(truth.arrived([mint(1, kind="silent_press")], [row(1)], 0.0)) == ["forged"]
    assert truth.missing([mint(1), mint(2)], [row(1)]) == [mint(2)]


def test_presses_that_were_made_while_all_was_well_come_in_order() -> None:
    made = [mint(1, 10.0), mint(2, 11.0)]
    assert not truth.out_of_order(made, [row(1, 1), row(2, 2)], 5.0, 20.0)
    assert promises(truth.out_of_order(made, [row(2, 1), row(1, 2)], 5.0, 20.0)) == ["lied"]
    assert not truth.out_of_order(made, [row(2, 1), row(1, 2)], 10.5, 20.0), "the first was made in the storm"


def test_an_alarm_is_never_said_to_be_older_than_it_is() -> None:
    assert not truth.too_old([mint(1, 60.0)], [row(1, age_s=40.5)], 0.0)
    assert not truth.too_old([mint(1, 60.0)], [row(1, age_s=None)], 0.0)
    assert promises(truth.too_old([mint(1, 60.0)], [row(1, age_s=44.0)], 0.0)) == ["lied"]


# --- fingers


def test_a_press_needs_a_finger_of_its_own() -> None:
    finger = Touch(9.0, 9.3, POLE, "press")
    assert not truth.made_up([finger], [mint(1, 9.1)])
    assert promises(truth.made_up([], [mint(1, 9.1)])) == ["forged"]
    assert promises(truth.made_up([finger], [mint(1, 9.1), mint(2, 9.2)])) == ["forged"], "two of one"
    assert promises(truth.made_up([Touch(9.0, 9.01, POLE, "press", brief=True)], [mint(1, 9.1)])) == ["forged"]
    assert promises(truth.made_up([finger], [mint(1, 9.1, "silent_press")])) == ["forged", "lost"]
    assert "forged" in promises(truth.made_up([finger], [mint(1, 60.0)])), "long after the finger"


def test_a_finger_on_a_pole_that_runs_makes_a_press() -> None:
    assert promises(truth.made_up([Touch(9.0, 9.3, POLE, "press")], [])) == ["lost"]
    assert not truth.made_up([Touch(9.0, 9.3, POLE, "press", sure=False)], [])
    assert not truth.made_up([Touch(9.0, 9.01, POLE, "press", brief=True)], [])


# --- lamps


@pytest.mark.parametrize(
    ("claim", "lies"),
    [
        (Claim(1.0, POLE, "pressed", identity(1)), False),
        (Claim(1.0, POLE, "pressed", None), True),
        (Claim(1.0, POLE, "pressed", identity(9)), True),
        (Claim(1.0, POLE, "held", identity(1), held=True), False),
        (Claim(1.0, POLE, "held", identity(1), stage="received"), False),
        (Claim(1.0, POLE, "held", identity(1)), True),
        (Claim(1.0, POLE, "received", identity(1), stage="received"), False),
        (Claim(1.0, POLE, "received", identity(1), held=True), True),
        (Claim(1.0, POLE, "accepted", identity(1), stage="closed"), False),
        (Claim(1.0, POLE, "accepted", identity(1), stage="received"), True),
        (Claim(1.0, POLE, "received", identity(2), stage="received"), True),
    ],
)
def test_a_lamp_says_only_what_is_true(claim: Claim, lies: bool) -> None:
    known = {identity(1): "press", identity(2): "silent_press"}
    assert promises(truth.false_claims([claim], known)) == ["lied"] * lies


def gone(since_s: float, until_s: float, part: str = PART) -> Evidence:
    """That part was away."""
    seen = Evidence()
    seen.outages.begin(part, "killed", since_s)
    seen.outages.end(part, "killed", until_s)
    return seen


LOOKS = [(0.0, "in_service"), (30.0, "out_of_service"), (60.0, "in_service")]


def late(seen: Evidence, *parts: str) -> list[str]:
    """What the lamp with those LOOKS is found to have said too long."""
    return promises(truth.late_words(POLE, LOOKS, parts or (PART,), truth.AGENT_LOST_S, seen, 100.0))


def test_a_lamp_must_not_say_in_service_for_long_when_its_agent_is_gone() -> None:
    assert late(gone(10.0, 40.0)) == ["lied"]
    assert late(gone(19.0, 40.0)) == [], "it said so in time"
    assert late(gone(10.0, 21.0)) == [], "it was back in time"
    assert late(gone(45.0, 70.0)) == ["lied"], "in service again while still gone"
    assert late(gone(10.0, 40.0), "agent:other") == []


def test_two_reasons_for_one_absence_count_together_and_a_gap_between_them_ends_it() -> None:
    seen = gone(10.0, 20.0)
    seen.outages.begin("line:market/0", "cut", 19.0)
    seen.outages.end("line:market/0", "cut", 29.0)
    assert late(seen, PART, "line:market/0") == ["lied"]
    assert late(seen) == []


def test_a_pole_that_did_not_run_and_a_machine_that_was_late_are_forgiven() -> None:
    seen = gone(10.0, 40.0)
    seen.outages.begin(f"pole:{POLE}", "stopped", 5.0)
    seen.outages.end(f"pole:{POLE}", "stopped", 20.0)
    assert late(seen) == []
    seen = gone(10.0, 40.0)
    seen.lag.samples.append((15.0, 4.0))
    assert late(seen) == []


def test_an_outage_that_is_not_over_counts_up_to_now() -> None:
    outages = Outages()
    outages.begin(PART, "killed", 3.0)
    assert [(one.since_s, one.until_s) for one in outages.of([PART], 9.0)] == [(3.0, 9.0)]


def test_a_press_that_nobody_received_is_said_not_to_be_delivered() -> None:
    seen = Evidence()
    assert promises(truth.silent_lamps([Overdue(22.5, identity(1), 0.0, "held")], seen, 30.0)) == ["lied"]
    assert not truth.silent_lamps([Overdue(22.5, identity(1), 0.0, "not_delivered")], seen, 30.0)
    seen.outages.begin(f"pole:{POLE}", "power", 5.0)
    assert not truth.silent_lamps([Overdue(22.5, identity(1), 0.0, "off")], seen, 30.0)


def test_a_lamp_that_does_not_come_to_know_is_found() -> None:
    seen = Evidence()
    assert not truth.stale_lamps([Stale(90.0, identity(1), "held", 40.0)], seen)
    assert promises(truth.stale_lamps([Stale(90.0, identity(1), "held", 50.0)], seen)) == ["stuck"]


# --- memory and files


def test_growth_is_found_and_a_little_is_forgiven() -> None:
    fresh = {PART: Use(7, 30_000, 20)}
    assert not grown(fresh, {PART: Use(7, 35_000, 22)})
    assert [words for _, words in grown(fresh, {PART: Use(7, 90_000, 20)})]
    assert [words for _, words in grown(fresh, {PART: Use(9, 30_000, 60)})]
    assert not grown(fresh, {"agent:new": Use(9, 900_000, 60)})
    assert grown({"pole:a": Use(7, 60, 20)}, {"pole:a": Use(7, 120, 20)})
    assert not grown({"pole:a": Use(7, 60, 20)}, {"pole:a": Use(7, 80, 20)})
    words = most_grown(fresh, {PART: Use(7, 30_500, 18), "agent:new": Use(9, 900_000, 60)})
    assert words == f"at most +500 KiB of memory ({PART}) and -2 files ({PART})"


def test_open_files_of_this_process_are_counted(tmp_path: Path) -> None:
    import os

    before = use_of(os.getpid())
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        after = use_of(os.getpid())
    assert before is not None and after is not None
    assert after.files == before.files + 2 and after.memory_kb > 1000
    assert use_of(2**22 + 1) is None
