"""A skip that nobody has allowed fails the run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"


@pytest.mark.parametrize(
    "code",
    [
        "import pytest\ndef test_it():\n    pytest.skip('no reason')\n",
        "import pytest\n@pytest.mark.skip\ndef test_it():\n    pass\n",
        "import pytest\npytest.importorskip('no_such_module')\ndef test_it():\n    pass\n",
        "import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert False\n",
    ],
)
def test_unlisted_skip_fails(tmp_path: Path, code: str) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_one.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0, done.stdout
    assert "is not on the list" in done.stdout
