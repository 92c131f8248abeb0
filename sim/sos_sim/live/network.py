"""A network that fails: a TCP proxy between one program and the broker, which can be told what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from sos_sim.live.layout import KeptPort

HOST = "127.0.0.1"
_CHUNK_BYTES = 4096
_MOST_CHUNKS = 64  # under way on one direction of a connection; then the sender has to wait, as on a full socket
_SLICE_S = 0.1  # a slow path passes on what it may in a tenth of a second


@dataclass(frozen=True)
class Weather:
    """What is wrong. ``late_s``: each byte takes that much longer. ``bytes_per_s``: no more get through; 0 is no limit.

    ``mute_up``, ``mute_down``: nothing gets through to the broker, to the program; what is under way waits, as packets
    do that are sent again and again. ``refuse``: who connects is refused, and standing connections are reset, once.
    ``hole``: as if both were mute; new connections are taken and never served.
    """

    late_s: float = 0.0
    bytes_per_s: int = 0
    mute_up: bool = False
    mute_down: bool = False
    refuse: bool = False
    hole: bool = False


FAIR = Weather()


class Path:
    """``async with Path(broker_port) as path: path.port``. One program's way to the broker."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._kept = KeptPort()
        self.port = self._kept.number
        self.weather = FAIR
        self.connections = 0  # taken so far
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, always on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._taken, HOST, self.port, limit=_CHUNK_BYTES)

    async def stop(self) -> None:
        """Nothing is left of it."""
        await self._refuse()
        self._kept.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def become(self, weather: Weather) -> None:
        """From now on that is wrong, and nothing else."""
        self.weather = weather
        if weather.refuse:
            await self._refuse()
        else:
            await self.start()
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Cut what stands with a reset, as a router does that lost its tables; who connects again is served."""
        for end in list(self._ends):
            _reset(end)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._ends.add(writer)
        try:
            await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self._ends.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._until(lambda: not self.weather.hole)
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._broker_port, limit=_CHUNK_BYTES)
        except OSError:
            _reset(writer)  # the broker is down: the nearest that a proxy can come to being refused
            return
        self._ends.add(far_writer)
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, lambda: self.weather.mute_up)),
            asyncio.ensure_future(self._pump(far_reader, writer, lambda: self.weather.mute_down)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._ends.discard(far_writer)
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: Callable[[], bool]) -> None:
        """One direction, until either end is gone: then the other is closed, too, once all is through."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
        taking = asyncio.ensure_future(self._take(reader, chunks))
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await chunks.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                while data:
                    await self._until(lambda: not (mute() or self.weather.hole))
                    most = max(1, int(self.weather.bytes_per_s * _SLICE_S)) if self.weather.bytes_per_s else len(data)
                    writer.write(data[:most])
                    await writer.drain()
                    data = data[most:]
                    if self.weather.bytes_per_s:
                        await asyncio.sleep(_SLICE_S)
                if due < 0:
                    return
        except OSError:
            return
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await chunks.put((loop.time() + self.weather.late_s, data))
        await chunks.put((-1.0, b""))

    async def _until(self, so: Callable[[], bool]) -> None:
        while not so():
            await self._changed.wait()


def _reset(end: asyncio.StreamWriter) -> None:
    """Close it so that the other side hears a reset, and what was under way is lost."""
    raw = end.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()
