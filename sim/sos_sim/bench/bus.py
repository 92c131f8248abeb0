"""Eight poles on one RS-485 pair, pressed within 10 ms of each other: until each is held, beside the bare bytes."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_sim.bench.figures import Reach, Tell, figure, percentile, spread
from sos_sim.bench.press import BITS_A_BYTE, sizes
from sos_sim.bench.rig import BAUD, DEBOUNCE_MS, Rig

POLES = 8
WITHIN_MS = 10.0
SPREAD_MS = 6.0  # as planned; the commands' own way to eight processes adds to it
MOST_LATE = 3  # rounds that may fail so, for each that counts
HOLD_MS = 150.0
AHEAD_MS = 60.0  # the command is under way for less, even to eight poles on busy cores
REST_S = (0.6, 2.6)  # a beat is 2 s: rounds fall anywhere between beats


def floor_ms() -> float:
    """The bytes of eight presses and eight *held* on the wire, without a gap between them."""
    size = sizes()
    return POLES * (size.up + size.held) * BITS_A_BYTE / BAUD * 1000


@dataclass
class Rounds:
    """Milliseconds. ``held``: of each pole; the others of each round."""

    held: list[float]
    all_held: list[float]
    apart: list[float]
    late: int = 0  # rounds that are not counted: the contacts were too far apart


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` rounds. A pole's time runs from its own contact, a round's from the end of the last debounce."""
    found = Rounds([], [], [])
    async with Rig(folder / "site", poles=POLES) as rig:
        assert rig.cable is not None
        chance = random.Random(1)
        while len(found.apart) < count and found.late < MOST_LATE * count:
            await asyncio.sleep(chance.uniform(*REST_S))
            await _round(rig, chance, found)
            await rig.close_alarms()
            await rig.ready()
        spoilt = rig.cable.up.collisions / (len(found.apart) + found.late)
    if not found.apart:
        raise SafezoneError(
            f"{found.late} rounds, and never were all contacts within {WITHIN_MS:g} ms: machine too busy"
        )
    rounds = len(found.apart)
    tell(figure("bus", "contacts of a round apart, most", "ms", max(found.apart), count=rounds))
    for one in spread("bus", "contact to held, each pole", found.held, p99=Reach(most=500)):
        tell(one)
    tell(figure("bus", "contact to held, each pole, most", "ms", max(found.held), count=len(found.held)))
    for name, share in (("median", 0.5), ("p99", 0.99)):
        value = percentile(found.all_held, share)
        tell(figure("bus", f"end of last debounce to all held, {name}", "ms", value, count=rounds, floor=floor_ms()))
    tell(figure("bus", "bytes spoilt by collisions, a round", "bytes", spoilt, count=rounds + found.late))
    tell(figure("bus", "rounds not counted", "rounds", found.late, count=rounds + found.late))


async def _round(rig: Rig, chance: random.Random, found: Rounds) -> None:
    at = time.monotonic() + AHEAD_MS / 1000
    contacts = [at + chance.uniform(0, SPREAD_MS) / 1000 for _ in rig.poles]
    presses = (rig.press_at(pole, moment, HOLD_MS) for pole, moment in zip(rig.poles, contacts, strict=True))
    seen = await asyncio.gather(*presses)
    first, last = min(one.contact for one in seen), max(one.contact for one in seen)
    if (last - first) * 1000 > WITHIN_MS:
        found.late += 1
        return
    found.apart.append((last - first) * 1000)
    found.held += [one.ms("held") for one in seen]
    found.all_held.append((max(one.at["held"] for one in seen) - last) * 1000 - DEBOUNCE_MS)
