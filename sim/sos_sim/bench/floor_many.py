"""The floor under many alarms: bare processes, each alarm published, committed and receipted once, in groups.

    sender COUNT SIZE DATABASE BROKER CA CERT KEY   reads rows in order -> publishes, WINDOW at most without a receipt;
                                                    marks what is receipted, one commit a receipt; says how long it took
    station SIZE DATABASE BROKER CA CERT KEY        commits all that has come, as one group -> a receipt to each point

Nothing is read in an alarm. A receipt only says how many it is for: on one connection they come in order.
"""

from __future__ import annotations

import select
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence

from paho.mqtt.client import Client, MQTTMessage

from sos_contract.topics import of_point
from sos_sim.bench.floor import ROW_BYTES, Mqtt, database

STATION = "floor"
WINDOW = 48  # as the agent's backlog has it


class Counting(Mqtt):
    """``alarms`` by topic since they were last taken; ``receipted`` adds up what receipts say."""

    def __init__(self, *broker: str, topic: str) -> None:
        self.alarms: Counter[str] = Counter()
        self.receipted = 0
        super().__init__(broker[0], topic, *broker[1:])

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if message.topic.endswith("alarm"):
            self.alarms[message.topic] += 1
        else:
            self.receipted += int(message.payload)

    def read_all(self) -> None:
        """At least something, and all that is there."""
        self.read()
        while select.select([self.socket], [], [], 0)[0]:
            self.read()


def insert(store: sqlite3.Connection, table: str, rows: Sequence[bytes]) -> None:
    """So many rows in one commit, on disk."""
    store.execute("BEGIN")
    store.executemany(f"INSERT INTO {table} (data) VALUES (?)", [(data,) for data in rows])
    store.execute("COMMIT")


def sender(count: str, size: str, path: str, *broker: str) -> None:
    """Ends when all are receipted."""
    store = database(path)
    store.execute("CREATE TABLE mark (number INTEGER PRIMARY KEY, data BLOB)")
    insert(store, "row", [bytes(ROW_BYTES)] * int(count))
    topic = of_point(STATION, "point", "alarm")
    mqtt = Counting(*broker, topic=of_point(STATION, "point", "receipt"))
    began = time.monotonic()
    sent = marked = 0
    while marked < int(count):
        room = min(int(count), marked + WINDOW) - sent
        for _ in store.execute("SELECT data FROM row WHERE number > ? LIMIT ?", (sent, room)).fetchall():
            mqtt.publish(topic, int(size))
        sent += room
        mqtt.read_all()
        if mqtt.receipted > marked:
            insert(store, "mark", [b""] * (mqtt.receipted - marked))
            marked = mqtt.receipted
    say(f"took {time.monotonic() - began}")


def station(size: str, path: str, *broker: str) -> None:
    """Forever."""
    store = database(path)
    mqtt = Counting(*broker, topic=of_point(STATION, "+", "alarm"))
    say("ready")
    while True:
        mqtt.read_all()
        if mqtt.alarms:
            insert(store, "row", [bytes(ROW_BYTES)] * mqtt.alarms.total())
            for topic, count in mqtt.alarms.items():
                mqtt.client.publish(topic.replace("alarm", "receipt"), str(count).ljust(int(size)), qos=1)
            mqtt.alarms.clear()


def say(line: str) -> None:
    """To whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    (sender if sys.argv[1] == "sender" else station)(*sys.argv[2:])
