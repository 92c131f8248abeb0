"""The own button's keeper: what it makes of pins that cannot be had and of a journal that cannot be read."""

from __future__ import annotations

import asyncio
import errno
import resource
from functools import partial
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory
from tests.agent.edge_world import until
from tests.agent.test_edge_gpio import BUTTON, KEY

from sos_agent.core import effects, events
from sos_agent.edge.gpio import FileFlash, OwnButton, OwnButtonKeeper, Pins
from sos_agent.edge.serial import Ports
from sos_edge.log import Log


def nobody(_why: str) -> None:
    """Hears that the button is there no more."""


def unreadable(_flash: FileFlash, _address: int, _count: int) -> bytes:
    """A bad sector."""
    raise OSError(errno.EIO, "Input/output error")


async def there_is_one(there: list[OwnButton]) -> None:
    """Wait for the button that is tried again."""
    for _ in range(200):
        if there:
            break
        await asyncio.sleep(0.01)
    assert len(there) == 1


def test_pins_that_cannot_be_had_are_one_line_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr("sos_agent.edge.gpio.RETRY_S", 0.01)
        caplog.set_level("INFO")
        there: list[OwnButton] = []
        factory = MockFactory()
        taken = Pins(BUTTON, factory)  # another program has the pin
        log = Log("test", point="p")
        keeper = OwnButtonKeeper(BUTTON, tmp_path, KEY, add=there.append, drop=nobody, log=log, factory=factory)
        await asyncio.sleep(0.05)
        assert not there
        taken.close()
        await there_is_one(there)
        keeper.close()

    asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith(
        'own button out of service pole=own-1 why="GPIO not usable: pin GPIO17 is already in use'
    )
    assert lines[1].startswith("own button is there pole=own-1 out_s=")


def test_a_journal_that_cannot_be_read_ends_nobody_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector under the own button's journal ended the agent at each start, and with it the point's poles."""

    async def main() -> None:
        monkeypatch.setattr("sos_agent.edge.gpio.RETRY_S", 0.01)
        monkeypatch.setattr(FileFlash, "read", unreadable)
        there: list[OwnButton] = []
        log = Log("test", point="p")
        keeper = OwnButtonKeeper(BUTTON, tmp_path, KEY, add=there.append, drop=nobody, log=log, factory=MockFactory())
        await asyncio.sleep(0.05)
        assert not there
        monkeypatch.setattr(FileFlash, "read", whole)
        await there_is_one(there)
        keeper.close()

    whole = FileFlash.read
    asyncio.run(main())
    assert "journal not usable: [Errno 5] Input/output error" in caplog.text


def test_a_journal_that_goes_bad_under_a_press_costs_the_own_button_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent ended as on a mistake of its own, and all poles of the point were out of service until its restart."""

    async def main() -> None:
        monkeypatch.setattr("sos_agent.edge.gpio.RETRY_S", 0.01)
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
        delivered: list[events.Event] = []
        ports = Ports([], deliver=delivered.append, log=Log("test", point="p"))
        there: list[OwnButton] = []

        def add(own: OwnButton) -> None:
            there.append(own)
            ports.add_local("local:own-1", own)

        factory = MockFactory()
        keeper = OwnButtonKeeper(
            BUTTON, tmp_path, KEY, add=add, drop=partial(ports.drop_local, "local:own-1"), log=Log("test", point="p"),
            factory=factory,
        )  # fmt: skip
        await there_is_one(there)
        ports.carry_out(effects.OpenPort("local:own-1", 1))
        await until(lambda: there[0]._pole.debounces[0].state == "ready", "at rest")
        monkeypatch.setattr(FileFlash, "read", unreadable)
        factory.pin(17).drive_low()
        closed = events.PortClosed("local:own-1", "[Errno 5] Input/output error")
        await until(lambda: closed in delivered, "it is told")
        assert len(there) == 1
        monkeypatch.setattr(FileFlash, "read", whole)
        await until(lambda: len(there) == 2, "it is tried again")
        factory.pin(17).drive_high()
        ports.carry_out(effects.OpenPort("local:own-1", 1))
        heard = len(delivered)
        await until(lambda: any(isinstance(one, events.PortBytes) for one in delivered[heard:]), "it greets")
        keeper.close()
        ports.stop()
        assert not wrong

    whole = FileFlash.read
    asyncio.run(main())
    assert "journal not usable: [Errno 5] Input/output error" in caplog.text


def test_a_disk_that_takes_no_journal_costs_nothing_however_often_it_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try kept a file open and left a damaged journal: after three hours the agent could open nothing any more."""

    async def main() -> None:
        monkeypatch.setattr("sos_agent.edge.gpio.RETRY_S", 0.001)
        there: list[OwnButton] = []
        log = Log("test", point="p")
        before = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # a write fails, as on a full disk
        keeper = OwnButtonKeeper(BUTTON, tmp_path, KEY, add=there.append, drop=nobody, log=log, factory=MockFactory())
        await asyncio.sleep(0.1)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert not there and len(list(tmp_path.iterdir())) <= 1
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await there_is_one(there)
        keeper.close()

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "journal not usable: [Errno 27] File too large" in caplog.text


def test_pins_that_another_program_has_leave_no_chip_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try kept the GPIO chip open: after three hours the agent could open nothing any more."""
    from gpiozero.pins import lgpio as pins

    def open_chip(_: int) -> int:
        opened.append(7)
        return 7

    def busy(*_: int) -> None:
        raise pins.lgpio.error("GPIO busy")

    opened: list[int] = []
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(pins.LGPIOFactory, "_get_revision", lambda _: 0xA02082)  # a Pi 3
    monkeypatch.setattr(pins.lgpio, "gpiochip_open", open_chip)
    monkeypatch.setattr(pins.lgpio, "gpiochip_close", opened.remove)
    monkeypatch.setattr(pins.lgpio, "gpio_claim_input", busy)
    with pytest.raises(OSError, match="GPIO busy"):
        Pins(BUTTON)
    assert not opened
