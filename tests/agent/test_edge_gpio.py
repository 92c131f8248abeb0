"""The own button: gpiozero's MockFactory in, what the agent hears and the pins show out."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st

from sos_agent.edge.gpio import CALM_MS, Contact, FileFlash, OwnButton, Pins
from sos_contract.site import Button
from sos_pole.runs import IDLE, PRESSED, SAMPLE_MS
from sos_sim.nor_flash import NorFlash
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE
from sos_wire.messages import Press, Progress, Service, unpack
from sos_wire.ticks import TICKS_MASK

KEY = bytes(range(32))
BUTTON = Button(id="own-1", gpio=17, beacon_gpio=27, siren_gpio=22)
WAIT_S = 30.0
# A press that the machine spoilt is pressed again, once the button has been left alone for long enough.
TRIES, CALM_S = 20, 1.0


class Peer:
    """The agent's end of the memory cable."""

    def __init__(self, own: OwnButton) -> None:
        self.line = AgentLine(False, 1_000_000)
        self.link = AgentLink(1, KEY, os.urandom(32))
        self.presses: list[Press] = []
        self._own = own
        own.open(self._heard)

    def _heard(self, data: bytes) -> None:
        for frame in self.line.feed(data, self._now()):
            self.link.receive(frame, self._now())
        for _, payload, _ in self.link.take():
            message = unpack(payload)
            if isinstance(message, Press):
                self.presses.append(message)

    def say(self, message: Progress | Service) -> None:
        assert self.link.send(LIVE, message.pack())

    def speak(self) -> None:
        while (data := self.link.poll(self._now(), self._now())) is not None:
            self._own.write(data)

    @staticmethod
    def _now() -> int:
        return time.monotonic_ns() // 1_000_000 & TICKS_MASK

    async def until(self, true: Callable[[], Any]) -> None:
        assert await self.until_or(true, WAIT_S), "waited too long"

    async def until_or(self, true: Callable[[], Any], most_s: float) -> bool:
        """Whether it became true in that time."""
        end = time.monotonic() + most_s
        while not true() and time.monotonic() < end:
            self.speak()
            await asyncio.sleep(0.002)
        return bool(true())


async def turns(own: OwnButton, now: list[int], count: int) -> None:
    """So many looks, ``now[0]`` being what the button takes for the time."""
    for _ in range(count):
        now[0] += SAMPLE_MS
        own._wake()
        await asyncio.sleep(0)


def test_a_press_of_30_ms_is_one_press_and_the_beacon_follows_until_closed(tmp_path: Path) -> None:
    async def main() -> None:
        factory = MockFactory()
        flash = FileFlash(tmp_path / "own-1.journal")
        own = OwnButton(Pins(BUTTON, factory), flash, KEY)
        peer = Peer(own)
        await peer.until(lambda: peer.link.up)
        peer.say(Service("in_service"))
        pin, beacon = factory.pin(17), factory.pin(27)
        await peer.until(lambda: own._pole.debounces[0].state == "ready")
        assert not beacon.state
        for _ in range(TRIES):
            if peer.presses:
                break
            for _ in range(3):  # a bouncing contact of some 35 ms
                pin.drive_low()
                await asyncio.sleep(0.010)
                pin.drive_high()
                await asyncio.sleep(0.002)  # on a busy machine long enough, at times, to be no bounce but an end
            await peer.until_or(lambda: peer.presses, CALM_S)
        await peer.until(lambda: beacon.state)
        press = peer.presses[0]
        assert press.kind == "press"
        for stage in ("held", "received", "closed"):
            peer.say(Progress(press.incarnation, press.boot, press.press, stage))
        await peer.until(lambda: not beacon.state)
        assert len(peer.presses) == 1
        own.stop()
        flash.close()

    asyncio.run(main())


@pytest.mark.parametrize(("touch_ms", "presses"), [(8, 0), (60, 1)])
def test_a_busy_loop_makes_no_press_of_a_touch_and_loses_none(
    monkeypatch: pytest.MonkeyPatch, touch_ms: int, presses: int
) -> None:
    """An edge was dated when the loop came to it: a touch lasted as long as the loop was busy, and became a press."""
    now = [1_000]
    monkeypatch.setattr("sos_agent.edge.gpio._now_ms", lambda: now[0])

    async def main() -> None:
        factory = MockFactory()
        own = OwnButton(Pins(BUTTON, factory), NorFlash(), KEY)

        await turns(own, now, 200)
        assert own._pole.debounces[0].state == "ready"
        factory.pin(17).drive_low()
        await asyncio.sleep(0)
        await turns(own, now, 1)
        now[0] += touch_ms
        factory.pin(17).drive_high()
        now[0] += 100
        await asyncio.sleep(0)
        await turns(own, now, 200)
        assert len(own._pole.journal.entries) == presses and own._pole.debounces[0].state == "ready"
        own.stop()

    asyncio.run(main())


def test_a_press_that_nobody_received_is_offered_after_a_restart(tmp_path: Path) -> None:
    async def press_once() -> Press:
        factory = MockFactory()
        flash = FileFlash(tmp_path / "own-1.journal")
        own = OwnButton(Pins(BUTTON, factory), flash, KEY)
        peer = Peer(own)
        await peer.until(lambda: peer.link.up and own._pole.debounces[0].state == "ready")
        factory.pin(17).drive_low()
        await peer.until(lambda: peer.presses)
        own.stop()
        flash.close()
        return peer.presses[0]

    async def look_again() -> Press:
        flash = FileFlash(tmp_path / "own-1.journal")
        own = OwnButton(Pins(BUTTON, MockFactory()), flash, KEY)
        peer = Peer(own)
        await peer.until(lambda: peer.presses)
        own.stop()
        flash.close()
        return peer.presses[0]

    first, again = asyncio.run(press_once()), asyncio.run(look_again())
    assert (first.incarnation, first.boot, first.press) == (again.incarnation, again.boot, again.press)
    assert (first.restored, again.restored) == (0, 1)


def test_flash_in_a_file_clears_bits_only_until_erased(tmp_path: Path) -> None:
    flash = FileFlash(tmp_path / "j")
    flash.program(4096, b"\xf0\x0f")
    flash.program(4096, b"\x3c\xff")
    assert flash.read(4095, 4) == b"\xff\x30\x0f\xff"
    flash.close()
    flash = FileFlash(tmp_path / "j")
    assert flash.read(4096, 2) == b"\x30\x0f"
    flash.erase(4096)
    assert flash.read(4096, 2) == b"\xff\xff"
    flash.close()
    (tmp_path / "j").write_bytes(b"short")
    FileFlash(tmp_path / "j").close()
    assert len(list(tmp_path.glob("j.damaged-*"))) == 1


@pytest.mark.parametrize(("touch_ms", "presses"), [(8, 0), (60, 1)])
def test_a_program_that_was_stopped_within_a_touch_makes_no_press_of_it(
    monkeypatch: pytest.MonkeyPatch, touch_ms: int, presses: int
) -> None:
    """The thread that hears of edges was stopped, too, and dated the end of the touch when it was woken: the touch had
    lasted for as long as the program was stopped."""
    now = [1_000]
    monkeypatch.setattr("sos_agent.edge.gpio._now_ms", lambda: now[0])
    monkeypatch.setattr("gpiozero.pins.mock.monotonic", lambda: now[0] / 1000)

    async def main() -> None:
        factory = MockFactory()
        own = OwnButton(Pins(BUTTON, factory), NorFlash(), KEY)
        pin = factory.pin(17)

        await turns(own, now, 200)
        assert own._pole.debounces[0].state == "ready"
        pin.drive_low()
        await asyncio.sleep(0)
        await turns(own, now, 1)
        now[0] += touch_ms
        pin._change_state(True)  # so the kernel noted it, and told nobody
        now[0] += 5_000
        pin._call_when_changed()
        await asyncio.sleep(0)
        await turns(own, now, 200)
        assert len(own._pole.journal.entries) == presses and own._pole.debounces[0].state == "ready"
        own.stop()

    asyncio.run(main())


def _runs(contact: Contact) -> list[tuple[int, int]]:
    return [(contact.runs.level[i], contact.runs.ms[i]) for i in range(contact.runs.count)]


def test_time_up_to_an_edge_is_the_old_levels_and_after_it_the_new_ones() -> None:
    contact = Contact(1000, IDLE)
    contact.look(IDLE, 1100)
    contact.edge(1150)
    contact.look(PRESSED, 1153)
    assert _runs(contact) == [(IDLE, 150), (PRESSED, 3)]
    assert contact.blind_ms == 0


def test_a_hole_never_turns_a_touch_into_a_press() -> None:
    contact = Contact(1000, IDLE)
    contact.look(PRESSED, 1100)  # nobody told of an edge
    contact.look(IDLE, 1160)
    assert _runs(contact) == [(IDLE, 98), (PRESSED, 2), (IDLE, 60)]
    assert contact.blind_ms == 98 + 58


def test_it_rests_only_when_nothing_moved_for_a_while() -> None:
    contact = Contact(0, IDLE)
    contact.edge(100)
    contact.look(IDLE, 101)
    assert not contact.rests(100 + CALM_MS - 1)
    assert contact.rests(100 + CALM_MS)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([IDLE, PRESSED]), st.integers(0, 300)), max_size=40))
def test_all_time_is_accounted_for(looks: list[tuple[bool, int, int]]) -> None:
    contact = Contact(0, IDLE)
    now_ms = 0
    for edge, level, after_ms in looks:
        if edge:
            contact.edge(now_ms + after_ms // 2)
        now_ms += after_ms
        contact.look(level, now_ms)
    assert sum(ms for _, ms in _runs(contact)) == now_ms
    assert SAMPLE_MS * contact.runs.count <= max(now_ms, 2) * 2


def test_an_edge_that_comes_with_the_end_is_no_mistake_of_ours() -> None:
    """A finger on the button while the agent stopped: pins were read that were closed, and the log called for help."""

    async def main() -> None:
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
        factory = MockFactory()
        own = OwnButton(Pins(BUTTON, factory), NorFlash(), KEY)
        await asyncio.sleep(0)
        factory.pin(17).drive_low()
        own.stop()
        own.write(b"late")
        await asyncio.sleep(0.05)
        assert not wrong

    asyncio.run(main())
