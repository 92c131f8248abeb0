"""A site file that changes under a station: what stands open of places that are in it no more, or not yet."""

from __future__ import annotations

import msgspec
import pytest
from tests.station.test_core_faults import health, notice
from tests.station.world import A, B, World

from sos_contract.payloads import PoleHealth
from sos_station.core import events as ev
from sos_station.core.brokers import shown


def _open(world: World) -> set[tuple[str, str, str]]:
    return set(world.faults())


def test_faults_of_points_and_brokers_that_left_the_site_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(brokers=(A, B))
    world.probe("market")
    world.probe()
    world.send("notice", notice(1, "tamper"))
    world.hanging = True
    world.handle(ev.BrokerDown(B, "reset"))
    world.pass_ms(25_000)
    world.probe()
    assert _open(world) == {
        ("market", "", "point_lost"), ("betong", shown(B), "broker_lost"), ("merlin", "merlin-1", "tamper"),
    }  # fmt: skip
    monkeypatch.setattr("tests.station.world.POINTS", ("merlin",))
    world.brokers, world.hanging = (A,), False
    world.start()
    assert _open(world) == {("merlin", "merlin-1", "tamper")}


def test_faults_of_places_that_left_the_site_end_also_when_the_disk_was_full_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They stood open until the next start."""
    world = World(brokers=(A, B))
    world.probe()
    world.hanging = True
    world.handle(ev.BrokerDown(B, "reset"))
    world.pass_ms(25_000)
    world.probe()
    assert _open(world) == {("market", "", "point_lost"), ("betong", shown(B), "broker_lost")}
    monkeypatch.setattr("tests.station.world.POINTS", ("merlin",))
    world.brokers, world.hanging, world.full_disk = (A,), False, True
    world.start()
    world.full_disk = False
    world.probe()
    assert _open(world) == set()
    assert not world.stores


def test_a_fault_of_a_point_that_is_not_in_the_site_file_yet_stands_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could end it if the point never came, so a start ends it; the point's health opens it again."""
    world = World()
    there = "tests.station.world.POINTS", ("merlin", "market", "lian-yu")
    pole = PoleHealth(pole="lian-yu-1", link=True, lamp="in_service", faults=("tamper",))
    told = msgspec.structs.replace(health(), poles=(pole,))
    fault = ("lian-yu", "lian-yu-1", "tamper")
    world.send("notice", notice(1, "tamper", pole="lian-yu-1"), point="lian-yu")
    world.send("health", told, point="lian-yu")
    assert _open(world) == {fault}
    world.start()
    world.send("health", told, point="lian-yu")
    assert _open(world) == set(), "of a point that was taken away nobody would speak again"
    monkeypatch.setattr(*there)
    monkeypatch.setattr("tests.station.world.POLES", {"merlin-1": "merlin", "lian-yu-1": "lian-yu"})
    world.start()
    world.send("health", told, point="lian-yu")
    assert _open(world) == {fault}
