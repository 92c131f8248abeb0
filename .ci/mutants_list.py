"""What a mutant changes, in words that outlive its number, and the list of survivors in tests/MUTANTS.md."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.data import LineSpan
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name, orig_function_and_class_names_from_key

UNKNOWN = "?"  # the reason of a survivor that nobody has looked at yet
_ENTRY = re.compile(r"- `(?P<function>[^`]+)`: `` (?P<change>.+) ``: (?P<reason>.+)")
_MEASURED, _LISTED = "## Measured", "## Survivors"  # from here on written by `make mutants WRITE=1`


@dataclass(frozen=True)
class Mutant:
    """``name``: mutmut's. ``source``, ``function`` and ``change`` together are one mutant's alone."""

    name: str
    source: str
    function: str
    change: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.function, self.change


def mutants_of(path: Path, source: str, inside: Path) -> list[Mutant]:
    """All mutants of a file, in mutmut's order. ``source``: its path here, ``inside``: where mutmut has it."""
    made = mutate_file_contents(str(inside), path.read_text(encoding="utf-8"))
    lines = made.code.splitlines()
    found: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for local in made.mutant_names:
        name = get_mutant_name(inside, local)
        function, owner = orig_function_and_class_names_from_key(name)
        spans = made.line_span_by_function_name
        before = spans[local.partition("__mutmut_")[0] + "__mutmut_orig"]
        change = _change(_body(lines, before), _body(lines, spans[local]))
        shown = f"{owner}.{function}" if owner else function
        seen[shown, change] += 1
        if (count := seen[shown, change]) > 1:  # the same line stands there twice
            change += f" ({count})"
        found.append(Mutant(name, source, shown, change))
    return found


def _body(lines: Sequence[str], span: LineSpan) -> list[str]:
    text = "\n".join(lines[span.start - 1 : span.end])
    return re.sub(r"\bx(?:_|ǁ\w+ǁ)(\w+?)__mutmut_\w+", r"\1", text).splitlines()


def _change(before: list[str], after: list[str]) -> str:
    old, new = [], []
    for line in difflib.ndiff(before, after):
        if line.startswith("- "):
            old.append(line[2:].strip())
        elif line.startswith("+ "):
            new.append(line[2:].strip())
    return f"{' ⏎ '.join(old)} → {' ⏎ '.join(new)}"


class Survivors:
    """tests/MUTANTS.md: prose, the table of the last measured run, and the survivors by file, each with its reason."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = path.read_text(encoding="utf-8")
        self.reasons: dict[tuple[str, str, str], str] = {}
        source = ""
        for line in self._text.splitlines():
            if line.startswith("### "):
                source = line[4:].strip("`")
            elif entry := _ENTRY.fullmatch(line):
                self.reasons[source, entry["function"], entry["change"]] = entry["reason"]
            elif source and line.startswith("- "):
                raise ValueError(f"{path.name}: not an entry: {line}")

    def write(self, measured: str, survivors: Iterable[Mutant], kept: Iterable[tuple[str, str, str]]) -> None:
        """The table anew, and the survivors of this run beside ``kept``, which it did not try."""
        keys = sorted({*(mutant.key for mutant in survivors), *kept})
        rows: list[str] = []
        source = ""
        for key in keys:
            if key[0] != source:
                source = key[0]
                rows += ["", f"### `{source}`", ""]
            rows.append(f"- `{key[1]}`: `` {key[2]} ``: {self.reasons.get(key, UNKNOWN)}")
        head = self._text.partition(f"{_MEASURED}\n")[0].rstrip()
        text = "\n".join([head, "", _MEASURED, "", measured, "", _LISTED, *rows])
        self._path.write_text(f"{text}\n", encoding="utf-8")
