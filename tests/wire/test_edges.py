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
