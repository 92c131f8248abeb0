"""A press, live: from the first contact and from the end of debounce to each stage on the lamp, beside the floor.

Floor and press take turns, one by one, on the same machine, disk and broker, so that both meet the same caches and the
same neighbours. The floor begins where the debounce has ended: with the first byte on the wire.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_contract.payloads import Alarm, Identity, Receipt, encode
from sos_sim.bench.figures import Figure, Reach, Tell, figure, percentile, spread
from sos_sim.bench.rig import DEBOUNCE_MS, STAGES, Rig, Stages, WatchedCable, broker_words, said
from sos_sim.live.child import Child
from sos_wire.frame import TALK_UP, build
from sos_wire.messages import Press, Progress
from sos_wire.seal import Seal

HOLD_MS = 100.0
# From one press to the next: release, 250 ms in which the button must rest, and something that is never the same, so
# that presses fall anywhere between beats, probes and checkpoints.
REST_S = (0.30, 0.42)
OFFICER_EVERY = 10  # presses, after which the officer closes what is open ...
# ... and each is told to the pole, 5 ms on the wire: a press is measured at rest, not behind that.
AFTER_OFFICER_S = 0.4
WARM_UP = 3  # presses and floors that are not counted: first pages, first imports
FLOOR_TIMEOUT_S = 10.0
# Unloading the wire at 115,200 baud takes 10 bits a byte.
BITS_A_BYTE = 10


@dataclass(frozen=True)
class Sizes:
    """Bytes of the frames and messages that one press needs."""

    up: int
    held: int
    received: int
    alarm: int
    receipt: int


def sizes() -> Sizes:
    """Of the real thing, with fields as long as they are in the bench's site."""
    talk = bytes(8)  # flags, two acknowledgements, lane and number of the message
    seal = Seal(bytes(32))

    def frame(message: Press | Progress) -> int:
        return len(build(TALK_UP, 1, 1, 1, 1, talk + message.pack(), seal))

    identity = Identity("pole-1", "0123456789abcdef", 1, 1000)
    session = "0123456789abcdef"
    alarm = Alarm(id=identity, kind="press", pressed_at_ms=600_000, age_ms=10, sent_wall_ms=1 << 40, agent=session)
    receipt = Receipt(inbox=session, alarms=(identity,))
    down = frame(Progress(1, 1, 1, "held"))
    return Sizes(frame(Press("press", 1, 1, 1, 1)), down, down, len(encode(alarm)), len(encode(receipt)))


class Floor:
    """The bare thing on a wire of its own and on the broker of ``rig``."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        folder.mkdir(parents=True)
        self._sizes = sizes()
        self.cable = WatchedCable(folder / "wire", shared=False)
        broker = broker_words(rig.broker, rig.tls)
        command = [sys.executable, "-m", "sos_sim.bench.floor"]
        size = self._sizes
        wire = [str(self.cable.port.path), *map(str, (size.up, size.held, size.received, size.alarm))]
        self._children = [
            Child(
                "floor station", [*command, "station", str(size.receipt), str(folder / "b"), *broker], folder / "b.log"
            ),
            Child("floor agent", [*command, "agent", *wire, str(folder / "a"), *broker], folder / "a.log"),
        ]
        self._heard: list[float] = []  # when each byte that came down was there
        self._news = asyncio.Event()

    async def start(self) -> None:
        self.cable.attach("floor", self._hear)
        for child in self._children:
            await child.start()
            await said(child, "ready", FLOOR_TIMEOUT_S)

    async def stop(self) -> None:
        await asyncio.gather(*(child.stop() for child in self._children))
        self.cable.close()

    def _hear(self, data: bytes) -> None:
        self._heard += [time.monotonic()] * len(data)
        self._news.set()

    async def once(self) -> tuple[float, float]:
        """Milliseconds from the first byte up to the last byte of *held*, and to that of *received*."""
        self._heard.clear()
        began = time.monotonic()
        self.cable.say("floor", bytes(self._sizes.up), began)
        whole = self._sizes.held + self._sizes.received
        try:
            async with asyncio.timeout(FLOOR_TIMEOUT_S):
                while len(self._heard) < whole:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise SafezoneError(f"the floor did not answer: {self._children[1].last_words()}") from None
        return (self._heard[self._sizes.held - 1] - began) * 1000, (self._heard[whole - 1] - began) * 1000


@dataclass
class Found:
    """Milliseconds, a list entry a press."""

    pressed: list[float]
    held: list[float]
    received: list[float]
    floor_held: list[float]
    floor_received: list[float]
    spoke: list[float]  # first byte on the wire
    answered: list[float]  # the agent began to send *held*


async def measure(folder: Path, count: int, *, tls: bool, seed: int = 1) -> Found:
    """``count`` presses and as many floors."""
    found = Found([], [], [], [], [], [], [])
    rest = random.Random(seed)
    async with Rig(folder / "site", tls=tls) as rig:
        floor = Floor(folder / "floor", rig)
        try:
            await floor.start()
            for number in range(count + WARM_UP):
                await _one(rig, floor, found, rest, counts=number >= WARM_UP)
                if number % OFFICER_EVERY == OFFICER_EVERY - 1:
                    await rig.close_alarms()
                    await rig.ready()
                    await asyncio.sleep(AFTER_OFFICER_S)
        finally:
            await floor.stop()
    return found


async def _one(rig: Rig, floor: Floor, found: Found, rest: random.Random, *, counts: bool) -> None:
    pole, cable = rig.poles[0], rig.cable
    assert cable is not None
    cable.talks.clear()
    next_at = time.monotonic() + HOLD_MS / 1000 + rest.uniform(*REST_S)
    seen = await rig.press(pole, HOLD_MS)
    await asyncio.sleep(max(0.0, seen.contact + HOLD_MS / 1000 - time.monotonic()))
    held_ms, received_ms = await floor.once()
    if counts:
        for stage in STAGES:
            getattr(found, stage).append(seen.ms(stage))
        found.floor_held.append(held_ms)
        found.floor_received.append(received_ms)
        _watch(seen, cable, found)
    await asyncio.sleep(max(0.0, next_at - time.monotonic()))


def _watch(seen: Stages, cable: WatchedCable, found: Found) -> None:
    """What the wire saw of this press: the frames of that length, the first after the contact."""
    size = sizes()
    over = seen.contact + DEBOUNCE_MS / 1000
    spoke = next((at for at, up, count in cable.talks if up and count >= size.up and at >= over), None)
    if spoke is None:
        return
    found.spoke.append((spoke - seen.contact) * 1000)
    answered = next((at for at, up, count in cable.talks if not up and count >= size.held and at > spoke), None)
    if answered is not None:
        found.answered.append((answered - spoke) * 1000)


def figures(found: Found, mode: str) -> Iterator[Figure]:
    """What one mode (``TLS`` or ``no TLS``) has found."""

    def name(what: str) -> str:
        return f"{mode}: {what}"

    for stage in STAGES:
        reach = Reach(most=60) if stage in ("pressed", "received") else None
        values: list[float] = getattr(found, stage)
        yield from spread("press", name(f"first contact to {stage}"), values, median=reach)
    floors = {"held": found.floor_held, "received": found.floor_received, "pressed": []}
    for stage in STAGES:
        median, p99 = (Reach(times=1.5), Reach(times=3)) if stage == "received" else (None, None)
        after = [value - DEBOUNCE_MS for value in getattr(found, stage)]
        yield from spread("press", name(f"end of debounce to {stage}"), after, floors[stage], median=median, p99=p99)
    if found.spoke and found.answered:
        after = [value - DEBOUNCE_MS for value in found.spoke]
        yield figure(
            "press", name("end of debounce to first byte, median"), "ms", percentile(after, 0.5), count=len(after)
        )
        middle = percentile(found.answered, 0.5)
        count = len(found.answered)
        yield figure("press", name("first byte to the agent's held, median"), "ms", middle, count=count)


async def run(folder: Path, count: int, tell: Tell) -> None:
    """``count`` presses over TLS, as a site has it, and before them a fifth as many without."""
    for mode, tls, presses in (("no TLS", False, -(-count // 5)), ("TLS", True, count)):
        for one in figures(await measure(folder / mode.replace(" ", "-"), presses, tls=tls), mode):
            tell(one)
