"""``safezone station --check``: everything that would keep the station from its work, a line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sos_contract.site import Site
from sos_contract.who import Who
from sos_edge import check
from sos_edge.lock import holder_of
from sos_station.edge.inbox import FILE_NAME
from sos_station.edge.schema import VERSION
from sos_station.edge.tls import tls_of

# An alarm with its history and its records takes about two kilobytes, and stays for a year: room for the next 100,000.
ROOM_BYTES = 200_000_000


def complaints(site: Site, folder: Path) -> Iterator[str]:
    """What would fail, in words that say what to do. ``folder``: where the site file lies. Changes nothing."""
    data, tls = site.station.data_path, tls_of(site, folder)
    running = holder_of(data)
    if running:
        yield f"{data}: a station (process {running}) uses this folder; stop it before you start another"
    yield from check.folder(data, "station", ROOM_BYTES, "the room for 100,000 alarms")
    yield from check.database(data / FILE_NAME, "station", VERSION)
    yield from check.certificate(tls, Who("station", site.station.id))
    yield from check.brokers(site.station.brokers, f"{site.station.id}-check-{os.urandom(4).hex()}", tls)
