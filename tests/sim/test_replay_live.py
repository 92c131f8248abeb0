"""A real agent records a real cable; the record is played to a virtual pole, and nothing is lost there."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.agent.edge_world import KEY, AgentProcess, LittleStation, PtyPole, until, write_site
from tests.support.broker import Broker

from sos_contract.site import find_site, read_site
from sos_sim.play import play
from sos_sim.record import diagnose, read_record
from sos_sim.replay import scenario_of

pytestmark = pytest.mark.live


class RecordingAgent(AgentProcess):
    """An agent with ``--record FOLDER``."""

    def __init__(self, site: Path, folder: Path) -> None:
        super().__init__(site)
        self._words += ["info", str(folder)]


def test_what_a_real_agent_records_is_played_in_the_zone(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            station, pole = LittleStation(broker), PtyPole(tmp_path)
            async with RecordingAgent(write_site(tmp_path, broker.url), tmp_path / "records") as agent:
                await until(lambda: pole.look == "in_service", "in service")
                await pole.press()
                await until(lambda: pole.look == "received", "received")
                assert await agent.end() == 0
            pole.close()
            station.close()

    asyncio.run(main())
    path = tmp_path / "records/market.record"
    assert KEY.hex() not in path.read_text("utf-8"), "a record holds no keys"
    record = read_record(path)
    assert [traffic.baud for traffic in record.ports.values()] == [115200] and not record.lost
    counts = Counter(one.what for one in diagnose(record.ports[0]))
    assert counts["good"] >= 3 and not counts["lost_up"] + counts["garbled"] + counts["noise"]
    scenario = scenario_of(record, read_site(find_site("betong")), "betong", press_every_s=5.0)
    assert scenario.press[0].pole == "market-1"
    result = play(scenario)
    assert result.presses >= 1 and not result.findings
