"""Runs the harnesses of this folder under atheris, guided by coverage: ``make fuzz``, and see FUZZ.md.

Each target runs in a process of its own and leaves its corpus in ``.venv/cache/fuzz/TARGET``; a finding is a file
``.venv/cache/fuzz/TARGET-crash-…``, with the traceback above it. The last lines are a table. Exit 1 on any finding.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".venv/cache/fuzz"
TARGETS = (
    "wire_frame", "wire_messages", "wire_wrap", "wire_pole_end", "wire_agent_end", "contract_payloads", "core_agent",
    "core_station", "file_site", "file_keys", "file_kept_keys", "file_scenario", "file_record", "pole_settings",
    "pole_journal",
)  # fmt: skip
SLOW_S = 60  # an input that takes so long is a finding; a machine that is busy with other things may stall for ten
MEMORY_MB = 2000  # the most a target may grow to
INPUT_BYTES = 1024  # the most an input is long, but for longer seeds
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def main() -> int:
    """All targets in turn, or the one that is named."""
    parser = argparse.ArgumentParser(description="Fuzz Safezone's readers.")
    parser.add_argument("targets", nargs="*", help=f"of: {', '.join(TARGETS)}; all of them if none is named")
    parser.add_argument("--runs", type=int, default=0, help="inputs a target")
    parser.add_argument("--seconds", type=int, default=0, help="the most a target may take")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = sorted(set(given.targets) - set(TARGETS))
    if unknown:
        sys.stderr.write(f"fuzz: unknown target '{unknown[0]}'; known are: {', '.join(TARGETS)}\n")
        return 2
    if given.runs < 0 or given.seconds < 0 or not given.runs + given.seconds:
        sys.stderr.write("fuzz: say how much: RUNS=100000 or SECONDS=60\n")
        return 2
    if given.inside:
        _fuzz(given.targets[0], given.runs, given.seconds, given.seed)
    rows = [_one(target, given) for target in given.targets or TARGETS]
    _say(f"\nseed {given.seed}, {datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}\n")
    _say("| target | inputs | seconds | a second | findings |\n|---|---|---|---|---|\n")
    for target, runs, took_s, found in rows:
        _say(f"| `{target}` | {runs:,} | {took_s:.0f} | {runs / max(took_s, 0.001):,.0f} | {found} |\n")
    total, found = sum(row[1] for row in rows), sum(row[3] for row in rows)
    _say(f"| all | {total:,} | {sum(row[2] for row in rows):.0f} | | {found} |\n")
    return 1 if found else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _one(target: str, given: argparse.Namespace) -> tuple[str, int, float, int]:
    """Target, inputs, seconds and findings of a run in a process of its own."""
    _say(f"fuzz: {target}\n")
    began = time.monotonic()
    limits = ["--runs", str(given.runs), "--seconds", str(given.seconds), "--seed", str(given.seed)]
    log = CACHE / f"{target}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # In memory where that can be: some harnesses write a file an input. libFuzzer ends without cleaning up.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with log.open("w", encoding="utf-8") as out, tempfile.TemporaryDirectory(dir=memory) as folder:
        command = [sys.executable, "-m", "tests.fuzz.run", target, "--inside", *limits]
        environment = os.environ | {"TMPDIR": folder}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
        code = done.returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    told = _RUNS.findall(text)
    if code or not told:
        _say(text[-4000:])
    return target, int(told[-1]) if told else 0, time.monotonic() - began, 1 if code or not told else 0


def _fuzz(target: str, runs: int, seconds: int, seed: int) -> None:
    """Does not return: libFuzzer ends the process, with 0 when it has found nothing."""
    import atheris

    name = f"tests.fuzz.{target}"
    packages = importlib.import_module(name).PACKAGES
    # What was imported to learn that is imported anew, instrumented.
    for known in [known for known in sys.modules if known.split(".")[0].startswith(("sos_", "tests", "tomllib"))]:
        del sys.modules[known]
    with atheris.instrument_imports(include=list(packages)):
        harness = importlib.import_module(name)
    arguments = _arguments(target, harness, runs, seconds, seed)
    atheris.Setup([target, *arguments], harness.one)
    atheris.Fuzz()


def _arguments(target: str, harness: ModuleType, runs: int, seconds: int, seed: int) -> list[str]:
    corpus = CACHE / target
    corpus.mkdir(parents=True, exist_ok=True)
    longest = INPUT_BYTES
    for number, given in enumerate(harness.seeds()):
        (corpus / f"seed-{number:03}").write_bytes(given)
        longest = max(longest, len(given))
    arguments = [
        str(corpus), f"-seed={seed}", f"-max_len={longest}", f"-timeout={SLOW_S}", f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={CACHE / target}-", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    arguments += [f"-runs={runs}"] if runs else []
    arguments += [f"-max_total_time={seconds}"] if seconds else []
    words = harness.words() if hasattr(harness, "words") else []
    if words:
        dictionary = CACHE / f"{target}.dict"
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words), encoding="ascii")
        arguments.append(f"-dict={dictionary}")
    return arguments


def _escaped(word: str) -> str:
    """As libFuzzer reads it: hex where it is not a plain letter."""
    return "".join(f"\\x{byte:02x}" if not chr(byte).isalnum() else chr(byte) for byte in word.encode())


if __name__ == "__main__":
    sys.exit(main())
