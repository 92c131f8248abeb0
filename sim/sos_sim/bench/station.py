"""Durable alarms a second, received and receipted, from one point, from ten and from a thousand, beside a bare station.

The station is the real process, the broker mosquitto, the points are those of ``points``. Each point has some alarms
under way and sends the next when one is receipted, so that the station is never idle and never asked for more than it
takes. Every alarm is one of a live press.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from sos_contract.errors import SafezoneError
from sos_sim.bench.broker import Mosquitto
from sos_sim.bench.figures import Tell, figure, spread
from sos_sim.bench.points import Crowd
from sos_sim.bench.press import sizes
from sos_sim.bench.rig import broker_words, said
from sos_sim.bigtown import town
from sos_sim.live import layout
from sos_sim.live.child import Child
from sos_station.edge.inbox import FILE_NAME

POINTS = (1, 10, 1_000)
# Under way at a time: what one agent has of its backlog, and of all points together what mosquitto, as it is
# configured for a site, keeps for a station that does not keep up.
WINDOW, UNDER_WAY = 48, 1_000
LEAST_RATE, START_S = 50, 60.0
FILES_BESIDE = 100  # open files beside the points' own: databases, logs, pipes, libraries


def window(points: int) -> int:
    """Alarms that each point has under way."""
    return max(1, min(WINDOW, UNDER_WAY // points))


def make_room(points: int) -> None:
    """For a connection a point, here and in the broker, which inherits the limit. Raises SafezoneError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = points + FILES_BESIDE
    if soft < need <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    elif hard < need:
        raise SafezoneError(f"{points} points need {need} open files, {hard} are allowed: raise it with ulimit -n")


async def ours(folder: Path, points: int, count: int) -> tuple[float, list[float]]:
    """Alarms a second, and milliseconds from each to its receipt; the inbox holds every one."""
    folder.mkdir()
    broker = Mosquitto(folder / "broker", None)
    site = town(points, 1)
    of_ours = msgspec.structs.replace(site.station, brokers=(broker.url,), data=str(folder / "station"))
    file = folder / "site.toml"
    file.write_text(layout.dump(msgspec.structs.replace(site, station=of_ours)), encoding="utf-8")
    command = [sys.executable, "-m", "safezone", "station", "--site", str(file)]
    station = Child("station", command, folder / "station.log")
    crowd = Crowd(of_ours.id, points, window(points), bare=False)
    try:
        await broker.start()
        await station.start()
        await crowd.connect(broker.port)
        took_s = await crowd.send(count, START_S + count / LEAST_RATE)
    except SafezoneError as error:
        raise SafezoneError(f"{error}; station: {station.last_words()}") from None
    finally:
        crowd.close()
        await asyncio.gather(station.stop(), broker.stop())
    with closing(sqlite3.connect(f"file:{folder / 'station' / FILE_NAME}?mode=ro", uri=True)) as inbox:
        kept = inbox.execute("SELECT count(*) FROM alarm").fetchone()[0]
    if kept != count:
        raise SafezoneError(f"{count} alarms were receipted, and the inbox holds {kept}")
    return count / took_s, crowd.times


async def bare(folder: Path, points: int, count: int) -> tuple[float, list[float]]:
    """The same from a station that only counts."""
    folder.mkdir()
    broker = Mosquitto(folder / "broker", None)
    words = ["station", str(sizes().receipt), str(folder / "b"), *broker_words(broker, None)]
    station = Child("floor station", [sys.executable, "-m", "sos_sim.bench.floor_many", *words], folder / "b.log")
    crowd = Crowd("floor", points, window(points), bare=True)
    try:
        await broker.start()
        await station.start()
        await said(station, "ready", START_S)
        await crowd.connect(broker.port)
        return count / await crowd.send(count, START_S + count / LEAST_RATE), crowd.times
    finally:
        crowd.close()
        await asyncio.gather(station.stop(), broker.stop())


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` alarms from each number of points."""
    for points in sorted({min(points, count) for points in POINTS}):
        make_room(points)
        floor, floor_times = await bare(folder / f"floor-{points}", points, count)
        rate, times = await ours(folder / f"ours-{points}", points, count)
        what = f"{points:,} point{'s' * (points > 1)}, {window(points)} under way each"
        tell(figure("station", what, "alarms/s", rate, count=count, floor=floor, more=True))
        for one in spread("station", f"{what}: alarm to receipt", times, floor_times):
            tell(one)
