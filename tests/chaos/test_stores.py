"""What is read of a live town's databases."""

from __future__ import annotations

from pathlib import Path

from tests.ledger.books import SITE, lived_station

from sos_sim.chaos.stores import Stores
from sos_sim.live.layout import localise, write


def test_a_record_that_was_changed_is_found_and_told_of_its_machine(tmp_path: Path) -> None:
    site = localise(SITE, tmp_path, "mqtt://127.0.0.1:1")
    write(site, tmp_path)
    world = lived_station(tmp_path / "station")
    stores = Stores(tmp_path)
    assert stores.unsound(site) == []
    world.disk.execute("UPDATE alarm SET officer = 'Malee' WHERE number = 2")
    ((part, words),) = stores.unsound(site)
    assert part == "station" and "officer" in words
