"""A pole and its agent without a cable between them: frames are carried by hand, so that tests can keep, drop, repeat,
change and forge them."""

from __future__ import annotations

from sos_wire.agent_end import AgentLink
from sos_wire.frame import Decoder, Frame, parse
from sos_wire.link import Link
from sos_wire.pole_end import PoleLink

KEY = b"k" * 32
ADDRESS = 5
INCARNATION = 0xABCDEF
UP, DOWN = 0, 1


def frames_of(wire: bytes) -> list[Frame]:
    """The frames in wire bytes; all of them are well-formed."""
    found = [parse(raw) for raw in Decoder().feed(wire)]
    assert not any(isinstance(frame, str) for frame in found)
    return [frame for frame in found if not isinstance(frame, str)]


class Pair:
    """``sent[UP]`` and ``sent[DOWN]`` keep all that was said; ``now`` goes on a millisecond a turn."""

    def __init__(self, begin: bool = True, boot: int = 1) -> None:
        self.pole = PoleLink(ADDRESS, KEY, b"p" * 32)
        self.agent = AgentLink(ADDRESS, KEY, b"a" * 32)
        self.now = 1000
        self.sent: tuple[list[bytes], list[bytes]] = ([], [])
        self.deaf: set[Link] = set()
        if begin:
            self.pole.begin(INCARNATION, boot, b"\1\2\3")

    def turn(self) -> None:
        """Both say what is due, the other hears it."""
        self.now += 1
        for index, (link, other) in enumerate(((self.pole, self.agent), (self.agent, self.pole))):
            while (wire := link.poll(self.now, self.now)) is not None:
                self.sent[index].append(wire)
                if other not in self.deaf:
                    self.hear(other, wire)

    def hear(self, link: Link, wire: bytes) -> None:
        """``link`` hears these bytes now."""
        for frame in frames_of(wire):
            link.receive(frame, self.now)

    def run(self, ms: int) -> None:
        for _ in range(ms):
            self.turn()

    def open(self) -> Pair:
        """Until both ends have the same session."""
        for _ in range(3000):
            if self.pole.up and self.agent.up:
                self.run(30)
                return self
            self.turn()
        raise AssertionError("no session")

    def state(self) -> tuple[object, ...]:
        """What a stranger must not change."""
        links = (self.pole, self.agent)
        return tuple((link.state, link.opened, link.losses, link.peer, link.up) for link in links)
