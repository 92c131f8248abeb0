"""The live pole's cable: pace, cuts, noise, collisions, ports that vanish, and bytes lost while the flash is busy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.live.pole_peer import Peer
from tests.live.test_live_pole import KEY, Bench, bench, settings

from sos_contract.errors import SafezoneError
from sos_sim.live.pair import Pair
from sos_sim.live.pole_host import LivePole
from sos_sim.live.port import Port
from sos_sim.live.spoil import Spoil
from sos_sim.live.wire import Cable

pytestmark = pytest.mark.live
BYTE_S = 10 / 115200


def run(story: Callable[[], Awaitable[None]]) -> None:
    """One test's story on an event loop of its own."""
    asyncio.run(asyncio.wait_for(story(), 60))


def heard_at(into: list[tuple[float, bytes]]) -> Callable[[bytes], None]:
    """An end that notes what it hears and when."""
    return lambda data: into.append((time.monotonic(), data))


def test_bytes_take_their_time() -> None:
    async def story() -> None:
        pair = Pair(115200)
        heard: list[tuple[float, bytes]] = []
        pair.join("a", lambda data: None)
        pair.join("b", heard_at(heard))
        began = time.monotonic()
        pair.talk("a", bytes(range(100)))
        pair.talk("a", bytes(range(100, 200)))
        await asyncio.sleep(200 * BYTE_S + 0.05)
        assert b"".join(data for _, data in heard) == bytes(range(200))
        took = heard[-1][0] - began
        assert took >= 200 * BYTE_S
        # A listener hears early that the line is busy; a loop that was held up itself hands all on at once.
        assert len(heard) > 1 or took > 300 * BYTE_S
        pair.close()

    run(story)


def test_talkers_that_overlap_spoil_each_other_and_hear_nothing_meanwhile() -> None:
    async def story() -> None:
        pair = Pair(115200, seed=1)
        heard: dict[str, list[tuple[float, bytes]]] = {name: [] for name in "abc"}
        for name, into in heard.items():
            pair.join(name, heard_at(into))
        at = time.monotonic() + 0.01
        pair.talk("a", b"A" * 40, at)
        pair.talk("b", b"B" * 40, at + 30 * BYTE_S)
        await asyncio.sleep(0.05)
        third = b"".join(data for _, data in heard["c"])
        assert len(third) == 80 and third.startswith(b"A" * 29) and third.endswith(b"B" * 29)
        assert pair.collisions in range(20, 24)
        assert b"".join(data for _, data in heard["a"]).endswith(b"B" * 29)
        assert len(b"".join(data for _, data in heard["a"])) < 40
        pair.close()

    run(story)


def test_an_echo_and_an_end_that_is_cut_or_falls_silent() -> None:
    async def story() -> None:
        pair = Pair(115200, echo=True)
        heard: dict[str, list[tuple[float, bytes]]] = {name: [] for name in "ab"}
        for name, into in heard.items():
            pair.join(name, heard_at(into))
        pair.talk("a", b"one")
        await asyncio.sleep(0.02)
        assert [b"".join(d for _, d in heard[name]) for name in "ab"] == [b"one", b"one"]
        pair.cut("b", mute=False)
        pair.talk("a", b"two")
        pair.talk("b", b"up")
        await asyncio.sleep(0.02)
        assert b"".join(d for _, d in heard["b"]) == b"one"
        pair.mend("b")
        pair.talk("a", b"x" * 20_000)
        await asyncio.sleep(0.02)
        pair.hush("a")
        await asyncio.sleep(0.1)
        assert 100 < sum(len(d) for _, d in heard["b"]) < 20_000
        pair.close()

    run(story)


def test_a_port_vanishes_comes_back_and_is_refused_in_one_line(tmp_path: Path) -> None:
    async def story() -> None:
        port = Port(tmp_path / "ttyUSB0", lambda data: None)
        port.plug()
        held = os.open(port.path, os.O_RDWR | os.O_NONBLOCK)
        port.unplug()
        assert not (tmp_path / "ttyUSB0").is_symlink()
        with pytest.raises(OSError):
            os.write(held, b"x")
        os.close(held)
        port.plug(tmp_path / "ttyUSB1")
        for _ in range(100):
            port.write(b"x" * 1000)  # nobody reads
        assert port.overrun_bytes > 50_000
        port.unplug()
        (tmp_path / "taken").write_text("a file")
        with pytest.raises(SafezoneError, match=r"cannot make the port .*taken: File exists"):
            port.plug(tmp_path / "taken")

    run(story)


async def loses_and_finds(b: Bench, direction: str) -> None:
    """Cut in that direction until the lamp knows, then mend."""
    b.cable.cut(direction=direction)  # type: ignore[arg-type]
    cut_at = time.monotonic()
    assert await b.pole.wait_look("out_of_service", 12) - cut_at < 10
    b.cable.mend()
    await b.pole.wait_look("in_service", 6)


def test_a_cable_cut_one_way_is_as_good_as_cut(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as b:
            await b.peer()
            await b.pole.wait_look("in_service", 5)
            await loses_and_finds(b, "down")

    run(story)


def test_a_press_on_a_cut_and_noisy_cable_arrives_once(tmp_path: Path) -> None:
    """Noise may end a session: the press is then offered again in the next, under the identity that it has."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            peer = await b.peer()
            b.cable.cut(direction="up")
            await b.pole.press(200)
            await asyncio.sleep(1.5)
            assert not peer.presses
            b.cable.weather(Spoil(noise=0.003))  # one frame in five is spoilt
            b.cable.mend()
            await b.pole.wait_look("received", 8)
            await asyncio.sleep(1.0)
            assert len({(press.incarnation, press.boot, press.press) for _, press in peer.presses}) == 1

    run(story)


def test_three_poles_on_one_pair(tmp_path: Path) -> None:
    """Pressed at once, with adapters that echo; one of them has its stub cut, and does not take the others with it."""

    async def story() -> None:
        cable = Cable(tmp_path / "tty", shared=True, echo=True)
        poles = [
            LivePole(settings(f"pole-{n}", n, "rs485"), tmp_path / f"flash{n}", cable, ticks_ms=n) for n in (1, 2, 3)
        ]
        peer = None
        try:
            await asyncio.gather(*(pole.start() for pole in poles))
            peer = Peer(cable.port.path, {1: KEY, 2: KEY, 3: KEY}, shared=True)
            await asyncio.gather(*(pole.wait_look("in_service", 8) for pole in poles))
            await asyncio.sleep(0.35)
            cable.cut("pole-3")
            await asyncio.gather(*(pole.press(300) for pole in poles))
            await asyncio.gather(*(pole.wait_look("received", 5) for pole in poles[:2]))
            assert sorted(address for address, _ in peer.presses) == [1, 2]
            cable.mend("pole-3")
            await poles[2].wait_look("received", 8)
            assert sorted(address for address, _ in peer.presses) == [1, 2, 3]
        finally:
            if peer is not None:
                await peer.close()
            await asyncio.gather(*(pole.stop() for pole in poles))
            cable.close()

    run(story)


def test_bytes_beyond_the_fifo_are_lost_while_the_flash_erases(tmp_path: Path) -> None:
    """A main.py that erases when it hears something, and counts what came meanwhile: the first 32 bytes."""
    deaf = tmp_path / "deaf.py"
    deaf.write_text(
        """
import machine, rp2
class Board:
    def __init__(self):
        self.uart = machine.UART(0, baudrate=115200, tx=machine.Pin(0), rx=machine.Pin(1), rxbuf=1024)
        self.flash = rp2.Flash(start=1425408, len=16384)
    def turn(self, pole):
        if self.uart.any():
            self.uart.read()
            print("erasing")
            self.flash.ioctl(6, 0)
            print("heard", len(self.uart.read() or b""))
        return True
    def due_ms(self, now):
        return 1000
def build():
    return Board(), None
"""
    )

    async def story() -> None:
        async with bench(tmp_path, files={"/main.py": deaf}) as b:
            port = os.open(b.cable.port.path, os.O_RDWR | os.O_NOCTTY)
            told = []
            for _ in range(10):  # a busy machine may say the 200 bytes too late for the 45 ms of the erase
                lost = (await b.pole.stats())["lost"]
                erasing = asyncio.ensure_future(b.pole.wait_for(lambda c: c.value == "erasing", 5))
                heard = asyncio.ensure_future(b.pole.wait_for(lambda c: str(c.value).startswith("heard"), 5))
                os.write(port, b"x")
                await erasing
                os.write(port, b"y" * 200)
                told.append(((await heard).value, (await b.pole.stats())["lost"] - lost))
                if told[-1][0] == "heard 32" and told[-1][1] >= 100:
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail(f"never the FIFO's 32 bytes: {told}")
            os.close(port)

    run(story)
