"""The virtual world's time: a queue of calls, in microseconds. Nothing happens between two of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush

# Calls at one instant: far more than any site makes; beyond it something turns on the spot.
MOST_AT_ONCE = 100_000
# A world makes little that only a collection frees; to look for it after each 700 new objects costs a twentieth.
COLLECT_AFTER = 50_000

Call = Callable[[], object]


class StuckError(AssertionError):
    """Time stands still: calls keep asking for further calls at the same instant."""


class Loop:
    """Calls happen in the order of their time, and in the order in which they were asked for where that is the same."""

    def __init__(self) -> None:
        self.now_us = 0
        self._queue: list[list[object]] = []  # [due_us, number, call or None]: lists, so that one can be cancelled
        self._number = 0

    @property
    def now_ms(self) -> int:
        """Whole milliseconds since the world began."""
        return self.now_us // 1000

    @property
    def events(self) -> int:
        """Calls asked for since the world began."""
        return self._number

    def at(self, due_us: int, call: Call) -> list[object]:
        """Call it then, or at once (behind what is due already) if that is past; the answer is for ``cancel``."""
        self._number = number = self._number + 1
        now_us = self.now_us
        entry: list[object] = [due_us if due_us > now_us else now_us, number, call]
        heappush(self._queue, entry)
        return entry

    def after(self, delay_us: int, call: Call) -> list[object]:
        """Call it so many microseconds from now."""
        return self.at(self.now_us + delay_us, call)

    @staticmethod
    def cancel(entry: list[object]) -> None:
        """It will not be called. Does no harm if it was."""
        entry[2] = None

    def run(self, until_us: int, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to ``until_us``; True as soon as ``stop`` holds, which is looked at after each instant."""
        with seldom_collecting():
            return self._run(until_us, stop)

    def _run(self, until_us: int, stop: Callable[[], bool] | None) -> bool:
        queue = self._queue
        at_once = 0
        while queue and queue[0][0] <= until_us:  # type: ignore[operator]
            due_us, _, call = queue[0]
            if due_us != self.now_us and stop is not None and call is not None and stop():
                return True  # the call stays where it is: it has not happened yet
            heappop(queue)
            if call is None:
                continue
            if due_us != self.now_us:
                self.now_us = due_us  # type: ignore[assignment]
                at_once = 0
            at_once += 1
            if at_once > MOST_AT_ONCE:
                raise StuckError(f"{MOST_AT_ONCE} calls at {self.now_us} us: time does not go on")
            call()  # type: ignore[operator]
        if stop is not None and stop():
            return True
        self.now_us = max(self.now_us, until_us)
        return False


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """While it lasts, memory is collected after COLLECT_AFTER new objects."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
