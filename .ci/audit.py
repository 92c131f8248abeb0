"""Holds the pinned packages against the list of known faults (pip-audit): ``make audit``.

Exit 0: none is known; 1: some are, a line each; 3: the list, or a package's place in it, could not be reached. A
mirror of packages often has no list: then pip-audit itself would pass over every package and call that no fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOOLS = HERE.parent / ".venv/audit"  # apart from what is audited: its packages are not ours
LOCK = HERE / "audit.lock"
UNREACHABLE = 3
TIMEOUT_S = 15  # a request


def main() -> int:
    """Every lock file in turn."""
    why = _install()
    if why:
        return _give_up(f"pip-audit cannot be installed: {why}")
    found: list[str] = []
    unknown: list[str] = []
    checked = 0
    for lock in sorted(HERE.glob("*.lock")):
        packages, why = _look_up(lock)
        if why:
            return _give_up(why)
        checked += len(packages)
        unknown += [package["name"] for package in packages if "skip_reason" in package]
        found += [f"{lock.name}: {line}" for package in packages for line in _faults(package)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    if len(unknown) == checked:
        return _give_up(f"it knows none of the {checked} packages: is it a mirror without one?")
    sys.stdout.write(f"audit: {checked - len(unknown)} pinned packages looked up, {len(found)} known faults\n")
    if unknown:
        sys.stderr.write(f"audit: the list does not know {', '.join(unknown)}; these were not checked\n")
    return 1 if found else UNREACHABLE if unknown else 0


def _look_up(lock: Path) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package of ``lock``; or why it cannot say anything."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--no-deps", "--disable-pip"]
    command += ["-f", "json", "--progress-spinner", "off", "--timeout", str(TIMEOUT_S)]
    environment = os.environ | {"PYTHONPATH": str(TOOLS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], _last_line(done.stderr) or f"pip-audit ended with {done.returncode}"
    return packages, ""


def _faults(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']} has {fault['id']}; "
        f"mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for fault in package.get("vulns", ())
    ]


def _install() -> str:
    """Put pip-audit where ``TOOLS`` says, once for each ``LOCK``; why it could not be done, or nothing."""
    mark = TOOLS / "lock"
    if mark.exists() and mark.read_text(encoding="utf-8") == LOCK.read_text(encoding="utf-8"):
        return ""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--upgrade"]
    command += ["--no-deps", "--target", str(TOOLS), "-r", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return _last_line(done.stderr)
    mark.write_text(LOCK.read_text(encoding="utf-8"), encoding="utf-8")
    return ""


def _give_up(why: str) -> int:
    sys.stderr.write(f"audit: nothing was checked, the list of known faults cannot be reached ({why[:160]}); ")
    sys.stderr.write("try again with a network\n")
    return UNREACHABLE


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
