"""What a running process weighs: its memory, and the processor that it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Body:
    """What a process weighs. Bytes; ``share``: of one core."""

    rss: int = 0
    pss: int = 0
    share: float = 0.0


async def weigh(pids: Sequence[int], seconds: float) -> list[Body]:
    """Processor over that time, memory at its end."""
    processes = [psutil.Process(pid) for pid in pids]
    before = [busy_s(process) for process in processes]
    began = time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    found = []
    for process, busy in zip(processes, before, strict=True):
        memory = process.memory_full_info()
        found.append(Body(memory.rss, memory.pss, (busy_s(process) - busy) / passed))
    return found


def busy_s(process: psutil.Process) -> float:
    """From /proc/PID/schedstat, to the nanosecond: clock ticks of 10 ms are a third of what is looked for."""
    total = 0
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9
