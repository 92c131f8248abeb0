"""MQTT 3.1.1 over paho, on the asyncio loop: one connection a link, one attempt at a time, nothing hidden.

The core decides when to connect again; paho's own reconnecting, threads and unbounded queue are not used. Only the
blocking part of an attempt (name, TCP, TLS) runs in a thread, bounded by time-outs; once connected, the socket is read
and written on the loop itself, which saves two thread changes a message. Every event goes to ``deliver`` on the loop's
thread, never from inside a call of this class.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from sos_contract.files import read_file
from sos_edge import clock
from sos_edge.address import HUNG_UP, ODD, STEP_TIMEOUT_S, Address, explain

# mosquitto counts 1.5 x keep-alive in whole seconds and looks each 6 s: our will comes 15 to 22 s after our last
# packet. That is a hint; the probes are what shows a lost point within 20 s.
KEEPALIVE_S = 10
# Unacknowledged bytes older than this close the socket; the probe would notice at 12 s.
TCP_USER_TIMEOUT_MS = 10_000
# What paho may hold unacknowledged: two answers to each of a thousand points that all call at once. Who wants more is
# told no, and nothing queues. An agent's core keeps far fewer in flight.
MAX_IN_FLIGHT = 2048
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME: Python's ssl has no name for it.
NO_CHECK_TIME = 0x200000
# Frames read in one turn of the loop, so that a flood of messages cannot starve timers and serial ports.
READS_A_TURN = 64


class Connected(Struct, frozen=True):
    """The broker took the connection whose state payload carries ``session``.

    ``until_ms``: the end of the broker's certificate, Unix time; None without TLS.
    """

    broker: str
    session: str
    until_ms: int | None = None


class Disconnected(Struct, frozen=True):
    """The attempt failed or the connection ended; comes exactly once for each connect() that was not closed by us."""

    broker: str
    reason: str


class Message(Struct, frozen=True):
    """A message of a topic that we subscribed to."""

    broker: str
    topic: str
    payload: bytes
    retained: bool


class Published(Struct, frozen=True):
    """The broker acknowledged the publication that was given ``token``."""

    broker: str
    token: int


MqttEvent = Connected | Disconnected | Message | Published


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for TLS; without ``cert`` the broker is checked but we show it no certificate of ours."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None

    def context(self, *, check_dates: bool) -> ssl.SSLContext:
        """A context that checks chain and host name always, and dates unless the clock cannot be believed.

        A list of revoked certificates in the CA's file is obeyed. Raises ValueError, in words, for a file of no use.
        """
        for file in filter(None, (self.ca, self.cert, self.key)):
            try:
                read_file(file)
            except OSError as error:
                raise ValueError(f"{file}: cannot be read ({error.strerror}); see [station.tls]") from None
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        except ssl.SSLError:
            raise ValueError(f"{self.ca}: holds no CA certificate (PEM)") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if context.cert_store_stats()["crl"]:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        if self.cert:
            try:
                context.load_cert_chain(str(self.cert), str(self.key) if self.key else None)
            except ssl.SSLError:
                key = self.key or self.cert
                raise ValueError(f"{self.cert}: holds no certificate (PEM) to which the key in {key} belongs") from None
        if not check_dates:
            context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
        return context


class MqttLink:
    """One connection to one broker. All methods are called on the loop's thread and return at once."""

    def __init__(
        self,
        broker: str,
        client_id: str,
        *,
        deliver: Callable[[MqttEvent], None],
        tls: Tls | None = None,
    ) -> None:
        self.broker = broker
        self._address = Address.of(broker)
        self._client_id = client_id
        self._tls = tls
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._session = ""
        self._attempt = 0
        self._trying = False  # an attempt's thread has not told its end yet
        self._client: Client | None = None
        self._socket: socket.socket | None = None
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._tokens: dict[int, int] = {}
        self._events: list[MqttEvent] = []
        self._failure = ""
        self.connected = False

    def connect(self, session: str, will: tuple[str, bytes] | None = None) -> None:
        """Start one attempt. ``will`` (topic, payload; retained, QoS 1) belongs to this connection alone.

        Ends in Connected or in Disconnected. An open connection is dropped first, without a Disconnected.
        """
        self._drop(abrupt=True)
        self._session = session
        if self._trying:
            # A resolver that hangs cannot be interrupted; more threads of the kind would only pile up.
            self._post(Disconnected(self.broker, "the attempt before has not ended yet"))
            return
        self._attempt += 1
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = STEP_TIMEOUT_S
        # With a limit of its own paho would look through all that is in flight at each acknowledgement.
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(MAX_IN_FLIGHT)
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        if self._address.user:
            client.username_pw_set(self._address.user, self._address.password)
        work = partial(self._open, client, self._attempt)
        thread = threading.Thread(target=work, name="mqtt-connect", daemon=True)
        # One time-out for name and TCP together with TLS, whatever paho and the resolver do.
        self._timer = self._loop.call_later(2 * STEP_TIMEOUT_S, self._give_up, self._attempt)
        self._trying = True
        thread.start()

    def close(self) -> None:
        """End the connection or the attempt in order (the broker forgets the will). No Disconnected follows."""
        self._drop(abrupt=False)

    async def drain(self, timeout_s: float) -> None:
        """Wait until what was published has been acknowledged, ``timeout_s`` at most."""
        deadline = self._loop.time() + timeout_s
        while self._client is not None and self._tokens and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe at QoS 1. A broker that refuses ends the connection with the reason."""
        wanted = [(topic, 1) for topic in topics]
        if self._client is not None and self.connected and wanted:
            self._client.subscribe(wanted)
            self._pump()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, token: int = 0) -> bool:
        """Publish at QoS 1; Published(token) follows. False: not connected or too much in flight; offer it again."""
        client = self._client
        if client is None or not self.connected or len(self._tokens) >= MAX_IN_FLIGHT:
            return False
        info = client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._pump()
            return False
        self._tokens[info.mid] = token
        self._pump()
        return True

    # --- in the attempt's thread

    def _open(self, client: Client, attempt: int) -> None:
        reason = ""
        try:
            if self._address.tls:
                if self._tls is None:
                    raise ValueError("mqtts:// needs [station.tls] with 'ca' in the site file")
                client.tls_set_context(self._tls.context(check_dates=clock.quality() != "unset"))
            client.connect(self._address.host, self._address.port, keepalive=KEEPALIVE_S)
        except (OSError, ValueError) as error:
            reason = explain(error, self._address)
        # A loop that has been closed meanwhile wants no news.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._opened, client, attempt, reason)

    # --- on the loop

    def _opened(self, client: Client, attempt: int, reason: str) -> None:
        self._trying = False
        sock = client.socket()
        if attempt != self._attempt or sock is None or reason:
            if isinstance(sock, socket.socket):
                sock.close()
            if attempt == self._attempt:
                self._fail(reason or HUNG_UP)
            return
        assert isinstance(sock, socket.socket)
        if self._timer:
            self._timer.cancel()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        self._client, self._socket = client, sock
        self._timer = self._loop.call_later(STEP_TIMEOUT_S, self._give_up, attempt)
        self._loop.add_reader(sock, self._readable)
        self._pump()

    def _readable(self) -> None:
        for _ in range(READS_A_TURN):
            client = self._client
            if client is None:
                return
            client.loop_read()
            # At once, for nobody's call is under way here: a message need not wait for another turn of the loop.
            events, attempt = self._noted(), self._attempt
            for event in events:
                self._hand_over(attempt, event)
            # Bytes that TLS has already taken from the socket wake no selector.
            if not isinstance(self._socket, ssl.SSLSocket) or not self._socket.pending():
                return
        self._loop.call_soon(self._readable)

    def _writable(self) -> None:
        if self._client is not None:
            self._client.loop_write()
            self._pump()

    def _keep(self, attempt: int) -> None:
        if attempt == self._attempt and self._client is not None:
            self._client.loop_misc()
            self._timer = self._loop.call_later(KEEPALIVE_S / 2, self._keep, attempt)
            self._pump()

    def _pump(self) -> None:
        """After each call into paho: watch for writability if it has bytes left, and hand on what it told us, later."""
        for event in self._noted():
            self._post(event)

    def _noted(self) -> list[MqttEvent]:
        """What paho's callbacks noted down; the last one is the end of the connection, if it has come."""
        client = self._client
        if client is not None and self._socket is not None and not self._failure:
            want = client.want_write()
            if want and not self._writing:
                self._loop.add_writer(self._socket, self._writable)
            elif self._writing and not want:
                self._loop.remove_writer(self._socket)
            self._writing = want
        events, self._events = self._events, []
        if self._failure:
            failure, self._failure = self._failure, ""
            self._drop(abrupt=True)
            events.append(Disconnected(self.broker, failure))
        return events

    def _post(self, event: MqttEvent) -> None:
        self._loop.call_soon(self._hand_over, self._attempt, event)

    def _hand_over(self, attempt: int, event: MqttEvent) -> None:
        # What belongs to a connection that was given up meanwhile must not be taken for news of the next.
        if attempt == self._attempt:
            self._deliver(event)

    def _give_up(self, attempt: int) -> None:
        if attempt == self._attempt and not self.connected:
            self._fail("no answer in time")

    def _fail(self, reason: str) -> None:
        self._drop(abrupt=True)
        self._post(Disconnected(self.broker, reason))

    def _drop(self, *, abrupt: bool) -> None:
        self._attempt += 1
        self.connected = False
        self._tokens.clear()
        self._events.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        client, sock = self._client, self._socket
        self._client = self._socket = None
        # First of all, while the file's number is ours: paho closes it by itself once it has said goodbye.
        if sock is not None and sock.fileno() >= 0:
            self._unwatch(sock)
        if client is not None:
            client.on_disconnect = client.on_socket_close = None  # paho calls them even when it is collected
            if not abrupt:
                client.disconnect()
        if sock is not None:
            sock.close()

    def _unwatch(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)
        self._writing = False

    # --- paho's callbacks: they only note down, _pump() hands on

    def _on_connect(self, _client: Client, _: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        if reason.is_failure:
            self._failure = f"refused: {reason}; check user, password and client certificate"
            return
        if self.connected:
            self._failure = ODD
            return
        self.connected = True
        self._events.append(Connected(self.broker, self._session, _until_ms(self._socket)))
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(KEEPALIVE_S / 2, self._keep, self._attempt)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # a topic that is no text is none of ours
        if not self.connected:
            self._failure = ODD
            return
        self._events.append(Message(self.broker, topic, bytes(message.payload), message.retain))

    def _on_publish(self, _client: Client, _data: object, mid: int, _reason: object, _more: object) -> None:
        token = self._tokens.pop(mid, None)
        if token is not None:
            self._events.append(Published(self.broker, token))

    def _on_subscribe(
        self, _client: Client, _: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._failure = "the broker refuses a subscription; check its access list"

    def _on_socket_close(self, _client: Client, _data: object, sock: object) -> None:
        # While the number is still ours: the selector would else confuse the next socket of that number with this one.
        assert isinstance(sock, socket.socket)
        self._unwatch(sock)

    def _on_disconnect(
        self, _client: Client, _: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if self.connected:
            # "Unspecified error" is paho's word for an end that nobody announced.
            why = "closed by the broker or the network" if reason.value == 0x80 else str(reason)
            why = f"connection lost: {why}"
        else:
            why = HUNG_UP
        self._failure = self._failure or why


def _until_ms(sock: socket.socket | None) -> int | None:
    shown = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    return int(ssl.cert_time_to_seconds(str(shown["notAfter"]))) * 1000 if shown else None


logging.getLogger("paho").setLevel(logging.ERROR)
