"""A wrapped key that anybody may have changed: the new key, whole, or nothing."""

from __future__ import annotations

from sos_wire.wrap import WRAPPED, unwrap, wrap

PACKAGES = ("sos_wire",)
KEY, NEW = bytes(range(32)), bytes(range(32, 64))


def seeds() -> list[bytes]:
    return [wrap(KEY, bytes([number] * 16), NEW) for number in range(3)] + [b"", bytes(WRAPPED)]


def one(data: bytes) -> None:
    assert unwrap(KEY, data) in (b"", NEW)
