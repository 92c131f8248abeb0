"""The firmware's size, its heap on a live pole, and what a million steps leave behind, on the real MicroPython."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec

from sos_contract.errors import SafezoneError
from sos_sim.bench.figures import Reach, Tell, figure
from sos_sim.bench.press import HOLD_MS
from sos_sim.bench.rig import Rig
from sos_sim.live import firmware, runtime

BOARD = Path(__file__).resolve().parent / "board"
FRAMED_SHARE = 50  # one step with a frame for so many idle ones: 20,000 beside a million
PRESSES = 3
# The bounds are memory of a microcontroller, whose kilobytes have 1,024 bytes: 28,672 of flash, 65,536 of RAM.
KILOBYTE = 1024
MOST_BYTES, MOST_HEAP = 28 * KILOBYTE, 64 * KILOBYTE
STEPS_TIMEOUT_S = 3600.0


class Steps(msgspec.Struct, rename="camel"):
    """What steps.mjs found. Bytes in use after a collection; ``allocated``: by watched idle steps."""

    before: int
    after_idle: int
    before_framed: int
    after_framed: int
    allocated: int
    presses: int


async def _run(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(STEPS_TIMEOUT_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise SafezoneError(f"{Path(command[0]).name} did not end within {STEPS_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        raise SafezoneError(f"{Path(command[0]).name} failed: {' '.join(last) or process.returncode}")
    return out


def sizes() -> tuple[int, int]:
    """Bytes of what is put on a board, and of its sources."""
    made, given = firmware.files().values(), firmware.sources().values()
    return sum(path.stat().st_size for path in made), sum(path.stat().st_size for path in given)


async def heap(folder: Path) -> int:
    """Bytes in use on a live pole whose link is up, after some presses."""
    async with Rig(folder / "site") as rig:
        pole = rig.poles[0]
        for _ in range(PRESSES):
            await rig.press(pole, HOLD_MS)
            await asyncio.sleep(0.5)
        return int((await pole.stats())["heap"])


async def steps(idle: int, framed: int) -> Steps:
    """The core alone, step after step."""
    found = await asyncio.to_thread(runtime.find)
    files = [*firmware.sources().items(), ("/steps.py", BOARD / "steps.py")]
    config = {"files": [[name, str(path)] for name, path in files], "idle": idle, "framed": framed}
    out = await _run(str(found.node), str(BOARD / "steps.mjs"), found.micropython.as_uri(), json.dumps(config))
    return msgspec.json.decode(out, type=Steps)


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` idle steps."""
    size, source = await asyncio.to_thread(sizes)
    tell(figure("firmware", "compiled size", "bytes", size, reach=Reach(most=MOST_BYTES)))
    tell(figure("firmware", "source size", "bytes", source))
    used = await heap(folder)
    tell(figure("firmware", "heap in use, link up, after presses", "bytes", used, reach=Reach(most=MOST_HEAP)))
    framed = max(1, count // FRAMED_SHARE)
    found = await steps(count, framed)
    none = Reach(most=0)
    growth = found.after_idle - found.before
    tell(figure("firmware", "heap growth over idle steps", "bytes", growth, count=count, reach=none))
    growth = found.after_framed - found.before_framed
    tell(figure("firmware", "heap growth over steps with frames", "bytes", growth, count=framed, reach=none))
    tell(figure("firmware", "presses among them", "presses", found.presses, count=framed))
    watched = min(5000, count)
    tell(figure("firmware", "allocated by idle steps", "bytes", found.allocated, count=watched, reach=none))
