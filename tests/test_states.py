"""The state diagrams in the docs are those of the tables in the code."""

from __future__ import annotations

from tests.draw_states import STATES, page


def test_diagrams_are_current() -> None:
    assert STATES.read_text(encoding="utf-8") == page(), "run: .venv/bin/python -m tests.draw_states"
