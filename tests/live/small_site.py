"""A live zone of one point and one pole, for tests that disturb it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from sos_contract.site import Site, find_site, read_site
from sos_sim.live.zone import Zone

POINT, POLE = "market", "market-1"
Scene = Callable[[Zone], Awaitable[None]]


def small_site() -> Site:
    """Betong with nothing but the market."""
    site = read_site(find_site("betong"))
    return msgspec.structs.replace(site, point=(site.find_point(POINT),))


@asynccontextmanager
async def running_zone() -> AsyncIterator[Zone]:
    """A zone in service; everything is ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="safezone-") as folder:
        zone = Zone(small_site(), Path(folder))
        try:
            await zone.start()
            yield zone
        finally:
            await zone.stop()
