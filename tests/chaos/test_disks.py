"""Disks that fill up, with and without root, and the limits on what a program may write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sos_sim.chaos.disks import Limited, Mounted, make_disks

# Writes a byte to the file whenever it is told to, and says what came of it.
WRITER = """
import sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "ab", buffering=0) as file:
            file.write(b"x" * 4096)
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that writes into its folder ``market``."""
    (tmp_path / "market").mkdir()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "market" / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def tell(process: subprocess.Popen[str]) -> str:
    """Let it write; what came of it."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_limited_program_cannot_write_and_then_it_can(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    disks = Limited({"market": tmp_path / "market"}, lambda program: writer.pid)
    assert tell(writer) == "written"
    disks.fill("market")
    assert tell(writer) == "File too large"
    disks.free("market")
    assert tell(writer) == "written"
    disks.lose("market")
    assert not list((tmp_path / "market").iterdir())


def test_a_program_that_does_not_run_is_not_limited(tmp_path: Path) -> None:
    disks = Limited({"market": tmp_path}, lambda program: 0)
    disks.fill("market")
    disks.free("market")
    assert (tmp_path / "file").write_text("still") == 5


def test_what_works_here_is_chosen(tmp_path: Path) -> None:
    """With root and a kernel that lets us mount, full is full; else writes are limited. Nothing stays mounted."""
    folder = tmp_path / "market"
    disks = make_disks({"market": folder}, lambda program: os.getpid())
    try:
        if isinstance(disks, Mounted):
            (folder / "held").write_bytes(b"before")
            disks.fill("market")
            with pytest.raises(OSError, match="No space left"):
                (folder / "more").write_bytes(bytes(4096))
            assert (folder / "held").read_bytes() == b"before"
            disks.free("market")
            (folder / "more").write_bytes(bytes(4096))
            disks.lose("market")
            assert not list(folder.iterdir())
            (folder / "left").write_bytes(b"after")
        else:
            assert isinstance(disks, Limited)
    finally:
        disks.close()
    assert not isinstance(disks, Mounted) or (folder / "left").read_bytes() == b"after"
    assert str(folder) not in Path("/proc/self/mounts").read_text(encoding="utf-8")
