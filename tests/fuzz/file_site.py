"""A site file as anybody may write it: a site, or one line that says what is wrong with it."""

from __future__ import annotations

from tests.fuzz.files import one_line, written

from sos_contract.resources import data_dir
from sos_contract.site import Button, Line, Place, Point, Pole, Site, Station, Tls, complaints, read_site
from sos_edge.address import Address

PACKAGES = ("sos_contract", "sos_edge", "tomllib")
SMALL = b"""version = 1
id = "town"
name = { th = "x", en = "y" }
[station]
id = "police"
name = { th = "x", en = "y" }
brokers = ["mqtts://user:secret@b.example.org:8883"]
tls = { ca = "ca.pem", cert = "cert.pem", key = "key.pem" }
[[point]]
id = "merlin"
name = { th = "x", en = "y" }
place = { lat = 5.7, lon = 101.0, approximate = true }
[[point.line]]
port = "/dev/ttyUSB0"
shared = true
pole = [{ id = "merlin-1", address = 1 }, { id = "merlin-2", address = 2, silent_button = true }]
[point.button]
id = "merlin-own"
gpio = 17
"""


def words() -> list[str]:
    names = {name for kind in (Site, Station, Tls, Point, Place, Line, Pole, Button) for name in kind.__struct_fields__}
    return sorted({f"{name} = " for name in names} | {"[[point]]", "[[point.line]]", "[station]", "nan", "inf", "true"})


def seeds() -> list[bytes]:
    return [SMALL, *(path.read_bytes() for path in data_dir("sites").glob("*.toml"))]


def one(data: bytes) -> None:
    path = written(data)
    site = one_line(lambda: read_site(path))
    if site is not None:
        assert not list(complaints(site))
        for broker in site.station.brokers:
            Address.of(broker)
        for pole in site.pole_ids()[:3]:
            site.find_pole(pole)
        one_line(lambda: site.find_point("nowhere"))
