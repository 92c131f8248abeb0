"""Step 1 without its samples: the tickless twin of ``sos_pole.board``, in the board's own milliseconds.

The real board samples every 2 ms and takes a turn at each interrupt. This one is told when a level changes and says
when its next turn could matter; the runs, steps and outputs are those that the real one would have made. Milliseconds
count from when the board's clock was 0 and never wrap; the core is given ticks.
"""

from __future__ import annotations

from sos_pole.board import LOOK_MS
from sos_pole.debounce import NEVER
from sos_pole.pole import Outputs, Pole
from sos_pole.runs import PRESSED, SAMPLE_MS, Sampler
from sos_pole.senses import ON_MS, Senses
from sos_wire.ticks import TICKS_MASK

NEVER_MS = 1 << 62
_LOW_MV, _GOOD_MV = 11400, 12200  # of the pin maps
_HEALTHY_MV = 13000
_TEMPERATURE_DC = 270


class UnseenPole(Pole):
    """The core on a board whose lamp nobody sees and whose sounder nobody hears: it takes no steps for these alone.

    What a lamp says is its look, not its rhythm, and a step for a blink does nothing else: all else has to come in its
    own time, without a blink that happens to be near. While the board measures what the lamp draws, ``seen`` holds.
    """

    seen = True

    def _show(self, now: int) -> None:
        super()._show(now)
        if not self.seen:
            self._lamp_ms = self._sound_ms = NEVER


class Input(Sampler):
    """One button's loop: levels with the time from which they are, sampled when somebody takes the runs."""

    def __init__(self, start_ms: int, level: int) -> None:
        super().__init__()
        self.sampled_ms = start_ms  # the timer begins then; its first sample comes a period later
        self.level = level  # as it is now
        self._start_ms = start_ms
        self._changes = [(start_ms + SAMPLE_MS, level)]  # first sample that sees it, level
        self._resume_ms = 0  # first sample after a hole

    def change(self, level: int, at_ms: int) -> int:
        """From ``at_ms`` on it is this; returns when a sample sees it."""
        seen_ms = self._grid(at_ms + SAMPLE_MS - 1)
        self.level = level
        self._changes.append((seen_ms, level))
        return max(seen_ms, self._resume_ms)

    def blind(self, from_ms: int, until_ms: int) -> int:
        """No sample is taken between these; returns when the next one is."""
        if self._resume_ms <= self.sampled_ms:  # else it was blind already
            self.catch_up(from_ms)
        self._resume_ms = self._grid(until_ms + SAMPLE_MS - 1)
        return self._resume_ms

    def catch_up(self, now_ms: int) -> None:
        """Take the samples up to now."""
        last_ms = self._grid(now_ms)
        if self._resume_ms > self.sampled_ms:
            if last_ms < self._resume_ms:
                return
            self._see(self._resume_ms)
        while self._changes and self._changes[0][0] <= last_ms:
            at_ms = self._changes[0][0]
            self._stay(at_ms - SAMPLE_MS)
            self._see(at_ms)
        self._stay(last_ms)

    def _grid(self, at_ms: int) -> int:
        """The last sample at or before then."""
        return at_ms - (at_ms - self._start_ms) % SAMPLE_MS

    def _see(self, at_ms: int) -> None:
        """The sample of that time."""
        level = self._level
        while self._changes and self._changes[0][0] <= at_ms:
            level = self._changes.pop(0)[1]
        self.sample(level, at_ms & TICKS_MASK)
        self.sampled_ms = at_ms

    def _stay(self, until_ms: int) -> None:
        """All samples up to that one see the level of the last one."""
        ms = until_ms - self.sampled_ms
        if ms > 0:
            self.sampled_ms = until_ms
            self._at = until_ms & TICKS_MASK
            if not self._fill.add(self._level, ms):
                self.blind_ms += ms


class Board:
    """The hardware of one pole that runs. ``levels``: of its buttons' loops, one a button, from its first turn on.

    ``tamper``, ``mains_lost``, ``supply_mv`` and ``lamp_draws`` are what its other inputs feel: set them with ``feel``.
    """

    def __init__(self, pole: Pole, levels: list[int], start_ms: int, feels: dict[str, int] | None = None) -> None:
        self.pole = pole
        self.inputs = [Input(start_ms, level) for level in levels]
        self.feels = {"tamper": 0, "mains_lost": 0, "supply_mv": _HEALTHY_MV, "lamp_draws": 1, **(feels or {})}
        self.senses = Senses(_LOW_MV, _GOOD_MV)
        self.steps = 0
        self.turned_ms = start_ms  # of the last step
        self._wake_ms = 0
        self._news = True
        self._seen_ms = [start_ms + SAMPLE_MS]  # turns that changes of level ask for
        self._looked_ms = start_ms
        self._settled = self._lamp_settled = False  # further looks would change nothing
        self._unseen = pole if isinstance(pole, UnseenPole) else None
        self._colour: tuple[int, int, int] = (0, 0, 0)
        self._lit_ms = start_ms
        self._judged = True

    def asks_for_repl(self) -> bool:
        """Whether the enclosure is open and the button is held."""
        return bool(self.feels["tamper"]) and self.inputs[0].level == PRESSED

    def change(self, button: int, level: int, at_ms: int) -> None:
        """The loop of that button is at ``level`` from then on."""
        self._seen_ms.append(self.inputs[button].change(level, at_ms))

    def feel(self, name: str, value: int, now_ms: int) -> None:
        """Another input changes now; names as above."""
        self._look_until(now_ms - 1)
        self._judged = self._judged or now_ms - self._lit_ms > ON_MS  # it was, and found as before
        self.feels[name] = value
        self._settled = self._lamp_settled = False

    def blind(self, from_ms: int, until_ms: int) -> None:
        """The flash is being written, or the program hangs, from then until then: no samples, no turns."""
        resumed_ms = [each.blind(from_ms, until_ms) for each in self.inputs]
        if until_ms < NEVER_MS:
            self._seen_ms += resumed_ms
            # a look that would have been meanwhile is late
            self._looked_ms = max(self._looked_ms, until_ms - LOOK_MS)

    def turn(self, now_ms: int, received: bytes) -> Outputs | None:
        """One turn; what the pole wants if it took a step."""
        self._look_until(now_ms)
        if not self._judged and now_ms - self._lit_ms >= ON_MS:
            self._judge_lamp()
        due = self._news or bool(received) or now_ms - self.turned_ms >= self._wake_ms
        for each in self.inputs:
            each.catch_up(now_ms)
            due = due or each.changed
        if self._seen_ms:
            self._seen_ms = [at for at in self._seen_ms if at > now_ms]
        if not due:
            return None
        self._news = False
        self.turned_ms = now_ms
        runs = [each.take() for each in self.inputs]
        self.senses.readings.blind_ms = max([each.blind_ms for each in self.inputs])
        self.steps += 1
        if self._unseen is not None:
            self._unseen.seen = not self._lamp_settled
        out = self.pole.step(now_ms & TICKS_MASK, runs, received, self.senses.readings)
        self._wake_ms = out.wake_ms
        return out

    def show(self, out: Outputs, now_ms: int) -> None:
        """The lamp is put to what the step said."""
        if out.lamp is not self._colour:
            self._colour = out.lamp
            self._lit_ms = now_ms
            self._judged = self._dark()

    def next_ms(self) -> int:
        """When the next turn could matter, if nobody says or changes anything before; after the last one."""
        due_ms = self.turned_ms + max(1, self._wake_ms)
        if self._seen_ms:
            due_ms = min(due_ms, *self._seen_ms)
        if not (self._settled and self._lamp_settled):
            due_ms = min(due_ms, self._looked_ms + LOOK_MS)
            if not self._judged:
                due_ms = min(due_ms, self._lit_ms + ON_MS)
        return due_ms

    def _look_until(self, now_ms: int) -> None:
        """At the slow inputs, as often as their pace asks for; looks that would change nothing are left out."""
        looks = (now_ms - self._looked_ms) // LOOK_MS
        if looks <= 0:
            return
        if self._settled and self._lamp_settled:
            self._looked_ms += looks * LOOK_MS
            return
        self._looked_ms = now_ms
        now = self.senses.readings
        feels = self.feels
        before = (now.changes, now.supply_mv, now.temperature_dc)
        tamper, mains_lost = bool(feels["tamper"]), bool(feels["mains_lost"])
        if self.senses.look(tamper, mains_lost, feels["supply_mv"], _TEMPERATURE_DC):
            self._news = True
        told = tamper == now.tamper and mains_lost == now.mains_lost
        self._settled = told and before == (now.changes, now.supply_mv, now.temperature_dc)
        self._judged = self._dark()

    def _dark(self) -> bool:
        return not any(self._colour)

    def _judge_lamp(self) -> None:
        self._judged = True
        draws = bool(self.feels["lamp_draws"])
        self._lamp_settled = draws == (not self.senses.readings.dead)
        if self.senses.look_at(0, draws):
            self._news = True
            self._lamp_settled = True
