"""Our own small reader of certificates says the same as the library that made them, and survives any file."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sos_contract.errors import UserError
from sos_contract.who import Who, who
from sos_edge.certificate import Certificate, read_certificate
from sos_keys.authority import Authority

NOW = datetime(2045, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("keys") / "authority", "town", NOW)


# In 2050 X.509 changes its form of a date.
@pytest.mark.parametrize("until", [datetime(y, 12, 31, 23, 59, 59, tzinfo=UTC) for y in (1999, 2026, 2049, 2050, 2064)])
def test_it_reads_name_and_end(authority: Authority, tmp_path: Path, until: datetime) -> None:
    for holder in (Who("terminal", "front-desk"), Who("point", "m" * 40), Who("broker", "127.0.0.1")):
        pair = authority.issue(holder, ["127.0.0.1"] if holder.kind == "broker" else [], until)
        path = tmp_path / "cert.pem"
        path.write_bytes(b"a comment before it\n" + pair.cert)
        assert read_certificate(path) == Certificate(holder.common_name, int(until.timestamp()) * 1000)
        assert who(read_certificate(path).common_name) == holder


def test_whatever_is_no_certificate_is_one_complaint(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    cert = authority.issue(Who("point", "market"), [], NOW.replace(year=2046)).cert
    der = base64.b64decode(b"".join(cert.splitlines()[1:-1]))
    for size in range(len(der)):
        begin, end = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
        path.write_bytes(begin + base64.encodebytes(der[:size]) + end)
        with pytest.raises(UserError, match="no certificate"):
            read_certificate(path)
    for content in (b"", b"\xff" * 1000, cert.replace(b"CERTIFICATE", b"PRIVATE KEY")):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no certificate"):
            read_certificate(path)


def test_a_byte_that_changed_never_ends_the_program(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    cert = authority.issue(Who("point", "market"), [], NOW.replace(year=2046)).cert
    der = bytearray(base64.b64decode(b"".join(cert.splitlines()[1:-1])))
    for at in range(len(der)):
        for value in (0xFF, der[at] ^ 1):
            changed = bytes([*der[:at], value, *der[at + 1 :]])
            path.write_bytes(
                b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(changed) + b"-----END CERTIFICATE-----\n"
            )
            with suppress(UserError):
                read_certificate(path)


def test_kinds_cannot_pass_for_one_another() -> None:
    assert who("point.market") == Who("point", "market")
    for name in ("", "market", "point.", ".market", "admin.market", "Point.market"):
        assert who(name) is None
