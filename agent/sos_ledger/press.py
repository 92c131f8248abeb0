"""The name of a press as people and ledgers write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def press_of(facts: Mapping[str, Any]) -> str:
    """POLE/INCARNATION/BOOT/PRESS of a station's record or row."""
    return "/".join(str(facts.get(name)) for name in ("pole", "incarnation", "boot", "press"))


def begins(press: str, wanted: str) -> bool:
    """Whether ``wanted`` is that press, or its first parts."""
    return press == wanted or (wanted != "" and press.startswith(wanted.rstrip("/") + "/"))
