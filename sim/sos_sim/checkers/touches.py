"""From the button to the identity: what must be minted is minted, once; what nobody pressed never is.

The truth is the wires of each button, as the rows ``loop`` tell them. Contacts with less than 250 ms
between them are one touch, and a touch makes one press at most (one more for each 250 ms in which there was but a
contact so brief that no sample saw it: in that time the pole has seen its button released).

*Must count*: a touch that lasted 30 ms from first to last contact, on a pole that had been up for as long as its button
needs to be seen released (250 ms), with a loop that was whole from 250 ms before to the end, and that did not lose its
power before the press was written down. The world samples the button every 2 ms, so that a contact shorter than that
may pass unseen, and it has a crystal; both are allowed for. While the board is blind (it erases flash) nobody can ask
it for a press as short as that; a contact of 100 ms is longer than any blindness. A program that hangs sees nothing.

*Must not count*: what lasted less than 28 ms (one sample less), what the pole found closed when it started, what
happened while it was off. Everything between may count.

A press more than a touch can make is *duplicated*; a press without any touch is *forged*; a touch that had to count and
did not is *lost*.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sos_sim.checkers.base import Findings, Ground, Town, seconds
from sos_sim.checkers.ledger import Ledger
from sos_sim.trace import Row, Trace

# The promise's 30 ms, and how far two samples and a crystal can move them.
SURE_US, LEAST_US = 36_000, 28_000
# A contact that no sampling at 2 ms can miss.
SEEN_US = 2_300
# Gaps: below the first surely one attempt (30 ms), above the second surely two.
JOINED_US, APART_US = 26_000, 33_000
# Release: below the first surely one touch (250 ms), above the second surely two.
SAME_US, OTHER_US = 235_000, 265_000
# After its start: 300 ms for the interpreter, at most as long for the journal's banks, and 250 ms in which the button
# has to be seen released.
AWAKE_US = 1_200_000
# Flash erase of a sector, twice: longer than a board is ever blind at a stretch.
BLIND_US = 100_000
# A press is minted in the step after the sample that decided it; a bank of the journal may have to be changed first.
MINT_US = 300_000
# What is minted so long after the last contact has come from something else.
AFTER_US = 1_000_000
_KINDS = {"press": 0, "silent_press": 1}


@dataclass(slots=True)
class _Touch:
    """Contacts with less than OTHER_US between them. ``contacts``: (from, to) in us."""

    began_us: int
    awake: bool  # the pole had been up long enough, and the loop whole
    most: int  # presses that it may make: none before the pole ran, and one for each release it may have seen
    blind_ms: int
    contacts: list[tuple[int, int]] = field(default_factory=list)
    seen_us: int = 0  # end of the last contact that no sampling can miss
    spoilt: bool = False  # power or loop failed before it was over
    minted: int = 0

    def longest_us(self, gap_us: int, seen_us: int) -> int:
        """The longest attempt: contacts of at least ``seen_us`` with gaps below ``gap_us``, first to last contact."""
        best, since, last = 0, None, 0
        for began, ended in self.contacts:
            if ended - began < seen_us:
                continue
            if since is None or began - last >= gap_us:
                since = began
            last = ended
            best = max(best, ended - since)
        return best


class _Button:
    def __init__(self) -> None:
        self.level = "idle"
        self.since_us = 0
        self.bad_us = -OTHER_US  # when the loop was last cut or short
        self.touch: _Touch | None = None


class Touches:
    """See above. Judges a touch when it is surely over."""

    def __init__(self, trace: Trace, town: Town, ground: Ground, findings: Findings, ledger: Ledger) -> None:
        self._ground = ground
        self._ledger = ledger
        self._findings = findings
        self._buttons = {(pole, button): _Button() for pole in town.poles for button in (0, 1)}
        self._up_us: dict[str, int | None] = dict.fromkeys(town.poles)
        self._running: set[str] = set()  # with power, hung or not
        self._hung: set[str] = set()
        self.counted = 0  # touches that had to count, and did
        self.brief = 0  # touches that must not count, and did not
        trace.listen("loop", self._loop)
        trace.listen("minted", self._minted)
        trace.listen("up", self._up)
        trace.listen("down", self._down)
        trace.listen("fault", self._fault)

    def finish(self, now_us: int) -> None:
        """Judge what is over by now."""
        for (pole, _), button in self._buttons.items():
            if button.touch is not None and button.level != "pressed":
                self._judge(pole, button, now_us)

    def _loop(self, row: Row) -> None:
        level = str(row.fields[1])
        button = self._buttons[row.part, int(str(row.fields[0]))]
        if level == button.level:
            return
        now_us, before = row.at_us, button.level
        if before == "pressed" and button.touch is not None:
            button.touch.contacts.append((button.since_us, now_us))
            if now_us - button.since_us >= SEEN_US:
                button.touch.seen_us = now_us
        if "open" in (before, level) or "short" in (before, level):
            button.bad_us = now_us
            self._spoil(button, now_us)
        if level == "pressed":
            self._contact(row.part, button, now_us)
        button.level, button.since_us = level, now_us

    def _contact(self, pole: str, button: _Button, now_us: int) -> None:
        touch = button.touch
        if touch is not None and touch.contacts:
            gap_us = now_us - touch.contacts[-1][1]
            if gap_us >= OTHER_US:
                self._judge(pole, button, now_us)
            elif now_us - touch.seen_us >= SAME_US:
                touch.most += pole in self._running
                touch.seen_us = now_us
        if button.touch is None:
            up_us = self._up_us[pole]
            awake = up_us is not None and now_us - up_us >= AWAKE_US and now_us - button.bad_us >= OTHER_US
            most = int(pole in self._running)
            button.touch = _Touch(now_us, awake, most, self._ground.blind_ms(pole), seen_us=now_us)

    def _judge(self, pole: str, button: _Button, now_us: int) -> None:
        """The touch is over. What is minted later than this belongs to none."""
        touch = button.touch
        assert touch is not None
        if now_us - touch.contacts[-1][1] < OTHER_US:
            return  # not over yet
        button.touch = None
        over_us = min(now_us, touch.contacts[-1][1] + AFTER_US)  # however much later the next one comes
        longest_us = touch.longest_us(APART_US, 0)
        most = touch.most if longest_us >= LEAST_US else 0
        if touch.minted > most:
            promise = "duplicated" if most else "forged"
            words = (
                f"{touch.minted} presses from a touch at {seconds(touch.began_us)} that lasted {longest_us // 1000} ms"
            )
            self._findings.tell(promise, over_us, words + f" and makes {most} at most", pole)
        blind_us = (self._ground.blind_ms(pole) - touch.blind_ms) * 1000
        sure_us = touch.longest_us(JOINED_US, SEEN_US) - (blind_us and max(blind_us, BLIND_US))
        if sure_us >= SURE_US and touch.awake and not touch.spoilt and not touch.minted:
            words = f"a touch at {seconds(touch.began_us)} of {longest_us // 1000} ms became no press"
            self._findings.tell("lost", over_us, words, pole)
        self.counted += touch.minted == 1 and touch.awake
        self.brief += not most

    def _minted(self, row: Row) -> None:
        button = self._buttons[row.part, _KINDS.get(str(row.fields[1]), 0)]
        touch = button.touch
        if self._ledger.presses[str(row.fields[0])].unsaid:
            return  # written before its pole lost its power, and told at its next start
        if touch is None or row.at_us - touch.began_us < LEAST_US - 2_000 or self._is_over(button, row.at_us):
            self._findings.tell("forged", row.at_us, f"press {row.fields[0]} was minted and nobody touched", row.part)
            return
        touch.minted += 1

    @staticmethod
    def _is_over(button: _Button, now_us: int) -> bool:
        touch = button.touch
        ended_us = touch.contacts[-1][1] if touch is not None and touch.contacts else now_us
        return button.level != "pressed" and now_us - ended_us > AFTER_US

    def _up(self, row: Row) -> None:
        if row.part in self._up_us:
            self._running.add(row.part)
            self._up_us[row.part] = None if row.part in self._hung else row.at_us
            for number in (0, 1):
                touch = self._buttons[row.part, number].touch
                if touch is not None:
                    touch.seen_us = max(touch.seen_us, row.at_us)  # it looks from now on

    def _down(self, row: Row) -> None:
        if row.part not in self._up_us:
            return
        self._running.discard(row.part)
        self._up_us[row.part] = None
        for number in (0, 1):
            self._spoil(self._buttons[row.part, number], row.at_us)

    def _fault(self, row: Row) -> None:
        """A pole whose program hangs sees nothing, and its watchdog takes seconds to find that out."""
        if row.fields[0] != "pole-hangs":
            return
        on = row.fields[1] == "on"
        self._up_us[row.part] = row.at_us if not on and row.part in self._running else None
        (self._hung.add if on else self._hung.discard)(row.part)
        for number in (0, 1):
            touch = self._buttons[row.part, number].touch
            if touch is not None:
                touch.spoilt = True

    @staticmethod
    def _spoil(button: _Button, now_us: int) -> None:
        """Power or loop fails now: a touch that may not have been written down by now need not count."""
        touch = button.touch
        if touch is None:
            return
        last_us = touch.contacts[-1][1] if touch.contacts else touch.began_us
        since_us = button.since_us if button.level == "pressed" else last_us
        if now_us - since_us < MINT_US or (not touch.contacts and now_us - touch.began_us < MINT_US):
            touch.spoilt = True
