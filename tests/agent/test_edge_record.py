"""The record of ports and own button: what goes over the cable is in it, bounded, and a bad disk harms nobody."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory
from tests.agent.test_edge_serial import Cable

from sos_agent.core import effects, events
from sos_agent.edge import record
from sos_agent.edge.gpio import OwnButtonKeeper
from sos_agent.edge.record import Recorder
from sos_agent.edge.serial import Place, Ports
from sos_contract.errors import SafezoneError
from sos_contract.site import Button
from sos_edge.log import Log

LOG = Log("test", point="market")


def lines(path: Path) -> list[list[str]]:
    return [line.split(" ") for line in path.read_text("utf-8").splitlines()]


def test_what_goes_over_a_port_is_recorded_as_it_went(tmp_path: Path) -> None:
    async def main() -> None:
        cable = Cable(tmp_path / "home")
        recorder = Recorder(tmp_path / "records", "market", log=LOG)
        heard: asyncio.Queue[events.Event] = asyncio.Queue()
        ports = Ports([Place("a", str(cable.path))], deliver=heard.put_nowait, log=LOG, record=recorder)
        ports.carry_out(effects.OpenPort(cable.device, 19200))
        await heard.get()
        os.write(cable.master, b"\x00\xff")
        assert await heard.get() == events.PortBytes(cable.device, b"\x00\xff")
        ports.carry_out(effects.WriteBytes(cable.device, b"\x01\x02"))
        ports.stop()
        recorder.close()
        ports.carry_out(effects.WriteBytes(cable.device, b"never"))
        head, began, *rest = lines(tmp_path / "records/market.record")
        assert head == ["safezone", "record", "1", "market"]
        assert began[:2] == ["0", "began"] and int(began[2]) > 1_600_000_000_000
        assert [line[1:] for line in rest] == [
            ["port", "0", "19200", cable.device],
            ["in", "0", "00ff"],
            ["out", "0", "0102"],
        ]
        times = [int(line[0]) for line in rest]
        assert times == sorted(times) and 0 <= times[0] <= times[-1] < 60_000_000
        os.close(cable.master)

    asyncio.run(main())


def test_the_own_buttons_levels_are_recorded(tmp_path: Path) -> None:
    async def main() -> None:
        factory, recorder = MockFactory(), Recorder(tmp_path, "market", log=LOG)
        button = Button(id="own-1", gpio=17)
        own = OwnButtonKeeper(
            button,
            tmp_path,
            bytes(range(32)),
            add=lambda _own: None,
            drop=lambda _why: None,
            log=LOG,
            factory=factory,
            record=recorder,
        )
        for drive in (factory.pin(17).drive_low, factory.pin(17).drive_high):
            drive()
            await asyncio.sleep(0.05)
        own.close()
        recorder.close()
        assert [line[1:] for line in lines(tmp_path / "market.record")[2:]] == [
            ["level", "1", "own-1"],
            ["level", "0", "own-1"],
        ]

    asyncio.run(main())


def test_a_record_is_bounded_and_its_second_file_knows_the_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "FLUSH_S", 0.01)
    recorder = Recorder(tmp_path, "market", log=LOG, most_bytes=4000)
    recorder.opened("/dev/ttyUSB0", 115200)
    for _ in range(20):
        for _ in range(10):
            recorder.heard("/dev/ttyUSB0", bytes(30))
        while recorder._waiting:
            recorder._ended.wait(0.005)
    recorder.close()
    both = [tmp_path / "market.record", tmp_path / "market.record.old"]
    assert sum(path.stat().st_size for path in both) < 2 * 4000
    for path in both:
        assert lines(path)[2][1:] == ["port", "0", "115200", "/dev/ttyUSB0"]


def test_a_disk_that_hangs_costs_lines_and_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_WAITING", 3)
    recorder = Recorder(tmp_path, "market", log=LOG)
    for level in (1, 0, 1, 0, 1):
        recorder.level("own-1", level)
    recorder._flush()
    recorder.level("own-1", 1)
    recorder.close()
    assert [line[1:3] for line in lines(tmp_path / "market.record")[2:]] == [
        ["level", "1"], ["level", "0"], ["level", "1"], ["lost", "2"], ["level", "1"],
    ]  # fmt: skip


def test_a_disk_that_fails_ends_the_record_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "records", "market", log=LOG)
    (tmp_path / "records/market.record").unlink()
    (tmp_path / "records").rmdir()
    recorder.level("own-1", 1)
    recorder.close()
    recorder.level("own-1", 0)
    assert not recorder._waiting
    assert [line.message.split(" path=")[0] for line in caplog.records] == ["recording has ended"]


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SafezoneError, match=r"file/market.record: cannot record there \(.*\); name another folder"):
        Recorder(tmp_path / "file", "market", log=LOG)
