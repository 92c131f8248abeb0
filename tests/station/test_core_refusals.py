"""Nonsense on any topic is refused, counted, and does not fill the log."""

from __future__ import annotations

import pytest
from tests.station.world import A, World

from sos_contract import topics
from sos_station.core import events as ev

OF_A_POINT = ("alarm", "notice", "probe", "progress_query", "health", "state")
TOPICS = {leaf: topics.of_point("betong", "merlin", leaf) for leaf in OF_A_POINT}
TOPICS["desk_request"] = topics.desk_request("betong", "evil")
TIMES = 1_000


@pytest.mark.parametrize("what", TOPICS)
def test_a_flood_of_nonsense_is_told_sparingly_and_with_its_count(what: str) -> None:
    world = World()
    for number in range(TIMES):
        world.handle(ev.Message(A, TOPICS[what], b'{"v":1,"number":[%d' % number, retained=False))
    told = [log for log in world.logs if log.text == f"{what}_refused"]
    assert [dict(log.fields)["count"] for log in told] == [1 << power for power in range(10)]
    assert len(world.logs) < 20
