"""``--check``: what would keep a program from its work, a line each, in words that say what to do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_contract.who import Who, who
from sos_edge.address import without_password
from sos_edge.certificate import open_key, read_certificate
from sos_edge.mqtt import Connected, Disconnected, MqttEvent, MqttLink, Tls
from sos_edge.sqlite import check_database

BROKER_TIMEOUT_S = 15.0  # twice name and TCP, and the broker's answer


def folder(path: Path, program: str, needed: int, why: str) -> Iterator[str]:
    """A data folder that ``program`` cannot write, or with less than ``needed`` bytes free, which are for ``why``."""
    existing = next(parent for parent in (path, *path.parents) if os.access(parent, os.F_OK))
    read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
    if not existing.is_dir():
        yield f"{existing}: is no folder; move it away, or name another one in the site file"
    elif read_only:
        yield f"{existing}: its file system is read-only; look what dmesg says of the disk, then remount or replace it"
    elif not os.access(existing, os.W_OK | os.X_OK) and existing != path:
        yield f"{path}: this user may not make it; run: sudo install -d -o <user of the {program}> {path}"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield f"{existing}: this user may not write there; run: sudo chown <user of the {program}> {existing}"
    else:
        room = os.statvfs(existing)
        free = room.f_bavail * room.f_frsize
        if free < needed:
            yield f"{existing}: {free // 1_000_000} MB free, {why} needs {needed // 1_000_000} MB; make room"


def database(path: Path, program: str, version: int) -> Iterator[str]:
    """A database that ``program`` cannot use, or would move aside."""
    if not os.access(path, os.F_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        return  # of a folder that cannot be written ``folder`` tells
    if not os.access(path, os.R_OK | os.W_OK):
        yield f"{path}: this user may not write it; run: sudo chown <user of the {program}> {path}"
        return
    try:
        found = check_database(path, version)
    except SafezoneError as error:
        yield str(error)
        return
    if found:
        yield f"{path}: damaged ({found}); the {program} will move it aside and begin a new one"


def certificate(tls: Tls | None, owner: Who) -> Iterator[str]:
    """A certificate of ours that is somebody else's, or over: brokers drop what it says, or refuse it."""
    if tls is None or tls.cert is None:
        return
    if open_to := open_key(tls.key or tls.cert):
        yield open_to
    try:
        found = read_certificate(tls.cert)
    except OSError as error:
        yield f"{tls.cert}: cannot be read ({error.strerror})"
        return
    except SafezoneError as error:
        yield str(error)
        return
    holder = who(found.common_name)
    if holder is not None and holder != owner:
        yield f"{tls.cert}: belongs to the {holder.kind} '{holder.name}', not to the {owner.kind} '{owner.name}'"
    if found.until_ms < time.time_ns() // 1_000_000:
        ended = time.strftime("%Y-%m-%d", time.gmtime(found.until_ms / 1000))
        today = time.strftime("%Y-%m-%d", time.gmtime())
        yield f"{tls.cert}: has ended on {ended}, and this machine's clock says {today}; rotate it, or set the clock"


def brokers(urls: tuple[str, ...], client_id: str, tls: Tls | None) -> list[str]:
    """Brokers that do not take us. ``client_id`` must be nobody's: whoever has it would lose its connection to us."""

    async def ask_all() -> list[str]:
        return [said for said in await asyncio.gather(*(broker(url, client_id, tls) for url in urls)) if said]

    return asyncio.run(ask_all())


async def broker(url: str, client_id: str, tls: Tls | None = None) -> str:
    """Why this broker does not take us, in words that say what to do; empty if it does."""
    events: asyncio.Queue[MqttEvent] = asyncio.Queue()
    link = MqttLink(url, client_id, deliver=events.put_nowait, tls=tls)
    link.connect("check")
    try:
        event = await asyncio.wait_for(events.get(), BROKER_TIMEOUT_S)
    except TimeoutError:
        return f"broker {without_password(url)}: no answer"
    finally:
        link.close()
    if isinstance(event, Connected):
        return ""
    assert isinstance(event, Disconnected)
    return f"broker {without_password(url)}: {event.reason}"
