"""TLS files of a site."""

from __future__ import annotations

from pathlib import Path

from sos_contract.site import Site
from sos_edge.mqtt import Tls


def tls_of(site: Site, folder: Path) -> Tls | None:
    """TLS files of the site; they are named relative to the site file's ``folder``."""
    tls = site.station.tls
    if tls is None:
        return None
    cert, key = (folder / name if name else None for name in (tls.cert, tls.key))
    return Tls(folder / tls.ca, cert, key)
