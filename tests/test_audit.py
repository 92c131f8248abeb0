"""``make audit`` says what is known to be faulty, and never "none" of what it could not look up."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GOOD = {"name": "six", "version": "1.17.0", "vulns": []}
BAD = {"name": "rich", "version": "1.0", "vulns": [{"id": "PYSEC-2099-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found"}


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with one lock file and a pip-audit that says what ``says`` holds."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci/audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tools = tmp_path / "tools"
    (tools / "pip_audit").mkdir(parents=True)
    (tools / "pip_audit/__main__.py").write_text(
        "import pathlib, sys\n"
        "said = (pathlib.Path(__file__).parents[2] / 'says').read_text()\n"
        "print(said) if said.startswith('{') else sys.exit('Traceback\\n' + said)\n"
    )
    for name in ("audit.lock", "tools/lock"):
        (tmp_path / name).write_text("six==1.17.0\n")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "LOCK", tmp_path / "audit.lock")
    monkeypatch.setattr(module, "TOOLS", tools)
    return module


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([GOOD], 0, "1 pinned packages looked up, 0 known faults"),
        ([GOOD, BAD], 1, "audit.lock: rich 1.0 has PYSEC-2099-1; mended in 1.1"),
        ([GOOD, UNKNOWN], 3, "the list does not know ours; these were not checked"),
        ([BAD, UNKNOWN], 1, "PYSEC-2099-1"),
        ([UNKNOWN], 3, "knows none of the 1 packages: is it a mirror without one?"),
    ],
)
def test_what_the_list_says(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], packages: list[Any], code: int, words: str
) -> None:
    (tmp_path / "says").write_text(json.dumps({"dependencies": packages}))
    assert audit.main() == code
    told = capsys.readouterr()
    assert words in told.out + told.err


def test_a_list_that_cannot_be_reached_is_one_line(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "says").write_text("ConnectionError: no route to host")
    assert audit.main() == 3
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and "nothing was checked" in told.err and "no route to host" in told.err


def test_an_auditor_that_cannot_be_installed_is_one_line(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools/lock").unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert audit.main() == 3
    assert "pip-audit cannot be installed" in capsys.readouterr().err
