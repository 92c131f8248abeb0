"""Disks that fill up: a small file system for each program where we may mount one, else a limit on its writes."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from sos_agent.edge import reserve

_FILLER, _RESERVE = "filler", "reserve"
_CHUNK_BYTES = 64 * 1024
# What an agent keeps back for alarms, what must be free beside it before it does, and its outbox.
AGENT_BYTES = reserve.RESERVE_BYTES + reserve.MARGIN_BYTES + 16 * 1024 * 1024
STATION_BYTES = 32 * 1024 * 1024


class Mounted:
    """A tmpfs a program; root only. Full is full: ENOSPC."""

    words = "a small file system for each program (tmpfs)"

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Raises OSError where mounting is not allowed."""
        self._folders = dict(folders)
        self._mounted: list[Path] = []
        try:
            for program, folder in self._folders.items():
                folder.mkdir(parents=True, exist_ok=True)
                size = STATION_BYTES if program == "station" else AGENT_BYTES
                _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0750", "safezone-chaos", str(folder))
                self._mounted.append(folder)
        except OSError:
            self.close()
            raise

    def fill(self, program: str) -> None:
        """Take all the room that there is now."""
        with contextlib.suppress(OSError), (self._folders[program] / _FILLER).open("ab", buffering=0) as filler:
            size = _CHUNK_BYTES
            while size:
                try:
                    filler.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self, program: str) -> None:
        """Give it back."""
        (self._folders[program] / _FILLER).unlink(missing_ok=True)

    def lose(self, program: str) -> None:
        """The disk is dead and an empty one is in its place; its program must not run."""
        _empty(self._folders[program])

    def close(self) -> None:
        """Nothing is left mounted. The databases stay in the folders, for whoever looks closer."""
        while self._mounted:
            folder = self._mounted.pop()
            files = {file: file.read_bytes() for file in folder.iterdir() if file.name not in (_FILLER, _RESERVE)}
            with contextlib.suppress(OSError):
                _run("umount", "-l", str(folder))
                for file, content in files.items():
                    file.write_bytes(content)


class Limited:
    """Without root: the running program may not write to files (RLIMIT_FSIZE). To it that is a disk that fails, not
    one that is full: EFBIG. One that is started meanwhile is not limited."""

    words = "a limit on what each program may write (RLIMIT_FSIZE)"

    def __init__(self, folders: Mapping[str, Path], pid_of: Callable[[str], int]) -> None:
        self._folders = dict(folders)
        self._pid_of = pid_of

    def fill(self, program: str) -> None:
        """From now on it cannot write."""
        self._limit(program, 0)

    def free(self, program: str) -> None:
        """It can again."""
        self._limit(program, resource.RLIM_INFINITY)

    def lose(self, program: str) -> None:
        """The disk is dead and an empty one is in its place; its program must not run."""
        _empty(self._folders[program])

    def _limit(self, program: str, size: int) -> None:
        pid = self._pid_of(program)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else hard, hard))

    def close(self) -> None:
        """There is nothing to give back."""


Disks = Mounted | Limited


def make_disks(folders: Mapping[str, Path], pid_of: Callable[[str], int]) -> Disks:
    """What works here."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            return Mounted(folders)
    return Limited(folders, pid_of)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name != _FILLER:
            entry.unlink()


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(errno.EPERM, done.stderr.strip())
