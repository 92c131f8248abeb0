"""The agent's peers in its tests: poles that speak through the real link, and a station that answers as it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sos_contract import payloads
from sos_contract.payloads import Alarm, Identity, Notice, Probe, ProbeAnswer, Progress, ProgressQuery, Receipt
from sos_contract.stages import later, rank
from sos_wire import messages
from sos_wire.link import LIVE
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.ticks import TICKS_MASK
from sos_wire.wrap import unwrap

INCARNATION = 0xC0FFEE


def key_of(pole: str) -> bytes:
    return pole.encode().ljust(32, b"#")


@dataclass
class PoleTwin:
    """A pole: a journal of unreleased presses that are offered each second until held, and at each session."""

    id: str
    address: int
    boot: int = 1
    started_ms: int = 0
    incarnation: int = INCARNATION
    journal: dict[tuple[int, int], messages.Press] = field(default_factory=dict)
    told: list[tuple[int, int, str]] = field(default_factory=list)
    stages: dict[tuple[int, int], str] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    commands: list[messages.Command] = field(default_factory=list)
    takes_keys: bool = True
    presses: int = 0
    notices: int = 0
    faults: int = 0
    powered: bool = True
    offers: bool = True

    def __post_init__(self) -> None:
        self.power_on(self.started_ms)

    def power_on(self, now: int) -> None:
        self.powered, self.started_ms = True, now
        self.link = PoleLink(self.address, key_of(self.id), bytes([self.address, self.boot % 256]) * 16)
        self.line = PoleLine(False, 115200, self.address)
        self.link.begin(self.incarnation, self.boot)
        self.opened, self.offer_ms = 0, now
        self.set_status()

    def restart(self, now: int) -> None:
        self.boot += 1
        self.presses = 0
        self.power_on(now)

    def set_status(self) -> None:
        self.link.set_status(messages.Status("in_service", 12000, 250, "power_on", faults=self.faults).pack(), False)

    def press(self, now: int, kind: str = "press") -> Identity:
        self.presses += 1
        said = messages.Press(kind, self.incarnation, self.boot, self.presses, now - self.started_ms)
        self.journal[self.boot, self.presses] = said
        if self.offers:
            self.link.send(LIVE, said.pack())
        return Identity(self.id, f"{self.incarnation:016x}", self.boot, self.presses)

    def notice(self, kind: str, now: int, on: int = 1, value: int = 0) -> None:
        self.notices += 1
        said = messages.Notice(kind, self.incarnation, self.boot, self.notices, now - self.started_ms, value, on)
        self.link.send(LIVE, said.pack())

    def turn(self, now: int, data: bytes) -> bytes:
        """One turn of the loop: bytes in, bytes out."""
        if not self.powered:
            return b""
        ticks = now & TICKS_MASK
        for frame in self.line.feed(data, ticks):
            self.link.receive(frame, ticks)
        for _, payload, _ in self.link.take():
            said = messages.unpack(payload)
            if isinstance(said, messages.Progress):
                self._progress(said)
            elif isinstance(said, messages.Service):
                self.services.append(said.state)
            elif isinstance(said, messages.Command):
                self.commands.append(said)
                new = unwrap(key_of(self.id), said.wrapped)
                if new and self.takes_keys:
                    self.link.keys = [key_of(self.id), new]
        if self.link.opened != self.opened or now >= self.offer_ms:
            fresh, self.opened, self.offer_ms = self.link.opened != self.opened, self.link.opened, now + 1000
            for key, press in self.journal.items():
                if self.offers and (fresh or self.stages.get(key, "pressed") == "pressed"):
                    self.link.send(LIVE, press.pack())
        out = b""
        while (wire := self.link.poll(ticks, now - self.started_ms)) is not None:
            out += wire
        return out

    def wake_ms(self, now: int) -> int:
        if not self.powered:
            return 60_000
        return max(1, min(self.link.wake(now & TICKS_MASK), self.offer_ms - now))

    def _progress(self, said: messages.Progress) -> None:
        key = (said.boot, said.press)
        self.told.append((*key, said.stage))
        self.stages[key] = later(self.stages.get(key, "pressed"), said.stage)
        if rank(said.stage) >= rank("received"):
            self.journal.pop(key, None)


@dataclass
class StationTwin:
    """The station program: an inbox with stages. ``up``: it runs; ``deaf``: it runs and answers nothing."""

    inbox: str = "inbox-1"
    up: bool = True
    deaf: bool = False
    commits: int = 0
    run: str = ""
    opened: int = 0
    alarms: dict[Identity, str] = field(default_factory=dict)
    seen: list[Alarm] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    queries: list[ProgressQuery] = field(default_factory=list)
    refuses: dict[Identity, str] = field(default_factory=dict)
    mute_receipts: bool = False
    mute_probes: bool = False  # its disk takes nothing, and it can be read
    ignores_poles: bool = False  # in a query, as a station of the release before

    def answer(self, leaf: str, payload: bytes) -> Iterator[tuple[str, Any]]:
        self.commits += 1
        if leaf == "alarm":
            alarm = payloads.decode(payload, Alarm)
            assert isinstance(alarm, Alarm)
            self.seen.append(alarm)
            if alarm.id in self.refuses:
                yield "receipt", Receipt(inbox=self.inbox, run=self.run, refused=((alarm.id, self.refuses[alarm.id]),))
                return
            self.alarms.setdefault(alarm.id, "received")
            if not self.mute_receipts:
                yield "receipt", Receipt(inbox=self.inbox, run=self.run, alarms=(alarm.id,))
        elif leaf == "notice":
            notice = payloads.decode(payload, Notice)
            assert isinstance(notice, Notice)
            self.notices.append(notice)
            yield "receipt", Receipt(inbox=self.inbox, run=self.run, outbox=notice.outbox, notices=(notice.number,))
        elif leaf == "probe":
            probe = payloads.decode(payload, Probe)
            assert isinstance(probe, Probe)
            if self.mute_probes:
                return
            answer = ProbeAnswer(
                session=probe.session, number=probe.number, inbox=self.inbox, high_water=self.commits,
                run=self.run, opened=self.opened,
            )  # fmt: skip
            yield "probe_answer", answer
        elif leaf == "progress_query":
            query = payloads.decode(payload, ProgressQuery)
            assert isinstance(query, ProgressQuery)
            self.queries.append(query)
            if self.ignores_poles and not query.alarms:
                return
            newest = [max((one for one in self.alarms if one.pole == pole), default=None) for pole in query.poles]
            asked = dict.fromkeys([*query.alarms, *(identity for identity in newest if identity)])
            stages = tuple((identity, self.alarms[identity]) for identity in asked if identity in self.alarms)
            missing = tuple(identity for identity in query.alarms if identity not in self.alarms)
            yield "progress", Progress(inbox=self.inbox, run=self.run, stages=stages, missing=missing)
