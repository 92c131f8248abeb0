"""The control channel of a live pole, spoken by hand: nonsense is refused in words, and the pole lives on."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from tests.live.test_live_pole import settings

from sos_sim.live import firmware, runtime
from sos_sim.live.control import POLE_MJS
from sos_sim.live.electrics import Electrics

pytestmark = pytest.mark.live

NONSENSE = [
    ("nonsense", "JSON"),
    ("null", "no command"),
    ("[[1]]", "no command"),
    ('{"op":"nope"}', 'no command "nope"'),
    ('{"op":"constructor"}', "no command"),
    ('{"op":"__proto__"}', "no command"),
    ('{"op":"set"}', "levels by name"),
    ('{"op":"set","inputs":{"adc26":"high"}}', "levels by name"),
    ('{"op":"play","id":1}', "steps"),
    ('{"op":"play","id":1,"steps":[["soon",{}]]}', "steps"),
    ('{"op":"play","id":1,"steps":[[1]]}', "steps"),
    ('{"op":"uart"}', "string"),
]


def talk(lines: list[str]) -> tuple[list[dict[str, Any]], int]:
    """What a pole of its own says to these lines, and how it ended."""
    command = [str(runtime.find().node), "--no-warnings", str(POLE_MJS)]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def power_on(flash: str) -> str:
    """The first line of a good pole."""
    electrics = Electrics(settings()["board"])
    return json.dumps(
        {
            "op": "power_on",
            "micropython": runtime.find().micropython.as_uri(),
            "settings": settings(),
            "files": [[name, str(path)] for name, path in firmware.files().items()],
            "flash": flash,
            "flash_size": electrics.flash_bytes,
            "files_size": electrics.journal_start,
            "chip": electrics.chip,
            "heap": 243 * 1024,
            "ticks_ms": 0,
            "inputs": electrics.at_rest(),
            "senses": electrics.senses(),
        }
    )


def test_before_power_on_everything_else_is_refused() -> None:
    said, code = talk(['{"op":"set","inputs":{}}', '{"op":"reset"}', '{"op":"off"}'])
    assert [(event["ev"], event["text"]) for event in said] == [
        ("refused", "set: the power is off"),
        ("refused", "reset: the power is off"),
    ]
    assert code == 0


def test_nonsense_is_refused_and_the_pole_lives_on(tmp_path: Any) -> None:
    good = power_on(str(tmp_path / "flash"))
    said, code = talk([good, *(line for line, _ in NONSENSE), good, '{"op":"off"}'])
    refusals = [event["text"] for event in said if event["ev"] == "refused"]
    assert len(refusals) == len(NONSENSE) + 1
    for (line, words), text in zip(NONSENSE, refusals, strict=False):
        assert words in text, line
    assert refusals[-1] == "the power is on already"
    assert code == 0 and not [event for event in said if event["ev"] in ("playing", "broken")]
