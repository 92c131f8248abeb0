"""``safezone agent --check``: everything that would keep this agent from its work, a line each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from sos_agent.edge import outbox
from sos_agent.edge.reserve import RESERVE_BYTES
from sos_agent.edge.serial import Place, look_for, open_device
from sos_agent.edge.setup import Setup
from sos_contract.site import Button
from sos_edge.address import without_password
from sos_edge.lock import holder_of
from sos_edge.mqtt import Connected, Disconnected, MqttEvent, MqttLink

BROKER_TIMEOUT_S = 15.0  # twice name and TCP, and the broker's answer


def complaints(setup: Setup) -> Iterator[str]:
    """What would fail, in words that say what to do. Changes nothing but a lock file's owner.

    A running agent holds its ports and pins: they are not asked for a second time.
    """
    running = holder_of(setup.data)
    if running:
        yield f"{setup.data}: an agent (process {running}) uses this folder; its ports and pins are not checked"
    yield from _disk(setup.data)
    if not running:
        for line in setup.point.line:
            yield from _port(Place(line.port, line.port, line.search), line.baud)
        if setup.point.button is not None:
            yield from _gpio(setup.point.button)
    yield from asyncio.run(_brokers(setup))


def _disk(folder: Path) -> Iterator[str]:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield f"{existing}: this user may not write there; run: sudo chown <user of the agent> {existing}"
        return
    found = outbox.complaint(folder)
    if found:
        yield found
    room = os.statvfs(existing)
    held = (folder / "reserve").stat().st_size if (folder / "reserve").exists() else 0
    if room.f_bavail * room.f_frsize + held < RESERVE_BYTES:
        free = room.f_bavail * room.f_frsize // 1_000_000
        needed = RESERVE_BYTES // 1_000_000
        yield f"{existing}: {free} MB free, the room for 100,000 alarms needs {needed} MB; make room"


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


async def _brokers(setup: Setup) -> list[str]:
    return [text for broker in setup.config.brokers if (text := await _broker(setup, broker))]


async def _broker(setup: Setup, broker: str) -> str:
    events: asyncio.Queue[MqttEvent] = asyncio.Queue()
    # A name of its own: the running agent must not lose its connection to us.
    link = MqttLink(broker, f"{setup.client_id}-check", deliver=events.put_nowait, tls=setup.tls)
    link.connect("check")
    try:
        event = await asyncio.wait_for(events.get(), BROKER_TIMEOUT_S)
    except TimeoutError:
        return f"broker {without_password(broker)}: no answer"
    finally:
        link.close()
    if isinstance(event, Connected):
        return ""
    assert isinstance(event, Disconnected)
    return f"broker {without_password(broker)}: {event.reason}"
