"""The folder of a live zone: a copy of the site file whose ports, data and broker lie in it, and fresh pole keys."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import msgspec
import tomli_w

from sos_contract.site import KEY_BYTES, Line, Point, Site

KEYS = "keys.toml"  # of the poles


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class KeptPort:
    """A TCP port on loopback that stays ours while nobody serves it: who connects is refused, and nobody else gets it.

    A broker that is killed for a while must not find its port taken, and its clients must not find somebody else's
    broker there. The server has to set SO_REUSEADDR, as mosquitto and asyncio do.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Anybody may have it."""
        self._socket.close()


def localise(site: Site, folder: Path, broker: str) -> Site:
    """``site`` with everything that belongs to one machine moved into ``folder``; no GPIO, no certificates."""

    def local_line(point: Point, number: int, line: Line) -> Line:
        port = folder / "ports" / f"{point.id}-{number}"
        return msgspec.structs.replace(line, port=str(port), search=(str(folder / "ports" / f"{point.id}-*"),))

    points = tuple(
        msgspec.structs.replace(
            point,
            data=str(folder / point.id),
            line=tuple(local_line(point, number, line) for number, line in enumerate(point.line)),
            button=None,
        )
        for point in site.point
    )
    station = msgspec.structs.replace(site.station, data=str(folder / "station"), tls=None)
    return reached(msgspec.structs.replace(site, keys=KEYS, station=station, point=points), broker)


def reached(site: Site, broker: str) -> Site:
    """``site`` as a program has it whose way to the broker is that URL."""
    return msgspec.structs.replace(site, station=msgspec.structs.replace(site.station, brokers=(broker,)))


def write(site: Site, folder: Path) -> tuple[Path, dict[str, bytes]]:
    """Write ``site.toml`` and ``keys.toml`` into ``folder``; the site's path and the key of each pole."""
    keys = {pole: secrets.token_bytes(KEY_BYTES) for pole in site.pole_ids()}
    path = folder / "site.toml"
    path.write_text(dump(site), encoding="utf-8")
    key_path = folder / KEYS
    key_path.touch(mode=0o600)
    key_path.write_text(tomli_w.dumps({"poles": {pole: key.hex() for pole, key in keys.items()}}), encoding="utf-8")
    for name in ("ports", "flash", "logs", "station", *(point.id for point in site.point)):
        (folder / name).mkdir(exist_ok=True)
    return path, keys


def dump(site: Site) -> str:
    """The site file (TOML); ``sos_contract.site.read_site`` gives the same site back."""
    plain = {name: _without_none(value) for name, value in msgspec.to_builtins(site).items() if value is not None}
    return tomli_w.dumps(plain)


Tree = dict[str, "Tree"] | list["Tree"] | str | int | float | bool | None


def _without_none(value: Tree) -> Tree:
    """TOML has no null: what is not set is left out."""
    if isinstance(value, dict):
        return {name: _without_none(part) for name, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_without_none(part) for part in value]
    return value
