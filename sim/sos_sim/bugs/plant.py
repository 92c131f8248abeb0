"""How a bug is planted: something of the product is swapped for something wrong, for as long as a run lasts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sos_station.edge.schema import SCHEMA

_OURS = ("sos_pole", "sos_wire", "sos_agent", "sos_station", "sos_contract", "sos_edge", "sos_sim")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Swap:
    """``owner`` (a class, a module or a table) has ``new`` in the place of what it called ``name``."""

    owner: Any
    name: Any
    new: Any

    def get(self) -> Any:  # noqa: ANN401 - whatever stands there
        """What stands there now."""
        if isinstance(self.owner, dict):
            return self.owner[self.name]
        return self.owner.__dict__[self.name]

    def put(self, what: Any) -> None:  # noqa: ANN401
        if isinstance(self.owner, dict):
            self.owner[self.name] = what
        else:
            setattr(self.owner, self.name, what)


@dataclass(frozen=True, slots=True)
class Bug:
    """One mistake that somebody could make. ``promises``: those that it breaks, one of which must be found broken."""

    name: str
    sentence: str
    promises: tuple[str, ...]
    swaps: Callable[[], list[Swap]]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The product has this bug, in this process, until the end of the block."""
        swaps = self.swaps()
        before = [swap.get() for swap in swaps]
        try:
            for swap in swaps:
                swap.put(swap.new)
            yield
        finally:
            for swap, old in zip(swaps, before, strict=True):
                swap.put(old)


def wherever(old: Any, new: Any) -> list[Swap]:  # noqa: ANN401
    """Swaps for every module of ours that has ``old`` under some name; it must be unlike any other value."""
    return [
        Swap(module, name, new)
        for module_name, module in sorted(sys.modules.items())
        if module_name.split(".")[0] in _OURS
        for name, value in list(vars(module).items())
        if value is old
    ]


def without_unique_index() -> list[Swap]:
    """The inbox itself would refuse a second alarm of the same content."""
    index = "INDEX alarm_content"
    return wherever(SCHEMA, SCHEMA.replace(f"CREATE UNIQUE {index}", f"CREATE {index}"))
