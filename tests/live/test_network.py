"""The faulty network: each thing that can be wrong with a path is seen by who talks through it, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from sos_sim.live.layout import KeptPort, free_port
from sos_sim.live.network import FAIR, HOST, Path, Weather

pytestmark = pytest.mark.live
SHORT_S = 0.3  # long enough for a loopback; what comes later does not come


@dataclass
class Line:
    """A path to a server that says everything back, and one connection through it."""

    path: Path
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, data: bytes, within_s: float = 10.0) -> bytes:
        """Say it and hear it again; empty if the connection ended. Raises TimeoutError."""
        self.writer.write(data)
        return await self.hear(len(data), within_s)

    async def hear(self, count: int, within_s: float = 10.0) -> bytes:
        """So many bytes."""
        async with asyncio.timeout(within_s):
            try:
                return await self.reader.readexactly(count)
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """Ready to talk; everything is closed afterwards."""
    server = await asyncio.start_server(_echo, HOST, 0)
    path = Path(server.sockets[0].getsockname()[1])
    await path.start()
    try:
        reader, writer = await asyncio.open_connection(HOST, path.port)
        one = Line(path, reader, writer)
        assert await one.ask(b"hello") == b"hello"
        yield one
        writer.close()
    finally:
        await path.stop()
        server.close()


def run(story: Callable[[Line], Awaitable[None]]) -> None:
    """One test's story."""

    async def play() -> None:
        async with line() as one:
            await story(one)

    asyncio.run(asyncio.wait_for(play(), 60))


@pytest.mark.parametrize("weather", [Weather(mute_up=True), Weather(mute_down=True), Weather(hole=True)])
def test_a_mute_path_keeps_the_connection_and_what_was_said(weather: Weather) -> None:
    async def story(one: Line) -> None:
        await one.path.become(weather)
        with pytest.raises(TimeoutError):
            await one.ask(b"wait", SHORT_S)
        await one.path.become(FAIR)
        assert await one.hear(4) == b"wait"

    run(story)


def test_a_hole_takes_connections_and_says_nothing() -> None:
    async def story(one: Line) -> None:
        await one.path.become(Weather(hole=True))
        reader, writer = await asyncio.open_connection(HOST, one.path.port)
        other = Line(one.path, reader, writer)
        with pytest.raises(TimeoutError):
            await other.ask(b"wait", SHORT_S)
        await one.path.become(FAIR)
        assert await other.hear(4) == b"wait"
        writer.close()

    run(story)


def test_a_reset_ends_what_stands_and_the_next_connection_is_served() -> None:
    async def story(one: Line) -> None:
        one.path.reset()
        assert await one.ask(b"gone") == b""
        reader, writer = await asyncio.open_connection(HOST, one.path.port)
        assert await Line(one.path, reader, writer).ask(b"again") == b"again"
        writer.close()

    run(story)


def test_a_path_that_refuses_serves_again_on_the_same_port() -> None:
    async def story(one: Line) -> None:
        await one.path.become(Weather(refuse=True))
        assert await one.ask(b"gone") == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, one.path.port)
        port = one.path.port
        await one.path.become(FAIR)
        assert one.path.port == port
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await Line(one.path, reader, writer).ask(b"again") == b"again"
        writer.close()

    run(story)


def test_late_bytes_come_late_and_in_order_and_do_not_wait_for_one_another() -> None:
    async def story(one: Line) -> None:
        await one.path.become(Weather(late_s=0.2))
        began = time.monotonic()
        for number in range(10):
            one.writer.write(bytes([number]) * 10)
            await asyncio.sleep(0.02)
        assert await one.hear(100) == b"".join(bytes([number]) * 10 for number in range(10))
        took_s = time.monotonic() - began
        assert took_s >= 0.4, "there and back"
        assert took_s < 10 * 0.4, "not one behind the other"

    run(story)


def test_a_slow_path_passes_so_many_bytes_a_second() -> None:
    async def story(one: Line) -> None:
        await one.path.become(Weather(bytes_per_s=1000))
        began = time.monotonic()
        assert await one.ask(bytes(600)) == bytes(600)
        assert time.monotonic() - began >= 0.4

    run(story)


def test_who_connects_while_the_broker_is_down_is_reset() -> None:
    async def play() -> None:
        path = Path(1)  # nobody listens there
        await path.start()
        reader, writer = await asyncio.open_connection(HOST, path.port)
        assert await Line(path, reader, writer).ask(b"anybody?") == b""
        writer.close()
        await path.stop()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_port_that_is_kept_refuses_goes_to_nobody_else_and_can_be_served_again_and_again() -> None:
    """Two towns at once: an agent whose broker was killed must not find the other town's broker at its address."""

    async def play() -> None:
        kept = KeptPort()
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, kept.number)
            server = await asyncio.start_server(_echo, HOST, kept.number)
            reader, writer = await asyncio.open_connection(HOST, kept.number)
            writer.write(b"ours")
            assert await reader.readexactly(4) == b"ours"
            writer.close()
            server.close()
            await server.wait_closed()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, kept.number))
        assert kept.number not in {free_port() for _ in range(500)}
        kept.close()

    asyncio.run(asyncio.wait_for(play(), 60))
