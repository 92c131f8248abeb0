"""A backlog after an outage, with the real agent, broker and station: all of it, in order, and a new press first."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from sos_contract.errors import SafezoneError
from sos_sim.bench import drain

HELD = 3_000
Rows = list[tuple[str, str, int]]


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_backlog_drains_in_order_and_new_presses_go_first(tmp_path: Path) -> None:
    found = asyncio.run(drain.measure(tmp_path / "site", HELD))
    held = [(pole, press) for pole, incarnation, press in found.rows if incarnation == drain.INCARNATION]
    assert len(held) == len(set(held)) == HELD
    for pole in drain.POLES:
        numbers = [press for name, press in held if name == pole]
        assert numbers and all(one < other for one, other in pairwise(numbers))
    news = [at for at, (_, incarnation, _) in enumerate(found.rows) if incarnation != drain.INCARNATION]
    during = news[len(found.usual) :]
    last_held = max(at for at, row in enumerate(found.rows) if row[1] == drain.INCARNATION)
    assert during and during[0] < last_held, "a press of today was received before the last of the held ones"


def rows(*presses: tuple[str, int]) -> Rows:
    return [(pole, drain.INCARNATION, press) for pole, press in presses]


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (rows(("pole-1", 1), ("pole-2", 2)), "of 3 held alarms the station has 2, in 2 rows"),
        (rows(("pole-1", 1), ("pole-2", 2), ("pole-1", 3), ("pole-2", 2)), "of 3 held alarms the station has 3, in 4"),
        (rows(("pole-1", 3), ("pole-2", 2), ("pole-1", 1)), "press 1 of pole-1 was received after press 3"),
    ],
)
def test_a_bench_that_finds_a_loss_or_a_wrong_order_fails(found: Rows, complaint: str) -> None:
    drain.check(rows(("pole-1", 1), ("pole-2", 2), ("pole-1", 3)), 3)
    with pytest.raises(SafezoneError, match=complaint):
        drain.check(found, 3)
