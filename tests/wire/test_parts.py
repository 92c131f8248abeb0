"""The small parts by themselves: ticks, stream, lanes, pace, the line's counts."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.ends import line_of
from tests.wire.pair import Pair

from sos_wire.handshake import AGENT, POLE
from sos_wire.lanes import MAX_TIMEOUT_MS, MIN_TIMEOUT_MS, NEVER, WINDOW, Lane, Pace
from sos_wire.seal import Seal, Stream, derive
from sos_wire.ticks import TICKS_MASK, ticks_add, ticks_diff


@given(st.integers(0, TICKS_MASK), st.integers(-(2**29), 2**29 - 1))
def test_ticks_come_back_over_the_wrap(tick: int, delta_ms: int) -> None:
    later = ticks_add(tick, delta_ms)
    assert 0 <= later <= TICKS_MASK and ticks_diff(later, tick) == delta_ms


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_the_seal_is_hmac(key: bytes, data: bytes) -> None:
    right = hmac.new(key, data, hashlib.sha256).digest()
    seal = Seal(key)
    assert seal.digest(data) == right and seal.check(data, right[:8])
    assert derive(key, "label", data) == hmac.new(key, b"label\0" + data, hashlib.sha256).digest()
    for wrong in (right[:7], right[:9], b"", bytes([right[0] ^ 1]) + right[1:8], right[:7] + bytes([right[7] ^ 1])):
        assert not seal.check(data, wrong)


def test_the_stream_is_even_and_follows_its_seed() -> None:
    assert Stream(bytes(32)).take(100) == Stream(bytes(32)).take(40) + b"" + _after(40, 60)
    stream = Stream(b"s" * 32)
    drawn = [stream.below(10) for _ in range(5000)]
    assert all(420 <= drawn.count(n) <= 580 for n in range(10))
    about = [stream.about(100, 25) for _ in range(2000)]
    assert min(about) == 75 and max(about) == 125
    for limit in (0, 2**24 + 1):
        with pytest.raises(AssertionError):
            stream.below(limit)


def _after(skip: int, count: int) -> bytes:
    stream = Stream(bytes(32))
    stream.take(skip)
    return stream.take(count)


def test_a_lane_measures_only_what_was_said_once() -> None:
    lane = Lane()
    lane.queue = [b"a", b"b"]
    assert [lane.next(100), lane.next(101)] == [0, 1]
    assert lane.acknowledged(1, 130) == 30 and lane.acknowledged(2, 140) == NEVER
    lane.queue = [b"c"]
    lane.next(200)
    lane.timeout()
    assert lane.ready
    lane.next(300)
    assert lane.acknowledged(3, 310) == NEVER, "whether 10 or 110 ms, nobody knows"


def test_after_a_time_out_one_message_feels_the_way() -> None:
    lane = Lane()
    lane.queue = [b"a", b"b", b"c", b"d"]
    while lane.ready:
        lane.next(0)
    lane.timeout()
    assert lane.ready and lane.next(1) == 0 and not lane.ready
    assert lane.acknowledged(3, 5) == NEVER and lane.queue == [b"d"] and lane.number(0) == 3
    assert lane.ready or lane.waiting


def test_what_cannot_be_acknowledged_changes_nothing() -> None:
    lane = Lane()
    lane.queue = [b"a", b"b"]
    lane.next(0)
    before = dict(vars(lane), queue=list(lane.queue))
    for number in (2, 3, 65535, 1000):
        assert lane.acknowledged(number, 5) == -2
        assert dict(vars(lane), queue=list(lane.queue)) == before
    assert WINDOW == 4


def test_the_time_out_follows_the_line_within_its_bounds() -> None:
    pace = Pace(Stream(bytes(32)))
    for trip_ms in [5] * 30:
        pace.measured(trip_ms)
    assert pace.timeout_ms == MIN_TIMEOUT_MS
    for trip_ms in [300] * 30:
        pace.measured(trip_ms)
    assert 300 <= pace.timeout_ms <= 500
    for trip_ms in [10, 5000] * 10:
        pace.measured(trip_ms)
    assert pace.timeout_ms == MAX_TIMEOUT_MS
    waits = [ticks_diff(pace.deadline(TICKS_MASK, tries, MAX_TIMEOUT_MS), TICKS_MASK) for tries in range(200)]
    assert min(waits) >= 600 and max(waits) <= 1000 and len(set(waits)) > 50


def test_a_line_drops_its_own_direction_and_counts() -> None:
    pair = Pair().open()
    up, down = pair.sent[0][-1], pair.sent[1][-1]
    for role, own, other in ((POLE, up, down), (AGENT, down, up)):
        line = line_of(role, False, 115200, 1)
        assert len(line.feed(own + other + own, 0)) == 1
        assert line.counts["reflected"] == 2 and line.bad == 0
        line.feed(b"\x05\x41\0" + b"\x02\x41\0" + b"\x55" * 300 + b"\0", 0)
        assert (line.counts["cobs"], line.counts["short"], line.counts["long"], line.bad) == (1, 1, 1, 3)
        assert line.feed(b"", 0) == []
