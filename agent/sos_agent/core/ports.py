"""Step 5, ports: which port each line hangs on, and how it is found again when it comes back under another name.

A line's home is the port that the site file names; it is open whenever it is there. While nobody of ours is heard on a
line, its other candidates are opened one after the other and asked who is there. A port is taken once a genuine frame
of one of the line's poles came from it, so that a wrong port, or a recorded greeting on one, takes nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sos_agent.core.context import Context
from sos_agent.core.effects import ClosePort, OpenPort, WriteBytes
from sos_agent.core.events import Candidate, LineConfig
from sos_agent.core.table import Table
from sos_wire.agent_end import AgentLine
from sos_wire.handshake import who
from sos_wire.line import Line
from sos_wire.ticks import TICKS_MASK

SILENT_MS = 10_000  # no pole heard for so long (links are lost after 8 s): look elsewhere too
EXPLORE_MS = 3_000  # a pole greets within 1 s; two more for a slow port
ASK_MS = 500  # twice as often as a pole without a session greets by itself
REOPEN_MS = 1_000  # as often as candidates are looked for
REOPEN_MOST_MS = 5_000  # a port in use or without permission is tried again at this pace

SEAT = Table(
    "line",
    "searching",
    {
        ("searching", "heard"): ("serving", "take"),
        ("searching", "closed"): ("searching", ""),
        ("serving", "heard"): ("serving", ""),
        ("serving", "elsewhere"): ("serving", "take"),
        ("serving", "closed"): ("searching", "lose"),
        ("serving", "silent"): ("searching", "search"),
    },
)


@dataclass(slots=True, eq=False)
class Port:
    """A port that is open or being opened, on behalf of one line."""

    name: str
    seat: Seat
    wire: Line
    open: bool = False
    ask_ms: int = 0


@dataclass(slots=True, eq=False)
class Seat:
    """A line: where it hangs. ``port`` is the one its poles are spoken to through."""

    line: LineConfig
    state: str = SEAT.first
    port: Port | None = None
    explorer: Port | None = None
    explorer_until_ms: int = 0
    explored: list[str] = field(default_factory=list)
    heard_ms: int = 0
    caller: str = ""  # whose message came last, and when; until ``calm_ms`` several poles call at once
    called_ms: int = 0
    calm_ms: int = 0
    reported: bool = False


class Ports:
    """Owns the ports. ``by_name`` holds those that are open or being opened."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.seats = {line.name: Seat(line, heard_ms=context.now_ms) for line in context.config.lines}
        self.by_name: dict[str, Port] = {}
        self._candidates: tuple[Candidate, ...] = ()
        self._not_before: dict[str, tuple[int, int]] = {}  # port -> (time, pause) after it could not be opened

    def could_be(self, port: Port) -> list[Seat]:
        """The lines whose poles may be heard on that port: its own first."""
        others = [self.seats[c.line] for c in self._candidates if c.port == port.name]
        return [port.seat, *(seat for seat in others if seat is not port.seat)]

    def seen(self, candidates: tuple[Candidate, ...]) -> None:
        """These ports exist now. One that vanished and came back is tried at once."""
        candidates = tuple(candidate for candidate in candidates if candidate.line in self.seats)
        there = {candidate.port for candidate in candidates}
        gone = {candidate.port for candidate in self._candidates} - there
        for port in gone:
            self._not_before.pop(port, None)
        self._candidates = candidates

    def opened(self, name: str) -> None:
        port = self.by_name.get(name)
        if port is not None:
            port.open = True
            port.ask_ms = self._context.now_ms

    def closed(self, name: str, reason: str) -> None:
        """It could not be opened, or it broke."""
        port = self.by_name.pop(name, None)
        if port is None:
            return
        pause_ms = min(2 * self._not_before[name][1], REOPEN_MOST_MS) if name in self._not_before else REOPEN_MS
        self._not_before[name] = (self._context.now_ms + pause_ms, pause_ms)
        seat = port.seat
        if seat.port is port and not seat.reported:
            seat.reported = True
            self._context.log("warning", "port is not usable", port=name, reason=reason)
        if port is seat.explorer:
            seat.explorer = None
        elif port is seat.port:
            self._step(seat, "closed", port)
            seat.port = None

    def heard(self, seat: Seat, port: Port, *, fresh: bool) -> bool:
        """A genuine frame of one of ``seat``'s poles came through ``port``; whether that port is the line's (now).

        ``fresh``: certainly said just now. A greeting may be a recorded one, and takes only a line that is not served.
        """
        if seat.state == "searching" or seat.port is port:
            self._step(seat, "heard", port)
        elif fresh or self._context.now_ms - seat.heard_ms >= SILENT_MS // 2:
            self._step(seat, "elsewhere", port)
        else:
            self._context.counts["greeting_elsewhere"] += 1
            return False
        seat.heard_ms = self._context.now_ms
        return True

    def pump(self) -> None:
        """Open what should be open, close what is no longer needed, ask on ports where nobody is known."""
        now = self._context.now_ms
        for seat in self.seats.values():
            if seat.state == "serving" and now - seat.heard_ms >= SILENT_MS:
                self._step(seat, "silent", None)
            if seat.state == "searching":
                self._search(seat)
        ticks = now & TICKS_MASK
        for port in self.by_name.values():
            asking = port.open and port.seat.state == "searching" and now >= port.ask_ms
            if asking and port.wire.quiet(ticks):
                data = who()
                port.wire.sent(len(data), ticks)
                port.ask_ms = now + self._context.about(ASK_MS)
                self._context.emit(WriteBytes(port.name, data))

    def next_due_ms(self) -> int:
        """When ``pump`` may have something to do."""
        now = self._context.now_ms
        soonest = now + SILENT_MS
        dues: list[int] = []
        for seat in self.seats.values():
            if seat.state == "serving":
                soonest = min(soonest, seat.heard_ms + SILENT_MS)
                continue
            if seat.explorer is not None:
                dues.append(seat.explorer_until_ms)
            names = [c.port for c in self._candidates if c.line == seat.line.name and c.port not in self.by_name]
            dues += [self._not_before[name][0] for name in names if name in self._not_before]
        for port in self.by_name.values():
            if port.open and port.seat.state == "searching":
                dues.append(max(port.ask_ms, now + port.wire.wait(now & TICKS_MASK)))
        return min(soonest, *dues) if dues else soonest

    def _step(self, seat: Seat, event: str, port: Port | None) -> None:
        seat.state, action = SEAT.step(seat.state, event)
        if action == "take":
            assert port is not None
            self._take(seat, port)
        elif action:
            seat.explored.clear()

    def _take(self, seat: Seat, port: Port) -> None:
        """The line hangs on that port: whatever else it had open is let go, whoever held the port looks on."""
        owner = port.seat
        if owner is not seat:
            if owner.port is port:
                if owner.state == "serving":
                    self._step(owner, "closed", port)
                owner.port = None
            if owner.explorer is port:
                owner.explorer = None
            port.seat = seat
        for other in (seat.port, seat.explorer):
            if other is not None and other is not port:
                self._close(other)
        if seat.reported or seat.port is not port:
            self._context.log("info", "line found", line=seat.line.name, port=port.name)
        seat.port, seat.explorer, seat.reported = port, None, False
        self._not_before.pop(port.name, None)

    def _search(self, seat: Seat) -> None:
        now = self._context.now_ms
        mine = [candidate for candidate in self._candidates if candidate.line == seat.line.name]
        home = next((candidate.port for candidate in mine if candidate.home), None)
        if home is not None and seat.port is not None and seat.port.name != home and home not in self.by_name:
            self._close(seat.port)  # a port that was taken and fell silent: the home is tried first again
            seat.port = None
        if seat.port is None and home is not None and self._free(home):
            seat.port = self._open(seat, home)
        if seat.explorer is not None and now >= seat.explorer_until_ms:
            self._close(seat.explorer)
            seat.explorer = None
        if seat.explorer is None:
            # another line's home is that line's to open; who is heard there is looked for in all lines
            homes = {c.port for c in self._candidates if c.home and self.seats[c.line].state == "searching"}
            self._explore(seat, [candidate.port for candidate in mine if candidate.port not in homes])

    def _explore(self, seat: Seat, names: list[str]) -> None:
        """Open the next candidate that nobody uses; each gets its turn before one gets a second."""
        free = [name for name in names if self._free(name)]
        fresh = [name for name in free if name not in seat.explored]
        if not fresh and free:
            seat.explored.clear()
            fresh = free
        if fresh:
            seat.explored.append(fresh[0])
            seat.explorer = self._open(seat, fresh[0])
            seat.explorer_until_ms = self._context.now_ms + EXPLORE_MS

    def _free(self, name: str) -> bool:
        return name not in self.by_name and self._not_before.get(name, (0, 0))[0] <= self._context.now_ms

    def _open(self, seat: Seat, name: str) -> Port:
        line = seat.line
        port = Port(name, seat, AgentLine(line.shared, line.baud))
        self.by_name[name] = port
        self._context.emit(OpenPort(name, line.baud))
        return port

    def _close(self, port: Port) -> None:
        self.by_name.pop(port.name, None)
        self._context.emit(ClosePort(port.name))
