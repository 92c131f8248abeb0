"""The rig of the peers: plain pole, wire, broker and subscriber, with a stand-in for Node-RED that obeys its flow."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sos_contract.errors import SafezoneError
from sos_sim.bench import peers
from sos_sim.bench.figures import Figure
from sos_sim.bench.peer import node_red

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("bench")]
STAND_IN = [sys.executable, str(Path(__file__).parent / "stand_in.py")]


def test_a_press_takes_the_way_that_the_flow_says_and_is_lost_where_the_way_loses_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as undo:
            side = await peers.start_theirs(tmp_path / "side", undo, peers.of_node_red(STAND_IN))
            found = peers.Found()
            for _ in range(2):
                await side.press(found)
            assert all(28 <= spoke < heard for spoke, heard in zip(found.spoke, found.heard, strict=True))
            assert side.arrived() == [2], "the numbers of the last press, which the pole counted"
            # Killed while nobody forwards: that press is nowhere.
            await side.process.kill()
            await peers.tap(side.pole)
            await asyncio.sleep(0.5)
            await side.process.start()
            await asyncio.sleep(1.0)
            assert side.arrived() == [2]
            await side.press(found)
            assert side.arrived() == [4]

    asyncio.run(main())


def test_node_red_that_cannot_be_had_is_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse() -> list[str]:
        raise SafezoneError("npm could not install Node-RED (code ENOTFOUND): check the network")

    monkeypatch.setattr(node_red, "find", refuse)
    told: list[Figure] = []
    assert asyncio.run(peers.node_red_of("peers", told.append)) is None
    assert [one.what for one in told] == [
        "left out: Node-RED (npm could not install Node-RED (code ENOTFOUND): check the network)"
    ]


def test_a_side_of_which_no_press_arrived_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a busy machine the only press of a short run had come late, and there was nothing to take a median of."""

    async def nothing(*_: object) -> None:
        return None

    async def measured(*_: object) -> peers.Found:
        return peers.Found()

    monkeypatch.setattr(peers, "node_red_of", nothing)
    monkeypatch.setattr(peers, "start_theirs", nothing)
    monkeypatch.setattr(peers, "measure", measured)
    with pytest.raises(SafezoneError, match="bench peers: plain: no press arrived in time"):
        asyncio.run(peers.run(tmp_path, 1, lambda _: None))
