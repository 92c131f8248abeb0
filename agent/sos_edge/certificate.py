"""What we need to know of our own certificate: the name it gives us, and until when.

Python's ``ssl`` tells nothing of a certificate that it sends, and a library that could costs an agent 8 MB. So here are
the few steps through its DER (X.690) to the two fields (RFC 5280, 4.1). Whether the certificate is good is for the peer
to say; nothing is trusted because of what is read here.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sos_contract.errors import UserError
from sos_contract.files import read_file

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_COMMON_NAME = bytes.fromhex("0603550403")  # the object identifier 2.5.4.3 with its tag and length
_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18


class Certificate(NamedTuple):
    """The subject's common name, and the end of the validity in Unix milliseconds."""

    common_name: str
    until_ms: int


def read_certificate(path: Path) -> Certificate:
    """The first certificate of a PEM file. Raises OSError, or UserError if there is none to be read."""
    found = _PEM.search(read_file(path))
    try:
        return _read(base64.b64decode(found[1])) if found else _none(path)
    except (ValueError, IndexError):
        return _none(path)


def until_ms(path: Path | None) -> int | None:
    """The end of the certificate in ``path``; None where there is none to be read: whoever connects with it says so."""
    try:
        return read_certificate(path).until_ms if path else None
    except (OSError, UserError):
        return None


def _none(path: Path) -> Certificate:
    raise UserError(f"{path}: no certificate (PEM) that can be read")


def _read(der: bytes) -> Certificate:
    (certificate,) = _parts(der)
    fields = _parts(_parts(certificate[1])[0][1])
    if fields[0][0] == _VERSION:
        del fields[0]
    _serial, _algorithm, _issuer, validity, subject = fields[:5]
    return Certificate(_common_name(subject[1]), _time_ms(*_parts(validity[1])[1]))


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """The values that follow one another in ``der``, with their tags; raises IndexError where one is cut short."""
    parts, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length > 0x7F:
            more = length & 0x7F
            length, at = int.from_bytes(der[at : at + more], "big"), at + more
        if at + length > len(der):
            raise IndexError("cut short")
        parts.append((tag, der[at : at + length]))
        at += length
    return parts


def _common_name(subject: bytes) -> str:
    for _, names in _parts(subject):
        for _, name in _parts(names):
            if name.startswith(_COMMON_NAME):
                return _parts(name)[1][1].decode()
    return ""


def _time_ms(tag: int, text: bytes) -> int:
    if tag == _UTC_TIME:
        # Two digits of a year: up to 49 they mean 20xx (RFC 5280, 4.1.2.5.1).
        text = (b"20" if text < b"50" else b"19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    when = datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return int(when.timestamp()) * 1000


def open_key(path: Path | None) -> str:
    """What is wrong with the mode of a key of ours, in words; empty if nothing, or if it cannot be looked at."""
    try:
        mode = path.stat().st_mode & 0o7777 if path is not None else 0
    except OSError:
        return ""
    return f"{path}: others may read this key (mode {mode:04o}); run: chmod 600 {path}" if mode & 0o077 else ""
