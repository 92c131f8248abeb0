"""A press of the real firmware, over a real cable and broker, is walked while all programs run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sos_sim.testing.live import LiveZone

pytestmark = pytest.mark.live
POLE = "market-1"


@pytest.mark.zone(points=["market"])
def test_a_live_press_is_walked_from_the_seal_to_the_officer(live_zone: LiveZone, tmp_path: Path) -> None:
    live_zone.press(POLE)
    live_zone.expect(POLE).shows("received", within_s=20)
    live_zone.accept(POLE)
    live_zone.expect(POLE).shows("accepted", within_s=20)
    command = [
        sys.executable,
        "-m",
        "safezone",
        "ledger",
        "verify",
        "--site",
        str(tmp_path / "zone" / "site.toml"),
        POLE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    places = [
        done.stdout.find(part)
        for part in (
            f"sealed by pole {POLE}: the seal is good",
            "held at its point market",
            "received at the station from point market as alarm 1",
            "receipted by inbox",
            "accepted by officer",
            "the point was told: accepted",
            "every record holds",
        )
    ]
    assert -1 not in places and places == sorted(places), done.stdout
