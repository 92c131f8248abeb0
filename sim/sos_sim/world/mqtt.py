"""Twin of ``sos_edge.mqtt``: the same verbs and events on virtual time, and paho's keep-alive under them.

While nothing is wrong with a path, pings cost nothing: what they would have done is worked out when it first matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from sos_edge.address import HUNG_UP, STEP_TIMEOUT_S, explain
from sos_edge.mqtt import (
    KEEPALIVE_S,
    MAX_IN_FLIGHT,
    TCP_USER_TIMEOUT_MS,
    Connected,
    Disconnected,
    Message,
    MqttEvent,
    Published,
    Tls,
)
from sos_sim.world.network import SECOND_US, Call, Host, Path, Pipe

if TYPE_CHECKING:
    from sos_sim.world.session import Session

STEP_US = int(STEP_TIMEOUT_S * SECOND_US)
KEEPALIVE_US = KEEPALIVE_S * SECOND_US
# MqttLink lets paho look at its keep-alive twice in it.
LOOK_US = KEEPALIVE_US // 2
USER_TIMEOUT_US = TCP_USER_TIMEOUT_MS * 1000
# Linux goes on sending for a socket that its program closed: as long as the user time-out, or 8 retransmissions.
ORPHAN_UP_US, ORPHAN_DOWN_US = USER_TIMEOUT_US, 100 * SECOND_US
# In MqttLink's words, after the broker has answered (HUNG_UP: before).
LOST = "connection lost: closed by the broker or the network"


class Connection:
    """The client's end of one TCP connection, and what paho does about its keep-alive."""

    __slots__ = (
        "_client", "_host", "_look", "_loop", "_path", "_ping_us", "_unheard_us", "_up_us", "_user_timer", "down",
        "in_us", "open", "out_us", "session", "up",
    )  # fmt: skip

    def __init__(self, client: MqttClient, path: Path, host: Host) -> None:
        self._client = client
        self._path = path
        self._host = host
        self._loop = path.loop
        self.open = True
        self.up = Pipe(path, up=True, patience_us=ORPHAN_UP_US)
        self.down = Pipe(path, up=False, patience_us=ORPHAN_DOWN_US)
        self.in_us = self.out_us = self._up_us = path.loop.now_us
        self._ping_us: int | None = None
        self._look: list[object] | None = None
        self._user_timer: list[object] | None = None
        self._unheard_us: int | None = None  # when the first byte was sent that nobody has acknowledged
        path.connections[self] = None
        self.session: Session = path.broker.accept(self, path)

    # --- out

    def send(self, packet: Call, size: int = 0) -> None:
        self.out_us = self._loop.now_us
        self.up.send(packet, size)
        if self._path.odd and self._path.silent:
            self._mind()

    def close(self, goodbye: Call) -> None:
        """The program closes the socket; ``goodbye`` is what the broker hears last."""
        if self.open:
            self._shut()
            self.up.close(goodbye)

    def vanish(self) -> None:
        """The machine is off."""
        self._shut()
        self.up.sever()
        self.session.watch()

    def _shut(self) -> None:
        self.open = False
        self._path.connections.pop(self, None)
        for timer in (self._look, self._user_timer):
            if timer is not None:
                self._loop.cancel(timer)

    # --- in, called by the broker's packets

    def connack(self) -> None:
        if self._takes(self.connack):
            # paho looks from here on.
            self.in_us = self._up_us = self._loop.now_us
            if self._path.odd:
                self.watch()
            self._client.came_up(self)

    def message(self, topic: str, payload: bytes, retained: bool, qos: int) -> None:
        if self._host.frozen or not self.open:
            self._takes(partial(self.message, topic, payload, retained, qos))
            return
        self.in_us = now_us = self._loop.now_us
        if qos:
            self.out_us = now_us
            session = self.session
            if self._path.odd or session.queue:
                self.send(session.acked)
            else:
                session.acks.append(now_us + self._path.latency_us)
        self._client.heard(Message(self._client.broker, topic, payload, retained))

    def puback(self, mid: int) -> None:
        if self._host.frozen or not self.open:
            self._takes(partial(self.puback, mid))
            return
        self.in_us = self._loop.now_us
        self._client.acknowledged(mid)

    def pong(self) -> None:
        if self._takes(self.pong):
            self.in_us = self._loop.now_us
            self._ping_us = None

    def broken(self) -> None:
        """The other end has closed the connection, or something on the way has."""
        if self._host.frozen:
            self._host.hear(self.broken)
        elif self.open:
            self._shut()
            self._client.lost(self, LOST if self._client.connected else HUNG_UP)

    def _takes(self, again: Call) -> bool:
        if self._host.frozen:
            self._host.hear(again)
        elif not self.open and not self._host.off:
            self.up.send(self.session.broken)  # RST: nobody has this connection any more
        return self.open and not self._host.frozen

    # --- time-outs

    def watch(self) -> None:
        """Something is odd: from now on each look at the keep-alive is played out, on both sides."""
        if self._look is None and self.open:
            self.settle()
            looks = (self._loop.now_us - self._up_us) // LOOK_US + 1
            self._look = self._loop.at(self._up_us + looks * LOOK_US, self._looked)
        self.session.watch()

    def settle(self) -> None:
        """Take into account the pings that were answered while nobody watched: every other look sends one."""
        if self._look is not None:
            return
        idle_us = min(self.in_us, self.out_us) + KEEPALIVE_US - self._up_us
        first_us = self._up_us + -(-idle_us // LOOK_US) * LOOK_US
        if first_us <= self._loop.now_us:
            self.in_us = self.out_us = self._loop.now_us - (self._loop.now_us - first_us) % KEEPALIVE_US

    def _looked(self) -> None:
        if self._host.frozen:
            self._host.hear(self._looked)
            return
        self._look = None
        if not self.open or (not self._path.odd and self._ping_us is None and self.session.open):
            return  # all is well again: nothing that a look would change
        now_us = self._loop.now_us
        if self._ping_us is not None and now_us - self._ping_us >= KEEPALIVE_US:
            self.close(self.session.broken)
            self._client.lost(self, "connection lost: Keep alive timeout")
            return
        if self._ping_us is None and now_us - min(self.in_us, self.out_us) >= KEEPALIVE_US:
            self._ping_us = now_us
            self.send(self.session.ping)
            self.in_us = now_us
        self._look = self._loop.after(LOOK_US, self._looked)

    def _mind(self) -> None:
        """TCP gives up 10 s after the first byte that nobody acknowledges."""
        if self._unheard_us is None or self._unheard_us < self._path.silent_us:
            self._unheard_us = self._loop.now_us
        if self._user_timer is None:
            self._user_timer = self._loop.at(self._unheard_us + USER_TIMEOUT_US, self._timed_out)

    def _timed_out(self) -> None:
        self._user_timer = None
        if not self._path.silent or self._unheard_us is None or self._unheard_us < self._path.silent_us:
            return  # it got through in the end
        if self._loop.now_us < self._unheard_us + USER_TIMEOUT_US:
            self._user_timer = self._loop.at(self._unheard_us + USER_TIMEOUT_US, self._timed_out)
        elif self.open:
            self.up.sever()
            self._host.hear(self.broken)


class MqttClient:
    """Twin of ``sos_edge.mqtt.MqttLink``: one connection to one broker, one attempt at a time."""

    def __init__(
        self,
        host: Host,
        broker: str,
        client_id: str,
        *,
        deliver: Callable[[MqttEvent], None],
        tls: Tls | None = None,
    ) -> None:
        """``tls`` is taken, as the real one does, and not used. KeyError: the network has no such broker."""
        self.broker = broker
        self._host = host
        self._path = host.network.path(host.name, broker)
        self._loop = host.network.loop
        self._client_id = client_id
        self._deliver = deliver
        self._session = ""
        self._will: tuple[str, bytes] | None = None
        self._attempt = 0
        self._trying = False
        self._connection: Connection | None = None
        self._timer: list[object] | None = None
        self._tokens: dict[int, int] = {}
        self._mid = 0
        self.connected = False

    def connect(self, session: str, will: tuple[str, bytes] | None = None) -> None:
        """Start one attempt; ends in Connected or in Disconnected. An open connection is dropped first."""
        self._drop(abrupt=True)
        self._session, self._will = session, will
        if self._trying:
            self._post(Disconnected(self.broker, "the attempt before has not ended yet"))
            return
        self._attempt += 1
        self._trying = True
        self._arm(2 * STEP_US)
        attempt = self._attempt
        self._path.open(lambda error: self._host.hear(partial(self._opened, attempt, error)))

    def close(self) -> None:
        """End the connection or the attempt in order (the broker forgets the will). No Disconnected follows."""
        self._drop(abrupt=False)

    async def drain(self, timeout_s: float) -> None:
        """TCP keeps the order: what was published is there before the end of the connection is."""

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe at QoS 1."""
        wanted = tuple(topics)
        connection = self._connection
        if connection is not None and self.connected and wanted:
            connection.send(partial(connection.session.subscribe, wanted))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, token: int = 0) -> bool:
        """Publish at QoS 1; Published(token) follows. False: not connected or too much in flight; offer it again."""
        connection = self._connection
        if connection is None or not self.connected or len(self._tokens) >= MAX_IN_FLIGHT:
            return False
        self._mid = mid = self._mid + 1
        self._tokens[mid] = token
        packet = partial(connection.session.publish, mid, topic, payload, retain)
        connection.send(packet, len(topic) + len(payload))
        return True

    def end(self, *, off: bool) -> None:
        """The program has died; ``off``: and the machine with it."""
        connection = self._connection
        self._connection = None
        self._drop(abrupt=True)
        self._deliver = _nobody
        if connection is None:
            return
        if off:
            connection.vanish()
        else:
            connection.close(connection.session.broken)

    # --- from the connection

    def came_up(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._disarm()
        self.connected = True
        self._deliver(Connected(self.broker, self._session))

    def heard(self, message: Message) -> None:
        self._deliver(message)

    def acknowledged(self, mid: int) -> None:
        token = self._tokens.pop(mid, None)
        if token is not None:
            self._deliver(Published(self.broker, token))

    def lost(self, connection: Connection, reason: str) -> None:
        if connection is self._connection:
            self._connection = None
            self._drop(abrupt=True)
            self._deliver(Disconnected(self.broker, reason))

    # --- attempts

    def _opened(self, attempt: int, error: OSError | None) -> None:
        self._trying = False
        if attempt != self._attempt:
            return
        if error is not None:
            self._fail(explain(error, self._path.address))
            return
        self._connection = connection = Connection(self, self._path, self._host)
        self._arm(STEP_US)
        connection.send(partial(connection.session.connect, self._client_id, self._will))
        if self._path.odd:
            connection.watch()

    def _arm(self, delay_us: int) -> None:
        self._disarm()
        self._timer = self._loop.after(delay_us, partial(self._give_up, self._attempt))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None

    def _give_up(self, attempt: int) -> None:
        if attempt == self._attempt and not self.connected:
            self._host.hear(partial(self._gave_up, attempt))

    def _gave_up(self, attempt: int) -> None:
        if attempt == self._attempt and not self.connected:
            self._fail("no answer in time")

    def _fail(self, reason: str) -> None:
        self._drop(abrupt=True)
        self._post(Disconnected(self.broker, reason))

    def _post(self, event: MqttEvent) -> None:
        attempt = self._attempt
        self._loop.after(0, lambda: self._host.hear(partial(self._hand_over, attempt, event)))

    def _hand_over(self, attempt: int, event: MqttEvent) -> None:
        if attempt == self._attempt:
            self._deliver(event)

    def _drop(self, *, abrupt: bool) -> None:
        self._attempt += 1
        self.connected = False
        self._tokens.clear()
        self._disarm()
        connection, self._connection = self._connection, None
        if connection is not None:
            session = connection.session
            connection.close(session.broken if abrupt else session.disconnect)


def _nobody(_event: MqttEvent) -> None:
    """Of a program that has died."""
