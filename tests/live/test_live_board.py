"""The live pole on a machine that is late: what a finger did is made up for whole, whoever looked meanwhile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sos_sim.live.runtime import NODE_DIR, find

pytestmark = pytest.mark.live

# A board that samples each 2 ms; a contact of 30 ms that nobody has sampled yet; and what the samples then see of it.
SCRIPT = """
import {{ MessageChannel }} from "node:worker_threads";
import {{ Board }} from "{board}";
import {{ CELLS, now }} from "{clock}";
const config = {{ settings: {{}}, senses: [], flash: "{flash}", flash_size: 4096 }};
const cells = new Int32Array(new SharedArrayBuffer(4 * CELLS));
const {{ port1, port2 }} = new MessageChannel();
const board = new Board({{ config, cells, inputs: {{ adc26: 3 }}, planned: [] }}, port2, () => null);
const look = () => board.level("adc26");
board.api.timer_start(1, 2000, 0, 0);
const sample = (until) => {{
  const seen = [];
  for (const [, calls] of board.due(until)) for (let i = 0; i < calls; i++, board.api.timer_next()) seen.push(look());
  return seen.filter((level) => level === 1).length;
}};
const until = now();
sample(until);
const contact = until {offset};
port1.postMessage({{ steps: [[contact, {{ adc26: 1 }}], [contact + 30, {{ adc26: 3 }}]] }});
Atomics.wait(cells, 4, 0, 60); // this thread stands still, and the contact is over
board.drain();
{meanwhile}
console.error(sample(now()));
process.exit(0);
"""


@pytest.mark.parametrize("meanwhile", ["", "look();"], ids=["nobody looks", "somebody looks"])
@pytest.mark.parametrize("offset", ["+ 5", "- 5"], ids=["in time", "told too late"])
def test_a_contact_that_came_while_the_pole_stood_still_is_as_long_as_it_was(
    meanwhile: str, offset: str, tmp_path: Path
) -> None:
    """Found by chaos on a busy machine: a look at another input took note of a contact that no sample had seen yet."""
    script = tmp_path / "late.mjs"
    where = {"board": (NODE_DIR / "board.mjs").as_uri(), "clock": (NODE_DIR / "clock.mjs").as_uri()}
    script.write_text(SCRIPT.format(**where, flash=tmp_path / "flash", meanwhile=meanwhile, offset=offset))
    done = subprocess.run([str(find().node), str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all("input" in json.loads(line)["ev"] for line in done.stdout.splitlines())
    assert int(done.stderr.split()[-1]) in (14, 15, 16), "30 ms of samples, 2 ms each"
