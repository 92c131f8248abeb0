"""``python -m safezone`` is ``safezone``."""

from __future__ import annotations

import sys

from safezone.cli import main

sys.exit(main())
