"""Any bytes from the wire: never an exception, never more memory than the bound, and good frames still come through."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.ends import LINKS, line_of
from tests.wire.pair import ADDRESS, DOWN, KEY, UP, Pair, frames_of
from tests.wire.reference import cobs

from sos_wire.agent_end import AgentLine
from sos_wire.frame import EVERYBODY, MAX_RAW, VERSION, Decoder, Frame, build, parse, unwrap, wrap
from sos_wire.handshake import POLE, read_hello, who
from sos_wire.messages import unpack
from sos_wire.pole_end import PoleLink
from sos_wire.seal import Seal

pieces = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=130).map(lambda raw: wrap(raw[:MAX_RAW])),
    st.just(who()),
    st.just(b"\0" * 20),
    st.just(b"\x01" * 200),
)
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)


@SETTINGS
@given(st.binary(max_size=253))
def test_cobs_is_that_of_the_book_and_comes_back(raw: bytes) -> None:
    wire = wrap(raw)
    assert wire == b"\0" + cobs(raw) + b"\0"
    assert unwrap(wire[1:-1]) == raw


@SETTINGS
@given(st.lists(pieces, max_size=8), st.integers(1, 50))
def test_decoder_takes_any_bytes_within_its_bound(parts: list[bytes], size: int) -> None:
    """However the bytes are cut up, the same frames come out, and never more than the bound is held."""
    data = b"".join(parts)
    whole, cut = Decoder(), Decoder()
    raws = whole.feed(data)
    cut_raws = []
    for at in range(0, len(data), size):
        cut_raws += cut.feed(data[at : at + size])
        assert cut.partial <= MAX_RAW + 1 and len(cut._held) <= MAX_RAW + 1
    assert raws == cut_raws and whole.bad == cut.bad and whole.partial == cut.partial
    assert all(0 <= len(raw) <= MAX_RAW for raw in raws)


@SETTINGS
@given(st.binary(max_size=200))
def test_parse_takes_any_bytes(raw: bytes) -> None:
    frame = parse(raw)
    if isinstance(frame, Frame):
        assert frame.signed + frame.tag == raw and 1 <= frame.version <= VERSION + 1
    else:
        assert frame in ("short", "long", "version", "kind")


@SETTINGS
@given(st.integers(0, 20), st.binary(max_size=100))
def test_unpack_takes_any_bytes(kind: int, rest: bytes) -> None:
    for payload in (rest, bytes([kind]) + rest):
        message = unpack(payload)
        if message is not None:
            assert unpack(message.pack()) is not None


@SETTINGS
@given(st.lists(pieces, max_size=6), st.booleans(), st.integers(0, 1))
def test_lines_and_links_take_any_bytes(parts: list[bytes], shared: bool, role: int) -> None:
    line = line_of(role, shared, 115200, ADDRESS)
    link = LINKS[role](ADDRESS, KEY, bytes(32))
    if isinstance(link, PoleLink):
        link.begin(1, 1)
    for now, part in enumerate(parts):
        for frame in line.feed(part, now):
            link.receive(frame, now)
            read_hello(frame, KEY)
        line.wait(now)
        link.poll(now, now)
    assert not link.up


@SETTINGS
@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.binary(max_size=96), st.integers(0, 1), st.booleans())
def test_links_take_any_genuinely_sealed_body(kind: int, sequence: int, body: bytes, role: int, known: bool) -> None:
    """Even a peer that has the keys and says nonsense raises nothing."""
    pair = Pair().open()
    link, peer = (pair.pole, pair.agent) if role == POLE else (pair.agent, pair.pole)
    assert peer._talk
    number = peer._talk.id if known else sequence
    for seal in (peer._talk._ours, peer._hello_seal, peer._welcome_seal, Seal(bytes(32))):
        pair.hear(link, build(kind, ADDRESS, number, sequence, 2**64 - 1, body, seal))
    link.take()
    pair.run(20)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1), st.integers(0, 30)), max_size=60))
def test_old_frames_in_any_order_change_nothing(picks: list[tuple[int, int, int]]) -> None:
    """Whatever was recorded is played again at any time, to either end: sessions stand, and nothing comes twice."""
    pair = Pair().open()
    got = []
    for number in range(5):
        pair.pole.send(0, bytes([number]))
        pair.run(40)
        got += [payload for _lane, payload, _uptime in pair.agent.take()]
    before = pair.state()
    for pick, target, wait in picks:
        wires = pair.sent[UP] + pair.sent[DOWN]
        pair.hear(pair.agent if target else pair.pole, wires[pick % len(wires)])
        pair.run(wait)
        got += [payload for _lane, payload, _uptime in pair.agent.take()]
    assert pair.state() == before and got == [bytes([number]) for number in range(5)]


def test_memory_stays_bounded_under_a_flood() -> None:
    """A hundred thousand frames of every kind, half of them with the right keys: nothing grows."""
    pair = Pair().open()
    seals = [Seal(bytes(32)), pair.pole._hello_seal, Seal(b"x" * 32)]
    frames = [
        frames_of(build(kind, address, n, n, n, n.to_bytes(8, "little") * 3, seal))[0]
        for n in range(25)
        for kind in range(1, 6)
        for address in (ADDRESS, EVERYBODY)
        for seal in seals
    ]
    for end in (pair.pole, pair.agent):
        sizes = []
        for _ in range(3):
            for frame in frames * 3:
                end.receive(frame, pair.now)
            talk = end._talk
            assert talk
            sizes.append((len(end.counts), len(talk.inbox), [len(lane.queue) for lane in talk.lanes]))
        assert sizes[0] == sizes[1] == sizes[2]
    assert pair.agent._pending is None or len(pair.agent._pending.inbox) == 0
    line = AgentLine(True, 115200)
    for _ in range(1000):
        line.feed(b"\x55" * 997, 0)
    assert line._decoder.partial <= MAX_RAW + 1
