"""A whole agent between a station, a broker and poles that say anything: nothing raises, and what is held is stored.

Its outbox is the real SQL in memory; the poles have genuine keys, so that what a stolen one could say is said, too.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from tests.agent.core_peers import key_of
from tests.agent.core_store import StoreTwin
from tests.agent.core_world import World
from tests.fuzz.contract_payloads import EXAMPLES, words
from tests.fuzz.source import Source, piece
from tests.fuzz.wire_frame import WIRES
from tests.fuzz.wire_messages import seeds as messages

from sos_agent.core import effects, events
from sos_agent.edge import tables
from sos_contract import topics
from sos_contract.payloads import Command, encode
from sos_edge.sqlite import Commits, Failure, Job
from sos_wire.link import MAX_PAYLOAD
from sos_wire.messages import COMMANDS
from sos_wire.wrap import WRAPPED, fingerprint, wrap

__all__ = ["PACKAGES", "one", "seeds", "words"]
PACKAGES = ("sos_agent", "sos_contract", "sos_wire")
MESSAGE, OTHER, BYTES, SAY, PRESS, PASS, COMMAND = range(7)  # what a step does
LEAVES = (*topics.TO_POINT, "state")
MOST_STEPS = 12


@dataclass
class SqlStore(StoreTwin):
    """The real tables, each effect a commit of its own."""

    def __post_init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(tables.SCHEMA)
        self.found = tables.load(self.db, "00000000000000aa", "")
        self.commits = Commits(self.db)

    def contents(self) -> events.Contents:
        return self.found

    def do(self, effect: effects.StoreEffect) -> events.Event | None:
        work = tables.WORK[type(effect)]
        job = Job(lambda db: work(db, effect), lambda _: None)
        self.commits.carry_out([job])
        if isinstance(job.result, Failure):
            return events.StoreFailed(effect, job.result.reason, job.result.full)
        done: events.Event | None = job.result
        return done


def seeds() -> list[bytes]:
    """What a station may say, rightly and at the wrong place; what a pole may; a press and its receipt."""
    said = [
        bytes([MESSAGE, leaf, retained]) + piece(encode(example))
        for example in EXAMPLES
        for leaf in range(len(LEAVES))
        for retained in (0, 1)
    ]
    polite = bytes([PASS, 255, PRESS, PASS, 60])
    return [
        *said,
        *(bytes([BYTES]) + piece(wire) for wire in WIRES),
        *(bytes([PASS, 255, SAY, 0]) + piece(message) + bytes([PASS, 40]) for message in messages()),
        polite,
        polite + b"".join(said[::9]),
        bytes([OTHER]) + piece(b"sos/v1/betong/point/other/receipt") + piece(b"{}"),
        *(
            bytes([PASS, 255, COMMAND, number, pole, named]) + (60_000).to_bytes(3, "little") + piece(b"") + polite
            for number in (0, 1, 3, 15)
            for pole in (0, 1)
            for named in range(len(COMMANDS) + 1)
        ),
    ]


def one(data: bytes) -> None:
    source = Source(data)
    world = World()
    world.store = SqlStore()
    world.start()
    world.run(10)
    for _ in range(MOST_STEPS):
        if not source.left:
            break
        _step(source, world)
    world.run(50)
    assert world.agent is not None and world.agent.next_timer_ms() is not None
    world.store.db.close()


def _command(source: Source, world: World) -> None:
    """A command that is for this run, and so is looked at further; its key is genuine or anything."""
    names = (*COMMANDS, "dance")
    number, pole, named = source.number(), source.pick(("p1", "p9")), source.pick(names)
    until_ms, wrapped, new = source.number(3), source.piece()[:WRAPPED], bytes([number or 1] * 32)
    if number & 1:
        wrapped = wrap(key_of("p1"), bytes(16), new)
    command = Command(
        id=f"c{number >> 4}", session=world.session.partition(".")[0], until_ms=until_ms, pole=pole, command=named,
        officer="malee", terminal="t1", wrapped=wrapped.hex(), check=fingerprint(new) if number & 2 else "",
    )  # fmt: skip
    world.from_station("command", command, retained=number & 12 == 12)
    world.run(3)


def _step(source: Source, world: World) -> None:
    kind = source.number() % 7
    if kind == MESSAGE:
        leaf, retained = source.pick(LEAVES), source.number() & 1 > 0
        world.from_station(leaf, source.piece(), retained=retained)
        world.run(3)
    elif kind == OTHER:
        topic, payload = source.piece().decode("utf-8", "replace"), source.piece()
        world._give(events.BrokerMessage(world.session, topic, payload, False))
    elif kind == BYTES:
        world.from_port("/dev/home", source.piece())
    elif kind == SAY:
        lane = source.number() % 2
        world.poles["p1"].link.send(lane, source.piece()[:MAX_PAYLOAD])
        world.wake_poles()
    elif kind == PRESS:
        world.press()
    elif kind == COMMAND:
        _command(source, world)
    else:
        world.run(source.number() * 4)
