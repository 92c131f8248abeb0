"""Where the time of one press goes: its way in pieces, each from one thing that could be seen to the next.

Seen are the pins of the pole, both ends of the wire, and the messages at the broker, by a subscriber of the bench's own
(which is a little work more for broker and processor: the whole is a little longer than in ``press``).
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_contract.topics import of_point
from sos_sim.bench.ear import Ear
from sos_sim.bench.figures import Tell, figure, percentile
from sos_sim.bench.press import AFTER_OFFICER_S, BITS_A_BYTE, HOLD_MS, OFFICER_EVERY, REST_S, WARM_UP, sizes
from sos_sim.bench.rig import BAUD, DEBOUNCE_MS, Rig, WatchedCable

# Each piece of the way, and whose it is; in order, from the first contact on.
PIECES = (
    ("debounce", "pole"),
    ("journal, lamp: pressed, seal", "pole"),
    ("wire up", "wire"),
    ("agent: check, commit, publish", "agent"),
    ("MQTT to the station", "broker"),
    ("station: commit, receipt", "station"),
    ("MQTT back, agent", "broker"),
    ("wire down", "wire"),
    ("pole: check, lamp: received", "pole"),
)
LEAVES = ("alarm", "receipt")


@dataclass(frozen=True)
class Marks:
    """When each was seen, in seconds of time.monotonic(): the borders of the pieces."""

    contact: float
    pressed_for_30_ms: float
    spoke: float
    arrived: float  # the last byte of the press at the agent's port
    published: float  # a hop before the next
    alarm: float  # at a client of the broker
    receipt: float  # the same
    told: float  # the agent began to send *received*, or would have, were the wire free
    landed: float  # its last byte at the pole
    received: float

    def pieces_ms(self) -> list[float]:
        """As long as PIECES."""
        at = [getattr(self, field.name) for field in fields(self)]
        return [(end - begin) * 1000 for begin, end in pairwise(at)]


def topics(rig: Rig) -> list[str]:
    """What the ear listens to."""
    return [of_point(rig.site.station.id, rig.site.point[0].id, leaf) for leaf in LEAVES]


async def press(rig: Rig, ear: Ear) -> Marks | None:
    """One press to *received*. None where the wire did not show its frames one by one."""
    assert rig.cable is not None
    ear.heard.clear()
    rig.cable.talks.clear()
    seen = await rig.press(rig.poles[0], HOLD_MS)
    await ear.wait(lambda: ear.first("receipt", seen.contact) is not None, 1.0)
    alarm, receipt = (ear.first(leaf, seen.contact) for leaf in LEAVES)
    wire = _wire(rig.cable, seen.contact + DEBOUNCE_MS / 1000)
    if wire is None or alarm is None or receipt is None:
        return None
    over = seen.contact + DEBOUNCE_MS / 1000
    spoke, arrived, told, landed = wire
    published = max(arrived, alarm - await ear.hop_s())
    told = max(told, receipt)  # another process may have been quicker to hear of it than we were
    return Marks(
        seen.contact, over, spoke, arrived, published, alarm, receipt, told, max(told, landed), seen.at["received"]
    )  # fmt: skip


def _wire(cable: WatchedCable, after: float) -> tuple[float, float, float, float] | None:
    size = sizes()
    byte_s = BITS_A_BYTE / BAUD
    ups = [(at, count) for at, up, count in cable.talks if up and at >= after and count >= size.up]
    if not ups:
        return None
    spoke, count = ups[0]
    downs = [(at, count) for at, up, count in cable.talks if not up and at > spoke and count >= size.held]
    if len(downs) < 2 or downs[0][1] >= 2 * size.held:
        return None  # both answers in one
    (held, first), (told, second) = downs[:2]
    begun = max(told, held + first * byte_s)
    return spoke, spoke + count * byte_s, told, begun + second * byte_s


async def measure(folder: Path, count: int) -> list[Marks]:
    """``count`` presses over TLS."""
    found: list[Marks] = []
    chance = random.Random(1)
    async with Rig(folder, tls=True) as rig:
        ear = Ear(rig.broker.port, topics(rig), rig.tls)
        try:
            await ear.start()
            for number in range(count + WARM_UP):
                next_at = time.monotonic() + HOLD_MS / 1000 + chance.uniform(*REST_S)
                marks = await press(rig, ear)
                if marks and number >= WARM_UP:
                    found.append(marks)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
                if number % OFFICER_EVERY == OFFICER_EVERY - 1:
                    await rig.close_alarms()
                    await rig.ready()
                    await asyncio.sleep(AFTER_OFFICER_S)
        finally:
            await ear.stop()
    if not found:
        raise SafezoneError(f"of {count} presses the wire showed none frame by frame: machine too busy")
    return found


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` presses."""
    found = await measure(folder / "site", count)
    columns = list(zip(*(marks.pieces_ms() for marks in found), strict=True))
    for (what, _), values in zip(PIECES, columns, strict=True):
        tell(figure("path", what, "ms", percentile(values, 0.5), count=len(values)))
    whole = [(marks.received - marks.contact) * 1000 for marks in found]
    tell(figure("path", "the whole, median", "ms", percentile(whole, 0.5), count=len(whole)))
    tell(figure("path", "presses not counted", "presses", count - len(found), count=count))
