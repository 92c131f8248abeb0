"""Draws the README's picture of the panel: ``python -m sos_sim.live.picture FILE.svg`` plays a short scene, live."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from sos_contract.site import find_site, read_site
from sos_sim.live.panel import Panel
from sos_sim.live.zone import Zone

_LOOK_TIMEOUT_S = 15.0


async def play(zone: Zone) -> None:
    """One call that an officer takes, one from a pole whose cable is cut, and one agent that is away."""
    await zone.press("clock-tower-1")
    await zone.poles["clock-tower-1"].wait_look("received", _LOOK_TIMEOUT_S)
    await zone.officer("clock-tower-1", "accept")
    await zone.poles["clock-tower-1"].wait_look("accepted", _LOOK_TIMEOUT_S)
    zone.cut("lian-yu-1")
    await zone.press("lian-yu-1")
    await zone.toggle_agent("market-1")
    await zone.poles["market-1"].wait_look("out_of_service", _LOOK_TIMEOUT_S)
    await zone.lose_link("lian-yu-1", _LOOK_TIMEOUT_S)
    await zone.press("ts-centre-1")
    await zone.poles["ts-centre-1"].wait_look("received", _LOOK_TIMEOUT_S)


async def draw(path: Path) -> None:
    """Play the scene in a fresh zone and write the panel as it stands at its end."""
    console = Console(record=True, width=124, height=36, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory(prefix="safezone-") as folder:
        zone = Zone(read_site(find_site("betong")), Path(folder))
        try:
            await zone.start()
            await play(zone)
            console.print(Panel(zone, console).render())
        finally:
            await zone.stop()
    # Without the web font: a picture of ours fetches nothing, and every machine has a monospaced one.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="safezone sim"), flags=re.DOTALL)
    path.write_text(svg.replace("Fira Code", "monospace"), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
