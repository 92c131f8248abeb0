"""What came of a campaign or a scenario as JUnit XML, which every CI shows: a test case a seed, or the scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sos_contract.errors import UserError
from sos_contract.text import printable


@dataclass(slots=True)
class Case:
    """``failures``: a line each, none if all went well; ``again``: what plays it again; ``timeline``: as text, once it
    was made small."""

    name: str
    failures: Sequence[str]
    wall_s: float = 0.0
    again: str = ""
    timeline: str = ""


def write(path: Path, cases: Sequence[Case]) -> None:
    """Raises UserError, one line, if that file cannot be written."""
    failed = sum(bool(case.failures) for case in cases)
    seconds = f"{sum(case.wall_s for case in cases):.3f}"
    suite = ElementTree.Element(
        "testsuite", name="safezone soak", tests=str(len(cases)), failures=str(failed), errors="0", time=seconds
    )
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname="safezone.soak", name=_fit(case.name), time=f"{case.wall_s:.3f}"
        )
        for words in case.failures:
            failure = ElementTree.SubElement(element, "failure", message=_fit(words))
            failure.text = _fit("\n".join([words, *([f"reproduce: {case.again}"] if case.again else [])]))
        if case.timeline:
            ElementTree.SubElement(element, "system-out").text = _fit(case.timeline)
    ElementTree.indent(suite)
    try:
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file with --junit") from None


def _fit(words: str) -> str:
    """XML has no control characters, not even as references."""
    return "\n".join(map(printable, words.split("\n")))
