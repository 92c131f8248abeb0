"""What the site file, the key file and the command line make of one agent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from sos_agent.core.events import Config, LineConfig, PoleConfig
from sos_agent.edge.keys import read_kept
from sos_contract.site import KEY_BYTES, Button, Point, Site, SiteError, read_keys, read_site
from sos_edge.certificate import until_ms
from sos_edge.mqtt import Tls

LOCAL_ADDRESS = 1  # the own button is alone on its line
LOCAL_BAUD = 1_000_000  # memory: the fastest that a line may claim


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that does not change while the agent runs."""

    site: Site
    point: Point
    config: Config
    tls: Tls | None
    data: Path
    local_key: bytes
    given_keys: Mapping[str, bytes]  # by pole, as the site's key file has them
    complaint: str = ""  # what is wrong and does not keep the agent from its work

    @property
    def client_id(self) -> str:
        """Names us to the broker: one connection a point."""
        return client_id_of(self.site, self.point)

    @property
    def pole_ids(self) -> list[str]:
        return [pole.id for line in self.config.lines for pole in line.poles]


def local_port(button: Button) -> str:
    """Name of the line and port of the own button."""
    return f"local:{button.id}"


def read_setup(site_path: Path, point_id: str) -> Setup:
    """Read site and keys; raises SiteError, one line, for anything that cannot be right."""
    site = read_site(site_path)
    point = site.find_point(point_id)
    if not point.line and point.button is None:
        raise SiteError(f"{site_path}: point '{point_id}' has neither a line nor a button; nothing to do")
    keys_path = site_path.parent / site.keys
    wanted = [pole.id for pole in point.poles()]
    keys = read_keys(keys_path, wanted) if wanted else {}
    # The own button's cable is memory: nobody else is on it, and its key need not outlive the process.
    local_key = os.urandom(KEY_BYTES)
    if point.button is not None and point.button.supervised:
        where = f"{site_path}: button '{point.button.id}' of point '{point_id}'"
        raise SiteError(f"{where}: a GPIO reads no resistor, so it cannot be supervised; set supervised = false")
    tls = tls_of(site, site_path)
    kept, complaint = read_kept(point.data_path, keys)
    now = {**keys, **{pole: bytes.fromhex(one.key) for pole, one in kept.items()}}
    trials = {pole: bytes.fromhex(one.next) for pole, one in kept.items()}
    config = replace(
        config_of(site, point, now, local_key, trials), certificate_until_ms=until_ms(tls.cert if tls else None)
    )
    return Setup(site, point, config, tls, point.data_path, local_key, keys, complaint)


def config_of(
    site: Site, point: Point, keys: Mapping[str, bytes], local_key: bytes, trials: Mapping[str, bytes] | None = None
) -> Config:
    """What the core needs of a point; ``keys`` by pole, and ``trials``: those that are to take their place."""
    trials = trials or {}
    lines = [
        LineConfig(
            name=line.port,
            baud=line.baud,
            shared=line.shared,
            poles=tuple(
                PoleConfig(pole.id, pole.address, keys[pole.id], next=trials.get(pole.id, b"")) for pole in line.pole
            ),
        )
        for line in point.line
    ]
    if point.button is not None:
        pole = PoleConfig(point.button.id, LOCAL_ADDRESS, local_key, supervised=False)
        lines.append(LineConfig(local_port(point.button), LOCAL_BAUD, shared=False, poles=(pole,)))
    return Config(site.station.id, point.id, site.station.brokers, tuple(lines))


def client_id_of(site: Site, point: Point) -> str:
    """Names a point to the broker: one connection a point."""
    return f"sos-{site.station.id}-{point.id}"


def tls_of(site: Site, site_path: Path) -> Tls | None:
    """The station's TLS files, relative to the site file."""
    tls = site.station.tls
    if tls is None:
        return None
    folder = site_path.parent
    return Tls(
        folder / tls.ca,
        folder / tls.cert if tls.cert else None,
        folder / tls.key if tls.key else None,
    )
