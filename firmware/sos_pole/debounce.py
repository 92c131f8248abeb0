"""Step 2, debounce: runs of a loop's level become "pressed", and faults of the loop become faults.

The contract. Contacts with gaps below GAP_MS are one attempt; an attempt that lasts PRESS_MS from its first to its
last contact, bounce included, is a press, once. The next press needs CALM_MS of release. A contact that was there at
the start, or when a fault of the loop ended, counts only after CALM_MS of release. A wire that is cut, shorted or
flickers between these is a fault and never a press: any sample of it ends an attempt.
"""

from sos_pole.runs import IDLE, OPEN, PRESSED

PRESS_MS = 30  # shorter than any finger, longer than any bounce of a good switch (5 to 20 ms)
GAP_MS = 30
CALM_MS = 250  # a released button bounces for less; nobody presses twice within it and means two alarms
FAULT_MS = 100  # bad samples, with less than CALM_MS of good ones between them, that make a fault of the loop
STUCK_MS = 60000
NEVER = 0x0FFFFFFF
_EDGE_LEAK_MS = 50  # 20 contacts a second are forgiven: a person in panic, bounce included, makes fewer
_EDGES = 200
_BRIEF_LEAK_MS = 30000
_BRIEF = 8  # contacts too brief for a finger, within some minutes

WAIT, READY, TRYING, HELD, STUCK, DEAD = "wait", "ready", "trying", "held", "stuck", "dead"

# state -> what is seen -> (next state, what happens). What is not listed changes nothing.
TABLE: "dict[str, dict[str, tuple[str, tuple[str, ...]]]]" = {
    WAIT: {
        "calm": (READY, ()),
        "long": (DEAD, ("stuck",)),  # closed since the start or since a fault: it cannot call for help
    },
    DEAD: {"calm": (READY, ("stuck_end",)), "fault": (WAIT, ("stuck_end",))},
    READY: {"contact": (TRYING, ("down",)), "fault": (WAIT, ())},
    TRYING: {"enough": (HELD, ("press",)), "gap": (READY, ()), "bad": (READY, ()), "fault": (WAIT, ())},
    HELD: {"calm": (READY, ("release",)), "long": (STUCK, ("stuck",)), "fault": (WAIT, ("release",))},
    STUCK: {"calm": (READY, ("release", "stuck_end")), "fault": (WAIT, ("release", "stuck_end"))},
}


class Debounce:
    """One button. ``state`` is one of the table's; ``held_ms`` is the length of the press, first to last contact."""

    def __init__(self) -> None:
        self.state = WAIT
        self.held_ms = 0
        self.fault = 0  # OPEN or SHORT while the loop is at fault
        self.chattering = False
        self._since_ms = 0  # since the first contact
        self._idle_ms = 0  # since the last contact or bad sample
        self._bad_ms = 0
        self._level = IDLE
        self._edges = 0
        self._edges_ms = 0
        self._brief = 0
        self._brief_ms = 0
        self._happened: "tuple[str, ...]" = ()

    def feed(self, level: int, duration_ms: int) -> "tuple[str, ...]":
        """The level lasted that long; returns what happened, in order: down, press, release, stuck, stuck_end,
        loop_open, loop_short, loop_ok, chatter, chatter_end."""
        self._happened = ()
        if level == PRESSED:
            self._contact(duration_ms)
        elif level == IDLE:
            self._idle(duration_ms)
        else:
            self._bad(level, duration_ms)
        self._level = level
        if self._edges or self._brief or self.chattering:
            self._calm_down(duration_ms)
        return self._happened

    def wake(self) -> int:
        """Milliseconds after which ``feed`` may have news although the level stays."""
        state = self.state
        if self._level == PRESSED:
            if state == TRYING:
                return max(PRESS_MS - self._since_ms, 1)
            return max(STUCK_MS - self._since_ms, 1) if state == HELD or state == WAIT else NEVER  # noqa: SIM109
        if self._level == IDLE:
            if state == TRYING:
                return max(GAP_MS - self._idle_ms, 1)
            return max(CALM_MS - self._idle_ms, 1) if state != READY or self.fault or self._bad_ms else NEVER
        return max(FAULT_MS - self._bad_ms, 1) if self.fault != self._level else NEVER

    def _see(self, what: str) -> bool:
        row = TABLE[self.state].get(what)
        if row is None:
            return False
        self.state = row[0]
        if row[1]:
            self._happened = self._happened + row[1] if self._happened else row[1]
        return True

    def _contact(self, ms: int) -> None:
        if self._level != PRESSED and self._edges < 2 * _EDGES:
            self._edges += 1
        if self._see("contact"):
            self._since_ms = 0
        self._idle_ms = 0
        self._since_ms = min(self._since_ms + ms, NEVER)
        if self.state == TRYING and self._since_ms >= PRESS_MS:
            self._see("enough")
        if self.state == HELD or self.state == STUCK:
            self.held_ms = self._since_ms
        if self._since_ms >= STUCK_MS:
            self._see("long")

    def _idle(self, ms: int) -> None:
        self._idle_ms = min(self._idle_ms + ms, CALM_MS)
        self._since_ms = min(self._since_ms + ms, NEVER)
        if self._idle_ms >= GAP_MS and self._see("gap") and self._brief < 2 * _BRIEF:
            self._brief += 1
        if self._idle_ms >= CALM_MS:
            self._since_ms = 0
            self._bad_ms = 0
            if self.fault:
                self.fault = 0
                self._happened += ("loop_ok",)
            self._see("calm")

    def _bad(self, level: int, ms: int) -> None:
        self._idle_ms = 0
        self._since_ms = min(self._since_ms + ms, NEVER)
        if self._see("bad") or self.state == WAIT:
            self._since_ms = 0
        if self._level != level and self.fault:
            self._bad_ms = 0  # the other fault has to last as well before it is told
        self._bad_ms = min(self._bad_ms + ms, FAULT_MS)
        if self._bad_ms >= FAULT_MS and self.fault != level:
            self.fault = level
            self._see("fault")
            self._happened += ("loop_open" if level == OPEN else "loop_short",)

    def _calm_down(self, ms: int) -> None:
        """Leaky buckets: edges and contacts too brief count up, time counts them down. They hold twice what is chatter,
        so that its end is seen minutes after the last of it, however long it was."""
        self._edges_ms += ms
        self._brief_ms += ms
        if self._edges_ms >= _EDGE_LEAK_MS:
            self._edges = max(0, self._edges - self._edges_ms // _EDGE_LEAK_MS)
            self._edges_ms %= _EDGE_LEAK_MS
        if self._brief_ms >= _BRIEF_LEAK_MS:
            self._brief = max(0, self._brief - self._brief_ms // _BRIEF_LEAK_MS)
            self._brief_ms %= _BRIEF_LEAK_MS
        if not self.chattering and (self._edges >= _EDGES or self._brief >= _BRIEF):
            self.chattering = True
            self._happened += ("chatter",)
        elif self.chattering and not self._edges and not self._brief:
            self.chattering = False
            self._happened += ("chatter_end",)
