"""The embedded MQTT broker, for the simulator and its tests only: a process of its own that can be killed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

from amqtt.broker import Broker

MAX_CONNECTIONS = 2000  # a site of a thousand points, its station and some terminals


async def serve(port: int) -> None:
    """Serve on loopback until SIGTERM."""
    logging.basicConfig(level=logging.ERROR)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": MAX_CONNECTIONS}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
