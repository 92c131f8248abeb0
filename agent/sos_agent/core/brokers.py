"""Which broker: in the site's order, with a jittered back-off, staying with the first that brings the probe back."""

from __future__ import annotations

from collections.abc import Callable

from sos_agent.core.context import Context
from sos_agent.core.effects import Connect, Disconnect, Subscribe
from sos_agent.core.table import Table
from sos_contract import payloads, topics
from sos_contract.payloads import State

CONNECT_OVERDUE_MS = 20_000  # the edge has time-outs of its own; this one is for an edge that forgot
SILENT_MS = 15_000  # three probes without an answer: perhaps the station is reached through another broker
BACK_OFF_FIRST_MS = 500
# Half the time in which a pole must say that it is out of service; a restarted broker sees 1,000 agents in 5 s.
BACK_OFF_MOST_MS = 5_000
BROKER = Table(
    "broker",
    "waiting",
    {
        ("waiting", "due"): ("connecting", "connect"),
        ("connecting", "up"): ("trying", "greet"),
        ("connecting", "down"): ("waiting", "next"),
        ("connecting", "overdue"): ("waiting", "leave"),
        ("trying", "answered"): ("proven", "settle"),
        ("trying", "down"): ("waiting", "next"),
        ("trying", "silent"): ("waiting", "leave"),
        ("proven", "answered"): ("proven", ""),
        ("proven", "down"): ("waiting", "same"),
        ("proven", "silent"): ("waiting", "leave"),
    },
)


class Brokers:
    """One connection at a time. The supervision tells about probes; ``step`` is fed by broker events and the timer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.state = BROKER.first
        self.index = 0
        self.attempts = 0
        self._session = ""  # of the attempt or connection that counts
        self._failures = 0  # attempts since a probe was answered
        self._left: set[int] = set()  # brokers whose loss stands in the log
        self._due_ms = context.now_ms
        self._proof_ms = context.now_ms  # when the connection came up, or its last answered probe was sent

    @property
    def broker(self) -> str:
        return self._context.config.brokers[self.index]

    def ours(self, session: str) -> bool:
        """Whether an event belongs to the attempt that counts; a late one of an old connection does not."""
        if session and session == self._session:
            return True
        self._context.counts["old_connection"] += 1
        return False

    def step(self, event: str, reason: str = "") -> None:
        """Carry out one row of the table; raises ImpossibleError for a pair that it does not list."""
        self.state, action = BROKER.step(self.state, event)
        if action == "connect":
            self._connect()
        elif action == "greet":
            self._greet()
        elif action == "settle":
            self._failures = 0
            self._left.clear()
        elif action:
            self._leave(action, reason or event)

    def answered(self, sent_ms: int) -> None:
        """A probe sent then through this connection was answered."""
        self.step("answered")
        self._proof_ms = max(self._proof_ms, sent_ms)

    def timer(self, broker_dead: Callable[[], bool]) -> None:
        """``broker_dead`` says whether it has not even acknowledged a probe for SILENT_MS."""
        now = self._context.now_ms
        due = self.next_due_ms()
        if self.state == "waiting" and now >= self._due_ms:
            self.step("due")
        elif self.state == "connecting" and due is not None and now >= due:
            self.step("overdue", "no answer to the attempt")
        elif self.state in ("trying", "proven") and now >= self._proof_ms + SILENT_MS:
            if broker_dead():
                self.step("silent", "the broker acknowledges nothing")
            elif len(self._context.config.brokers) > 1:
                self.step("silent", "no probe is answered through it")

    def next_due_ms(self) -> int | None:
        if self.state in ("waiting", "connecting"):
            return self._due_ms
        due = self._proof_ms + SILENT_MS
        return due if due > self._context.now_ms else None

    def _connect(self) -> None:
        self.attempts += 1
        self._session = f"{self._context.session}.{self.attempts}"
        self._due_ms = self._context.now_ms + CONNECT_OVERDUE_MS
        will = payloads.encode(State(online=False, session=self._session))
        topic = topics.of_point(self._context.config.station, self._context.config.point, "state")
        self._context.emit(Connect(self.broker, self._session, topic, will))

    def _greet(self) -> None:
        config = self._context.config
        self._context.connection = self._session
        self._proof_ms = self._context.now_ms
        leaves = ("receipt", "progress", "probe_answer", "command")
        wanted = [topics.of_point(config.station, config.point, leaf) for leaf in leaves]
        self._context.emit(Subscribe(self._session, (*wanted, topics.of_station(config.station, "state"))))
        self._context.publish("state", State(online=True, session=self._session), retain=True)

    def _leave(self, action: str, reason: str) -> None:
        if action == "leave":
            self._context.emit(Disconnect(self._session))
        if self.index not in self._left:
            self._left.add(self.index)  # once until a probe was answered
            what = "leaving a broker" if action == "leave" else "broker lost"
            self._context.log("warning", what, broker=self._shown(), reason=reason)
        self._context.connection = self._session = ""
        if action != "same":
            self.index = (self.index + 1) % len(self._context.config.brokers)
        wait_ms = min(BACK_OFF_FIRST_MS << min(self._failures, 8), BACK_OFF_MOST_MS)
        self._failures += 1
        self._due_ms = self._context.now_ms + self._context.about(wait_ms)

    def goodbye(self) -> None:
        """The program ends: say so, for a will is only published when a connection breaks."""
        if self._context.connection:
            self._context.publish("state", State(online=False, session=self._session), retain=True)
        if self._session:
            self._context.emit(Disconnect(self._session))
        self._context.connection = ""

    def _shown(self) -> str:
        """The broker's address without a password."""
        scheme, _, rest = self.broker.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
