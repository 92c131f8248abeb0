"""Memory and open files of processes, from /proc, and whether they grew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Allocators keep what they had once: a queue that was long for a moment leaves pages behind. A leak goes on.
GROWTH_PART, GROWTH_KB = 0.25, 6 * 1024
# Of a pole counts what the firmware has of its board's 243 KiB, not what the interpreter's own host takes for itself.
POLE, GROWTH_POLE_KB = "pole:", 16
GROWTH_FILES = 3  # connections that are being made or given up at the moment of the look


@dataclass(frozen=True)
class Use:
    """What one process has: its own memory in KiB (a pole: the firmware's heap), and open files."""

    pid: int
    memory_kb: int
    files: int


def use_of(pid: int) -> Use | None:
    """What that process has; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    found = re.search(r"^RssAnon:\s+(\d+)", status, re.MULTILINE)
    return Use(pid, int(found[1]) if found else 0, files)


def grown(before: Mapping[str, Use], after: Mapping[str, Use]) -> list[tuple[str, str]]:
    """Processes that have more than is forgiven, with words. One that was restarted is held against the fresh one that
    stood in its place before."""
    found = []
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            continue
        since = "since then" if was.pid == now.pid else "than when fresh"
        if now.files > was.files + GROWTH_FILES:
            found.append((name, f"{now.files} open files, {now.files - was.files} more {since}"))
        forgiven_kb = GROWTH_POLE_KB if name.startswith(POLE) else GROWTH_KB
        if now.memory_kb > was.memory_kb * (1 + GROWTH_PART) + forgiven_kb:
            found.append((name, f"{now.memory_kb} KiB of memory, {now.memory_kb - was.memory_kb} more {since}"))
    return found


def most_grown(before: Mapping[str, Use], after: Mapping[str, Use]) -> str:
    """Who has most more of each, in words."""
    both = [name for name in after if name in before]
    if not both:
        return "no process to compare"
    memory = max(both, key=lambda name: after[name].memory_kb - before[name].memory_kb)
    files = max(both, key=lambda name: after[name].files - before[name].files)
    return (
        f"at most {after[memory].memory_kb - before[memory].memory_kb:+d} KiB of memory ({memory}) "
        f"and {after[files].files - before[files].files:+d} files ({files})"
    )
