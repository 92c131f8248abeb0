"""What is carried to one machine each: a folder ``<kind>.<name>`` with ``ca.pem``, ``cert.pem`` and ``key.pem``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sos_contract.errors import UserError
from sos_contract.files import read_file
from sos_contract.site import Site, nearest
from sos_contract.who import KINDS, Who, who
from sos_keys.authority import Authority, Issued, Pair, hosts_of, pair_fits
from sos_keys.folder import make_folder, replace, write_new

Condition = Literal["good", "older", "revoked", "broken"]


@dataclass(frozen=True, slots=True)
class Row:
    """A certificate and its condition; ``older``: replaced, but it still opens the broker."""

    who: Who
    until: datetime
    condition: Condition


def wanted(site: Site, terminals: list[str]) -> list[Who]:
    """Everybody of ``site`` who needs a certificate, brokers first."""
    hosts = dict.fromkeys(urlsplit(broker).hostname or "" for broker in site.station.brokers)
    points = [Who("point", point.id) for point in site.point]
    officers = [Who("terminal", name) for name in terminals]
    return [*(Who("broker", host) for host in hosts), Who("station", site.station.id), *points, *officers]


def folder_of(out: Path, holder: Who) -> Path:
    """Where the holder's files lie. An IPv6 address has colons, which scp takes for a host's end."""
    return out / holder.common_name.replace(":", "-")


def make(out: Path, authority: Authority, holder: Who, until: datetime) -> None:
    """Make the holder's folder, which must not be there; it is there whole or not at all."""
    folder = folder_of(out, holder)
    draft = folder.with_name(f".{folder.name}.new")
    if draft.exists():
        shutil.rmtree(draft)
    make_folder(draft)
    pair = authority.issue(holder, [holder.name] if holder.kind == "broker" else [], until)
    for name, data in _files(authority, holder, pair).items():
        write_new(draft / name, data)
    draft.rename(folder)


def renew(out: Path, authority: Authority, holder: Who, until: datetime) -> None:
    """Another key and certificate for a holder who has one; what else is in the folder stays."""
    folder = folder_of(out, holder)
    hosts = hosts_of(read_file(folder / "cert.pem"))
    for name, data in _files(authority, holder, authority.issue(holder, hosts, until)).items():
        replace(folder / name, data)


def refresh(out: Path, authority: Authority) -> None:
    """Give every folder the newest list of what is revoked."""
    for holder in holders(authority):
        folder = folder_of(out, holder)
        names = ("ca.pem", "crl.pem") if holder.kind == "broker" else ("ca.pem",)
        for name in names if folder.is_dir() else ():
            data = authority.trust if name == "ca.pem" else authority.revocations
            if not (folder / name).exists() or read_file(folder / name) != data:
                replace(folder / name, data)


def newest(out: Path, folder: Path) -> None:
    """Raises UserError where ``folder`` is no authority, or an older copy of the one, that made what lies in ``out``.

    A new authority would turn away all whom the one before let in; an older copy would let in whom that one revoked.
    """
    made = next((path for kind in KINDS for path in sorted(out.glob(f"{kind}.*/cert.pem"))), None)
    if made is not None and not folder.exists():
        why = f"not here, though it has signed {made}"
        raise UserError(f"{folder}: {why}; bring it back from your copy, or move what is in {out} away to begin anew")
    for path in sorted(out.glob("broker.*/crl.pem")):
        if Authority(folder).is_older_than(read_file(path)):
            raise UserError(f"{folder}: older than {path}, which turns more people away; bring the newest copy")


def holders(authority: Authority) -> list[Who]:
    """Everybody who was ever given a certificate."""
    return list(dict.fromkeys(one.who for one in authority.issued()))


def welcome(authority: Authority) -> set[Who]:
    """Everybody who has a certificate that is not revoked."""
    return {one.who for one in authority.issued() if not one.revoked}


def find(authority: Authority, kind: str, name: str) -> Who:
    """The holder of that kind and name; raises UserError that names the nearest known one."""
    if kind not in KINDS:
        raise UserError(f"unknown kind '{kind}'{nearest(kind, (*KINDS, 'pole'))}")
    known = [holder.name for holder in holders(authority) if holder.kind == kind]
    if name not in known:
        raise UserError(f"no {kind} '{name}' has a certificate{nearest(name, known)}")
    found = who(f"{kind}.{name}")
    assert found is not None
    return found


def current(out: Path, authority: Authority, holder: Who) -> Issued | None:
    """The certificate in the holder's folder; None if it, or its key, is not there or not ours."""
    found, folder = certificate(out, authority, holder), folder_of(out, holder)
    try:
        cert, key = (read_file(folder / name) for name in ("cert.pem", "key.pem"))
    except FileNotFoundError:
        return None
    return found if pair_fits(cert, key) else None


def certificate(out: Path, authority: Authority, holder: Who) -> Issued | None:
    """As ``current``, whatever its key: a rotation that was cut off leaves the new key with the old certificate."""
    try:
        found = authority.read(read_file(folder_of(out, holder) / "cert.pem"))
    except FileNotFoundError:
        return None
    return found if found is not None and found.who == holder else None


def rows(out: Path, authority: Authority, now: datetime) -> Iterator[Row]:
    """Everybody's certificate, and the older ones that are still good."""
    issued = authority.issued()
    for holder in holders(authority):
        own = [one for one in issued if one.who == holder]
        ours = current(out, authority, holder)
        if ours is None:
            yield Row(holder, own[-1].until, "broken")
        else:
            yield Row(holder, ours.until, "revoked" if ours.revoked else "good")
        for one in own:
            if (ours is None or one.serial != ours.serial) and not one.revoked and one.until > now:
                yield Row(holder, one.until, "older")


def _files(authority: Authority, holder: Who, pair: Pair) -> dict[str, bytes]:
    # The key before the certificate: an interrupted change is seen as a certificate that does not fit its key.
    files = {"ca.pem": authority.trust, "key.pem": pair.key, "cert.pem": pair.cert}
    return files | {"crl.pem": authority.revocations} if holder.kind == "broker" else files
