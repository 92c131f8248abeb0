"""Who is there, measured: probes that the station answers through a commit, and the links to the poles."""

from __future__ import annotations

from dataclasses import dataclass

from sos_agent.core.brokers import SILENT_MS, Brokers
from sos_agent.core.context import Context, sooner
from sos_agent.core.notices import Notices
from sos_agent.core.table import Table
from sos_contract.payloads import Probe, ProbeAnswer

PROBE_MS = 5_000
# After the sending of the last answered probe: two probes may be lost, and the pole still says "out of service" 8 s
# before the 20 s of the promise are over.
STATION_LOST_MS = 12_000
PROBES_KEPT = 16  # an answer to an older one proves nothing about now
HINT_GAP_MS = 500  # hints (retained state) may make us probe sooner, but not more often than this
# From the start: a pole greets within 1 s, a port is found within a few; the design allows 10 s to see a loss.
UNHEARD_MS = 10_000
VALUE_MOST = 0x3FFFFFFF  # as on the wire: 12 days in ms
# Both ends see the same outage within 8 s of one another: each counts from the last frame that it heard itself.
OUTAGE_MARGIN_MS = 10_000
_OPEN_END = 1 << 62

SERVICE = Table(
    "service",
    "starting",
    {
        ("starting", "answered"): ("in_service", "tell"),
        ("starting", "overdue"): ("station_lost", "tell"),
        ("in_service", "answered"): ("in_service", ""),
        ("in_service", "overdue"): ("station_lost", "tell"),
        ("station_lost", "answered"): ("in_service", "tell"),
    },
)

POLE_LINK = Table(
    "pole link",
    "unheard",
    {
        ("unheard", "opened"): ("up", "back"),
        ("unheard", "overdue"): ("lost", "note"),
        ("up", "opened"): ("up", ""),
        ("up", "lost"): ("lost", "note"),
        ("lost", "opened"): ("up", "back"),
    },
)


@dataclass(slots=True)
class _Sent:
    at_ms: int
    token: int
    acknowledged: bool = False


class Supervision:
    """Probes through the connection that is up. ``service`` is what the poles are told."""

    def __init__(self, context: Context, brokers: Brokers) -> None:
        self._context = context
        self._brokers = brokers
        self.service = SERVICE.first
        self.inbox = ""  # incarnation of the station's inbox, as the last answer told
        self._high_water = 0
        self._run = ""  # of the station program
        self._station_session = ""  # as its state last told
        self._number = 0
        self._probes: dict[int, _Sent] = {}
        self._probe_ms = context.now_ms
        self._probed_ms = context.now_ms - HINT_GAP_MS
        self.good_ms = context.now_ms  # when the last answered probe was sent; at first: the start

    def connected(self) -> None:
        self._probes.clear()
        self._probe()

    def station_says(self, session: str) -> None:
        """The station's state, as it tells it every few seconds: only a connection of its that is new to us is news.
        (Were each of them a hint, all agents would probe at once, and more often than they need to.)"""
        if session != self._station_session or self.service != "in_service":
            self._station_session = session
            self.hint()

    def hint(self) -> None:
        """Perhaps something has changed at the station: worth a probe now, no more."""
        if self._context.connection:
            self._probe_ms = min(self._probe_ms, self._probed_ms + HINT_GAP_MS)

    def published(self, token: int) -> None:
        for sent in self._probes.values():
            if sent.token == token:
                sent.acknowledged = True

    def answer(self, answer: ProbeAnswer) -> str:
        """A probe came back. Returns what it tells: ``same``, ``other`` (an inbox that may lack something; the first
        that this run of ours hears of is one: whoever told stages before may have been another), ``back``
        (an earlier probe was lost, and with it whatever was published then; or the station has started anew, and what
        it said since did not count), or nothing if it answers none of ours."""
        sent = self._probes.get(answer.number)
        connection = self._context.connection
        if sent is None or not connection or answer.session != connection:
            self._context.counts["probe_answer_unasked"] += 1
            return ""
        older = [number for number in self._probes if number <= answer.number]
        for number in older:
            del self._probes[number]  # answers come in order; what the older ones could tell is known now
        self._brokers.answered(sent.at_ms)
        self.good_ms = max(self.good_ms, sent.at_ms)
        # An older copy may have grown past what we heard before we ask again: then only its beginning gives it away.
        high_water = answer.high_water if answer.run == self._run else min(answer.high_water, answer.opened)
        first, anew = not self.inbox, answer.run != self._run
        other = not first and (answer.inbox != self.inbox or high_water < self._high_water)
        if other:
            self._context.log(
                "warning", "the station's inbox is another one, or an older copy; offering it what it lacks",
                inbox=answer.inbox, high_water=answer.high_water, was=self._high_water,
            )  # fmt: skip
        self.inbox, self._high_water, self._run = answer.inbox, answer.high_water, answer.run
        if self._context.now_ms < self.good_ms + STATION_LOST_MS:
            self._step("answered")
        if first or other:
            return "other"
        return "back" if anew or len(older) > 1 else "same"

    def proved(self, inbox: str, run: str) -> bool:
        """Whether that inbox has answered a probe of ours in that run of the station, and no other since. A station of
        the release before does not tell its run."""
        return inbox == self.inbox and run in ("", self._run)

    def timer(self) -> None:
        now = self._context.now_ms
        if self.service != "station_lost" and now >= self.good_ms + STATION_LOST_MS:
            self._step("overdue")
        if self._context.connection and now >= self._probe_ms:
            self._probe()

    def broker_dead(self) -> bool:
        """Whether the broker did not even acknowledge a probe for SILENT_MS."""
        now = self._context.now_ms
        return any(not sent.acknowledged and now - sent.at_ms >= SILENT_MS for sent in self._probes.values())

    def next_due_ms(self) -> int | None:
        lost_ms = self.good_ms + STATION_LOST_MS if self.service != "station_lost" else None
        return sooner(lost_ms, self._probe_ms if self._context.connection else None)

    def _probe(self) -> None:
        self._number += 1
        token = self._context.publish("probe", Probe(session=self._context.connection, number=self._number))
        self._probes[self._number] = _Sent(self._context.now_ms, token)
        while len(self._probes) > PROBES_KEPT:
            del self._probes[next(iter(self._probes))]
        self._probed_ms = self._context.now_ms
        self._probe_ms = self._context.now_ms + PROBE_MS

    def _step(self, event: str) -> None:
        self.service, action = SERVICE.step(self.service, event)
        if action:
            if self.service == "in_service":
                self._context.log("info", "station answers")
            else:
                self._context.log("warning", "station does not answer")


class PoleLinks:
    """Notes each outage of a pole's link once, and its end once."""

    def __init__(self, context: Context, notices: Notices, poles: list[str]) -> None:
        self._context = context
        self._notices = notices
        self.states = dict.fromkeys(poles, POLE_LINK.first)
        self._since_ms = dict.fromkeys(poles, context.now_ms)  # last good time while lost
        self._noted: dict[str, tuple[int, int]] = {}  # the last outage that we noted: last good time, end

    def step(self, pole: str, event: str, heard_ms: int | None) -> None:
        """``heard_ms``: when the pole was last heard by this run, or None."""
        self.states[pole], action = POLE_LINK.step(self.states[pole], event)
        now = self._context.now_ms
        open_fault = (pole, "link_lost") in self._notices.open_faults
        if action == "note":
            self._since_ms[pole] = self._context.started_ms if heard_ms is None else heard_ms
            silent_ms = min(now - self._since_ms[pole], VALUE_MOST)
            self._noted[pole] = (self._since_ms[pole], _OPEN_END)
            self._context.log("warning", "pole is silent", pole=pole, silent_ms=silent_ms)
            if heard_ms is not None or not open_fault:  # not once more for an outage that began before our start
                self._notices.add(pole, "link_lost", on=True, value=silent_ms)
        elif action == "back":
            away_ms = min(now - self._since_ms[pole], VALUE_MOST)
            if pole in self._noted:
                self._noted[pole] = (self._noted[pole][0], now)
            self._context.log("info", "pole is there", pole=pole, away_ms=away_ms)
            if open_fault:
                self._notices.add(pole, "link_lost", on=False, value=away_ms)

    def noted(self, pole: str, at_ms: int) -> bool:
        """Whether what the pole says of its link at that time is about an outage that we have noted ourselves."""
        since_ms, until_ms = self._noted.get(pole, (_OPEN_END, _OPEN_END))
        return since_ms - OUTAGE_MARGIN_MS <= at_ms <= until_ms + OUTAGE_MARGIN_MS

    def timer(self) -> None:
        """Poles that were never heard since the start are lost, too."""
        if self._context.now_ms >= self._context.started_ms + UNHEARD_MS:
            for pole in [pole for pole, state in self.states.items() if state == "unheard"]:
                self.step(pole, "overdue", None)

    def next_due_ms(self) -> int | None:
        return self._context.started_ms + UNHEARD_MS if "unheard" in self.states.values() else None
