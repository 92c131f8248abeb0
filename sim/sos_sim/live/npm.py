"""What comes from npm: installed from a committed lock file, once, into a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError

_MANIFESTS = ("package.json", "package-lock.json")


@dataclass(frozen=True)
class Package:
    """``manifests``: the folder with package.json and its lock. ``module``: the file wanted of what it installs.

    ``what`` names it in messages, ``again`` is the command that tries once more.
    """

    manifests: Path
    module: Path
    what: str
    again: str
    timeout_s: float

    def folders(self) -> list[Path]:
        """Where it may be, best first; the name carries the lock file, so that a new lock is a new folder."""
        locked = b"".join((self.manifests / name).read_bytes() for name in _MANIFESTS)
        name = f"node-{hashlib.sha256(locked).hexdigest()[:12]}"
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return [Path(sys.prefix) / "share" / "safezone" / name, cache / "safezone" / name]

    def find(self, npm: Callable[[], list[str]]) -> Path:
        """The module, installed with the command that ``npm`` gives if it is not there. Raises SafezoneError."""
        for folder in self.folders():
            if (folder / self.module).is_file():
                return folder / self.module
        refused = []
        for folder in self.folders():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                with _alone(folder.parent / f".{folder.name}.lock"):
                    if not (folder / self.module).is_file():
                        self._install_into(npm(), folder)
                    return folder / self.module
            except OSError as error:
                refused.append(f"{folder.parent}: {error.strerror or error}")
        raise SafezoneError(f"nowhere to install {self.what} ({'; '.join(refused)})")

    def _install_into(self, npm: list[str], folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            work = Path(name) / "work"
            work.mkdir()
            for manifest in _MANIFESTS:
                shutil.copy(self.manifests / manifest, work / manifest)
            self._run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], work)
            if not (work / self.module).is_file():
                raise SafezoneError(
                    f"npm said it installed {self.what}, but {self.module.name} is not there: try again"
                )
            shutil.rmtree(folder, ignore_errors=True)  # half of one, from a disk that was full
            work.rename(folder)

    def _run(self, command: list[str], work: Path) -> None:
        advice = f"check the network or the registry (npm config get registry), then run: {self.again}"
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=self.timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise SafezoneError(f"npm did not answer within {self.timeout_s:.0f} s: {advice}") from None
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if re.match(r"npm (error|ERR!)", line)]
            what = re.sub(r"^npm (error|ERR!)\s*", "", errors[0]) if errors else f"exit {done.returncode}"
            detail = re.sub(r"^npm (error|ERR!)\s*", "", errors[1]) if len(errors) > 1 else ""
            raise SafezoneError(
                f"npm could not install {self.what} ({what}{'; ' + detail if detail else ''}): {advice}"
            )


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Only one process at a time; a second one waits and finds the work done."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
