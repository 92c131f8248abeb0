"""Step 10, what the citizen is told: the look that is true now. The newest press has the lamp; a silent one never has.

Stages only rise. What is not received in time reads "not delivered" while the pole goes on trying, and turns to
"received" the moment that is true. Only what the agent said for that very identity is ever shown.
"""

from sos_pole.journal import Entry
from sos_wire.messages import STAGES
from sos_wire.ticks import ticks_add, ticks_diff

LATE_MS = 20000  # a citizen who saw nothing for so long should call 191 instead
LATE_WITHOUT_SERVICE_MS = 5000  # time for a pole that was just coming up, no more
DONE_MS = 1800000  # nobody stands there any more for the same stage
STARTING_MS = 10000

PRESSED, HELD, RECEIVED, CLOSED = 1, 2, 3, 7
assert STAGES[PRESSED - 1] == "pressed" and STAGES[RECEIVED - 1] == "received" and STAGES[CLOSED - 1] == "closed"


class Alarm:
    """The press that has the lamp, if one has, and the pole's own state when none has."""

    def __init__(self, now: int) -> None:
        self.entry: "Entry | None" = None
        self.stage = 0
        self.told = False  # the lamp may say "pressed": it is in the flash
        self.late = False
        self.tired = False  # shown for so long that beacon and sound have gone quiet
        self._starting = True
        self._changed_at = now
        self._late_at = now
        self._began = now

    def show(self, entry: Entry, told: bool, in_service: bool, now: int) -> None:
        """A press was made, or found in the journal. Who presses again and again is told no later than who pressed once
        that nobody has it."""
        late_at = ticks_add(now, LATE_MS if in_service and told else LATE_WITHOUT_SERVICE_MS)
        if self.entry is None or self.stage >= RECEIVED:
            self.late = False
            self._late_at = late_at
        elif not self.late and ticks_diff(self._late_at, late_at) > 0:
            self._late_at = late_at
        self.entry = entry
        self.stage = PRESSED
        self.told = told
        self.tired = False
        self._changed_at = now

    def progress(self, incarnation: int, boot: int, press: int, stage: int, now: int) -> None:
        """The agent told the true stage of a press."""
        entry = self.entry
        if entry is None or entry.press != press or entry.boot != boot or entry.incarnation != incarnation:
            return
        if stage > self.stage:
            self.stage = stage
            self.tired = False
            self._changed_at = now
        if self.stage >= CLOSED:
            self.entry = None

    def look(self, in_service: bool, now: int) -> str:
        """The name of the look that is true."""
        if in_service or (self._starting and ticks_diff(now, self._began) >= STARTING_MS):
            self._starting = False
        if self.entry is not None:
            if not self.tired and ticks_diff(now, self._changed_at) >= DONE_MS:
                self.tired = True
                if self.stage >= RECEIVED:
                    self.entry = None
            if self.stage < RECEIVED and not self.late and ticks_diff(now, self._late_at) >= 0:
                self.late = True
        if self.entry is not None:
            if self.stage >= RECEIVED:
                return STAGES[self.stage - 1]
            if self.late:
                return "not_delivered"
            if self.told or self.stage > PRESSED:
                return STAGES[self.stage - 1]
        if in_service:
            return "in_service"
        return "starting" if self._starting else "out_of_service"

    def wake(self, now: int, wake_ms: int) -> int:
        """The smaller of ``wake_ms`` and the time until the look may change by itself."""
        if self.entry is None or self.late or self.stage >= RECEIVED:
            return wake_ms
        return min(wake_ms, max(0, ticks_diff(self._late_at, now)))
