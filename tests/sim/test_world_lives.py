"""A program's connections die with it, or stand still with it."""

from __future__ import annotations

from sos_contract.site import find_site, read_site
from sos_sim.trace import Trace
from sos_sim.world.zone import Zone


def _zone() -> Zone:
    zone = Zone(read_site(find_site("betong")), 1, Trace())
    zone.start()
    zone.run_s(8)
    assert zone.in_service()
    return zone


def test_a_killed_program_leaves_no_connection_behind() -> None:
    zone = _zone()
    broker = zone.brokers["1"]
    before = len(broker.clients())
    zone.station.kill()
    zone.agents["merlin"].kill()
    zone.run_s(1)
    assert len(broker.clients()) == before - 2


def test_a_frozen_program_hears_nothing_and_the_broker_gives_it_up() -> None:
    zone = _zone()
    broker = zone.brokers["1"]
    before = len(broker.clients())
    handled = zone.station.handled
    zone.station.freeze()
    zone.run_s(30)
    assert zone.station.handled == handled
    assert len(broker.clients()) == before - 1
