"""What a harness draws from the bytes it is given, so that a fuzzer that changes bytes changes decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Numbers, choices and pieces, in the order of the bytes; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next bytes, fewer where no more are left."""
        piece = self._data[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def number(self, size: int = 1) -> int:
        """Little-endian, of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number() % len(options)]

    def piece(self) -> bytes:
        """As long as its first two bytes say."""
        return self.take(self.number(2))


def piece(data: bytes) -> bytes:
    """What ``Source.piece`` gives back as ``data``: for seeds."""
    return len(data).to_bytes(2, "little") + data
