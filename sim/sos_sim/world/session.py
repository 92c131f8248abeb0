"""The broker's end of one connection: what mosquitto does with each packet, and with a client that reads too slowly."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from sos_edge.mqtt import KEEPALIVE_S
from sos_sim.world.network import SECOND_US, Call, Path

if TYPE_CHECKING:
    from sos_sim.world.broker import Broker
    from sos_sim.world.mqtt import Connection

Will = tuple[str, bytes]

# mosquitto looks for silent clients each 6 s and counts whole seconds: it is silent after 1.5 x keep-alive and one.
LOOK_US = 6 * SECOND_US
SILENT_S = KEEPALIVE_S * 3 // 2


class Session:
    """The broker's end of one connection. The public methods are packets that arrive from the client."""

    __slots__ = (
        "_broker", "_in_flight", "_in_us", "_look", "_loop", "_path", "_peer", "_will", "acks", "client_id", "filters",
        "open", "queue",
    )  # fmt: skip

    def __init__(self, broker: Broker, peer: Connection, path: Path) -> None:
        self._broker = broker
        self._peer = peer
        self._path = path
        self._loop = path.loop
        self._will: Will | None = None
        self._in_us = path.loop.now_us
        self._in_flight = 0
        self._look: list[object] | None = None
        self.open = True
        self.client_id = ""  # until CONNECT has come
        self.filters: dict[str, None] = {}
        self.acks: deque[int] = deque()  # when acknowledgements arrive that need no call of their own
        self.queue: deque[tuple[str, bytes, bool]] = deque()

    # --- packets

    def connect(self, client_id: str, will: Will | None) -> None:
        if self._takes(partial(self.connect, client_id, will)):
            self.client_id, self._will = client_id, will
            self._broker.admit(self)
            self._peer.down.send(self._peer.connack)
            if self._path.odd:
                self.watch()

    def subscribe(self, filters: Iterable[str]) -> None:
        """SUBACK is not modelled: nobody waits for it, and this broker refuses none."""
        if self._takes(partial(self.subscribe, filters)):
            for one in filters:
                self.filters[one] = None
                self._broker.forget_matches()
                for topic, payload in list(self._broker.retained.items()):
                    if matches(one, topic):
                        self.push(topic, payload, True, 1)

    def publish(self, mid: int, topic: str, payload: bytes, retain: bool) -> None:
        broker = self._broker
        if broker.frozen or not self.open:
            self._takes(partial(self.publish, mid, topic, payload, retain))
            return
        self._in_us = self._loop.now_us
        broker.route(self.client_id, topic, payload, retain, 1)
        if broker.acknowledges:
            self._peer.down.send(partial(self._peer.puback, mid))

    def acked(self) -> None:
        """PUBACK of a message that we sent; one that is older than the window is a copy's and counts for nothing."""
        if self._takes(self.acked):
            self._in_flight = max(0, self._in_flight - 1)
            while self.queue and self._in_flight < self._broker.max_in_flight:
                self._send(*self.queue.popleft())

    def ping(self) -> None:
        if self._takes(self.ping):
            self._peer.down.send(self._peer.pong)

    def disconnect(self) -> None:
        """DISCONNECT, then the end of the connection."""
        if self._broker.frozen:
            self._broker.hear(self.disconnect)
        else:
            self._will = None
            self._end()

    def broken(self) -> None:
        """The connection has ended without a DISCONNECT."""
        if self._broker.frozen:
            self._broker.hear(self.broken)
        else:
            self._end()

    # --- the broker's side

    def push(self, topic: str, payload: bytes, retained: bool, qos: int) -> None:
        """Send it to the client, or queue it behind what waits for its acknowledgement, or drop it."""
        if not qos:
            packet = partial(self._peer.message, topic, payload, retained, 0)
            self._peer.down.send(packet, len(topic) + len(payload))
            return
        acks, now_us = self.acks, self._loop.now_us
        while acks and acks[0] <= now_us:
            acks.popleft()
            self._in_flight -= 1
        if self._in_flight < self._broker.max_in_flight:
            self._send(topic, payload, retained)
        elif len(self.queue) < self._broker.max_queued:
            self.queue.append((topic, payload, retained))
            while acks:  # from now on each of them lets another message go
                self._loop.at(acks.popleft(), self.acked)
        else:
            self._broker.dropped += 1

    def take_over(self) -> None:
        """Another connection of the same client has come."""
        self._end(told=True)

    def abort(self, *, told: bool) -> None:
        """The broker is gone: no will, and only a kernel that still runs tells the client."""
        self._will = None
        self._end(told=told)

    def watch(self) -> None:
        """Something is odd, or the client is gone: look for its silence."""
        if self.open and self.client_id and self._look is None:
            self._peer.settle()
            self._in_us = max(self._in_us, self._peer.out_us)
            self._look_later()

    def is_silent(self) -> bool:
        return self._loop.now_us // SECOND_US - self._in_us // SECOND_US > SILENT_S

    def expire(self) -> None:
        """Too long without a packet."""
        self._end(told=True)

    def say_will(self) -> None:
        """The will, if there still is one; it is said once."""
        will, self._will = self._will, None
        if will is not None:
            self._broker.say_will(self.client_id, will)

    def _send(self, topic: str, payload: bytes, retained: bool) -> None:
        self._in_flight += 1
        packet = partial(self._peer.message, topic, payload, retained, 1)
        self._peer.down.send(packet, len(topic) + len(payload))

    def _takes(self, again: Call) -> bool:
        if self._broker.frozen:
            self._broker.hear(again)
            return False
        if not self.open:
            if self._broker.powered:
                self._peer.down.send(self._peer.broken)  # RST: nobody has this connection any more
            return False
        self._in_us = self._loop.now_us
        return True

    def _end(self, *, told: bool = False) -> None:
        if not self.open:
            return
        self.open = False
        if self._look is not None:
            self._loop.cancel(self._look)
        self._broker.forget(self)
        self.say_will()
        if told:
            self._peer.down.close(self._peer.broken)
        else:
            self._peer.down.sever()

    def _look_later(self) -> None:
        began_us = self._broker.began_us
        silent_us = (self._in_us // SECOND_US + SILENT_S + 1) * SECOND_US
        looks = max(0, -(-(silent_us - began_us) // LOOK_US))
        self._look = self._loop.at(max(began_us + looks * LOOK_US, self._loop.now_us + 1), self._looked)

    def _looked(self) -> None:
        self._look = None
        if self._broker.frozen:
            self._look = self._loop.after(LOOK_US, self._looked)
        elif self.is_silent():
            self.expire()
        elif self._path.odd or not self._peer.open:
            self._look_later()


@lru_cache(maxsize=1 << 16)  # officers come and go, and with each the receivers of every topic are looked for again
def matches(wanted: str, topic: str) -> bool:
    """Whether a subscription's filter takes a topic: + stands for one level, # for all that follow, $ is apart."""
    if topic.startswith("$") and not wanted.startswith("$"):
        return False
    filters, levels = wanted.split("/"), topic.split("/")
    for at, one in enumerate(filters):
        if one == "#":
            return True
        if at >= len(levels) or one not in ("+", levels[at]):
            return False
    return len(filters) == len(levels)
