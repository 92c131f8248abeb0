"""A program of the town with a planted bug, as a process: ``python -m sos_sim.chaos.bugged BUG MODULE WORDS``.

``MODULE`` is ``sos_agent`` or ``safezone``, as it would stand behind ``python -m``. The bugs are those of
``safezone soak --bug`` that can be planted in Python: all of the agent's and the station's.
"""

from __future__ import annotations

import sys

import safezone.cli
import sos_agent.__main__
import sos_agent.edge.setup
import sos_station.app  # noqa: F401 - a bug is planted in all that has been imported
from sos_sim.bugs import agent, planted, station

NAMES = tuple(bug.name for bug in (*agent.BUGS, *station.BUGS))


def main(words: list[str]) -> int:
    """The program's exit code."""
    name, module, *rest = words
    with planted(name):
        return sos_agent.__main__.main(rest) if module == "sos_agent" else safezone.cli.main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
