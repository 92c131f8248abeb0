"""The ground truth that checkers ask of the world beside its trace: what is in which store, and what is not well."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from sos_ledger.book import Book
from sos_ledger.inbox import Inbox
from sos_ledger.outbox import Outbox
from sos_ledger.verify import INBOX_FILE, OUTBOX_FILE
from sos_sim.checkers import Town
from sos_sim.checkers.told import TOLD_US
from sos_sim.world.zone import Zone
from sos_wire.messages import FAULTS

_IN_INBOX = "SELECT pole, incarnation, boot, press FROM alarm"
_STANDING = "SELECT pole, kind FROM fault WHERE until_wall_ms IS NULL"
_TOLD = "SELECT pole, kind, sum(count) FROM fault GROUP BY pole, kind"
# Faults of a pole that end the moment their cause does.
_FELT = {"tamper", "mains_lost"}
_IN_OUTBOX = "SELECT 1 FROM alarm WHERE pole = ? AND incarnation = ? AND boot = ? AND press = ?"


class ZoneGround:
    """``checkers.base.Ground`` of a zone. Looks into the stores themselves."""

    def __init__(self, zone: Zone, town: Town) -> None:
        self._zone = zone
        self._town = town

    def blind_ms(self, pole: str) -> int:
        """See Ground."""
        return self._zone.poles[pole].blind_ms

    def inbox(self) -> frozenset[str]:
        """See Ground."""
        file = self._zone.station.disk.file
        rows = [] if file is None else file.execute(_IN_INBOX).fetchall()
        return frozenset(f"{pole}/{incarnation}/{boot}/{press}" for pole, incarnation, boot, press in rows)

    def whereabouts(self, identity: str) -> list[str]:
        """See Ground."""
        pole, incarnation, boot, press = identity.split("/")
        found = []
        node = self._zone.poles[pole]
        if node.holds(int(incarnation, 16), int(boot), int(press)):
            found.append(f"the journal of {pole} ({'running' if node.running else 'off'}, {node.look or 'dark'})")
        agent = self._zone.agents[self._town.point_of[pole]]
        if agent.disk.file is not None:
            try:
                row = agent.disk.file.execute(_IN_OUTBOX, (pole, incarnation, int(boot), int(press))).fetchone()
            except sqlite3.Error:
                row = None
            if row is not None:
                found.append(f"the outbox of {agent.part} ({'running' if agent.running else 'off'}; {agent.summary})")
        return found

    def unsettled(self, orphans: Collection[str] = ()) -> list[str]:
        """See Ground."""
        zone, words = self._zone, []
        programs = (zone.station, *zone.agents.values())
        words += [f"{node.part} does not run" for node in programs if not node.running or node.frozen]
        words += [f"{broker.part} does not run" for broker in zone.brokers.values() if not broker.running]
        file = zone.station.disk.file
        if file is not None:
            open_ = file.execute("SELECT count(*) FROM alarm WHERE stage != 'closed'").fetchone()[0]
            if open_:
                words.append(f"{open_} alarms are not closed")
        for pole, lamp in zone.poles.items():
            press = lamp.identity_of_lamp()
            if lamp.look != "in_service" and press not in orphans:
                words.append(f"{pole} says {lamp.look or 'nothing'}, of {press or 'no press'}")
        return [*words, *self._faults()]

    def _faults(self) -> Iterator[str]:
        """Where the station's table of faults, the poles and the world do not say the same."""
        zone = self._zone
        file = zone.station.disk.file
        standing = set() if file is None else set(file.execute(_STANDING).fetchall())
        for pole, node in zone.poles.items():
            mask = 0 if node.pole is None else node.pole.faults
            has = {kind for bit, kind in enumerate(FAULTS) if mask >> bit & 1}
            felt = {kind for kind in _FELT if node.senses.get(kind)}
            said = {kind for place, kind in standing if place == pole}
            if zone.loop.now_us - node.faults_us >= TOLD_US:  # what it says since is on its way
                yield from (f"{kind} of {pole} stands open, and it is over" for kind in sorted(said - has))
                yield from (f"the station does not know of {kind} of {pole}" for kind in sorted(has - said))
            yield from (f"{pole} says {kind}, and it is not so" for kind in sorted((has - felt) & _FELT))
        yield from (f"{kind} stands open, and all is well" for place, kind in sorted(standing) if not place)

    def faults_told(self) -> Counter[tuple[str, str]]:
        """See Ground."""
        file = self._zone.station.disk.file
        rows = [] if file is None else file.execute(_TOLD).fetchall()
        return Counter({(pole, kind): times for pole, kind, times in rows})

    def ledgers(self) -> Iterator[tuple[str, str]]:
        """See Ground."""
        inbox, agents = self._zone.station.disk.file, self._zone.agents.values()
        outboxes = [(agent.part, agent.disk.file) for agent in agents if agent.disk.file is not None]
        read: list[tuple[str, Inbox | Outbox]] = []
        if inbox is not None:
            read.append(("station", Inbox(Book(Path(INBOX_FILE), inbox))))
        read += [(part, Outbox(Book(Path(OUTBOX_FILE), file))) for part, file in outboxes]
        for part, one in read:
            yield from ((part, str(found)) for found in (*one.chain.findings(), *one.findings()))

    def cores(self) -> Iterator[tuple[str, object]]:
        """See Ground."""
        for pole, node in self._zone.poles.items():
            if node.pole is not None:
                yield pole, node.pole
        for agent in self._zone.agents.values():
            if agent.agent is not None:
                yield agent.part, agent.agent
        if self._zone.station.station is not None:
            yield "station", self._zone.station.station
