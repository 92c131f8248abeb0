"""Draws ``sim/FAULTS.md``: ``.venv/bin/python -m sos_sim.faults``."""

from __future__ import annotations

from pathlib import Path

from sos_sim.faults import page

(Path(__file__).parents[2] / "FAULTS.md").write_text(page(), encoding="utf-8")
