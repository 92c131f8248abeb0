"""A record of a cable: a scenario that can be played is made of it, or one line says why not."""

from __future__ import annotations

from functools import cache

from tests.fuzz.files import one_line, written
from tests.fuzz.wire_frame import WIRES

from sos_agent.edge.record import FORMAT, VERSION
from sos_contract.site import Site, find_site, read_site
from sos_sim.record import diagnose, read_record
from sos_sim.replay import scenario_of
from sos_sim.scenario import dump, load

PACKAGES = ("sos_sim.record", "sos_sim.replay", "sos_sim.scenario", "sos_wire")
HEAD = f"{FORMAT} {VERSION} clock-tower\n0 began 1790000000000\n0 port 0 115200 /dev/ttyUSB0\n"


@cache
def _site() -> Site:
    return read_site(find_site("betong"))


def words() -> list[str]:
    return [f"{FORMAT} ", " in 0 ", " out 0 ", " level 1 own-1", " level 0 own-1", " lost 3", " port 1 9600 x", "began"]


def seeds() -> list[bytes]:
    both = "".join(
        f"{number * 40_000} {'in' if number % 2 else 'out'} 0 {wire.hex()}\n" for number, wire in enumerate(WIRES * 3)
    )
    return [
        HEAD.encode(),
        (HEAD + both).encode(),
        (HEAD + "1000000 level 1 own-1\n1400000 level 0 own-1\n2000000 lost 3\n").encode(),
        (HEAD + "5 in 0 00ff00ff00\n9000000 in 0 00\n").encode(),
    ]


def one(data: bytes) -> None:
    path = written(data)
    record = one_line(lambda: read_record(path))
    if record is None:
        return
    for traffic in record.ports.values():
        diagnose(traffic)
    scenario = one_line(lambda: scenario_of(record, _site(), "betong"))
    if scenario is not None:
        assert load(dump(scenario)) == scenario
