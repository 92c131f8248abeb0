"""What an opened pole can do to others: its key and all that it ever heard, on a shared pair, against its neighbour and
against the agent in the neighbour's name. Nothing is accepted, nothing is learnt."""

from __future__ import annotations

import struct

import msgspec
import pytest
from tests.sim.test_replaced_keys import NEW, Desk
from tests.sim.test_world_zone import NAME, POINT, SMALL, rows, served, touch

from sos_contract.site import Line, Point, Pole
from sos_sim.world.wire import AGENT
from sos_sim.world.zone import Zone
from sos_wire.frame import HELLO, TALK_DOWN, TALK_UP, WELCOME, Decoder, Frame, build, parse
from sos_wire.handshake import HELLO_BODY, NONCE_BYTES, Hello, named_seal, session_keys
from sos_wire.messages import Command, Notice, Press, Progress, Service
from sos_wire.seal import Seal
from sos_wire.wrap import WRAPPED, unwrap, wrap

THIEF, VICTIM, PORT = "thief-1", "gate-1", "/dev/gate"
ADDRESS = 2
PAIR = msgspec.structs.replace(
    SMALL,
    point=(
        Point(
            id=POINT,
            name=NAME,
            line=(Line(port=PORT, shared=True, pole=(Pole(id=THIEF, address=1), Pole(id=VICTIM, address=ADDRESS))),),
        ),
    ),
)


class Opened:
    """The thief's pole, in whose place a computer is on the pair that heard everything: greetings, a press, a change
    of the neighbour's key."""

    def __init__(self) -> None:
        self.zone: Zone = served(PAIR, seed=3)
        self.wire = self.zone.wires[PORT]
        self.tape: list[bytes] = []
        self.wire.record = lambda _at, _who, data: self.tape.append(data)
        self.key, self.old = (self.zone.poles[pole].spec.key for pole in (THIEF, VICTIM))
        agent = self.zone.agents[POINT]
        agent.kill()  # so that the greetings are heard, too
        assert agent.start() and self.zone.run_until(self.zone.in_service, 60)
        touch(self.zone, VICTIM)
        assert self.zone.run_until(lambda: bool(rows(self.zone, "received")), 20)
        self.zone.run_s(65)
        self.zone.terminal("malee").ask("close", 1, disposition="test")
        assert self.zone.run_until(self.zone.in_service, 20)
        assert Desk(self.zone).replace()
        self.zone.run_s(10)

    def frames(self, kind: int) -> list[Frame]:
        """Of that kind to or from the neighbour, as they were heard."""
        raws = [raw for data in self.tape for raw in Decoder().feed(data)]
        frames = [frame for raw in raws if not isinstance(frame := parse(raw), str)]
        return [frame for frame in frames if (frame.kind, frame.address) == (kind, ADDRESS)]

    def state(self) -> tuple[object, ...]:
        """All that an intruder could have changed."""
        pole, agent = self.zone.poles[VICTIM].pole, self.zone.agents[POINT].agent
        assert pole is not None and agent is not None and agent._run is not None
        end = agent._run.lines.poles[VICTIM]
        told = [row for row in self.zone.trace.rows if row.kind in ("minted", "held", "received", "stage")]
        return (
            pole.look, pole.link.opened, pole.unfollowed, pole.journal.marked, dict(pole.journal.keys),
            len(pole.journal.entries), pole.out.open_repl, end.link.opened, end.up, end.key, end.trial,
            [(row.kind, row.fields) for row in told], set(agent._run.notices.open_faults),
        )  # fmt: skip

    def say(self, data: bytes, towards: str) -> None:
        self.wire.inject(data, towards)
        self.zone.run_s(0.05)


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


def test_all_that_it_heard_tells_it_no_key_of_its_neighbour(opened: Opened) -> None:
    heard = b"".join(opened.tape)
    flash = bytes(opened.zone.poles[THIEF].flash.bytes)
    for key in (opened.old, NEW):
        assert not any(key[at : at + 6] in data for data in (heard, flash) for at in range(len(key) - 5))
    talks = opened.frames(TALK_UP) + opened.frames(TALK_DOWN)
    assert len(talks) > 50 and len(opened.frames(WELCOME)) >= 2
    for welcome in opened.frames(WELCOME):
        number, up, down = session_keys(Seal(opened.key), welcome.body)
        assert number != welcome.session
        assert not any(seal.check(talk.signed, talk.tag) for talk in talks for seal in (up, down))
    wrappings = [talk.body[at : at + WRAPPED] for talk in opened.frames(TALK_DOWN) for at in range(len(talk.body))]
    assert [unwrap(opened.old, one) for one in wrappings].count(NEW) >= 1, "it was on the pair"
    assert not any(unwrap(opened.key, one) for one in wrappings)


def test_nothing_that_it_says_is_taken_from_it_as_its_neighbour_or_as_the_agent(opened: Opened) -> None:
    before = opened.state()
    session = opened.frames(TALK_UP)[-1].session
    hellos, welcome = opened.frames(HELLO), opened.frames(WELCOME)[-1]
    hello = Hello(hellos[-1].body)
    seals = [Seal(opened.key), *(named_seal(Seal(opened.key), name) for name in ("sos hello", "sos welcome"))]
    seals += session_keys(Seal(opened.key), welcome.body)[1:]
    to_pole = [
        Command("open_repl", 1).pack(), Command("replace_key", 2, wrap(opened.key, b"n" * 16, bytes(32))).pack(),
        Progress(hello.incarnation, hello.boot, 1, "accepted").pack(), Service("station_lost").pack(),
    ]  # fmt: skip
    to_agent = [
        Press("press", hello.incarnation, hello.boot, 99, 1000).pack(),
        Notice("tamper", hello.incarnation, hello.boot, 99, 1000).pack(),
        Notice("command_refused", hello.incarnation, hello.boot, 98, 1000, 1).pack(),
    ]
    for seal in seals:
        for said in to_pole:
            body = bytes((2, 0, 0, 0, 0, 0, 0, 0)) + said
            opened.say(build(TALK_DOWN, ADDRESS, session, 1 << 29, 10**9, body, seal), VICTIM)
        for said in to_agent:
            body = bytes((2, 0, 0, 0, 0, 0, 0, 0)) + said
            opened.say(build(TALK_UP, ADDRESS, session, 1 << 29, 10**9, body, seal), AGENT)
        for boot in (hello.boot, hello.boot + 1):
            body = struct.pack(HELLO_BODY, hello.incarnation, boot, hello.counter + 1, 0, 1, 0, 0)
            opened.say(build(HELLO, ADDRESS, 0, 0, 10**9, body, seal), AGENT)
        nonces = hellos[-1].body[:NONCE_BYTES] + bytes(16)
        number = session_keys(Seal(opened.key), nonces)[0]
        opened.say(build(WELCOME, ADDRESS, number, 0, 10**9, nonces, seal), VICTIM)
    assert opened.state() == before


def test_nothing_of_what_it_heard_is_taken_again(opened: Opened) -> None:
    """Its own frames at the neighbour's address too, and all of it once more after both were started anew."""
    before = opened.state()
    for data in opened.tape[-400:]:
        for towards in (VICTIM, AGENT):
            opened.wire.inject(data, towards)
        opened.zone.run_s(0.02)
    opened.zone.run_s(5)
    after = opened.state()
    assert after == before
    opened.zone.poles[VICTIM].reset()
    opened.zone.agents[POINT].kill()
    assert opened.zone.agents[POINT].start() and opened.zone.run_until(opened.zone.in_service, 60)
    settled = opened.state()
    for data in opened.tape[-400:]:
        for towards in (VICTIM, AGENT):
            opened.wire.inject(data, towards)
        opened.zone.run_s(0.02)
    assert opened.state() == settled
    assert [row.fields[0] for row in rows(opened.zone, "minted")] == [
        row.fields[0] for row in rows(opened.zone, "received")
    ]
