"""Exact values at the edges: clamped fields, codes without a name, time-outs, turns on a shared pair, deadlines."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.wire.ends import line_of
from tests.wire.pair import ADDRESS, KEY, Pair, frames_of

from sos_wire.agent_end import HOLD_MS, REPLY_MS, AgentLine, AgentLink
from sos_wire.frame import HELLO, KINDS_ON_WIRE, MAX_RAW, MIN_RAW, TALK_DOWN, TALK_UP, VERSION, Decoder, build, parse
from sos_wire.handshake import POLE, read_hello
from sos_wire.lanes import FIRST_TIMEOUT_MS, MAX_TIMEOUT_MS, NEVER, Lane, Pace, due, sooner
from sos_wire.line import STALL_MS, TURN_GAP_MS
from sos_wire.link import IDLE_MS, LIVE
from sos_wire.messages import Detail, Notice, Press, Status, unpack
from sos_wire.pole_end import POLE_GAP_MS, SLOT_MS, PoleLine, PoleLink
from sos_wire.seal import Seal, Stream
from sos_wire.ticks import TICKS_MASK, ticks_add

MOST = 0x3FFFFFFF


def read(message: Any) -> Any:
    """The message as its peer reads it."""
    return unpack(message.pack())


@pytest.mark.parametrize(("repeats", "told"), [(0, 0), (0xFFFF, 0xFFFF), (0x10000, 0xFFFF)])
def test_repeats_of_a_press_stop_at_16_bits(repeats: int, told: int) -> None:
    assert read(Press("press", 1, 2, 3, 4, repeats)).repeats == told


def test_a_press_says_whether_it_was_read_back() -> None:
    assert [read(Press("press", 1, 2, 3, 4, 0, restored)).restored for restored in (0, 1)] == [0, 1]
    assert (Press("press", 1, 2, 3, 4).repeats, Press("press", 1, 2, 3, 4).restored) == (0, 0)


def test_how_long_it_was_held_stops_at_30_bits() -> None:
    assert [read(Detail(1, 2, 3, ms)).held_ms for ms in (MOST - 1, MOST, MOST + 1)] == [MOST - 1, MOST, MOST]


def test_the_value_of_a_notice_stops_on_both_sides() -> None:
    values = [read(Notice("chatter", 1, 2, 3, 4, value)).value for value in (MOST + 1, -MOST - 1, -1)]
    assert values == [MOST, -MOST, -1]
    assert [read(Notice("chatter", 1, 2, 3, 4, 0, on)).on for on in (0, 1)] == [0, 1]
    assert (read(Notice("chatter", 1, 2, 3, 4)).value, read(Notice("chatter", 1, 2, 3, 4)).on) == (0, 1)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("supply_mv", 0, 0xFFFF),
        ("temperature_dc", -0x7FFF, 0x7FFF),
        ("bad_frames", None, MOST),
        ("blind_ms", None, MOST),
        ("pending", None, 0xFFFF),
    ],
)
def test_fields_of_a_status_stop_at_their_bounds(field: str, least: int | None, most: int) -> None:
    def status(value: int) -> Status:
        given: dict[str, Any] = {field: value}
        return Status("held", **given)

    for value, told in ((most, most), (most + 1, most), (most - 1, most - 1)):
        assert getattr(read(status(value)), field) == told
    if least is not None:
        assert getattr(read(status(least - 1)), field) == least


def test_a_status_that_knows_nothing_says_so() -> None:
    told = vars(read(Status("starting")))
    assert told.pop("look") == "starting" and told.pop("reset_cause") == "unknown"
    assert told.pop("version") == bytes(3) and set(told.values()) == {0}


@pytest.mark.parametrize("payload", [Press("press", 1, 2, 3, 4).pack(), Notice("press", 1, 2, 3, 4).pack()])
def test_a_code_without_a_name_is_no_message(payload: bytes) -> None:
    for code in (0, 200):
        assert unpack(payload[:1] + bytes([code]) + payload[2:]) is None


def raw(version: int = VERSION, kind: int = HELLO, size: int = MIN_RAW) -> bytes:
    return bytes([version, kind]) + bytes(size - 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw(size=MIN_RAW - 1), "short"),
        (raw(size=MAX_RAW + 1), "long"),
        (raw(version=0), "version"),
        (raw(version=VERSION + 2), "version"),
        (raw(kind=0), "kind"),
        (raw(kind=KINDS_ON_WIRE + 1), "kind"),
    ],
)
def test_what_is_no_frame_has_its_reason(data: bytes, reason: str) -> None:
    assert parse(data) == reason


def test_what_just_is_a_frame_is_read() -> None:
    for data in (raw(), raw(size=MAX_RAW), raw(version=VERSION + 1), raw(kind=1), raw(kind=KINDS_ON_WIRE)):
        frame = parse(data)
        assert not isinstance(frame, str) and (frame.version, frame.kind) == (data[0], data[1])


def test_the_decoder_takes_its_limit_and_not_a_byte_more() -> None:
    decoder = Decoder(10)
    assert decoder.feed(b"\x0b" + b"a" * 10 + b"\0") == [b"a" * 10]
    assert decoder.feed(b"\x0c" + b"a" * 11 + b"\0") == [] and decoder.bad == {"long": 1, "cobs": 0}
    decoder.feed(b"\x0c" + b"a" * 11)
    assert decoder.partial == 1 and decoder.bad["long"] == 2
    decoder.feed(b"a" * 50)
    assert decoder.partial == 1 and decoder.bad["long"] == 2, "one piece is counted once"
    assert decoder.feed(b"\0\2a\0") == [b"a"] and decoder.partial == 0
    decoder.feed(b"\3a")
    assert decoder.partial == 2


def test_the_time_out_is_that_of_the_book() -> None:
    """RFC 6298 in whole milliseconds: the first trip, then an eighth and a quarter of what is new."""
    pace = Pace(Stream(bytes(32)))
    assert pace.timeout_ms == FIRST_TIMEOUT_MS == 150
    learnt = []
    for trip_ms in (100, 140, 60, 61):
        pace.measured(trip_ms)
        learnt.append((pace._smooth_ms, pace._spread_ms, pace.timeout_ms))
    assert learnt == [(100, 50, 300), (105, 47, 293), (99, 46, 283), (94, 44, 270)]
    pace.measured(100_000)
    assert pace.timeout_ms == MAX_TIMEOUT_MS


class Middle(Stream):
    """Draws the middle, and remembers how wide it was asked to spread."""

    spread = 0

    def about(self, middle: int, spread: int) -> int:
        self.spread = spread
        return middle

    def below(self, limit: int) -> int:
        return limit // 2


def test_each_second_try_waits_longer_up_to_the_most() -> None:
    pace = Pace(stream := Middle(bytes(32)))
    assert [pace.deadline(1000, tries, 400) - 1000 for tries in range(6)] == [150, 150, 300, 300, 400, 400]
    assert stream.spread == 100
    assert pace.deadline(TICKS_MASK, 0, 400) == 149


def test_deadlines_come_at_their_millisecond_and_over_the_wrap() -> None:
    assert not due(NEVER, 5) and not due(6, 5) and due(5, 5) and due(TICKS_MASK, 0) and not due(0, TICKS_MASK)
    assert sooner(NEVER, 0, 70) == 70 and sooner(50, 0, 70) == 50 and sooner(90, 0, 70) == 70
    assert sooner(3, TICKS_MASK, 70) == 4


def lane_of(*queue: bytes) -> Lane:
    lane = Lane()
    lane.queue = list(queue)
    return lane


def test_an_acknowledgement_of_some_leaves_the_rest_under_way() -> None:
    lane = lane_of(b"a", b"b", b"c")
    for at in (10, 20, 30):
        lane.next(at)
    assert lane.acknowledged(2, 50) == 40
    assert lane.queue == [b"c"] and lane.waiting and not lane.ready and lane.number(0) == 2
    assert lane.acknowledged(2, 60) == NEVER and lane.acknowledged(4, 60) == -2
    lane.queue += [b"d"]
    assert lane.ready and lane.next(70) == 1 and lane.acknowledged(3, 75) == NEVER, "the third was not timed"
    assert lane.acknowledged(4, 90) == 20 and not lane.waiting


def test_progress_ends_the_feeling_of_the_way() -> None:
    lane = lane_of(b"a", b"b", b"c")
    lane.next(0)
    lane.timeout()
    lane.timeout()
    assert lane.tries == 2 and lane.resend_at == NEVER
    lane.next(10)
    lane.resend_at = 99
    assert lane.acknowledged(1, 20) == NEVER and (lane.tries, lane.resend_at) == (0, NEVER)
    assert [lane.next(30), lane.next(31)] == [0, 1] and not lane.ready


def test_numbers_of_a_lane_wrap() -> None:
    lane = lane_of(b"a", b"b", b"c")
    lane._base = 0xFFFF
    for at in range(3):
        lane.next(at)
    assert [lane.number(place) for place in range(3)] == [0xFFFF, 0, 1]
    assert lane.acknowledged(1, 7) == 7 and lane.queue == [b"c"]


def talk(kind: int, address: int) -> bytes:
    return build(kind, address, 1, 1, 1, bytes(5), Seal(bytes(32)))


def test_each_pole_has_a_slot_behind_whom_was_heard() -> None:
    waits = []
    for address in (6, 7, 13, 14):
        line = line_of(POLE, True, 115200, address)
        line.feed(talk(TALK_UP, 5), 1000)
        waits.append(line.wait(1000))
        assert not line.quiet(1000) and line.counts["reflected"] == 1
    assert waits == [POLE_GAP_MS, POLE_GAP_MS + SLOT_MS, POLE_GAP_MS + 7 * SLOT_MS, POLE_GAP_MS]


def test_who_is_spoken_to_answers_first_and_once() -> None:
    line = line_of(POLE, True, 115200, 6)
    line.feed(talk(TALK_DOWN, 6), 1000)
    assert [line.wait(1000), line.wait(1001), line.quiet(1001)] == [TURN_GAP_MS, 0, True]
    line.feed(talk(TALK_DOWN, 5), 1010)
    assert line.wait(1010) == POLE_GAP_MS
    line.feed(b"\x05half", 1020)
    assert line.wait(1020) == POLE_GAP_MS + STALL_MS


def test_a_line_is_in_use_while_its_bytes_go_out() -> None:
    line = PoleLine(True, 9600, 6)
    line.sent(48, 1000)  # 10 bits each: 50 ms and the rest of one
    line.feed(b"\5noise", 1010)
    assert line.wait(1000) == 51 + POLE_GAP_MS + 5 * SLOT_MS, "what is heard meanwhile is our own"
    alone = PoleLine(False, 9600, 6)
    alone.sent(48, 1000)
    assert alone.wait(1000) == 0


def test_an_agent_gives_the_pole_it_spoke_to_its_time() -> None:
    line = AgentLine(True, 9600)
    line.sent(96, 1000)
    assert line.wait(1101) == REPLY_MS and line.wait(1110) == 1 and line.wait(1111) == 0


def crowd(*heard: tuple[int, int]) -> AgentLine:
    """An agent's line after poles were heard: (address, at)."""
    line = AgentLine(True, 115200)
    for address, at in heard:
        line.feed(talk(TALK_UP, address), at)
    return line


@pytest.mark.parametrize(
    ("heard", "waits"),
    [
        ([(1, 1000), (2, 1199)], {1199: TURN_GAP_MS, 1200: 0, 1205: 0}),
        ([(1, 1000), (2, 1199)], {1206: HOLD_MS - 7, 1228: 1, 1229: 0}),
        ([(1, 1000), (2, 1200)], {1207: 0}),  # 200 ms apart is no crowd
        ([(1, 1000), (1, 1100)], {1107: 0}),
        ([(1, 1000), (2, 1100), (2, 1200)], {1207: HOLD_MS - 7}),
        ([(1, 1000), (2, 1100), (2, 1300)], {1307: 0}),
    ],
)
def test_an_agent_that_missed_its_turn_lets_a_crowd_go_first(
    heard: list[tuple[int, int]], waits: dict[int, int]
) -> None:
    for at, wait_ms in waits.items():
        assert crowd(*heard).wait(at) == wait_ms, at


def test_a_link_sleeps_at_most_so_long_and_wakes_for_what_is_new() -> None:
    link = PoleLink(ADDRESS, KEY, bytes(32))
    assert link.wake(0) == 0 and link.poll(0, 0) is None
    assert link.wake(0) == IDLE_MS and link.wake(IDLE_MS + 5) == 0
    assert link.poll(1, 1) is None
    link.begin(1, 1)
    assert link.wake(1) == 0


def test_a_pole_says_hello_at_most_each_quarter_second_and_at_least_each_second() -> None:
    link = PoleLink(ADDRESS, KEY, bytes(32))
    link.begin(9, 8, b"\7\6\5")
    said = []
    for now in range(8_000):
        if (wire := link.poll(now, now + 7)) is not None:
            said.append(now)
            (frame,) = frames_of(wire)
            hello = read_hello(frame, KEY)
            assert hello and (hello.incarnation, hello.boot, hello.counter) == (9, 8, 1)
            assert not hello.in_session and frame.uptime_ms == now + 7
    gaps = [after - before for before, after in itertools.pairwise(said)]
    assert said[0] <= 60 and 250 <= min(gaps) < 500 and 750 < max(gaps) <= 1000


def test_an_agent_that_hears_nothing_asks_each_second_or_two() -> None:
    link = AgentLink(ADDRESS, KEY, bytes(32))
    said = [now for now in range(15_000) if link.poll(now, now) is not None]
    gaps = [after - before for before, after in itertools.pairwise(said)]
    assert said[0] == 0 and 1000 <= min(gaps) < 1500 and 1500 < max(gaps) < 2000


def test_silence_is_a_loss_after_eight_seconds_also_over_the_wrap() -> None:
    pair = Pair()
    pair.now = TICKS_MASK - 9000
    while not (pair.pole.up and pair.agent.up):
        pair.turn()
    heard_at = pair.agent.heard_at
    for link in (pair.pole, pair.agent):
        link.heard_at = heard_at
        link.watch(ticks_add(heard_at, 7999))
        assert link.up
        link.watch(ticks_add(heard_at, 8000))
        assert not link.up and link.losses == 1 and link.room(LIVE) == 0
