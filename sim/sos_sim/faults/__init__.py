"""All faults, by name: what can go wrong in the virtual town. Each class's docstring is its model."""

from __future__ import annotations

import inspect

from sos_sim.faults import agent, attacker, broker, button, officer, pole, station, wire
from sos_sim.faults.base import Fault, Field

__all__ = ["FAULTS", "Fault", "Field", "page"]

_GROUPS: tuple[tuple[str, object, tuple[type[Fault], ...]], ...] = (
    ("Wire", wire, wire.WIRE),
    ("Button", button, button.BUTTON),
    ("Pole", pole, pole.POLE),
    ("Agent", agent, agent.AGENT),
    ("Broker and network", broker, broker.BROKER),
    ("Station", station, station.STATION),
    ("Attackers", attacker, attacker.ATTACKER),
    ("Officers", officer, officer.OFFICER),
)
FAULTS: dict[str, type[Fault]] = {kind.name: kind for _, _, kinds in _GROUPS for kind in kinds}

_HEAD = """# Faults

What the virtual town suffers, each fault's model in words. Drawn from the code's docstrings; a test holds it to them:
`.venv/bin/python -m sos_sim.faults`. In a scenario file, `where` is what the column *at* says: a pole, the pole of a
line, a point, a broker's number, `point>broker` or `station>broker`, or nothing.
"""


def page() -> str:
    """``sim/FAULTS.md``."""
    parts = [_HEAD]
    for title, module, kinds in _GROUPS:
        parts += [f"## {title}", "", _flat(inspect.getdoc(module) or ""), "", "| fault | at | model | arguments |"]
        parts.append("|---|---|---|---|")
        for kind in kinds:
            knobs = "; ".join(f"`{name}` {_range(knob)}" for name, knob in kind.knobs.items())
            parts.append(f"| `{kind.name}` | {kind.place} | {_flat(inspect.getdoc(kind) or '')} | {knobs} |")
        parts.append("")
    return "\n".join(parts)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _range(knob: tuple[object, ...]) -> str:
    if isinstance(knob[0], str):
        return ", ".join(str(word) for word in knob)
    return f"{knob[0]} to {knob[-1]}"
