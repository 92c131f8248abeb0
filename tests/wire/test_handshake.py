"""Sessions: both halves of the tables, and all that a stranger may say without changing anything."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
from tests.wire.ends import LINKS
from tests.wire.pair import ADDRESS, DOWN, INCARNATION, KEY, UP, Pair, frames_of

from sos_wire import handshake
from sos_wire.agent_end import AgentLink
from sos_wire.frame import EVERYBODY, HELLO, TALK_DOWN, TALK_UP, WELCOME, WHO, build
from sos_wire.handshake import AGENT, OWN_EVENTS, POLE, TABLES, read_hello, who
from sos_wire.link import LINK_LOST_MS, LIVE, REFUSALS, Link
from sos_wire.pole_end import PoleLink
from sos_wire.seal import Seal

EVENTS = {POLE: ("begin", "lost", "who", "welcome", "talk"), AGENT: ("lost", "hello", "talk", "first_talk", "stray")}
STATES = {role: sorted({state for state, _event in TABLES[role]}) for role in (POLE, AGENT)}
UNLISTED_OWN = [
    (role, state, event)
    for role in (POLE, AGENT)
    for state in STATES[role]
    for event in OWN_EVENTS
    if (state, event) not in TABLES[role]
]


def snapshot(link: Link) -> str:
    """Everything in a Link except its counts, as text."""

    def told(thing: object, depth: int = 0) -> str:
        if hasattr(thing, "__dict__") and depth < 5:
            return str(
                {
                    name: told(value, depth + 1)
                    for name, value in vars(thing).items()
                    if name not in ("counts", "refused")
                }
            )
        if isinstance(thing, list | tuple):
            return str([told(value, depth + 1) for value in thing])
        return repr(thing) if not callable(thing) else ""

    return told(link)


@pytest.mark.parametrize("role", [POLE, AGENT])
def test_the_table_is_whole(role: int) -> None:
    """Each state can be reached, and leads on only to states of the table."""
    table = TABLES[role]
    reached = {"closed"}
    for _ in STATES[role]:
        reached |= {after for (state, _event), after in table.items() if state in reached}
    assert reached == set(STATES[role]) | set(table.values())
    assert {event for _state, event in table} <= set(EVENTS[role])


@pytest.mark.parametrize(("role", "state", "event"), UNLISTED_OWN)
def test_our_own_impossible_event_raises_and_changes_nothing(role: int, state: str, event: str) -> None:
    link = LINKS[role](ADDRESS, KEY, b"s" * 32)
    link.state = state
    before = snapshot(link)
    with pytest.raises(ValueError, match=f"{event} in state {state}"):
        link._move(event)
    assert snapshot(link) == before
    if event == "begin" and isinstance(link, PoleLink):
        with pytest.raises(ValueError, match="begin"):
            link.begin(1, 1)
        assert snapshot(link) == before


def seal_of(name: str, link: Link) -> Seal:
    return handshake.named_seal(link._master, name)


@pytest.mark.parametrize("role", [POLE, AGENT])
def test_a_peers_impossible_message_is_refused_counted_and_changes_nothing(role: int) -> None:
    """Every kind of frame in every state in which the table does not list it, perfectly sealed where one can be."""
    zero = Seal(bytes(32))
    link = LINKS[role](ADDRESS, KEY, b"s" * 32)
    hello, welcome = seal_of("sos hello", link), seal_of("sos welcome", link)
    frames = {
        POLE: [
            ("who", WHO, zero, b"", "state"),
            ("welcome", WELCOME, welcome, bytes(32), "state"),
            ("talk", TALK_DOWN, zero, bytes(5), "session"),
            ("", HELLO, hello, bytes(20), "reflected"),
            ("", TALK_UP, zero, bytes(5), "reflected"),
        ],
        AGENT: [
            ("hello", HELLO, hello, bytes(20), "state"),
            ("", WELCOME, welcome, bytes(32), "reflected"),
            ("", WHO, zero, b"", "reflected"),
            ("", TALK_DOWN, zero, bytes(5), "reflected"),
        ],
    }
    checked = 0
    for state in STATES[role]:
        for event, kind, seal, body, reason in frames[role]:
            if (state, event) in TABLES[role] and reason == "state":
                continue
            if reason == "session" and state == "open":
                continue
            link = LINKS[role](ADDRESS, KEY, b"s" * 32)
            link.state = state
            before = snapshot(link)
            link.receive(frames_of(build(kind, ADDRESS, 9, 1, 1, body, seal))[0], 10)
            assert link.counts[reason] == 1 and link.refused == 1
            assert snapshot(link) == before
            checked += 1
    assert checked >= 10


def test_a_session_opens_and_says_who_is_there() -> None:
    pair = Pair().open()
    assert pair.agent.peer == (INCARNATION, 1)
    assert pair.pole.opened == pair.agent.opened == 1
    hello = next(f for wire in pair.sent[UP] for f in frames_of(wire) if f.kind == HELLO)
    said = read_hello(hello, KEY)
    assert said and (said.incarnation, said.boot, said.firmware) == (INCARNATION, 1, b"\1\2\3")
    assert read_hello(hello, b"x" * 32) is None


def test_a_lost_welcome_is_said_again_and_opens_one_session() -> None:
    pair = Pair()
    pair.deaf.add(pair.pole)
    pair.run(3000)
    welcomes = [wire for wire in pair.sent[DOWN] if frames_of(wire)[0].kind == WELCOME]
    assert len(welcomes) > 2 and len({frames_of(wire)[0].body for wire in welcomes}) == 1
    pair.deaf.clear()
    pair.open()
    assert (pair.pole.opened, pair.agent.opened) == (1, 1)


def test_a_restarted_pole_opens_anew_and_the_old_session_is_dead() -> None:
    pair = Pair().open()
    old = pair.sent[UP][-1]
    pair.pole = PoleLink(ADDRESS, KEY, b"q" * 32)
    pair.pole.begin(INCARNATION, 2)
    pair.run(1500)
    assert pair.agent.opened == 2 and pair.agent.peer == (INCARNATION, 2)
    pair.hear(pair.agent, old)
    assert pair.agent.counts["session"] >= 1


def test_a_restarted_agent_asks_and_is_answered_within_a_beat() -> None:
    pair = Pair().open()
    pair.run(500)
    pair.agent = AgentLink(ADDRESS, KEY, b"b" * 32)
    pair.run(100)
    assert pair.agent.up and pair.pole.up and (pair.pole.opened, pair.pole.losses) == (2, 0)


def test_either_end_notices_silence() -> None:
    for silent in ("pole", "agent"):
        pair = Pair().open()
        pair.deaf.add(pair.agent if silent == "pole" else pair.pole)
        heard_at = (pair.agent if silent == "pole" else pair.pole).heard_at
        link = pair.agent if silent == "pole" else pair.pole
        while link.up:
            pair.turn()
            assert pair.now - heard_at <= LINK_LOST_MS + 1
        assert pair.now - heard_at >= LINK_LOST_MS and link.losses == 1
        pair.deaf.clear()
        pair.open()
        assert pair.agent.opened >= 2


def test_one_way_silence_is_noticed_at_both_ends() -> None:
    """The agent hears the pole's calls and nothing else: calls are no proof of life."""
    pair = Pair().open()
    pair.deaf.add(pair.pole)
    pair.run(2 * LINK_LOST_MS + 500)
    assert not pair.pole.up and not pair.agent.up


def test_replayed_frames_change_nothing() -> None:
    """All that was ever said, in this session and in older ones, to both ends, in order and reversed."""
    pair = Pair().open()
    pair.pole.send(LIVE, b"one")
    pair.run(6000)
    pair.deaf = {pair.pole, pair.agent}
    pair.run(LINK_LOST_MS + 3000)
    pair.deaf.clear()
    pair.open()
    pair.agent.take()
    recorded = copy.deepcopy(pair.sent)
    before = pair.state()
    for wires in (recorded, (recorded[0][::-1], recorded[1][::-1])):
        for wire in wires[UP] + wires[DOWN]:
            pair.hear(pair.agent, wire)
            pair.hear(pair.pole, wire)
    assert pair.state() == before
    assert pair.agent.take() == () and pair.pole.take() == ()
    for link in (pair.pole, pair.agent):
        assert link.counts["replay"] and link.counts["session"] and link.counts["reflected"]
    pair.run(5000)
    assert pair.state() == before, "and nothing happens later because of it"


def test_a_flood_of_replayed_hello_and_who_disturbs_no_session() -> None:
    pair = Pair().open()
    hellos = [wire for wire in pair.sent[UP] if frames_of(wire)[0].kind == HELLO]
    before = pair.state()
    said = len(pair.sent[UP])
    for _ in range(10_000):
        pair.turn()
        pair.hear(pair.agent, hellos[0])
        pair.hear(pair.pole, who())
        pair.hear(pair.pole, who(ADDRESS))
    assert pair.state() == before
    kinds = Counter(frames_of(wire)[0].kind for wire in pair.sent[UP][said:])
    assert kinds[HELLO] <= 11, "answered at most once a second"
    assert kinds[TALK_UP] <= 12
    assert pair.pole.counts["flood"] > 15_000


def test_other_poles_frames_are_not_ours() -> None:
    """Frames of a neighbour with another key and address; then with our address and its key."""
    pair = Pair().open()
    before = pair.state()
    for address in (ADDRESS + 1, ADDRESS):
        seal = Seal(b"x" * 32)
        assert pair.pole._talk
        for link, kinds in ((pair.pole, (WELCOME, TALK_DOWN)), (pair.agent, (HELLO, TALK_UP))):
            for kind in kinds:
                pair.hear(link, build(kind, address, pair.pole._talk.id, 999, 1, bytes(20), seal))
    assert pair.state() == before
    assert pair.pole.counts["address"] == pair.agent.counts["address"] == 2
    assert pair.pole.counts["tag"] == 1 and pair.agent.counts["tag"] == 2


def test_a_welcome_that_comes_too_late_opens_nothing() -> None:
    """Within a session the answer to a call is waited for no longer than a second: none can be kept for later."""
    pair = Pair().open()
    pair.run(500)
    pair.agent = AgentLink(ADDRESS, KEY, b"b" * 32)
    pair.deaf.add(pair.pole)
    pair.hear(pair.pole, who(ADDRESS))
    pair.run(100)
    kept = next(wire for wire in pair.sent[DOWN][::-1] if frames_of(wire)[0].kind == WELCOME)
    pair.run(1000)
    pair.hear(pair.pole, kept)
    assert pair.pole.counts["handshake"] == 1 and pair.pole.opened == 1


def test_who_to_everybody_is_answered_after_a_random_wait() -> None:
    waits = set()
    for seed in range(20):
        pole = PoleLink(ADDRESS, KEY, bytes([seed]) * 32)
        pole.begin(1, 1)
        while pole.poll(0, 0) is None:
            pole._call_at = 0  # the first call is not what is measured
            pole._stir = True
        pole._called_at = -1
        pole.receive(frames_of(who(EVERYBODY))[0], 0)
        waits.add(pole._call_at)
    assert len(waits) > 10 and max(waits) <= 60


def test_every_refusal_has_a_word() -> None:
    assert set(Pair().pole.counts) == {*REFUSALS, "duplicate", "resent"}


def test_a_welcome_needs_the_key_and_the_number_that_the_pole_named() -> None:
    """Who hears the HELLO knows the nonce, yet not the key; who has the key yet derives wrongly opens nothing."""
    pair = Pair()
    pair.deaf = {pair.agent, pair.pole}
    pair.run(100)
    nonce = frames_of(pair.sent[UP][0])[0].body[:16]
    right = seal_of("sos welcome", pair.pole)
    for seal, body, reason in (
        (Seal(b"x" * 32), nonce + bytes(16), "tag"),
        (right, nonce + bytes(16), "malformed"),
        (right, nonce + bytes(15), "handshake"),
        (right, bytes(32), "handshake"),
    ):
        before = pair.pole.counts[reason]
        pair.hear(pair.pole, build(WELCOME, ADDRESS, 1, 0, 1, body, seal))
        assert pair.pole.counts[reason] == before + 1 and not pair.pole.up


def test_a_damaged_question_is_not_answered() -> None:
    pair = Pair().open()
    pair.run(500)
    pair.hear(pair.pole, build(WHO, ADDRESS, 0, 0, 0, b"", Seal(b"x" * 32)))
    assert pair.pole.counts["tag"] == 1 and pair.pole._call_at == -1
