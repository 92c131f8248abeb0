"""The agent's own file of replaced keys, with anything in it: keys that can be used, or one line and none."""

from __future__ import annotations

import json

from tests.fuzz.files import written

from sos_agent.edge.keys import FILE_NAME, read_kept
from sos_contract.site import KEY_BYTES
from sos_wire.wrap import fingerprint

PACKAGES = ("sos_agent.edge.keys",)
GIVEN = {"p1": bytes(range(32)), "p2": bytes(range(32, 64))}


def words() -> list[str]:
    return [f'"{name}": ' for name in ("p1", "p2", "given", "key", "next")]


def seeds() -> list[bytes]:
    kept = {
        pole: {"given": fingerprint(key), "key": key[::-1].hex(), "next": key.hex() if pole == "p1" else ""}
        for pole, key in GIVEN.items()
    }
    return [
        b"{}",
        json.dumps(kept).encode(),
        json.dumps({"p9": kept["p1"], "p1": {**kept["p1"], "given": ""}}).encode(),
    ]


def one(data: bytes) -> None:
    path = written(data, FILE_NAME)
    kept, why = read_kept(path.parent, GIVEN)
    assert not (kept and why) and "\n" not in why and set(kept) <= set(GIVEN)
    for found in kept.values():
        assert len(bytes.fromhex(found.key)) == KEY_BYTES and len(bytes.fromhex(found.next)) in (0, KEY_BYTES)
