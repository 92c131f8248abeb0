"""Exact values at the edges of the agent's parts: times of lanes, ages, back-off."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.agent.core_world import config

from sos_agent.core import effects
from sos_agent.core.brokers import BACK_OFF_MOST_MS, CONNECT_OVERDUE_MS, SILENT_MS, Brokers
from sos_agent.core.context import Context, sooner
from sos_agent.core.events import AlarmRow, BootRow, Contents, Started
from sos_agent.core.lane import Lane
from sos_agent.core.uptime import BOOTS_A_POLE, FUTURE_MOST_MS, STORE_MOVE_MS, STORE_PAUSE_MS, Uptime, worst
from sos_contract import payloads
from sos_contract.payloads import Identity


def context(now_ms: int = 1_000, *, connection: str = "", brokers: tuple[str, ...] = ("mqtt://a",)) -> Context:
    made = Context(config(brokers), Started(bytes(32), "linux", Contents("aa", 0, 0)), now_ms)
    made.connection = connection
    return made


def took(shared: Context) -> list[Any]:
    """The effects since the last call."""
    taken, shared.effects = shared.effects, []
    return taken


# -- context and lane


def test_the_earlier_of_two_times_and_none_is_never() -> None:
    assert (sooner(None, 5), sooner(5, None), sooner(4, 5), sooner(5, 4)) == (5, 5, 4, 4)
    assert sooner(None, None) is None and sooner(0, 5) == 0 and sooner(5, 0) == 0


def test_tokens_count_and_topics_are_the_points() -> None:
    shared = context(connection="s.1")
    answers = [shared.publish("probe", payloads.Probe(session="s.1", number=n)) for n in (1, 2)]
    first, second = took(shared)
    assert answers == [first.token, second.token] == [1, 2] and not first.retain
    assert (first.session, first.topic) == ("s.1", "sos/v1/betong/point/merlin/probe")
    drawn = [shared.about(1_000) for _ in range(400)]
    assert (min(drawn) < 760, max(drawn) > 1_240) == (True, True) and 750 <= min(drawn) <= max(drawn) <= 1_250


def lane(*items: str) -> Lane[str]:
    """Numbers from 1; the group is an item's first letter."""
    made: Lane[str] = Lane(lambda item: item[0])
    for number, item in enumerate(items, 1):
        made.add(number, item)
    return made


def numbers(made: Lane[str], now_ms: int, room: int = 9) -> list[int]:
    return [number for number, _ in made.take_due(now_ms, room, lambda ms: ms)]


def test_retries_come_at_their_millisecond_twice_as_late_each_time() -> None:
    made = lane("a")
    assert numbers(made, 100) == [1]
    at, gaps = 100, []
    for _ in range(6):
        due = made.next_due_ms()
        assert due is not None and numbers(made, due - 1) == []
        assert numbers(made, due) == [1]
        gaps.append(due - at)
        at = due
    assert gaps == [3_000, 6_000, 12_000, 24_000, 30_000, 30_000]
    assert (made.flights[1].sent_ms, made.flights[1].tries) == (at, 7)


def test_a_group_goes_again_together_and_the_others_keep_their_time() -> None:
    made = lane("a1", "b1", "a2")
    assert numbers(made, 0, 2) == [1, 2] and numbers(made, 1_000, 3) == [3]
    assert made.next_due_ms() == 3_000 and numbers(made, 2_999) == []
    made.flights[2].due_ms = 3_500
    assert numbers(made, 3_000) == [1, 3]
    assert made.next_due_ms() == 3_500 and numbers(made, 3_500) == [2]


def test_room_counts_what_flies_and_what_left_makes_room() -> None:
    made = lane("a", "b", "c", "d")
    assert numbers(made, 0, 2) == [1, 2] and made.flying == 2 and made.unsent()
    assert numbers(made, 1, 2) == [] and numbers(made, 1, 1) == []
    gone = made.remove(1)
    assert gone is not None and gone.item == "a" and made.flying == 1 and made.remove(1) is None
    assert numbers(made, 2, 2) == [3] and made.remove(4) is not None and made.flying == 2 and not made.unsent()


def test_again_means_what_was_sent_before_then() -> None:
    made = lane("a", "b", "c")
    assert numbers(made, 10, 1) == [1] and numbers(made, 20, 2) == [2]
    made.again(20)
    assert made.flying == 1 and made.flights[1].tries == 0 and made.flights[2].tries == 1
    made.again(20)
    assert made.flying == 1, "it is not counted out twice"
    assert numbers(made, 30, 9) == [1, 3]


# -- ages


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [("unset", "synced", "unset"), ("synced", "holdover", "holdover"), ("synced", "synced", "synced")],
)
def test_the_worse_clock_counts(one: Any, other: Any, said: str) -> None:
    assert worst(one, other) == worst(other, one) == said


def row(
    pressed_ms: int | None, *, timebase: str = "linux", wall_ms: int | None = None, quality: Any = "synced"
) -> AlarmRow:
    return AlarmRow(1, Identity("p1", "aa", 1, 1), "press", 0, 0, timebase, pressed_ms, wall_ms, quality, "held")


def test_an_age_in_one_time_base_needs_no_clock_and_is_never_negative() -> None:
    part = Uptime(context(1_000), ())
    assert part.age_ms(row(400)) == (600, "unset")
    assert part.age_ms(row(1_001)) == (0, "unset") and part.age_ms(row(None)) == (None, "unset")
    assert part.wall_ms() == 0


def test_an_age_over_time_bases_needs_both_clocks() -> None:
    part = Uptime(context(1_000), ())
    other = row(5, timebase="before", wall_ms=9_000_000, quality="holdover")
    assert part.age_ms(other) == (None, "unset")
    part.clock(9_000_700, "synced")
    assert part.wall_ms() == 9_000_700 and part.age_ms(other) == (700, "holdover")
    assert part.age_ms(replace(other, quality="unset")) == (None, "synced")
    assert part.age_ms(replace(other, pressed_wall_ms=None)) == (None, "synced")
    edge = replace(other, pressed_wall_ms=9_000_700 + FUTURE_MOST_MS)
    assert part.age_ms(edge) == (0, "holdover")
    assert part.age_ms(replace(edge, pressed_wall_ms=9_000_701 + FUTURE_MOST_MS)) == (None, "synced")


def test_a_clock_is_stored_when_it_is_better_or_has_moved_far() -> None:
    part = Uptime(context(1_000), ())
    told = []
    for wall_ms, quality in (
        (50_000, "unset"),
        (51_000, "holdover"),
        (51_000 + STORE_MOVE_MS, "holdover"),
        (51_001 + STORE_MOVE_MS, "holdover"),
        (51_000, "synced"),
        (51_000 - STORE_MOVE_MS, "synced"),
        (50_999 - STORE_MOVE_MS, "synced"),
        (99_000, "holdover"),
    ):
        part.clock(wall_ms, quality)  # type: ignore[arg-type]
        told.append([(effect.wall_at_zero_ms, effect.quality) for effect in took(part._context)])
    assert told == [
        [], [(50_000, "holdover")], [], [(50_001 + STORE_MOVE_MS, "holdover")],
        [(50_000, "synced")], [], [(49_999 - STORE_MOVE_MS, "synced")], [],
    ]  # fmt: skip


def test_a_clock_that_was_not_stored_is_stored_again_and_another_one_is_not() -> None:
    part = Uptime(context(1_000), ())
    part.clock(50_000, "synced")
    (stored,) = took(part._context)
    part.store_failed(replace(stored, wall_at_zero_ms=7))
    part.clock(50_000, "synced")
    assert took(part._context) == []
    part.store_failed(stored)
    part.clock(50_000, "synced")
    assert took(part._context) == [stored]


def test_a_boot_is_stored_again_only_when_it_has_moved_far_and_after_a_pause() -> None:
    shared = context(10_000)
    part = Uptime(shared, ())
    part.heard("p1", "aa", 3, 4_000)
    assert took(shared) == [effects.StoreBoot("p1", "aa", 3, "linux", 6_000)]
    shared.now_ms += STORE_PAUSE_MS - 1
    part.heard("p1", "aa", 3, shared.now_ms - 6_000 + STORE_MOVE_MS + 1)
    assert took(shared) == [], "far enough, too soon"
    shared.now_ms += 1
    part.heard("p1", "aa", 3, shared.now_ms - 6_000 + STORE_MOVE_MS + 1)
    (again,) = took(shared)
    assert (again.boot, again.zero_ms) == (3, 6_000 - STORE_MOVE_MS - 1)
    shared.now_ms += STORE_PAUSE_MS
    part.heard("p1", "aa", 3, shared.now_ms - again.zero_ms + STORE_MOVE_MS)
    assert took(shared) == [], "late enough, not far"


def test_a_boot_that_was_not_stored_is_stored_after_a_minute() -> None:
    shared = context(10_000)
    part = Uptime(shared, ())
    part.heard("p1", "aa", 3, 4_000)
    (stored,) = took(shared)
    part.store_failed(replace(stored, boot=4))
    part.store_failed(stored)
    for later_ms, stores in ((59_999, 0), (1, 1), (1, 0)):
        shared.now_ms += later_ms
        part.heard("p1", "aa", 3, shared.now_ms - 6_000)
        assert len(took(shared)) == stores


def test_a_boot_of_another_time_base_begins_anew_and_its_presses_keep_theirs() -> None:
    shared = context(10_000)
    part = Uptime(shared, (BootRow("p1", "aa", 3, "before", 500, None, "unset"),))
    assert part.time_of("p1", "aa", 3, 20) == ("before", 520)
    assert part.time_of("p1", "aa", 4, 20) == ("linux", None) == part.time_of("p2", "aa", 3, 20)
    part.heard("p1", "aa", 3, 1_000)
    assert part.time_of("p1", "aa", 3, 20) == ("linux", 9_020) and len(took(shared)) == 1


def test_the_newest_64_boots_are_kept_and_one_heard_again_is_new() -> None:
    part = Uptime(context(), ())
    for boot in range(BOOTS_A_POLE):
        part.heard("p1", "aa", boot, 0)
    part._keep("p1", ("aa", 0), part._boots["p1"]["aa", 0])
    part.heard("p1", "aa", 999, 0)
    assert part.time_of("p1", "aa", 0, 0)[1] is not None and part.time_of("p1", "aa", 1, 0)[1] is None
    assert len(part._boots["p1"]) == BOOTS_A_POLE


# -- brokers


def test_an_attempt_that_nobody_answers_is_left_after_20_s() -> None:
    shared = context()
    brokers = Brokers(shared)
    assert brokers.next_due_ms() == 1_000
    brokers.timer(lambda: False)
    (connect,) = took(shared)
    assert (connect.broker, connect.will_topic) == ("mqtt://a", "sos/v1/betong/point/merlin/state")
    assert connect.session == f"{shared.session}.1" and brokers.ours(connect.session)
    assert not brokers.ours("") and not brokers.ours("other") and shared.counts["old_connection"] == 2
    assert brokers.next_due_ms() == 1_000 + CONNECT_OVERDUE_MS
    shared.now_ms = 999 + CONNECT_OVERDUE_MS
    brokers.timer(lambda: False)
    assert brokers.state == "connecting" and took(shared) == []
    shared.now_ms += 1
    brokers.timer(lambda: False)
    disconnect, told = took(shared)
    assert disconnect == effects.Disconnect(connect.session) and isinstance(told, effects.Log)
    assert brokers.state == "waiting" and not brokers.ours(connect.session)


def test_back_off_doubles_from_half_a_second_to_five(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = context()
    brokers = Brokers(shared)
    waits = []
    monkeypatch.setattr(shared, "about", lambda ms: ms)
    for _ in range(7):
        shared.now_ms = brokers._due_ms
        brokers.timer(lambda: False)
        brokers.step("down", "refused")
        waits.append(brokers._due_ms - shared.now_ms)
    assert waits == [500, 1_000, 2_000, 4_000, BACK_OFF_MOST_MS, BACK_OFF_MOST_MS, BACK_OFF_MOST_MS]
    assert sum(isinstance(effect, effects.Log) for effect in took(shared)) == 1, "once until a probe was answered"
    brokers.timer(lambda: False)
    shared.now_ms = brokers._due_ms
    brokers.timer(lambda: False)
    brokers.step("up")
    brokers.answered(shared.now_ms)
    brokers.step("down", "gone")
    assert brokers._due_ms - shared.now_ms == 500


def proven(*names: str) -> tuple[Brokers, Context]:
    """The first broker up at 1,000, and its probe of then answered."""
    shared = context(brokers=names)
    brokers = Brokers(shared)
    brokers.timer(lambda: False)
    brokers.step("up")
    brokers.answered(1_000)
    took(shared)
    return brokers, shared


@pytest.mark.parametrize(
    ("names", "dead", "left"),
    [(("mqtt://a",), False, False), (("mqtt://a",), True, True), (("mqtt://a", "mqtt://b"), False, True)],
)
def test_a_silent_broker_is_left_after_15_s_if_it_is_dead_or_there_is_another(
    names: tuple[str, ...], dead: bool, left: bool
) -> None:
    brokers, shared = proven(*names)
    brokers.answered(900)  # late, of an older probe: takes nothing back
    assert brokers.next_due_ms() == 1_000 + SILENT_MS
    shared.now_ms = 999 + SILENT_MS
    brokers.timer(lambda: dead)
    assert brokers.state == "proven"
    shared.now_ms += 1
    assert brokers.next_due_ms() is None
    brokers.timer(lambda: dead)
    assert (brokers.state == "waiting") == left == (shared.connection == "")
    assert brokers.broker == (names[-1] if left else names[0])


def test_a_broker_that_broke_is_tried_again_and_one_that_was_never_proven_is_not() -> None:
    brokers, shared = proven("mqtt://a", "mqtt://b")
    brokers.step("down", "reset")
    assert brokers.broker == "mqtt://a"
    shared.now_ms = brokers._due_ms
    brokers.timer(lambda: False)
    brokers.step("down", "refused")
    assert brokers.broker == "mqtt://b"


def test_a_greeting_subscribes_before_it_says_that_it_is_there() -> None:
    shared = context(connection="")
    brokers = Brokers(shared)
    brokers.timer(lambda: False)
    took(shared)
    brokers.step("up")
    subscribe, state = took(shared)
    point = "sos/v1/betong/point/merlin/"
    assert subscribe.topics == (
        f"{point}receipt", f"{point}progress", f"{point}probe_answer", f"{point}command", "sos/v1/betong/state",
    )  # fmt: skip
    assert subscribe.session == state.session == shared.connection and (state.topic, state.retain) == (
        f"{point}state",
        True,
    )


def test_a_goodbye_is_kept_and_ends_the_connection() -> None:
    brokers, shared = proven("mqtt://a")
    session = shared.connection
    brokers.goodbye()
    state, disconnect = took(shared)
    assert (state.retain, b'"online":false' in state.payload, disconnect.session) == (True, True, session)
    assert shared.connection == ""


def test_a_password_is_not_shown() -> None:
    shared = context(brokers=("mqtts://user:secret@host:8883",))
    brokers = Brokers(shared)
    brokers.timer(lambda: False)
    brokers.step("down", "refused")
    (told,) = (effect for effect in took(shared) if isinstance(effect, effects.Log))
    assert dict(told.fields) == {"broker": "mqtts://host:8883", "reason": "refused"}
