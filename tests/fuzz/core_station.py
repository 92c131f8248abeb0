"""A whole station that hears anything from any broker, also from officers' terminals: nothing raises.

Its inbox is the real SQL in memory. Every request of a terminal that can be read is answered or says why not.
"""

from __future__ import annotations

import sqlite3
from functools import partial

from tests.fuzz.contract_payloads import EXAMPLES, POLE, PRESS, words
from tests.fuzz.source import Source, piece
from tests.station.world import POINTS, World

from sos_contract import topics
from sos_contract.payloads import Alarm, DeskRequest, Health, Identity, encode
from sos_edge.sqlite import Commits, Failure, Job
from sos_station.core import effects as fx
from sos_station.core import events as ev
from sos_station.edge import reads, writes

__all__ = ["PACKAGES", "one", "seeds", "words"]
PACKAGES = ("sos_station", "sos_contract")
LEAVES = (*topics.FROM_POINT, "desk_request")
POINT, DESK, OTHER, PASS = range(4)  # what a step does
MOST_STEPS = 16


class SqlWorld(World):
    """As ``tests.station.world``, with the edge's way of failing: a job that cannot be written fails alone."""

    def commit(self) -> None:
        stores, self.stores = tuple(self.stores), []
        jobs = [Job(partial(_write, effect), lambda _: None) for effect in stores]
        Commits(self.disk).carry_out(jobs)
        done = [(effect, job.result) for effect, job in zip(stores, jobs, strict=True)]
        failed = tuple(effect for effect, result in done if isinstance(result, Failure))
        results = [(effect, result) for effect, result in done if not isinstance(result, Failure)]
        if failed:
            self._queue.append(ev.CommitFailed(failed, "a value that cannot be kept"))
        if results:
            told = tuple((effect, result[0]) for effect, result in results)
            self._queue.append(ev.Committed(told, results[-1][1][1]))
        self._work()

    def _carry_out(self, effect: fx.Effect) -> None:
        if isinstance(effect, fx.READ_EFFECTS):
            self.effects.append(effect)
            try:
                self._queue.append(ev.Read(effect, reads.carry_out(self.disk, effect)))
            except sqlite3.Error as error:
                self._queue.append(ev.ReadFailed(effect, str(error)))
        else:
            super()._carry_out(effect)


def _write(effect: fx.StoreEffect, disk: sqlite3.Connection) -> object:
    return writes.carry_out(disk, effect)


def seeds() -> list[bytes]:
    """Everything that points and officers say, alone and in a row: an alarm that is received, seen and closed."""
    said = [
        bytes([POINT, leaf, 0]) + piece(encode(example))
        for example in EXAMPLES
        for leaf in range(len(topics.FROM_POINT))
    ]
    other = Alarm(id=Identity("market-1", "00000000000000bb", 1, 2), kind="silent_press", pressed_at_ms=5)
    health = Health(session="s1.1", uptime_ms=5, clock="synced", outbox_waiting=0, disk_ok=True, poles=(POLE,))
    alive = bytes([POINT, topics.FROM_POINT.index("health"), 0]) + piece(encode(health))
    told = alive + b"".join(bytes([POINT, 0, 0]) + piece(encode(alarm)) for alarm in (EXAMPLES[0], other))
    requests = (
        DeskRequest(number="r0", officer="malee", action="list"),
        DeskRequest(number="r1", officer="malee", action="accept"),
        DeskRequest(number="r2", officer="malee", action="dispatch", alarm="1", seen_stage="accepted"),
        DeskRequest(number="r3", officer="malee", action="arrive", alarm="#1"),
        DeskRequest(number="r4", officer="malee", action="show", alarm="1"),
        DeskRequest(number="r5", officer="malee", action="notices", everything=True),
        DeskRequest(number="r6", officer="malee", action="list", everything=True, by_incident=True, offset=1),
        DeskRequest(number="r7", officer="malee", action="close", alarm="1", disposition="genuine", note="all well"),
        DeskRequest(number="r8", officer="malee", action="command", pole="merlin-1", command="open_repl", id="c1"),
        DeskRequest(number="r9", officer="malee", action="commands", pole="merlin-1"),
    )
    asked = [bytes([DESK]) + piece(encode(request)) for request in requests]
    return [
        *said,
        *(told + one_asked for one_asked in asked),
        told + b"".join(asked),
        b"".join(said[::7]),
        bytes([POINT, LEAVES.index("progress_query"), 0]) + piece(encode(EXAMPLES[8])),
        bytes([OTHER]) + piece(b"sos/v1/betong/state") + piece(encode(EXAMPLES[3])),
    ]


def one(data: bytes) -> None:
    source = Source(data)
    world = SqlWorld()
    for _ in range(MOST_STEPS):
        if not source.left:
            break
        _step(source, world)
    world.pass_ms(20)
    assert world.lamp(PRESS) in ("", "received", "accepted", "dispatched", "on_scene", "closed")
    world.disk.close()


def _step(source: Source, world: SqlWorld) -> None:
    kind = source.number() % 4
    if kind == POINT:
        leaf, flags = source.pick(topics.FROM_POINT), source.number()
        point = (*POINTS, "elsewhere")[(flags >> 1) % 3]
        world.send(leaf, source.piece(), point=point, retained=flags & 1 > 0)
    elif kind == DESK:
        topic = topics.desk_request("betong", "t1")
        world.handle(ev.Message(world.brokers[0], topic, source.piece(), False))
    elif kind == OTHER:
        topic, payload = source.piece().decode("utf-8", "replace"), source.piece()
        world.handle(ev.Message(world.brokers[0], topic, payload, False))
    else:
        world.pass_ms(source.number() * 100)
