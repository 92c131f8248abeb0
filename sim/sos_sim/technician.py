"""The technician: orders new keys for poles while the town lives, and asks what came of it.

What he orders changes nothing, whatever fails meanwhile: a key that was wrapped for another pole, which has to be
refused, or the key that the pole has already, as who was interrupted asks again. So each pole's key stays the one that
its boards are provisioned with. Replacing it for good has tests of its own: it ends only once somebody has asked again.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from sos_contract.payloads import DeskAnswer
from sos_wire.wrap import NONCE, fingerprint, wrap

if TYPE_CHECKING:
    from sos_sim.world.zone import Zone

NAME = "Technician"
EVERY_S = (5.0, 60.0)
ASKS_AFTER_S = (0.5, 20.0)


class Technician:
    """At a terminal of his own, from the first minute on."""

    def __init__(self, zone: Zone, rng: random.Random) -> None:
        self.done = self.refused = 0
        self._zone = zone
        self._rng = rng
        self._terminal = zone.terminal(NAME)
        self._poles = [name for name, pole in zone.poles.items() if pole.spec.link != "local"]
        if self._poles:
            self._later()

    def _later(self) -> None:
        self._zone.loop.after(int(self._rng.uniform(*EVERY_S) * 1e6), self._order)

    def _order(self) -> None:
        self._later()
        if self._terminal.busy:
            return
        pole = self._rng.choice(self._poles)
        present = self._zone.poles[pole].spec.key
        others, new = (self._rng.randbytes(len(present)) for _ in range(2))
        wrapped = wrap(others, self._rng.randbytes(NONCE), new).hex()
        check = fingerprint(self._rng.choice((present, new)))
        self._terminal.ask(
            "command", pole=pole, command="replace_key", wrapped=wrapped, check=check, then=self._ordered
        )

    def _ordered(self, answer: DeskAnswer | None) -> None:
        if answer is not None and answer.commands:
            wait_us = int(self._rng.uniform(*ASKS_AFTER_S) * 1e6)
            self._zone.loop.after(wait_us, partial(self._ask_after, self._rng.choice((answer.commands[0].id, ""))))

    def _ask_after(self, command: str) -> None:
        self._terminal.ask("commands", id=command, then=self._heard)

    def _heard(self, answer: DeskAnswer | None) -> None:
        if answer is not None:
            self.done += sum(one.outcome == "done" for one in answer.commands)
            self.refused += sum(one.outcome == "refused" for one in answer.commands)
