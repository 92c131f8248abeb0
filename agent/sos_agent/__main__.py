"""``python -m sos_agent SITE POINT [LOG-LEVEL [FOLDER]]``: the agent alone, without the command line's libraries.

``safezone agent`` turns into this once it has read its options: those libraries would cost the agent a quarter of its
memory for as long as it runs. A service may start it directly.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sos_agent.app import run
from sos_contract.errors import SafezoneError
from sos_contract.text import error_line


def main(words: list[str]) -> int:
    """The exit code: 0 after SIGTERM or SIGINT, 1 for the world's faults, 2 for the user's; errors are one line."""
    if not 2 <= len(words) <= 4:
        sys.stderr.write("safezone: python -m sos_agent takes a site file and a point\n")
        return 2
    try:
        record = Path(words[3]) if len(words) == 4 else None
        run(Path(words[0]), words[1], log_level=words[2] if len(words) > 2 else "info", record=record)
    except SafezoneError as error:
        sys.stderr.write(error_line(str(error)))
        return error.exit_code
    except KeyboardInterrupt:  # before the loop listens to it
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
