"""Samples as runs: how long an input kept a level. Filled by the sampling timer, emptied by the step; never grows."""

from sos_wire.ticks import ticks_diff

IDLE, PRESSED, OPEN, SHORT = 0, 1, 2, 3  # levels of a supervised loop
SAMPLE_MS = 2  # 15 samples make the shortest press; slower would miss bounces that matter
BLIND_MS = 10  # a sample that comes later than this left a hole: flash erase, garbage collection, a blocked loop
_MOST_MS = 30000  # a longer run goes on as a second one; a step comes far sooner
_ROOM = 48  # runs between two steps: 96 ms of the wildest bounce, and a step never takes that long


class Runs:
    """Runs in the order in which they happened: ``level[i]`` lasted ``ms[i]``, for i below ``count``."""

    def __init__(self) -> None:
        self.level = bytearray(_ROOM)
        self.ms = [0] * _ROOM
        self.count = 0
        self.spilt = False  # something found no room: nothing more is taken, or what is apart would look joined

    def add(self, level: int, ms: int) -> bool:
        """The input had that level for ``ms`` more; False if there was no room (the caller counts it as blind time)."""
        last = self.count - 1
        if last < 0:
            self.spilt = False  # somebody took what was there
        elif self.spilt:
            return False
        if last >= 0 and self.level[last] == level and self.ms[last] < _MOST_MS:
            self.ms[last] += ms
            return True
        if last >= _ROOM - 1:
            self.spilt = True
            return False
        self.level[last + 1] = level
        self.ms[last + 1] = ms
        self.count = last + 2
        return True


def classify(raw: int, limits: "tuple[int, int, int]") -> int:
    """The level of a loop's ADC reading (16 bits): below the limits lie SHORT, PRESSED, IDLE; above all, OPEN.

    The button bridges the end-of-line resistor, so that a cut wire reads higher and a short lower than anything that a
    finger can do.
    """
    if raw < limits[0]:
        return SHORT
    if raw < limits[1]:
        return PRESSED
    return IDLE if raw < limits[2] else OPEN


class Sampler:
    """One input: makes runs of samples and counts the time in which nobody looked."""

    def __init__(self) -> None:
        self.blind_ms = 0
        self.changed = False  # a level other than the last one came since ``take``
        self._level = IDLE
        self._at = -1  # tick of the last sample; -1: none yet
        self._fill = Runs()
        self._spare = Runs()

    def sample(self, level: int, now: int) -> None:
        """Called by the timer. A sample stands for the time since the one before it.

        After a hole that time belongs to the level found on both sides of it; where they differ, to IDLE or else to
        the bad level: a hole never turns a touch into a press.
        """
        ms = SAMPLE_MS
        if self._at >= 0:
            ms = ticks_diff(now, self._at)
            if ms <= 0:
                return
        self._at = now
        if ms > BLIND_MS:
            self.blind_ms += ms - SAMPLE_MS
            if level != self._level:
                self._fill_hole(level, ms - SAMPLE_MS)
                ms = SAMPLE_MS
        if level != self._level:
            self._level = level
            self.changed = True
        if not self._fill.add(level, ms):
            self.blind_ms += ms

    def _fill_hole(self, level: int, ms: int) -> None:
        if level == IDLE or self._level == IDLE:
            self._fill.add(IDLE, ms)
        else:
            self._fill.add(level if self._level == PRESSED else self._level, ms)

    def take(self) -> Runs:
        """What came since the last call. Two buffers take turns, so that the timer may go on filling meanwhile."""
        full = self._fill
        spare = self._spare
        spare.count = 0
        self.changed = False
        self._fill = spare  # from here on the timer fills the other one
        self._spare = full
        return full
