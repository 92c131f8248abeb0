"""Golden vectors: on CPython, on the pole's own MicroPython, and against the protocol worked out once more."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.wire import on_both, reference

from sos_sim.live import runtime
from sos_wire.frame import Decoder, build, parse
from sos_wire.messages import unpack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TEXT = (ROOT / "tests/vectors/wire.json").read_text(encoding="utf-8")
VECTORS: dict[str, Any] = json.loads(TEXT)


def on_micropython(folder: Path, script: str) -> list[str]:
    """Lines that ``script`` prints on the real MicroPython, with on_both.py and the vectors beside it."""
    found = runtime.find()
    shutil.copy(HERE / "on_both.py", folder)
    (folder / "wire.json").write_text(TEXT, encoding="utf-8")
    (folder / "script.txt").write_text(script, encoding="utf-8")
    command = [found.node, HERE / "on_micropython.mjs", found.micropython, ROOT / "firmware/sos_wire", folder]
    done = subprocess.run([*command, folder / "script.txt"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_both_interpreters_say_the_same(tmp_path: Path) -> None:
    script = "import on_both\nfor line in on_both.run(open('/board/wire.json').read()):\n    print(line)\n"
    assert on_micropython(tmp_path, script) == on_both.run(TEXT)


def test_keys_are_those_of_the_protocol() -> None:
    given = VECTORS["keys"]
    key, nonces = bytes.fromhex(given["key"]), bytes.fromhex(given["nonces"])
    number, up, down = reference.session_keys(key, nonces)
    assert (number, up.hex(), down.hex()) == (given["session"], given["up"], given["down"])
    assert reference.derive(key, "sos hello").hex() == given["hello"]
    assert reference.derive(key, "sos welcome").hex() == given["welcome"]


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda v: v["name"])
def test_frame(vector: dict[str, Any]) -> None:
    """Literal bytes, worked out from the document, built and read by the code: three ways that must agree."""
    names = ("kind", "address", "session", "sequence", "uptime_ms")
    numbers = vector["kind"], vector["address"], vector["session"], vector["sequence"], vector["uptime_ms"]
    body = bytes.fromhex(vector["body"])
    key = bytes(32) if vector["key"] == "none" else bytes.fromhex(VECTORS["keys"][vector["key"]])
    signed = reference.header(*numbers, version=vector["version"]) + body
    assert reference.wire(signed, key).hex() == vector["wire"]

    _number, seals = on_both.keys(VECTORS)
    if vector["version"] == 1:
        assert build(*numbers, body, seals[vector["key"]]).hex() == vector["wire"]
    for whole in (True, False):
        decoder = Decoder()
        (raw,) = on_both.decode(decoder, bytes.fromhex(vector["wire"]), whole)
        frame = parse(raw)
        assert not isinstance(frame, str)
        assert [getattr(frame, name) for name in names] == list(numbers)
        assert (frame.body, frame.tag.hex()) == (body, vector["tag"])
        assert seals[vector["key"]].check(frame.signed, frame.tag)
        assert not any(seal.check(frame.signed, frame.tag) for name, seal in seals.items() if name != vector["key"])


@pytest.mark.parametrize("vector", VECTORS["streams"], ids=lambda v: v["name"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_stream(vector: dict[str, Any], whole: bool) -> None:
    decoder = Decoder()
    raws = on_both.decode(decoder, bytes.fromhex(vector["bytes"]), whole)
    assert [raw.hex() for raw in raws] == vector["raws"]
    assert decoder.bad == vector["bad"]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: f"{v['name']} {v['payload'][:4]}")
def test_message(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    for data in (payload, payload + b"of a later version"):
        message = unpack(data)
        assert type(message).__name__ == vector["name"]
        fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in vars(message).items()}
        assert fields == vector["fields"]
        assert message is not None and message.pack() == payload


@pytest.mark.parametrize("vector", VECTORS["not_messages"], ids=lambda v: v["name"])
def test_no_message(vector: dict[str, Any]) -> None:
    assert unpack(bytes.fromhex(vector["payload"])) is None
