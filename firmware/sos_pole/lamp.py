"""Step 10, lamp: what ring and sounder show for each look, one table. The rhythm alone tells the looks apart.

A look is read without colour (rhythm), without light (sound, for the looks of an alarm) and without patience: each lit
colour stands for one look only. Nothing flashes faster than 2.5 times a second: 3 and more can harm people with
photosensitive epilepsy. The more flashes in a group, the nearer the help.
"""

from sos_wire.messages import LOOKS
from sos_wire.ticks import ticks_diff

# look -> (lamp, sounder). Lamp: (milliseconds, (red, green, white) in percent). Sounder: (milliseconds, hertz).
# A pattern of one segment is steady.
_OFF = (0, 0, 0)
_QUIET = ((1000, 0),)


def _flashes(count: int, colour: "tuple[int, int, int]") -> "tuple[tuple[int, tuple[int, int, int]], ...]":
    """A group of flashes and a pause."""
    return ((200, colour), (250, _OFF)) * (count - 1) + ((200, colour), (1200, _OFF))


def _beeps(count: int, hertz: int) -> "tuple[tuple[int, int], ...]":
    """A group of beeps and a long pause: it goes on for minutes, beside a person who is afraid."""
    return ((120, hertz), (180, 0)) * (count - 1) + ((120, hertz), (4000, 0))


TABLE = {
    "starting": (((300, (0, 0, 15)), (900, _OFF)), _QUIET),
    "in_service": (((1000, (0, 30, 0)),), _QUIET),
    "out_of_service": (((150, (40, 0, 0)), (2850, _OFF)), _QUIET),
    "pressed": (((200, (0, 0, 100)), (200, _OFF)), ((80, 2000), (320, 0))),
    "held": (((900, (0, 20, 80)), (300, _OFF)), ((600, 1500), (1800, 0))),
    "received": (_flashes(2, (0, 60, 40)), _beeps(2, 1800)),
    "accepted": (_flashes(3, (0, 80, 20)), _beeps(3, 2100)),
    "dispatched": (_flashes(4, (0, 90, 0)), _beeps(4, 2400)),
    "on_scene": (((2600, (0, 100, 0)), (200, _OFF)), ((250, 1600), (250, 2000), (250, 2400), (5000, 0))),
    "not_delivered": (
        ((1000, (100, 0, 0)), (250, _OFF), (250, (100, 0, 0)), (600, _OFF)),
        ((700, 500), (250, 0), (250, 500), (800, 0)),
    ),
}


def look_of(lit: "tuple[int, int, int]") -> "str | None":
    """The look to which a lit colour belongs; None for dark or unknown."""
    for look in LOOKS:
        for segment in TABLE[look][0]:
            if segment[1] == lit and lit != _OFF:
                return look
    return None


class Player:
    """Plays a pattern of (milliseconds, value) over and over; ``value`` is what to put out now."""

    def __init__(self, pattern: "tuple[tuple[int, object], ...]", now: int) -> None:
        self.play(pattern, now)

    def play(self, pattern: "tuple[tuple[int, object], ...]", now: int) -> None:
        """Begin that pattern, now."""
        self._pattern = pattern
        self._at = 0
        self._began = now
        self.value = pattern[0][1]

    def advance(self, now: int) -> int:
        """Go on to ``now``; returns the milliseconds until ``value`` changes (a day if it never does)."""
        pattern = self._pattern
        if len(pattern) == 1:
            return 86400000
        for _ in range(64):  # a longer absence begins the pattern anew
            left = pattern[self._at][0] - ticks_diff(now, self._began)
            if left > 0:
                return left
            self._at = (self._at + 1) % len(pattern)
            self._began = (now + left) & 0x3FFFFFFF
            self.value = pattern[self._at][1]
        self.play(pattern, now)
        return pattern[0][0]
