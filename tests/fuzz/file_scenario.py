"""A scenario file: one that can be played and says the same when it is written down again, or one line."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.files import one_line, written

import sos_sim
from sos_sim.faults import FAULTS
from sos_sim.scenario import EXPECTATIONS, Cycle, Planned, Scenario, Touch, dump, load, read_scenario

PACKAGES = ("sos_sim.scenario", "sos_sim.faults", "sos_contract", "tomllib")
EXAMPLES = sorted(
    path for part in ("gallery", "bugs/scenarios") for path in (Path(sos_sim.__file__).parent / part).glob("*.toml")
)


def words() -> list[str]:
    names = {name for kind in (Scenario, Touch, Planned, Cycle) for name in kind.__struct_fields__}
    more = {f'"{name}"' for name in FAULTS} | set(EXPECTATIONS) | {"[[press]]", "[[fault]]", "with", "nan", "inf"}
    return sorted({f"{name} = " for name in names} | more)


def seeds() -> list[bytes]:
    return [path.read_bytes() for path in EXAMPLES if path.stat().st_size < 2000]


def one(data: bytes) -> None:
    path = written(data)
    scenario = one_line(lambda: read_scenario(path))
    if scenario is not None:
        assert load(dump(scenario)) == scenario
