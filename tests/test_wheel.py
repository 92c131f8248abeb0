"""The wheel carries everything that an installed ``safezone`` needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the unpacked wheel in front of the checkout, from a folder that is not the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=installed.parent, env=environment
    )


@pytest.mark.parametrize(
    "name",
    [
        "sos_contract/data/firmware/main.py",
        "sos_contract/data/boards/pico.json",
        "sos_contract/data/sites/betong.toml",
        "sos_pole/board.py",
        "sos_wire/link.py",
        "sos_wire/PROTOCOL.md",
        "sos_sim/live/node/package-lock.json",
        "sos_sim/bench/peer/package-lock.json",
        "sos_sim/live/CONTROL.md",
    ],
)
def test_wheel_holds(installed: Path, name: str) -> None:
    assert (installed / name).is_file()


def test_all_that_the_shim_needs_is_in_it(installed: Path) -> None:
    node = ROOT / "sim/sos_sim/live/node"
    wanted = {
        p.relative_to(node)
        for p in node.rglob("*")
        if p.suffix in (".mjs", ".py", ".json") and "node_modules" not in p.parts
    }
    there = installed / "sos_sim/live/node"
    assert wanted
    assert wanted <= {p.relative_to(there) for p in there.rglob("*")}


def test_installed_command_finds_its_site(installed: Path) -> None:
    done = run(installed, "-m", "safezone", "site", "check", "--json")
    assert done.returncode == 0, done.stderr
    assert '"poles": ["merlin-1"' in done.stdout
    where = run(installed, "-c", "from sos_contract.resources import data_dir; print(data_dir('sites'))")
    assert str(installed) in where.stdout


def test_examples_of_the_plug_in_pass_in_a_project_of_their_own(installed: Path, tmp_path: Path) -> None:
    """As they stand in the documentation, with nothing but the installed package."""
    page = (ROOT / "sim/TESTING.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--strict-markers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
