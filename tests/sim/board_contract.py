"""One script of a board's inputs, played on the real ``sos_pole.board`` and on its twin: what both did."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pole.fake_board import IDLE_RAW, PRESSED_RAW, FakeBoard
from tests.pole.rig import Agent

from sos_pole.journal import Journal
from sos_pole.pole import Outputs, Pole
from sos_pole.runs import IDLE, OPEN, PRESSED, SHORT
from sos_pole.senses import Readings
from sos_sim.world.board import Board
from sos_sim.world.flash import BoardFlash
from sos_wire.pole_end import PoleLine, PoleLink

KEY = bytes(range(32))
START_MS = 0x3FFFFFFF - 4001  # odd, and the clock wraps after 4 s
RAW = {IDLE: IDLE_RAW, PRESSED: PRESSED_RAW, OPEN: 60_000, SHORT: 2_000}
SUPPLY_RAW = 47_000
HEAT_RAW = next(raw for raw in range(14_000, 14_100) if 0 <= ((raw >> 2) * 33000 >> 14) - 7060 <= 1)  # 27.0 degrees
CABLE_MS = 5  # a frame's way, and the agent's turn
SEED = b"a" * 32

# What happens at a millisecond: (input, value). Inputs: button 0 or 1, and what the twin's ``feel`` names.
Happening = tuple[int | str, int]
Script = dict[int, list[Happening]]
Step = tuple[int, tuple[object, ...]]  # its tick, and what went in and came out


def supply_mv(raw: int, full_mv: int = 18150) -> int:
    """What the board makes of a reading."""
    return (raw >> 4) * (full_mv >> 2) >> 10


def _entropy() -> Iterator[bytes]:
    """What a start asks ``os.urandom`` for, the same each time."""
    rng = random.Random("entropy")
    while True:
        yield rng.randbytes(32)


class Far:
    """The agent at the other end, CABLE_MS away in both directions."""

    def __init__(self) -> None:
        self.agent = Agent(SEED)
        self._up: list[tuple[int, bytes]] = []
        self._down: list[tuple[int, bytes]] = []

    def said(self, data: bytes, now_ms: int) -> None:
        """The pole said that."""
        if data:
            self._up.append((now_ms + CABLE_MS, data))

    def turn(self, now_ms: int) -> bytes:
        """What the pole hears now."""
        while self._up and self._up[0][0] <= now_ms:
            self.agent.hear(self._up.pop(0)[1], now_ms & 0x3FFFFFFF)
        answer = self.agent.speak(now_ms & 0x3FFFFFFF)
        if answer:
            self._down.append((now_ms + CABLE_MS, answer))
        heard = b""
        while self._down and self._down[0][0] <= now_ms:
            heard += self._down.pop(0)[1]
        return heard


class Steps:
    """Keeps what went into each step of a core and what came out."""

    def __init__(self, pole: Pole) -> None:
        self.all: list[Step] = []
        self._step = pole.step
        pole.step = self  # type: ignore[method-assign]

    def __call__(self, now: int, runs: Any, received: bytes, readings: Readings) -> Outputs:
        given = tuple(tuple(zip(part.level[: part.count], part.ms[: part.count], strict=True)) for part in runs)
        feels = tuple(sorted(vars(readings).items()))
        out = self._step(now, runs, received, readings)
        shown = (out.lamp, out.hertz, out.beacon)
        self.all.append((now, (given, received, feels, *shown, out.send, out.wake_ms)))
        return out


def play_real(folder: Path, patch: pytest.MonkeyPatch, script: Script, ms: int, flash: BoardFlash) -> list[Step]:
    """The real board on the fake machine, a turn each millisecond; writing to the flash takes its time."""
    fake = FakeBoard(folder, key=KEY.hex(), silent_button=True).install(patch)
    entropy = _entropy()
    patch.setattr(os, "urandom", lambda count: next(entropy)[:count])
    fake.adc[4] = HEAT_RAW
    fake.flash = flash
    fake.now = START_MS
    far = Far()
    _happen(fake, script.get(0, []))
    board, pole = fake.build()
    flash.take_busy_us()
    steps = Steps(pole)
    end_ms = fake.now + ms
    last_ms = fake.now - 1
    while fake.now < end_ms:
        for at in range(last_ms + 1, fake.now + 1):
            _happen(fake, script.get(at - START_MS, []))
        last_ms = fake.now
        if (fake.now - START_MS) % 2 == 0:
            fake.sample(None)
        fake.come += far.turn(fake.now)
        board.turn(pole)
        busy_ms = -(-flash.take_busy_us() // 1000)
        fake.now += max(1, busy_ms)
        far.said(fake.sent, last_ms + busy_ms)
        fake.sent = b""
    return steps.all


def _happen(fake: FakeBoard, happenings: list[Happening]) -> None:
    for what, value in happenings:
        if isinstance(what, int):
            fake.adc[26 + what] = RAW[value]
        elif what == "supply_mv":
            fake.adc[28] = value
        else:
            pin, level = {"tamper": (10, value), "mains_lost": (11, 1 - value), "lamp_draws": (12, value)}[what]
            fake.pins[pin] = level


def play_twin(script: Script, ms: int, flash: BoardFlash) -> list[Step]:
    """The twin, which has a turn only when it asks for one, when something changes and when bytes come."""
    entropy = _entropy()
    journal = Journal(flash, next(entropy)[:16])
    pole = Pole(journal, PoleLink(1, KEY, next(entropy)), PoleLine(False, 115200, 1), 2, "power_on")
    pole.start(START_MS & 0x3FFFFFFF)
    flash.take_busy_us()
    steps = Steps(pole)
    levels = [IDLE, IDLE]
    feels = {"supply_mv": supply_mv(SUPPLY_RAW)}
    for what, value in script.get(0, []):
        if isinstance(what, int):
            levels[what] = value
        else:
            feels[what] = supply_mv(value) if what == "supply_mv" else value
    board = Board(pole, levels, START_MS, feels)
    far = Far()
    free_ms = START_MS
    for now_ms in range(START_MS, START_MS + ms):
        for what, value in script.get(now_ms - START_MS, []) if now_ms > START_MS else []:
            if isinstance(what, int):
                board.change(what, value, now_ms)
            else:
                board.feel(what, supply_mv(value) if what == "supply_mv" else value, now_ms)
        if now_ms < free_ms:
            continue
        received = far.turn(now_ms)
        if not received and now_ms < board.next_ms() and now_ms > START_MS:
            continue
        out = board.turn(now_ms, received)
        if out is None:
            continue
        busy_ms = -(-flash.take_busy_us() // 1000)
        if busy_ms:
            board.blind(now_ms, now_ms + busy_ms)
            free_ms = now_ms + busy_ms
        board.show(out, now_ms)
        far.said(out.send, now_ms + busy_ms)
    return steps.all
