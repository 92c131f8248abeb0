"""The plain forwarder: each line of the serial port becomes a message at QoS 1.

``forward.py PORT HOST TCP_PORT TOPIC``. With the care that the manuals advise: paho's own loop and reconnection, also
where the broker is away at the start.
"""

from __future__ import annotations

import sys

import serial
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion


def main(port: str, host: str, tcp_port: str, topic: str) -> None:
    """Forever."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: say("ready")
    client.connect_async(host, int(tcp_port))
    client.loop_start()
    with serial.Serial(port, 115200) as line:
        while True:
            client.publish(topic, line.readline().strip(), qos=1)


def say(line: str) -> None:
    """To whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
