"""Serial ports on pseudo-terminals: found, opened alone, lost without harm, bounded."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sos_agent.core import effects, events
from sos_agent.edge.serial import MAX_UNSENT_BYTES, Place, Ports, explain, look_for, open_device
from sos_edge.log import Log

WAIT_S = 30.0


class Cable:
    """A pseudo-terminal: ``path`` is a link to the end that the agent opens."""

    def __init__(self, path: Path) -> None:
        self.master, slave = os.openpty()
        self.device = os.ttyname(slave)
        os.close(slave)
        self.path = path
        path.unlink(missing_ok=True)
        path.symlink_to(self.device)

    def unplug(self) -> None:
        os.close(self.master)


class Desk:
    """``Ports`` and what they deliver."""

    def __init__(self, *places: Place) -> None:
        self.events: asyncio.Queue[events.Event] = asyncio.Queue()
        self.ports = Ports(places, deliver=self.events.put_nowait, log=Log("test", point="p"))

    async def next(self) -> events.Event:
        return await asyncio.wait_for(self.events.get(), WAIT_S)

    async def open(self, device: str) -> None:
        self.ports.carry_out(effects.OpenPort(device, 115200))
        assert await self.next() == events.PortOpened(device)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_bytes_come_and_go_until_the_plug_is_pulled(tmp_path: Path) -> None:
    async def main() -> None:
        cable = Cable(tmp_path / "home")
        desk = Desk(Place("a", str(cable.path)))
        desk.ports.start()
        assert await desk.next() == events.PortsSeen((events.Candidate(cable.device, "a", True),))
        await desk.open(cable.device)
        os.write(cable.master, b"\x00\x03\x11\x13\x1a\xff\n\r")  # nothing on the line is an order to the terminal
        assert await desk.next() == events.PortBytes(cable.device, b"\x00\x03\x11\x13\x1a\xff\n\r")
        desk.ports.carry_out(effects.WriteBytes(cable.device, b"\x00\x03\n"))
        assert os.read(cable.master, 99) == b"\x00\x03\n"
        cable.unplug()
        lost = await desk.next()
        assert isinstance(lost, events.PortClosed)
        assert lost.reason.startswith("unplugged")
        assert await desk.next() == events.PortsSeen(())
        desk.ports.carry_out(effects.WriteBytes(cable.device, b"x"))  # of a port that has gone: no harm
        desk.ports.stop()

    run(main)


def test_a_port_that_comes_back_under_another_name_is_a_candidate(tmp_path: Path) -> None:
    async def main() -> None:
        place = Place("a", str(tmp_path / "home"), (str(tmp_path / "tty*"),))
        first = Cable(tmp_path / "home")
        desk = Desk(place)
        desk.ports.start()
        assert await desk.next() == events.PortsSeen((events.Candidate(first.device, "a", True),))
        other = Cable(tmp_path / "ttyX1")
        first.path.unlink()
        first.unplug()
        assert await desk.next() == events.PortsSeen((events.Candidate(other.device, "a", False),))
        desk.ports.stop()
        other.unplug()

    run(main)


def test_a_device_is_one_candidate_a_line_whatever_links_point_at_it(tmp_path: Path) -> None:
    cable = Cable(tmp_path / "by-id")
    (tmp_path / "by-path").symlink_to(cable.device)
    (tmp_path / "nothing").write_text("no terminal")
    places = [Place("a", str(cable.path), (str(tmp_path / "*"),)), Place("b", "/dev/absent", (str(tmp_path / "by-*"),))]
    assert look_for(places) == (events.Candidate(cable.device, "a", True), events.Candidate(cable.device, "b", False))
    cable.unplug()


def test_a_port_in_use_says_so_and_is_free_again_afterwards(tmp_path: Path) -> None:
    async def main() -> None:
        cable = Cable(tmp_path / "home")
        other = open_device(cable.device, 115200)
        assert not isinstance(other, str)
        desk = Desk(Place("a", str(cable.path)))
        desk.ports.carry_out(effects.OpenPort(cable.device, 115200))
        assert await desk.next() == events.PortClosed(cable.device, "in use by another program; stop that one")
        other.close()
        await desk.open(cable.device)
        desk.ports.stop()
        cable.unplug()

    run(main)


def test_an_attempt_that_was_closed_meanwhile_is_not_heard_of(tmp_path: Path) -> None:
    async def main() -> None:
        cable = Cable(tmp_path / "home")
        desk = Desk()
        desk.ports.carry_out(effects.OpenPort(cable.device, 115200))
        desk.ports.carry_out(effects.ClosePort(cable.device))
        await desk.open(cable.device)
        desk.ports.stop()
        assert desk.events.empty()
        cable.unplug()

    run(main)


def test_a_port_that_takes_nothing_costs_bounded_memory_and_blocks_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        cable = Cable(tmp_path / "home")
        desk = Desk()
        await desk.open(cable.device)
        for _ in range(2000):
            desk.ports.carry_out(effects.WriteBytes(cable.device, bytes(100)))
        assert desk.ports.dropped_bytes > 100_000
        assert len(desk.ports._open[cable.device].unsent) <= MAX_UNSENT_BYTES
        os.set_blocking(cable.master, False)
        read = 0
        for _ in range(200):  # what was kept arrives once there is room
            await asyncio.sleep(0)
            try:
                read += len(os.read(cable.master, 65536))
            except BlockingIOError:
                await asyncio.sleep(0.002)
        assert read == 200_000 - desk.ports.dropped_bytes
        desk.ports.stop()
        cable.unplug()

    run(main)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "no permission; run: sudo usermod -aG dialout"),
        (errno.EBUSY, "in use by another program"),
        (errno.ENOENT, "not there; plug it in"),
        (errno.ENOTTY, "no serial port"),
    ],
)
def test_each_reason_says_what_to_do(number: int, words: str) -> None:
    assert explain(OSError(number, os.strerror(number))).startswith(words)


def test_real_refusals_are_understood(tmp_path: Path) -> None:
    assert open_device(str(tmp_path / "absent"), 115200) == "not there; plug it in"
    (tmp_path / "file").write_text("")
    assert str(open_device(str(tmp_path / "file"), 115200)).startswith("no serial port")
    if os.geteuid():
        (tmp_path / "file").chmod(0)
        assert str(open_device(str(tmp_path / "file"), 115200)).startswith("no permission")


def test_an_absent_port_is_logged_once_and_its_coming_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        caplog.set_level("INFO")
        desk = Desk(Place("a", str(tmp_path / "home")))
        for _ in range(3):
            desk.ports._look()
        cable = Cable(tmp_path / "home")
        for _ in range(3):
            desk.ports._look()
        desk.ports.stop()
        cable.unplug()

    run(main)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0] == f"port absent: plug in the pole or mend the site file port={tmp_path / 'home'} point=p"
    assert lines[1].startswith(f"port is there port={tmp_path / 'home'} out_s=0.0 tries=3")
