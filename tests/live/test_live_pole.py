"""One live pole: the unchanged firmware on a real MicroPython, on a cable, with a small agent at the other end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.pole_peer import Peer

from sos_contract.errors import SafezoneError
from sos_contract.resources import data_dir
from sos_sim.live import firmware
from sos_sim.live.pole_host import Change, LivePole
from sos_sim.live.wire import Cable, UsbCable
from sos_wire.messages import Command

pytestmark = pytest.mark.live
KEY = bytes(range(32))
# The design's figure is 60 ms for a pole of its own; here eight things share two processors.
SLACK_MS = 150
CALM_S = 0.35  # after its start a pole must see a released button for 250 ms before a press counts


def settings(name: str = "merlin-1", address: int = 1, kind: str = "uart", chip: str = "pico") -> dict[str, Any]:
    """settings.json of a pole on that board."""
    board = json.loads((data_dir("boards") / f"{chip}.json").read_text())
    link = {"kind": kind, "baud": 115200}
    return {"version": 1, "pole": name, "address": address, "key": KEY.hex(), "link": link, "board": board}


class Bench:
    """A pole, its cable, and a peer that hangs up and calls again when told to."""

    def __init__(self, folder: Path, chip: str = "pico", **options: Any) -> None:
        self.folder = folder
        self.cable = Cable(folder / "tty")
        self.pole = LivePole(settings(chip=chip), folder / "flash", self.cable, **options)
        self.seen: list[Change] = []
        self.pole.subscribe(self.seen.append)
        self.peers: list[Peer] = []

    async def start(self) -> None:
        """Switch on, and wait until a press counts."""
        await self.pole.start()
        await asyncio.sleep(CALM_S)

    async def peer(self, **options: Any) -> Peer:
        """Call, and wait for the session."""
        peer = Peer(self.cable.port.path, {1: KEY}, **options)
        self.peers.append(peer)
        await peer.until(lambda: peer.links[1].up, 5)
        return peer

    async def hang_up(self) -> None:
        """The agent's end goes silent."""
        for peer in self.peers:
            await peer.close()
        self.peers.clear()

    def kinds(self, kind: str) -> list[Any]:
        """Values of all changes of that kind."""
        return [change.value for change in self.seen if change.kind == kind]


@asynccontextmanager
async def bench(folder: Path, **options: Any) -> AsyncIterator[Bench]:
    """Everything plugged in and switched on; nothing left behind."""
    made = Bench(folder, **options)
    try:
        await made.start()
        yield made
    finally:
        await made.hang_up()
        await made.pole.stop()
        made.cable.close()


def run(story: Callable[[], Awaitable[None]]) -> None:
    """One test's story on an event loop of its own."""
    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_press_lights_the_lamp_and_the_lamp_follows_the_station(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as b:
            peer = await b.peer(stage="held")
            await b.pole.wait_look("in_service", 5)
            pressed = asyncio.ensure_future(b.pole.wait_look("pressed", 5))
            contact = await b.pole.press(400, bounce=[(1, 2), (2, 1)])
            assert 30 <= (await pressed - contact) * 1000 < 60 + SLACK_MS
            assert b.pole.beacon
            assert (await b.pole.wait_look("held", 5) - contact) * 1000 < 500
            (_, press), *more = peer.presses
            assert press.kind == "press" and not more
            for stage in ("received", "accepted", "dispatched", "on_scene"):
                peer.tell(stage, press)
                await b.pole.wait_look(stage, 5)
            peer.tell("closed", press)
            await b.pole.wait_look("in_service", 5)
            assert not b.pole.beacon and len(peer.presses) == 1 and not b.kinds("crash")

    run(story)


@pytest.mark.parametrize("chip", ["pico2", "esp32"])
def test_the_other_boards(tmp_path: Path, chip: str) -> None:
    async def story() -> None:
        async with bench(tmp_path, chip=chip) as b:
            peer = await b.peer()
            await b.pole.wait_look("in_service", 5)
            await b.pole.press(300)
            await b.pole.wait_look("received", 5)
            await b.pole.restart()
            await peer.until(lambda: peer.links[1].opened == 2, 5)
            # A cut right after *received* may come before its release is written: the same press is offered once more.
            assert len({press.press for _, press in peer.presses}) == 1
            assert peer.links[1].peer[1] == 2 and not b.kinds("crash")

    run(story)


@pytest.mark.parametrize(("fault", "notice"), [("open", "loop_open"), ("short", "loop_short")])
def test_a_damaged_wire_is_a_fault_and_never_a_press(tmp_path: Path, fault: Any, notice: str) -> None:
    async def story() -> None:
        async with bench(tmp_path) as b:
            peer = await b.peer()
            await b.pole.wait_look("in_service", 5)
            b.pole.set_button(fault)
            await peer.until(lambda: any(n.kind == notice and n.on for n in peer.notices), 5)
            b.pole.set_button("idle")
            await peer.until(lambda: any(n.kind == notice and not n.on for n in peer.notices), 5)
            assert not peer.presses and "pressed" not in b.kinds("look")

    run(story)


def test_what_the_board_feels_reaches_the_agent(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as b:
            peer = await b.peer()
            b.pole.set_tamper(True)
            b.pole.set_mains(False)
            b.pole.set_supply(11000)
            b.pole.set_lamp_broken(True)
            b.pole.set_sounder_broken(True)
            b.pole.set_temperature(45)
            await b.pole.press(200)
            wanted = {"tamper", "mains_lost", "battery_low", "lamp_fault", "sounder_fault"}
            await peer.until(lambda: wanted <= {n.kind for n in peer.notices if n.on}, 8)

            def told() -> bool:
                status = peer.status()
                return status is not None and abs(status.temperature_dc - 450) < 10 and status.supply_mv < 11100

            await peer.until(told, 5)

    run(story)


def test_a_press_outlives_a_kill_while_the_agent_is_away(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as b:
            await b.pole.press(200)
            await b.pole.wait_look("pressed", 5)
            await b.pole.kill()
            assert b.pole.look == "off"
            await b.start()
            peer = await b.peer()
            await peer.until(lambda: peer.presses, 5)
            press = peer.presses[0][1]
            assert press.restored and press.boot < peer.links[1].peer[1]
            await b.pole.wait_look("received", 5)
            await asyncio.sleep(0.3)  # the release is written
            await b.hang_up()
            await b.pole.restart()
            again = await b.peer()
            await asyncio.sleep(1.0)
            assert not again.presses and len(peer.presses) == 1

    run(story)


@pytest.mark.parametrize("byte", [0, 5, 256])
def test_power_cut_inside_the_write_of_a_press(tmp_path: Path, byte: int) -> None:
    """Never shown as pressed before it is whole: then it may be gone; and whole, it is offered."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            await b.peer(stage="")
            await b.pole.wait_look("in_service", 5)
            b.pole.arm_power_cut("program", byte=byte)
            await b.pole.press(300)
            await asyncio.wait_for(b.pole.wait_off(), 5)
            assert "pressed" not in b.kinds("look")
            await b.hang_up()
            b.pole.set_button("idle")
            await b.start()
            peer = await b.peer()
            await b.pole.wait_look("received" if byte == 256 else "in_service", 5)
            assert len(peer.presses) == (byte == 256)
            await b.pole.press(300)
            await peer.until(lambda: len(peer.presses) == 1 + (byte == 256), 5)

    run(story)


def test_ticks_wrap_while_somebody_presses(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path, ticks_ms=2**30 - 2500) as b:
            peer = await b.peer()
            for count in (1, 2, 3, 4):
                await b.pole.press(300)
                await peer.until(lambda count=count: len(peer.presses) == count, 5)  # type: ignore[misc]
                await asyncio.sleep(0.6)
            assert [p.pressed_at_ms for _, p in peer.presses] == sorted(p.pressed_at_ms for _, p in peer.presses)
            assert peer.links[1].opened == 1 and not b.kinds("crash")

    run(story)


def test_firmware_that_hangs_or_falls_is_restarted_by_the_watchdog(tmp_path: Path) -> None:
    """A main.py of two words in place of the real one: it hangs at the first edge, and raises after that restart."""
    stuck = tmp_path / "stuck.py"
    stuck.write_text(
        """
import machine
class Board:
    def __init__(self):
        self.adc = machine.ADC(machine.Pin(26))
        self.dog = machine.WDT(timeout=500)
    def turn(self, pole):
        self.dog.feed()
        if self.adc.read_u16() < 30000:
            if machine.reset_cause() == machine.WDT_RESET:
                raise ValueError("enough")
            while True:
                pass
        return True
def build():
    return Board(), None
"""
    )

    async def story() -> None:
        async with bench(tmp_path, files={"/main.py": stuck}) as b:
            reset = asyncio.ensure_future(b.pole.wait_for(lambda c: c.kind == "reset", 5))
            b.pole.set_button("pressed")
            assert (await reset).value == "watchdog"
            crash = await b.pole.wait_for(lambda c: c.kind == "crash", 5)
            assert 'File "main.py"' in crash.value and crash.value.endswith("ValueError: enough")
            assert (await b.pole.wait_for(lambda c: c.kind == "reset", 5)).value == "watchdog"
            b.pole.set_button("idle")
            await b.pole.wait_for(lambda c: c.kind == "started", 5)
            await asyncio.sleep(1.0)
            assert b.kinds("reset").count("watchdog") in (2, 3) and b.pole.running

    run(story)


def test_more_heap_than_the_board_has_is_a_memory_error(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as b:
            await b.peer()
            await b.pole.press(300)
            await b.pole.wait_look("received", 5)
            assert 10_000 < (await b.pole.stats())["heap"] <= 64_000
        async with bench(tmp_path, heap_bytes=20_000) as b:
            assert "MemoryError" in b.kinds("crash")[0]

    run(story)


def test_a_pole_that_cannot_start_says_why(tmp_path: Path) -> None:
    async def story() -> None:
        cable = Cable(tmp_path / "tty")
        wrong = settings() | {"key": "00"}
        pole = LivePole(wrong, tmp_path / "flash", cable)
        with pytest.raises(SafezoneError, match=r"^pole merlin-1 did not start: .*settings.json: key .*64 hex digits"):
            await pole.start()
        assert not pole.running
        with pytest.raises(SafezoneError, match="is switched off"):
            await pole.stats()
        pole = LivePole(settings(), tmp_path / "no-such-folder" / "flash", cable)
        with pytest.raises(SafezoneError, match=r"^pole merlin-1 did not start: .*ENOENT"):
            await pole.start()
        cable.close()

    run(story)


def test_files_are_the_installed_ones() -> None:
    files = firmware.files()
    assert files.keys() == {"/main.py", "/pole.mpy"}
    assert all(path.is_file() for path in files.values())


async def mpremote(port: Path, *words: str) -> tuple[int, str]:
    """Run the real mpremote on that port; returns its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mpremote", "connect", str(port), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, printed.decode()


async def answers_mpremote(pole: LivePole, cable: UsbCable, peer: Peer) -> None:
    """Open the REPL by message, use it, and give the pole back; then the same by button and open enclosure."""
    for _, press in peer.presses:
        peer.tell("closed", press)
    await pole.wait_look("in_service", 5)
    prompt = asyncio.ensure_future(pole.wait_for(lambda c: c.kind == "repl", 5))
    peer.send(Command("open_repl", 1))
    await prompt
    await peer.close()
    assert await mpremote(cable.port.path, "exec", "print(6 * 7)") == (0, "42\r\n")
    code, printed = await mpremote(cable.port.path, "eval", "1 / 0")
    assert code == 1 and "ZeroDivisionError" in printed
    assert (await mpremote(cable.port.path, "fs", "cp", __file__, ":copy.py"))[0] == 0
    assert "copy.py" in (await mpremote(cable.port.path, "fs", "ls"))[1]
    started = asyncio.ensure_future(pole.wait_for(lambda c: c.kind == "started", 5))
    await mpremote(cable.port.path, "reset")
    await started
    again = Peer(cable.port.path, {1: KEY})
    await again.until(lambda: again.links[1].up, 5)
    await again.close()
    pole.set_tamper(True)
    pole.set_button("pressed")
    prompt = asyncio.ensure_future(pole.wait_for(lambda c: c.kind == "repl", 5))
    await pole.restart()
    await prompt
    assert await mpremote(cable.port.path, "exec", "import sys; print(sys.platform)") == (0, "rp2\r\n")


def test_link_and_repl_share_the_usb_port(tmp_path: Path) -> None:
    """The link runs, 0x03 and all; only a pole that was asked to, at its start, lets mpremote in."""

    async def story() -> None:
        cable = UsbCable(tmp_path / "ttyACM0")
        pole = LivePole(settings(kind="usb"), tmp_path / "flash", cable)
        try:
            await pole.start()
            await asyncio.sleep(CALM_S)
            peer = Peer(cable.port.path, {1: KEY})
            await peer.until(lambda: peer.links[1].up, 5)
            await pole.press(300)
            await peer.until(lambda: peer.presses, 5)
            peer.say(b"\r\x03\x03\r\x01\x04")
            await asyncio.sleep(0.3 + CALM_S)
            await pole.press(300)
            await peer.until(lambda: len(peer.presses) == 2, 5)
            assert peer.links[1].opened == 1
            await pole.wait_look("received", 5)  # of the second press: the lamp left the first one's before it was sent
            await answers_mpremote(pole, cable, peer)
        finally:
            await pole.stop()
            cable.close()

    run(story)
