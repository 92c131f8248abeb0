"""Step 7, courier: one lane of messages that are published again until the station receipts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """Messages by number, in order; bounded by its owner. ``group`` names what the order must hold within."""

    def __init__(self, group: Callable[[Item], str]) -> None:
        self.flights: dict[int, Flight[Item]] = {}
        self._group = group

    def __len__(self) -> int:
        return len(self.flights)

    def __contains__(self, number: int) -> bool:
        return number in self.flights

    def add(self, number: int, item: Item) -> None:
        """Put a message in its place by number."""
        late = bool(self.flights) and number < next(reversed(self.flights))
        self.flights[number] = Flight(item)
        if late:
            self.flights = dict(sorted(self.flights.items()))

    def remove(self, number: int) -> Flight[Item] | None:
        return self.flights.pop(number, None)

    def unsent(self) -> bool:
        """Whether a message waits that was not published since the station was last away."""
        return any(flight.tries == 0 for flight in self.flights.values())

    def flying(self) -> int:
        """How many were published and wait for their receipt."""
        return sum(1 for flight in self.flights.values() if flight.tries)

    def again(self, before_ms: int) -> None:
        """The station, or the way to it, came back: what was published before then is due at once, in order."""
        for flight in self.flights.values():
            if flight.sent_ms is not None and flight.sent_ms < before_ms:
                flight.tries = 0

    def take_due(self, now_ms: int, room: int, retry_ms: Callable[[int], int]) -> Iterator[tuple[int, Flight[Item]]]:
        """What is to be published now, in order, and count it as published; at most ``room`` in flight at a time.

        When one is due again, so is all of its group that is in flight: the station gets it in order once more.
        """
        flying = self.flying()
        again = {self._group(one.item) for one in self.flights.values() if one.tries and now_ms >= one.due_ms}
        for number, flight in list(self.flights.items()):
            if flight.tries:
                if self._group(flight.item) not in again:
                    continue
            elif flying >= room:
                continue
            else:
                flying += 1
            flight.sent_ms = now_ms
            flight.tries += 1
            flight.due_ms = now_ms + retry_ms(min(RETRY_FIRST_MS << min(flight.tries - 1, 8), RETRY_MOST_MS))
            yield number, flight

    def next_due_ms(self) -> int | None:
        """When the first of those in flight is due again."""
        return min((flight.due_ms for flight in self.flights.values() if flight.tries), default=None)
