"""The floor under a press: two bare processes that move the same bytes and keep the same promises, and nothing else.

    agent PORT UP HELD RECEIVED ALARM DATABASE BROKER CA CERT KEY   up on the wire -> commit -> held down and alarm to
                                                                    the broker; receipt from it -> received down
    station RECEIPT DATABASE BROKER CA CERT KEY                     alarm from the broker -> commit -> receipt to it

UP, HELD, RECEIVED, ALARM and RECEIPT are sizes in bytes; CA is ``-`` without TLS. No frame is looked at, no key used.
"""

from __future__ import annotations

import os
import select
import socket
import sqlite3
import ssl
import sys
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

ALARM, RECEIPT = "floor/alarm", "floor/receipt"
ROW_BYTES = 150  # what an alarm takes in the outbox, its two indexes included


def database(path: str) -> sqlite3.Connection:
    """Durable as the outbox and the inbox are."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, data BLOB)")
    return connection


def commit(connection: sqlite3.Connection) -> None:
    """One row, on disk."""
    connection.execute("INSERT INTO row (data) VALUES (?)", (bytes(ROW_BYTES),))


class Mqtt:
    """paho on this thread: ``messages`` counts what came."""

    def __init__(self, broker: str, topic: str, ca: str, cert: str, key: str) -> None:
        self.messages = 0
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.max_inflight_messages_set(0)  # its owner bounds what is under way
        if ca != "-":
            self.client.tls_set(ca, cert, key)
        self.client.on_message = self._on_message
        ready: list[bool] = []
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: ready.append(True)
        url = urlsplit(broker)
        self.client.connect(url.hostname or "", url.port or 1883, keepalive=3600)
        found = self.client.socket()
        assert isinstance(found, socket.socket)
        self.socket = found
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not ready:
            self.read()

    def _on_message(self, _client: Client, _data: object, _message: MQTTMessage) -> None:
        self.messages += 1

    def publish(self, topic: str, size: int) -> None:
        self.client.publish(topic, bytes(size), qos=1)

    def read(self) -> None:
        """What has come, and at least something."""
        select.select([self.socket], [], [])
        self.client.loop_read()
        while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            self.client.loop_read()
        while self.client.want_write():  # what a callback wanted to say
            self.client.loop_write()


def agent(port: str, up: str, held: str, received: str, alarm: str, path: str, *broker: str) -> None:
    """Forever."""
    wire = os.open(port, os.O_RDWR | os.O_NOCTTY)
    store = database(path)
    mqtt = Mqtt(broker[0], RECEIPT, *broker[1:])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    heard = 0
    while True:
        readable, _, _ = select.select([wire, mqtt.socket.fileno()], [], [])
        if mqtt.socket.fileno() in readable:
            mqtt.read()
            if mqtt.messages:
                mqtt.messages = 0
                os.write(wire, bytes(int(received)))
        if wire in readable:
            heard += len(os.read(wire, 4096))
            if heard >= int(up):
                heard = 0
                commit(store)
                os.write(wire, bytes(int(held)))
                mqtt.publish(ALARM, int(alarm))


def station(receipt: str, path: str, *broker: str) -> None:
    """Forever."""
    store = database(path)
    mqtt = Mqtt(broker[0], ALARM, *broker[1:])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        mqtt.read()
        if mqtt.messages:
            mqtt.messages = 0
            commit(store)
            mqtt.publish(RECEIPT, int(receipt))


if __name__ == "__main__":
    (agent if sys.argv[1] == "agent" else station)(*sys.argv[2:])
