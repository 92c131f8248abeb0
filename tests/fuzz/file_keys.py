"""A key file as it may lie about: 32 bytes for each pole that is asked for, or one line."""

from __future__ import annotations

from tests.fuzz.files import one_line, written

from sos_contract.site import KEY_BYTES, read_keys
from sos_keys.poles import read_poles

PACKAGES = ("sos_contract", "sos_keys", "tomllib")
KEY = bytes(range(32)).hex()


def words() -> list[str]:
    return ["[poles]", "merlin-1 = ", KEY]


def seeds() -> list[bytes]:
    return [f'[poles]\nmerlin-1 = "{KEY}"\nmarket-1 = "{KEY[::-1]}"\n'.encode(), b'[poles]\nmerlin-1 = "00"\n']


def one(data: bytes) -> None:
    path = written(data)
    keys = one_line(lambda: read_keys(path, ["merlin-1"]))
    assert keys is None or (set(keys) == {"merlin-1"} and len(keys["merlin-1"]) == KEY_BYTES)
    one_line(lambda: read_poles(path))
