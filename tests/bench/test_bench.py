"""Every bench runs, in a tiny form, and says well-formed things. How fast anything is, is not asserted here."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from safezone.cli import main
from sos_sim.bench import figures, floor
from sos_sim.bench.cli import PARTS
from sos_sim.bench.path import PIECES
from sos_sim.bench.picture import COLOURS, draw
from sos_sim.bench.press import sizes
from sos_wire.frame import HEADER_BYTES
from sos_wire.seal import TAG_BYTES

# One after the other, and with time: a machine may run these tests twice at once.
pytestmark = [pytest.mark.live, pytest.mark.xdist_group("bench"), pytest.mark.timeout(300)]
TINY = {
    "press": 2,
    "path": 2,
    "peers": 1,
    "bus": 1,
    "agent": 1,
    "firmware": 1000,
    "outbox": 70,
    "drain": 60,
    "station": 300,
    "virtual": 1,
}
KEYS = {"bench", "what", "unit", "value", "count", "floor", "ratio", "reach", "met"}


def bench(*words: str, folder: Path) -> list[dict[str, Any]]:
    """Run ``safezone bench``; its lines as they are."""
    command = [sys.executable, "-m", "safezone", "bench", *words, "--folder", str(folder), "--json"]
    # Node-RED is measured where somebody has installed it; a test installs nothing.
    offline = {**os.environ, "npm_config_offline": "true", "npm_config_cache": str(folder.parent / "no-npm-cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=offline)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", PARTS)
def test_every_bench_runs_and_says_what_it_found(name: str, tmp_path: Path) -> None:
    facts, *found = bench(name, "--count", str(TINY[name]), folder=tmp_path)
    assert facts["bench"] == "machine" and facts["cores"] == os.cpu_count()
    assert {"cpu", "python", "node", "mosquitto", "sqlite", "disk", "load"} <= set(facts)
    assert found
    for figure in found:
        assert set(figure) == KEYS and figure["bench"] == name
        # The pieces of a path end where different clients see it: on a busy machine one may see the end before another.
        assert figure["count"] >= 1 and (figure["value"] >= 0 or "growth" in figure["what"] or name == "path")
        assert (figure["ratio"] is None) == (not figure["floor"] or not figure["value"])
        assert bool(figure["reach"]) or figure["met"] is None
    assert len({figure["what"] for figure in found}) == len(found)
    assert not list(tmp_path.iterdir()), "left behind"
    if name in ("peers", "agent"):
        whats = [figure["what"] for figure in found]
        assert any(what.startswith(("Node-RED: ", "left out: Node-RED (npm could not install")) for what in whats)
    if name == "press":
        stages_come_in_order_and_nothing_is_faster_than_its_bytes(found)


def stages_come_in_order_and_nothing_is_faster_than_its_bytes(found: list[dict[str, Any]]) -> None:
    value = {figure["what"]: figure["value"] for figure in found}
    for mode in ("no TLS", "TLS"):
        pressed, held, received = (
            value[f"{mode}: first contact to {stage}, median"] for stage in ("pressed", "held", "received")
        )
        assert 28 <= pressed <= held <= received
        wire_ms = (sizes().up + sizes().held) * 10 / 115.2
        assert held - 28 >= wire_ms
        floors = {figure["what"]: figure["floor"] for figure in found}
        assert floors[f"{mode}: end of debounce to received, median"] >= wire_ms + sizes().received * 10 / 115.2


def test_the_picture_has_a_row_for_each_piece_where_it_lies() -> None:
    found = [figures.figure("path", what, "ms", number + 1.0) for number, (what, _) in enumerate(PIECES)]
    drawn = ElementTree.fromstring(draw(found))
    texts = ["".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for number, (what, _) in enumerate(PIECES):
        assert what in texts and f"{number + 1}.0 ms" in texts
    bars = [bar for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("rx")][: len(PIECES)]
    assert {bar.get("fill") for bar in bars} == set(COLOURS.values())
    for bar, after in pairwise(bars):
        end = float(bar.get("x", 0)) + float(bar.get("width", 0))
        assert abs(end - float(after.get("x", 0))) < 0.3, "one begins where the other ends"
        assert float(after.get("width", 0)) > float(bar.get("width", 0))


def test_the_floor_in_the_docs_is_the_floor_that_runs() -> None:
    page = (Path(__file__).parents[2] / "sim" / "FIGURES.md").read_text(encoding="utf-8")
    for function in (floor.agent, floor.station, floor.commit):
        assert inspect.getsource(function).rstrip() in page


def test_sizes_are_those_of_real_frames() -> None:
    least = HEADER_BYTES + TAG_BYTES + 3  # COBS and the zeros around it
    assert least < sizes().held < sizes().up < 115
    assert sizes().received == sizes().held
    assert 100 < sizes().receipt < sizes().alarm < 400


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert figures.percentile(values, 0.5) == 50
    assert figures.percentile(values, 0.99) == 99
    assert figures.percentile([7.0], 0.99) == 7


def test_a_figure_beside_its_floor() -> None:
    slow = figures.figure("x", "y", "ms", 30, floor=10, reach=figures.Reach(times=1.5))
    assert slow.ratio == 3 and slow.met is False and slow.reach == "<= 1.5 x floor"
    rate = figures.figure("x", "y", "alarms/s", 100, floor=150, more=True)
    assert rate.ratio == 1.5 and rate.met is None
    nothing = figures.figure("x", "y", "bytes", 0, reach=figures.Reach(most=0))
    assert nothing.met is True and nothing.ratio is None


def test_a_table_is_replaced_and_all_else_stays(tmp_path: Path) -> None:
    page = tmp_path / "FIGURES.md"
    page.write_text("# Figures\n\nabove\n\n<!-- bench bus -->\nold\n<!-- end -->\n\nbelow\n")
    found = [figures.figure("bus", "all held", "ms", 123.4, floor=100)]
    table = figures.markdown({"cpu": "x"}, "safezone bench bus", "2026-01-01", found)
    for _ in range(2):
        figures.put_into(page, "bus", table)
    text = page.read_text()
    assert text.startswith("# Figures\n\nabove\n") and text.endswith("\n\nbelow\n")
    assert "old" not in text and text.count("| all held | 123 ms | 100 ms | 1.23 |") == 1
    figures.put_into(page, "press", table)
    assert page.read_text().count("<!-- end -->") == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["pres"], "unknown bench 'pres'; did you mean 'press'?"),
        (["--count", "3"], "--count needs the name of a bench"),
        (["bus", "--folder", "/nowhere/at/all"], "no such folder"),
        (["bus", "--into", "/nowhere/FIGURES.md"], "no such folder"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert complaint in said.err and said.err.count("\n") == 1
