"""The harnesses of ``make fuzz`` for some seconds: their seeds, seeds with some bytes changed, and what was found."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.findings import FINDINGS
from tests.fuzz.run import TARGETS, _escaped
from tests.fuzz.source import Source, piece

HERE = Path(__file__).parent
MOST_SEEDS = 40  # a target; spread over all it has
EXAMPLES = 40  # a target
HELPERS = {"source", "files", "findings", "run", "wire_ends", "test_targets"}


def harness(target: str) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.{target}")


def test_every_harness_is_a_target() -> None:
    assert {path.stem for path in HERE.glob("*.py")} - HELPERS == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_taken(target: str) -> None:
    seeds = harness(target).seeds()
    assert seeds
    for seed in seeds[:: len(seeds) // MOST_SEEDS + 1]:
        harness(target).one(seed)


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes], words: list[bytes]) -> bytes:
    """A seed with some bytes replaced, left out or put in."""
    data = draw(st.sampled_from(seeds))
    new = st.binary(max_size=6) | st.sampled_from([*words, b"\0"])
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(new) + data[at + draw(st.integers(0, 4)) :]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_changed_seeds_raise_nothing_but_what_is_documented(target: str) -> None:
    module = harness(target)
    words = [word.encode() for word in module.words()] if hasattr(module, "words") else []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(changed(module.seeds(), words))
    def play(data: bytes) -> None:
        module.one(data)

    play()


@pytest.mark.parametrize(("target", "data", "sentence"), FINDINGS, ids=lambda value: str(value)[:24])
def test_what_was_found_stays_mended(target: str, data: bytes, sentence: str) -> None:
    harness(target).one(data)
    assert sentence.endswith(".")


def test_a_source_gives_back_what_a_seed_says() -> None:
    source = Source(b"\7" + piece(b"abc") + b"\1\2\3")
    assert (source.number(), source.piece(), source.pick("xyz"), source.number(4)) == (7, b"abc", "y", 0x0302)
    assert (source.left, source.number(), source.piece(), source.take(3)) == (0, 0, b"", b"")


def test_words_of_a_dictionary_are_read_by_the_fuzzer() -> None:
    assert _escaped('"a\n') == "\\x22a\\x0a"


@pytest.mark.parametrize(
    ("arguments", "words"), [(["nobody", "--runs", "1"], "unknown target 'nobody'"), ([], "say how much")]
)
def test_a_wrong_call_is_one_line(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", *arguments]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr
