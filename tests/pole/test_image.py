"""What a board gets: the modules linked into one, stripped and compiled; and that it still means the same."""

from __future__ import annotations

import ast
import builtins
import json
import symtable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sos_contract.errors import SafezoneError
from sos_sim.live import firmware, linker, stripper

MOST_BYTES = 28 * 1024

MAIN = """
import json
from sos_pole import tools
from sos_pole.limits import MOST, NAMES, Counter as Kept
_STEP = 2
def build():
    return Kept(MOST), tools.twice(_STEP), NAMES.index("two")
def main(*, given=1):
    return json.dumps([build()[0].count(given), build()[1:]])
"""
LIMITS = """
_STEP, HALF = 3, 5
MOST = 2 * HALF  # folded, and used by another module
NAMES = ("one", "two")
LONG = b"\\xff" * 4000
class Base:
    __slots__ = ("x",)
    def count(self, by):
        raise NotImplementedError
class Counter(Base):
    unused = 1
    def __init__(self, most):
        self._most = most
        self.noted = 0
        self.open = 0
    def count(self, by):
        '''Says.'''
        self.open += _STEP * by
        self.noted += 1
        return min(self.open, self._most)
    def never(self):
        return LONG
"""
TOOLS = """
def twice(what: int) -> int:
    assert what
    return what * 2
def build():
    return None
"""
SMALL = {"main": MAIN, "sos_pole.limits": LIMITS, "sos_pole.tools": TOOLS}


def run(module: ast.Module) -> Any:
    names: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(module), "image", "exec"), names)
    return json.loads(names["main"](given=2))


def test_a_linked_module_does_what_the_modules_do() -> None:
    module = linker.link(SMALL)
    text = ast.unparse(module)
    assert run(module) == [6, [4, 1]]
    for left_out in (
        "never",
        "LONG",
        "noted",
        "HALF",
        "MOST",
        "__slots__",
        "NotImplementedError",
        "Says",
        "def build_tools",
    ):
        assert left_out not in text
    assert "Counter(10)" in text and "3 * by" in text


def test_a_stripped_module_does_what_the_linked_one_does() -> None:
    module = linker.link(SMALL)
    names = stripper.strip(module, {*linker.ENTRIES, *linker.foreign(SMALL)})
    text = ast.unparse(module)
    assert run(module) == [6, [4, 1]]
    assert {"Counter", "_most"} <= set(names.values())
    assert "_most" not in text and "Counter" not in text
    assert "def main(*, given=1)" in text and ".open" in text, "who calls by keyword, and a builtin's name, are kept"


def test_what_cannot_be_linked_is_refused() -> None:
    with pytest.raises(SafezoneError, match="cannot link For at the top level"):
        linker.link({"main": "def build(): pass\nfor one in (1, 2):\n    pass\n"})


def undefined(table: symtable.SymbolTable, top: set[str]) -> Iterator[str]:
    """Global names that are used below ``table`` and that nobody defines."""
    for symbol in table.get_symbols():
        known = symbol.get_name() in top or hasattr(builtins, symbol.get_name())
        if symbol.is_referenced() and symbol.is_global() and not known:
            yield symbol.get_name()
    for child in table.get_children():
        yield from undefined(child, top)


def test_the_image_lacks_no_name() -> None:
    modules = firmware.modules()
    module = linker.link(modules)
    for strip in (False, True):
        if strip:
            stripper.strip(module, {*linker.ENTRIES, *linker.foreign(modules)})
            module.body.pop(0)  # the names that are put first are no code
        table = symtable.symtable(ast.unparse(module), "image", "exec")
        top = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
        assert set(linker.ENTRIES) <= top
        assert not set(undefined(table, top))


def test_the_folder_for_a_board_is_small_and_whole(tmp_path: Path) -> None:
    made = firmware.build(tmp_path / "board")
    assert made.keys() == firmware.files().keys()
    assert all(made[path].read_bytes() == file.read_bytes() for path, file in firmware.files().items())
    assert sum(path.stat().st_size for path in made.values()) <= MOST_BYTES
    assert "Journal" in json.loads((tmp_path / "board" / firmware.NAMES).read_text()).values()
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["main.py", firmware.NAMES, "pole.mpy"]


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert firmware.main([str(tmp_path / "board")]) == 0
    assert "/pole.mpy on the board" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert firmware.main([str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err
    assert firmware.main([]) == 2
