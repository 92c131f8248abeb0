"""The agent's memory, its processor while nothing happens, and how soon it is armed, beside a bare Python process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_sim.bench.figures import Reach, Tell, figure, percentile
from sos_sim.bench.peers import node_red_of, start_theirs
from sos_sim.bench.rig import Rig
from sos_sim.bench.weight import MEGABYTE, Body, weigh
from sos_sim.live.child import Child

STARTS = 7
SETTLE_S = 3.0  # after the link is up: the first health, the first progress
START_TIMEOUT_S = 30.0
# What any such program needs: the interpreter, an event loop, MQTT and a database; asleep.
BARE = """
import asyncio, sqlite3
import paho.mqtt.client
async def main():
    print("armed", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


async def start_ms(command: Sequence[str]) -> float:
    """From exec to the line that says ``armed``; the process is ended then."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    told = b""
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while line := await process.stdout.readline():
                told += line
                if b"armed" in line:
                    return (time.monotonic() - began) * 1000
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    last = told.decode(errors="replace").strip().splitlines()[-1:]
    raise SafezoneError(f"{' '.join(command[:4])} never said that it is armed: {' '.join(last) or 'it said nothing'}")


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count``: seconds of idling, with a live pole attached."""
    bare_command = [sys.executable, "-c", BARE]
    async with Rig(folder / "site") as rig:
        bare = Child("bare Python", bare_command, folder / "bare.log")
        await bare.start()
        try:
            await asyncio.sleep(min(SETTLE_S, count))
            ours, floor = await weigh([rig.agent.pid, bare.pid], count)
        finally:
            await bare.stop()
        await rig.agent.stop()
        starts, bare_starts = [], []
        for _ in range(min(STARTS, count)):
            bare_starts.append(await start_ms(bare_command))
            starts.append(await start_ms(rig.agent.command))

    for what, mine, least in (("PSS", ours.pss, floor.pss), ("RSS", ours.rss, floor.rss)):
        value, beside = mine / MEGABYTE, least / MEGABYTE
        tell(figure("agent", f"memory, {what}", "MB", value, floor=beside, reach=Reach(most=45)))
    tell(figure("agent", f"idle processor over {count} s", "%", ours.share * 100, reach=Reach(most=0.5)))
    value, beside = percentile(starts, 0.5), percentile(bare_starts, 0.5)
    most = Reach(most=1000)
    tell(figure("agent", "start to armed, median", "ms", value, count=len(starts), floor=beside, reach=most))
    tell(figure("agent", "start to armed, most", "ms", max(starts), count=len(starts), floor=max(bare_starts)))
    await _beside_node_red(folder / "node-red", count, ours, tell)


async def _beside_node_red(folder: Path, count: int, ours: Body, tell: Tell) -> None:
    """In its rows the floor is our agent."""
    make = await node_red_of("agent", tell)
    if make is None:
        return
    async with AsyncExitStack() as undo:
        side = await start_theirs(folder, undo, make)
        await asyncio.sleep(min(SETTLE_S, count))
        (theirs,) = await weigh([side.process.pid], count)
    tell(figure("agent", "Node-RED: memory, PSS", "MB", theirs.pss / MEGABYTE, floor=ours.pss / MEGABYTE))
    tell(figure("agent", "Node-RED: memory, RSS", "MB", theirs.rss / MEGABYTE, floor=ours.rss / MEGABYTE))
    what = f"Node-RED: idle processor over {count} s"
    tell(figure("agent", what, "%", theirs.share * 100, floor=ours.share * 100))
