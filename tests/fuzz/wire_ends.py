"""Both ends of a cable in talk with a peer that has the right keys and says anything: refused and counted, bounded."""

from __future__ import annotations

from tests.fuzz.source import Source, piece
from tests.wire.pair import ADDRESS, DOWN, UP, Pair

from sos_wire.frame import EVERYBODY, MAX_BODY, Decoder, build, parse
from sos_wire.lanes import WINDOW
from sos_wire.link import MAX_PAYLOAD, MAX_STATUS, Link
from sos_wire.messages import unpack
from sos_wire.seal import Seal

BYTES, FRAME, PASS, AGAIN, SEND, OPEN = range(6)  # what a step does
MOST_STEPS = 24
_SEAL = Seal(bytes(32))


def seeds() -> list[bytes]:
    """A session opened and used; each kind of frame at each stage of the handshake."""
    talk = bytes([OPEN, SEND, 0]) + piece(b"\1" * 28) + bytes([PASS, 40])
    frames = [
        bytes([FRAME, kind, 0, seal]) + number.to_bytes(4, "little") * 2 + bytes(8) + piece(body)
        for kind in range(1, 6)
        for seal in range(4)
        for number in (0, 1)
        for body in (b"", b"\2\0\0\0\0\0\1\0press", bytes(32))
    ]
    return [b"", talk, talk * 3 + bytes([AGAIN, 0, 0]), *frames, *(talk + frame for frame in frames)]


def play(data: bytes, of: str) -> None:
    """Every step of ``data`` to that end of a pair."""
    source = Source(data)
    pair = Pair()
    link, peer = (pair.pole, pair.agent) if of == "pole" else (pair.agent, pair.pole)
    for _ in range(MOST_STEPS):
        if not source.left:
            break
        _step(source, pair, link, peer)
        talk = link._talk
        if talk is not None:
            assert len(talk.inbox) <= 2 * WINDOW and all(len(lane.queue) <= WINDOW for lane in talk.lanes)
        assert link.wake(pair.now) >= 0 and link.refused >= 0
    for _lane, payload, _uptime in link.take():
        unpack(payload)
    pair.run(3)


def _step(source: Source, pair: Pair, link: Link, peer: Link) -> None:
    kind = source.number() % 6
    if kind == BYTES:
        _hear_anything(pair, link, source.piece())
    elif kind == FRAME:
        _hear_frame(source, pair, link, peer)
    elif kind == PASS:
        pair.run(source.number())
    elif kind == AGAIN:
        wires = pair.sent[UP] + pair.sent[DOWN]
        if wires:
            pair.hear(link, wires[source.number(2) % len(wires)])
    elif kind == SEND:
        lane = source.number() % 2
        payload = source.piece()[:MAX_PAYLOAD]
        if lane and len(payload) <= MAX_STATUS:
            link.set_status(payload, urgent=True)
        link.send(lane, payload)
    elif not (pair.pole.up and pair.agent.up):
        pair.open()


def _hear_anything(pair: Pair, link: Link, raw: bytes) -> None:
    for found in Decoder().feed(b"\0" + raw + b"\0"):
        frame = parse(found)
        if not isinstance(frame, str):
            link.receive(frame, pair.now)


def _hear_frame(source: Source, pair: Pair, link: Link, peer: Link) -> None:
    kind, flags = source.number() % 5 + 1, source.number()
    talk = peer._talk
    seals = (_SEAL, peer._hello_seal, peer._welcome_seal, talk._ours if talk else _SEAL)
    seal = source.pick(seals)
    session, sequence, uptime_ms = source.number(4), source.number(4), source.number(8)
    if talk and flags & 1 == 0:
        session = talk.id
    body = source.piece()[:MAX_BODY]
    address = EVERYBODY if flags & 2 else ADDRESS
    pair.hear(link, build(kind, address, session, sequence, uptime_ms, body, seal))
