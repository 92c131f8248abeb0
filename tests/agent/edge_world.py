"""What an agent's process needs around it: a site file, a pole on a pseudo-terminal, a station of a few lines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from gpiozero.pins.mock import MockFactory
from tests.support.broker import Broker

from sos_agent.edge.gpio import FileFlash, OwnButton, Pins
from sos_contract import payloads, topics
from sos_contract.payloads import Alarm, Identity, Notice, Probe, ProbeAnswer, ProgressQuery, Receipt, State
from sos_contract.site import Button
from sos_edge.mqtt import Connected, Message, MqttEvent, MqttLink

KEY = bytes(range(1, 33))
WAIT_S = 30.0
SITE = """version = 1
id = "town"
name = {{ th = "เมือง", en = "Town" }}
keys = "town.keys.toml"
[station]
id = "town"
name = {{ th = "สถานี", en = "Station" }}
brokers = ["{broker}"]
[[point]]
id = "market"
name = {{ th = "ตลาด", en = "Market" }}
data = "{data}"
[[point.line]]
port = "{port}"
[[point.line.pole]]
id = "market-1"
address = 1
"""


def write_site(folder: Path, broker: str, *, key: bytes = KEY, more: str = "") -> Path:
    """A site of one point with one pole on ``<folder>/port`` and its outbox in ``<folder>/data``."""
    site = folder / "town.toml"
    site.write_text(SITE.format(broker=broker, data=folder / "data", port=folder / "port") + more, encoding="utf-8")
    keys = folder / "town.keys.toml"
    keys.write_text(f'[poles]\nmarket-1 = "{key.hex()}"\n')
    keys.chmod(0o600)
    return site


async def until(true: Callable[[], Any], what: str = "") -> None:
    """Wait until ``true()``; fails after WAIT_S."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, f"waited too long: {what}"
        await asyncio.sleep(0.005)


class PtyPole:
    """The pole's core and a mock pin behind a pseudo-terminal; ``<folder>/port`` is the cable's plug."""

    def __init__(self, folder: Path, key: bytes = KEY) -> None:
        self._loop = asyncio.get_running_loop()
        factory = MockFactory()
        self._flash = FileFlash(folder / "pole.flash")
        self.own = OwnButton(Pins(Button(id="market-1", gpio=17), factory), self._flash, key)
        self.pin = factory.pin(17)
        self.plug = folder / "port"
        self.master = -1
        self.plug_in()

    def plug_in(self) -> None:
        self.master, slave = os.openpty()
        self.plug.unlink(missing_ok=True)
        self.plug.symlink_to(os.ttyname(slave))
        os.close(slave)
        os.set_blocking(self.master, False)
        self._loop.add_reader(self.master, self._read)
        self.own.open(self._write)

    def unplug(self) -> None:
        self.own.close()
        self._loop.remove_reader(self.master)
        os.close(self.master)
        self.plug.unlink()
        self.master = -1

    @property
    def look(self) -> str:
        return self.own._pole.look

    async def press(self) -> None:
        await until(lambda: self.own._pole.debounces[0].state == "ready", "button at rest")
        self.pin.drive_low()
        await until(lambda: self.own._pole.debounces[0].state == "held", "button held")
        self.pin.drive_high()

    def close(self) -> None:
        if self.master >= 0:
            self.unplug()
        self.own.stop()
        self._flash.close()

    def _read(self) -> None:
        try:
            data = os.read(self.master, 4096)
        except BlockingIOError:
            return
        except OSError:  # nobody has the other end open; a pseudo-terminal then is readable without end
            self._loop.remove_reader(self.master)
            self._loop.call_later(0.02, self._watch, self.master)
            return
        self.own.write(data)

    def _watch(self, master: int) -> None:
        if master == self.master:
            self._loop.add_reader(master, self._read)

    def _write(self, data: bytes) -> None:
        with suppress(OSError):
            os.write(self.master, data)


class LittleStation:
    """Answers probes, receipts everything, says the same stage of every alarm; remembers what it heard."""

    def __init__(self, broker: Broker) -> None:
        self.alarms: list[Alarm] = []
        self.notices: list[Notice] = []
        self.states: list[State] = []
        self.stage = "received"
        self.connected = False
        self._link = MqttLink(broker.url, "little-station", deliver=self._happened)
        self._link.connect("station")

    def close(self) -> None:
        self._link.close()

    def _say(self, leaf: str, payload: Any) -> None:
        self._link.publish(topics.of_point("town", "market", leaf), payloads.encode(payload))

    def _happened(self, event: MqttEvent) -> None:
        if isinstance(event, Connected):
            self.connected = True
            self._link.subscribe([topics.of_point("town", "market", leaf) for leaf in topics.FROM_POINT])
        if not isinstance(event, Message):
            return
        leaf = event.topic.rsplit("/", 1)[1]
        kinds: dict[str, Any] = {
            "probe": Probe, "alarm": Alarm, "notice": Notice, "state": State, "progress_query": ProgressQuery,
        }  # fmt: skip
        if leaf not in kinds:
            return
        payload = payloads.decode(event.payload, kinds[leaf])
        if isinstance(payload, Probe):
            self._say(
                "probe_answer",
                ProbeAnswer(session=payload.session, number=payload.number, inbox="a" * 16, high_water=1),
            )
        elif isinstance(payload, Alarm):
            self.alarms.append(payload)
            self._say("receipt", Receipt(inbox="a" * 16, alarms=(payload.id,)))
        elif isinstance(payload, Notice):
            self.notices.append(payload)
            self._say("receipt", Receipt(inbox="a" * 16, outbox=payload.outbox, notices=(payload.number,)))
        elif isinstance(payload, State):
            self.states.append(payload)
        elif isinstance(payload, ProgressQuery):
            stages = tuple((one, self.stage) for one in payload.alarms)
            self._say("progress", payloads.Progress(inbox="a" * 16, stages=stages))

    @property
    def presses(self) -> list[Identity]:
        """Each press once, as the station's inbox would keep it."""
        return list(dict.fromkeys(alarm.id for alarm in self.alarms))


class AgentProcess:
    """``python -m sos_agent`` as a process; its log is read as it comes."""

    def __init__(
        self,
        site: Path,
        *,
        point: str = "market",
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """``prefix``: a command that runs the agent's."""
        self._words = [*prefix, sys.executable, "-m", "sos_agent", str(site), point]
        self._environment = {**os.environ, **(environment or {})}
        self.lines: list[str] = []

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._words, stderr=asyncio.subprocess.PIPE, env=self._environment
        )
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self.lines.append(line.decode().rstrip())

    def said(self, words: str) -> list[str]:
        return [line for line in self.lines if words in line]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.wait()

    async def wait(self) -> int:
        code = await asyncio.wait_for(self._process.wait(), WAIT_S)
        await self._reader
        return code

    async def __aenter__(self) -> AgentProcess:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """A test that failed leaves no agent behind: it would hold its port, whose number the next test is given."""
        if self._process.returncode is None:
            await self.end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        return self._process.pid
