"""What is rare and must hold: greetings out of order, a line slow for one lane, the last millisecond of a silence."""

from __future__ import annotations

import itertools

from tests.wire.pair import ADDRESS, INCARNATION, KEY, UP, Pair, frames_of

from sos_wire.agent_end import SILENT_MS, AgentLink
from sos_wire.frame import HELLO, TALK_UP, WELCOME, build
from sos_wire.handshake import who
from sos_wire.lanes import MAX_TIMEOUT_MS, NEVER
from sos_wire.link import BACKLOG, LIVE
from sos_wire.pole_end import HELLO_VALID_MS, PoleLink
from sos_wire.seal import Seal, Stream
from sos_wire.talk import LIVE_REPEAT_MS, LIVE_REPEATS


def hello(boot: int, firmware: bytes | None = None) -> bytes:
    """The greeting of a pole in that boot."""
    pole = PoleLink(ADDRESS, KEY, b"p" * 32)
    pole.begin(INCARNATION, boot, *([firmware] if firmware else []))
    for now in range(100):
        if (wire := pole.poll(now, now)) is not None:
            return wire
    raise AssertionError("it does not greet")


def greeted(*wires: bytes) -> tuple[AgentLink, list[bytes]]:
    """An agent that heard these greetings, and the nonces of what it answered."""
    agent = AgentLink(ADDRESS, KEY, b"a" * 32)
    answers = []
    for wire in wires:
        agent.receive(frames_of(wire)[0], 500)
        while (said := agent.poll(500, 500)) is not None:
            answers += [frame.body[:16] for frame in frames_of(said) if frame.kind == WELCOME]
    return agent, answers


def test_while_a_welcome_waits_an_older_greeting_is_a_replay_and_a_newer_one_counts() -> None:
    old, new = hello(1), hello(2)
    agent, answers = greeted(new, old)
    assert agent.counts["replay"] == 1 and answers == [frames_of(new)[0].body[:16]]
    agent, answers = greeted(old, new)
    assert agent.counts["replay"] == 0 and answers == [frames_of(wire)[0].body[:16] for wire in (old, new)]
    agent, answers = greeted(new, new)
    assert agent.refused == 0 and len(answers) == 2, "its WELCOME was lost: the same again"


def test_a_greeting_names_no_firmware_by_itself() -> None:
    assert frames_of(hello(1))[0].body[16:] == bytes(4) and frames_of(hello(1, b"\7\6\5"))[0].body[16:] == b"\7\6\5\0"


def test_an_answer_to_a_question_within_a_session_says_so_and_no_new_one_comes_of_it() -> None:
    """Somebody asks all the time; the agent hears its pole well, and the pole may be asked again after a second."""
    pair = Pair().open()
    pair.run(2_000)
    said = []
    for _ in range(3 * HELLO_VALID_MS):
        before = len(pair.sent[UP])
        pair.hear(pair.pole, who(ADDRESS))
        pair.turn()
        calls = [frame for wire in pair.sent[UP][before:] for frame in frames_of(wire) if frame.kind == HELLO]
        said += [(pair.now, frame.body[19]) for frame in calls]
    assert [flag for _, flag in said] == [1] * len(said) and 2 <= len(said) <= 3
    assert all(after[0] - before[0] > HELLO_VALID_MS for before, after in itertools.pairwise(said))
    assert (pair.agent.opened, pair.agent.counts["replay"], pair.pole.up) == (1, 0, True)


def test_a_stranger_makes_the_agent_ask_from_three_seconds_of_silence_on() -> None:
    stray = frames_of(build(TALK_UP, ADDRESS, 1, 1, 1, bytes(5), Seal(bytes(32))))[0]
    for silent_ms, asks in ((SILENT_MS - 1, False), (SILENT_MS, True)):
        pair = Pair().open()
        pair.agent.receive(stray, pair.agent.heard_at + silent_ms)
        assert (pair.agent._call_at != NEVER) == asks and pair.agent.counts["session"] == 1


def test_a_press_is_said_again_soon_four_times_and_the_backlog_as_the_line_allows() -> None:
    for lane, most_ms in ((LIVE, LIVE_REPEAT_MS), (BACKLOG, MAX_TIMEOUT_MS)):
        pair = Pair().open()
        talk = pair.pole._talk
        assert talk
        talk._pace.timeout_ms = 500
        for tries in range(LIVE_REPEATS + 2):
            talk.lanes[lane].tries = tries
            talk._arm(lane, 0)
            wait_ms = min(500 * (1 + tries // 2), most_ms if tries < LIVE_REPEATS else MAX_TIMEOUT_MS)
            assert abs(talk.lanes[lane].resend_at - wait_ms) <= wait_ms // 4


def test_a_link_knows_nothing_of_a_peer_that_it_never_heard() -> None:
    for link in (PoleLink(ADDRESS, KEY, bytes(32)), AgentLink(ADDRESS, KEY, bytes(32))):
        assert link.peer_status is None and link.peer == (0, 0) and not link.up and link.status == b""


def test_numbers_are_drawn_from_all_three_bytes_in_their_order() -> None:
    """The poles' MicroPython and the agent's Python must draw alike: three bytes, the lowest first."""
    for limit in (1 << 24, 1000):
        drawn, raw = Stream(bytes(32)), Stream(bytes(32)).take(30)
        for start in range(0, 30, 3):
            value = int.from_bytes(raw[start : start + 3], "little")
            if value < (1 << 24) - (1 << 24) % limit:
                assert drawn.below(limit) == value % limit


def sealed(pair: Pair, body: bytes) -> bytes:
    """The next talk of the pole with any body, genuinely sealed."""
    talk = pair.pole._talk
    assert talk
    talk.sequence += 1
    return build(TALK_UP, ADDRESS, talk.id, talk.sequence, pair.now, body, talk._ours)


def message(number: int, payload: bytes = b"x", lane: int = LIVE) -> bytes:
    """The body of a talk that acknowledges nothing."""
    return bytes([2, 0, 0, 0, 0, lane]) + number.to_bytes(2, "little") + payload


def test_a_stranger_is_asked_at_once_and_another_one_a_quarter_of_a_second_later() -> None:
    stray = build(TALK_UP, ADDRESS, 1, 1, 1, bytes(5), Seal(bytes(32)))
    agent = AgentLink(ADDRESS, KEY, b"a" * 32)
    said = []
    for now in range(10_000, 10_600):
        if now % 50 == 0:
            agent.receive(frames_of(stray)[0], now)
        if agent.poll(now, now) is not None:
            said.append(now)
    assert said == [10_000, 10_250, 10_500]


def test_a_pole_asked_by_its_address_answers_at_once_but_not_sooner_than_it_may() -> None:
    for called_at, at in ((NEVER, 5_000), (4_000, 5_000), (5_100, 5_100)):
        pole = PoleLink(ADDRESS, KEY, bytes(32))
        pole.begin(1, 1)
        pole._called_at = called_at
        pole.receive(frames_of(who(ADDRESS))[0], 5_000)
        assert pole._call_at == at
        pole._call_at = 4_999
        pole.receive(frames_of(who(ADDRESS))[0], 5_000)
        assert pole._call_at == 4_999, "a call that comes sooner stays"


def test_a_status_that_is_not_urgent_waits_for_the_next_beat() -> None:
    pair = Pair().open()
    pair.run(300)
    said = len(pair.sent[UP])
    pair.pole.set_status(b"\4calm", False)
    pair.run(500)
    assert len(pair.sent[UP]) == said
    pair.pole.set_status(b"\4news", True)
    pair.run(2)
    assert len(pair.sent[UP]) == said + 1 and pair.agent.peer_status == b"\4news"


def test_what_is_genuine_proves_the_peer_whatever_it_says() -> None:
    for reason, bodies in (
        ("full", [message(number) for number in range(9)]),
        ("window", [message(1)]),
        ("ack", [bytes([0, 1, 0, 0, 0])]),
    ):
        pair = Pair().open()
        for body in bodies:
            pair.now += 100
            pair.hear(pair.agent, sealed(pair, body))
        assert pair.agent.counts[reason] == 1 and pair.agent.heard_at == pair.now == pair.agent.peer_uptime_ms


def test_an_empty_message_is_one() -> None:
    pair = Pair().open()
    pair.hear(pair.agent, sealed(pair, message(0, b"")))
    assert [taken[:2] for taken in pair.agent.take()] == [(LIVE, b"")]


def test_a_message_of_the_last_window_was_heard_before_and_an_older_one_is_none() -> None:
    pair = Pair().open()
    for number in range(5):
        pair.hear(pair.agent, sealed(pair, message(number)))
    for number, reason in ((1, "duplicate"), (4, "duplicate"), (0, "window"), (6, "window")):
        before = pair.agent.counts[reason]
        pair.hear(pair.agent, sealed(pair, message(number)))
        assert pair.agent.counts[reason] == before + 1
    assert len(pair.agent.take()) == 5


def test_an_answer_within_a_millisecond_is_measured_as_one() -> None:
    pair = Pair().open()
    talk = pair.agent._talk
    assert talk
    pair.agent.send(LIVE, b"x")
    assert pair.agent.poll(pair.now, pair.now) is not None
    before = talk._pace.timeout_ms
    talk._pace._smooth_ms, talk._pace._spread_ms = 80, 80
    pair.hear(pair.agent, sealed(pair, bytes([0, talk.lanes[LIVE].number(1), 0, 0, 0])))
    assert pair.agent.refused == 0 and talk._pace._smooth_ms == 70 and talk._pace.timeout_ms != before


def test_what_acknowledges_nothing_new_puts_no_repeat_off() -> None:
    pair = Pair().open()
    pair.deaf.add(pair.pole)
    pair.agent.send(LIVE, b"x")
    pair.run(3)
    talk = pair.agent._talk
    assert talk and talk.lanes[LIVE].waiting
    due_at = talk.lanes[LIVE].resend_at
    for _ in range(5):
        pair.now += 5
        pair.hear(pair.agent, sealed(pair, bytes([0, *talk.lanes[LIVE].number(0).to_bytes(2, "little"), 0, 0])))
    assert talk.lanes[LIVE].resend_at == due_at


def test_only_a_beat_that_was_said_once_is_measured() -> None:
    for tries, smooth_ms in ((1, (7 * 80 + 40) // 8), (2, 80)):
        pair = Pair().open()
        talk = pair.agent._talk
        assert talk
        talk._beat_tries, talk._beat_sent_at = tries, pair.now
        talk._pace._smooth_ms = 80
        pair.now += 40
        pair.hear(pair.agent, sealed(pair, bytes([8, 0, 0, 0, 0])))
        assert talk._pace._smooth_ms == smooth_ms and talk._beat_tries == 0 and talk.answered_at == pair.now
