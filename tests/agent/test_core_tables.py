"""The core's state machines: every row is reachable, and what is not listed raises and changes nothing."""

from __future__ import annotations

import pytest
from tests.agent.core_world import World, config

from sos_agent.core.brokers import BROKER, Brokers
from sos_agent.core.context import Context
from sos_agent.core.events import Contents, Started
from sos_agent.core.health import DISK
from sos_agent.core.ports import SEAT
from sos_agent.core.progress import QUERY
from sos_agent.core.supervision import POLE_LINK, SERVICE
from sos_agent.core.table import ImpossibleError, Table

TABLES = (BROKER, DISK, SEAT, QUERY, POLE_LINK, SERVICE)


def _name(table: Table) -> str:
    return table.name


@pytest.mark.parametrize("table", TABLES, ids=_name)
def test_every_state_is_reached_from_the_first_one(table: Table) -> None:
    reached = {table.first}
    for _ in table.rows:
        reached |= {after for (before, _), (after, _) in table.rows.items() if before in reached}
    assert reached == {state for state, _ in table.rows} | {after for after, _ in table.rows.values()}


@pytest.mark.parametrize("table", TABLES, ids=_name)
def test_what_is_not_listed_raises(table: Table) -> None:
    states = {state for state, _ in table.rows}
    words = {event for _, event in table.rows}
    for state in states:
        for event in words | {"nonsense"}:
            if (state, event) in table.rows:
                assert table.step(state, event) == table.rows[state, event]
            else:
                with pytest.raises(ImpossibleError, match=table.name):
                    table.step(state, event)


def test_an_impossible_event_changes_nothing_of_its_owner() -> None:
    world = World()
    context = Context(world.config, Started(bytes(32), "linux", Contents("aa", 0, 0)), 1_000)
    brokers = Brokers(context)
    for event in ("up", "answered", "silent", "overdue", "down"):
        with pytest.raises(ImpossibleError):
            brokers.step(event)
        assert (brokers.state, brokers.index, context.connection, context.effects) == ("waiting", 0, "", [])


# Which test walks each row: the rows of all tables are walked by the world's scenarios below, together.
def test_the_scenarios_walk_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: set[tuple[str, str, str]] = set()
    step = Table.step

    def noting(table: Table, state: str, event: str) -> tuple[str, str]:
        result = step(table, state, event)
        walked.add((table.name, state, event))
        return result

    monkeypatch.setattr(Table, "step", noting)
    for scenario in (_brokers, _poles, _station, _disk):
        scenario()
    missed = {(table.name, *row) for table in TABLES for row in table.rows} - walked
    assert not missed


def _brokers() -> None:
    """Refused, silent, hanging, cut while tried, cut while proven."""
    world = World(config(brokers=("mqtt://a", "mqtt://b", "mqtt://c")))
    world.brokers_up, world.hanging = {"mqtt://b", "mqtt://c"}, {"mqtt://c"}
    world.station_at = {"mqtt://b"}
    world.station.up = False
    world.start()
    world.run(90_000)
    world.brokers_up = {"mqtt://a"}
    world.station_at = {"mqtt://b"}
    world.hanging = set()
    world.until(lambda: world.broker == "mqtt://a" and world.session != "", 60_000)
    world.run(100)
    world.broker_stops("mqtt://a")  # while tried
    world.brokers_up, world.station_at, world.station.up = {"mqtt://a", "mqtt://b"}, {"mqtt://b"}, True
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 120_000)
    world.run(6_000)
    world.broker_stops("mqtt://b")
    world.brokers_up.add("mqtt://b")
    world.until(lambda: world.session != "", 10_000)
    world.run(1_000)
    world.station.deaf = True
    world.run(40_000)


def _poles() -> None:
    """Never heard, found, silent, cut while searched for, found elsewhere, a session renewed while up."""
    world = World()
    world.poles["p1"].powered = False
    world.start()
    world.run(500)
    world.unplug()
    world.plug("/dev/home")
    world.run(12_000)
    world.poles["p1"].restart(world.now_ms)
    world.wake_poles()
    world.until(lambda: world.poles["p1"].link.up, 10_000)
    world.run(1_000)
    world.poles["p1"].restart(world.now_ms)
    world.run(3_000)
    world.plug("/dev/other")
    world.unplug("/dev/home")
    world.run(15_000)
    world.poles["p1"].powered = False
    world.run(15_000)
    moved = World()
    moved.start()
    moved.run(2_000)
    moved.ports["/dev/home"] = None  # the pole is taken off and put on another port, the old one stays
    moved.plug("/dev/other")
    moved.run(30_000)
    crossed = World(config(lines={"/dev/x": ("p1",), "/dev/y": ("p2",)}))
    crossed.start()
    crossed.run(2_000)
    crossed.ports = {"/dev/x": "/dev/y", "/dev/y": "/dev/x"}  # two plugs change places within a moment
    crossed.run(20_000)
    assert all(pole.link.up for pole in crossed.poles.values())


def _station() -> None:
    """Stages asked for: answered, unanswered, cut while asked, disk failing while asked, begun anew while read."""
    world = World()
    world.store_ms = 50
    world.station.up = False
    world.start()
    world.run(13_000)
    world.station_comes_back()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 10_000)
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    world.run(35_000)
    world.station.deaf = True
    world.run(45_000)
    world.broker_stops()
    world.station.deaf = False
    world.brokers_up.add("mqtt://a")
    world.run(40_000)
    world.store.failing = "disk I/O error"
    world.run(40_000)
    world.store.failing = ""
    world.run(40_000)
    world.station.deaf = True
    world.until(lambda: "progress_query" in world.last_topic(), 40_000)
    world.broker_stops()
    world.run(20_000)


def _disk() -> None:
    world = World()
    world.start()
    world.run(2_000)
    world.store.failing = "database or disk is full"
    press = world.press()
    world.run(12_000)
    assert world.stage(press) == "pressed"
    world.store.failing = ""
    world.until(lambda: world.stage(press) == "received", 10_000)
    assert world.stage(world.press()) == "pressed"
    world.run(10_000)
    world.store.full = True
    for failing in ("", "database or disk is full"):
        world.poles["p1"].powered = False  # a notice: its link is lost
        world.run(12_000)
        world.poles["p1"].powered = True
        world.run(5_000)
        world.press()
        world.run(5_000)
        world.store.failing = failing
        world.press()
        world.run(5_000)
    world.store.failing = ""
    world.press()
    world.run(5_000)
    world.store.full = False
    world.run(120_000)
