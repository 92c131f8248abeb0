"""``safezone agent --check``: everything that would keep this agent from its work, a line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sos_agent.edge.outbox import FILE_NAME
from sos_agent.edge.reserve import RESERVE_BYTES
from sos_agent.edge.serial import Place, look_for, open_device
from sos_agent.edge.setup import Setup
from sos_agent.edge.tables import VERSION
from sos_contract.site import Button
from sos_contract.who import Who
from sos_edge import check
from sos_edge.lock import holder_of


def complaints(setup: Setup) -> Iterator[str]:
    """What would fail, in words that say what to do. Changes nothing but a lock file's owner.

    A running agent holds its ports and pins: they are not asked for a second time.
    """
    running = holder_of(setup.data)
    if running:
        yield f"{setup.data}: an agent (process {running}) uses this folder; its ports and pins are not checked"
    yield from _disk(setup.data)
    if setup.complaint:
        yield setup.complaint
    if not running:
        for line in setup.point.line:
            yield from _port(Place(line.port, line.port, line.search), line.baud)
        if setup.point.button is not None:
            yield from _gpio(setup.point.button)
    yield from check.certificate(setup.tls, Who("point", setup.point.id))
    yield from check.brokers(setup.config.brokers, f"{setup.client_id}-check", setup.tls)


def _disk(data: Path) -> Iterator[str]:
    reserve = data / "reserve"
    held = reserve.stat().st_size if os.access(reserve, os.F_OK) else 0
    yield from check.folder(data, "agent", RESERVE_BYTES - held, "the room for 100,000 alarms")
    yield from check.database(data / FILE_NAME, "agent", VERSION)


def _port(place: Place, baud: int) -> Iterator[str]:
    found = look_for([place])
    if not found:
        yield f"{place.port}: no such port, and nothing found by search; plug in the pole or mend the site file"
    home = [candidate for candidate in found if candidate.home]
    for candidate in home or found:
        device = open_device(candidate.port, baud)
        if isinstance(device, str):
            yield f"{place.port}: {device}" if candidate.home else f"{candidate.port} (for {place.port}): {device}"
        else:
            device.close()


def _gpio(button: Button) -> Iterator[str]:
    from sos_agent.edge.gpio import Pins

    try:
        Pins(button).close()
    except OSError as error:
        yield f"own button '{button.id}' on GPIO {button.gpio}: {error}"
