"""Step 7, courier: one lane of messages that are published again until the station receipts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")

RETRY_FIRST_MS = 3_000  # some hundred times a usual receipt; only a lost message ever waits for it
RETRY_MOST_MS = 30_000  # the pace of progress queries: nothing the agent says to the station is slower


@dataclass(slots=True)
class Flight(Generic[Item]):
    """One message. ``sent_ms``: when this run published it last; ``tries``: since the station was last away."""

    item: Item
    sent_ms: int | None = None
    tries: int = 0
    due_ms: int = 0


class Lane(Generic[Item]):
    """Messages by number, in order; bounded by its owner. ``group`` names what the order must hold within.

    Looked at after every event, so what is asked then (how many fly, is anything due) is counted along, not searched.
    """

    def __init__(self, group: Callable[[Item], str]) -> None:
        self.flights: dict[int, Flight[Item]] = {}
        self.flying = 0  # published, and waiting for their receipt
        self._group = group
        self._unsent: dict[int, None] = {}  # not published since the station was last away, in order
        self._soonest_ms: int | None = None  # none of those that fly is due before then

    def __len__(self) -> int:
        return len(self.flights)

    def __contains__(self, number: int) -> bool:
        return number in self.flights

    def add(self, number: int, item: Item) -> None:
        """Put a message in its place by number."""
        late = bool(self.flights) and number < next(reversed(self.flights))
        self.flights[number] = Flight(item)
        self._unsent[number] = None
        if late:
            self.flights = dict(sorted(self.flights.items()))
            self._unsent = dict.fromkeys(sorted(self._unsent))

    def remove(self, number: int) -> Flight[Item] | None:
        flight = self.flights.pop(number, None)
        if flight is not None:
            self.flying -= 1 if flight.tries else 0
            self._unsent.pop(number, None)
        return flight

    def unsent(self) -> bool:
        """Whether a message waits that was not published since the station was last away."""
        return bool(self._unsent)

    def again(self, before_ms: int) -> None:
        """The station, or the way to it, came back: what was published before then is due at once, in order."""
        for number, flight in self.flights.items():
            if flight.sent_ms is not None and flight.sent_ms < before_ms and flight.tries:
                flight.tries = 0
                self.flying -= 1
                self._unsent[number] = None
        self._unsent = dict.fromkeys(sorted(self._unsent))

    def take_due(self, now_ms: int, room: int, retry_ms: Callable[[int], int]) -> list[tuple[int, Flight[Item]]]:
        """What is to be published now, in order, and count it as published; at most ``room`` in flight at a time.

        When one is due again, so is all of its group that is in flight: the station gets it in order once more.
        """
        if not self._unsent and (self._soonest_ms is None or now_ms < self._soonest_ms):
            return []
        due: list[int] = []
        if self._soonest_ms is not None and now_ms >= self._soonest_ms:
            flying = [(number, one) for number, one in self.flights.items() if one.tries]
            again = {self._group(one.item) for _, one in flying if now_ms >= one.due_ms}
            due = [number for number, one in flying if self._group(one.item) in again]
            waiting = [one.due_ms for _, one in flying if self._group(one.item) not in again]
            self._soonest_ms = min(waiting, default=None)
        fresh = list(islice(self._unsent, max(0, room - self.flying)))
        self.flying += len(fresh)
        taken = []
        for number in sorted(due + fresh):
            flight = self.flights[number]
            self._unsent.pop(number, None)
            flight.sent_ms = now_ms
            flight.tries += 1
            flight.due_ms = now_ms + retry_ms(min(RETRY_FIRST_MS << min(flight.tries - 1, 8), RETRY_MOST_MS))
            if self._soonest_ms is None or flight.due_ms < self._soonest_ms:
                self._soonest_ms = flight.due_ms
            taken.append((number, flight))
        return taken

    def next_due_ms(self) -> int | None:
        """When the first of those in flight may be due again; never too late, perhaps too early."""
        return self._soonest_ms if self.flying else None
