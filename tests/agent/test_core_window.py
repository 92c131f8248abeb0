"""Exact values of the courier's window: what flies, what gives way, when the next pass begins."""

from __future__ import annotations

from typing import Any

from tests.agent.core_world import config

from sos_agent.core import effects, events
from sos_agent.core.context import Context
from sos_agent.core.courier import (
    BACKLOG_IN_FLIGHT_MOST,
    FETCH_BELOW,
    FETCH_ROWS,
    IN_FLIGHT_MOST,
    LIVE_MOST,
    PASS_PAUSE_MS,
    REFUSED_PAUSE_MS,
    SAFETY_PASS_MS,
    TRIES_MOST,
    Courier,
)
from sos_agent.core.events import AlarmRow, Contents, Started
from sos_agent.core.uptime import Uptime
from sos_contract import payloads
from sos_contract.payloads import Alarm, Entry, Identity

ENTRY = Entry(7, "ab" * 32)  # of the station's ledger


def courier(waiting: int = 0, connection: str = "s.1") -> tuple[Courier, Context]:
    shared = Context(config(), Started(bytes(32), "linux", Contents("aa", 0, 0)), 1_000)
    shared.connection = connection
    made = Courier(shared, Uptime(shared, ()), waiting)
    made.in_service = True
    return made, shared


def row(number: int, pressed_ms: int | None = 900, pole: str = "p1") -> AlarmRow:
    return AlarmRow(
        number, Identity(pole, "aa", 1, number), "press", 77, 2, "linux", pressed_ms, None, "unset", "held", ENTRY
    )  # fmt: skip


def took(shared: Context, kind: type[Any]) -> list[Any]:
    """The effects of that kind since the last call; the others are forgotten."""
    taken, shared.effects = shared.effects, []
    return [effect for effect in taken if isinstance(effect, kind)]


def sent(part: Courier, shared: Context) -> list[tuple[int, str]]:
    """(press, lane) of what is published now."""
    part.pump()
    said = [payloads.decode(effect.payload, Alarm) for effect in took(shared, effects.Publish)]
    return [(one.id.press, one.lane) for one in said if isinstance(one, Alarm)]


def fetch(part: Courier, shared: Context) -> list[effects.FetchWaiting]:
    part.pump()
    return took(shared, effects.FetchWaiting)


def fill(part: Courier, shared: Context, first: int, last: int, *, end: bool = True) -> None:
    """Read these rows into the backlog."""
    (asked,) = fetch(part, shared)
    part.fetched(events.WaitingFetched(asked, tuple(row(number) for number in range(first, last + 1)), end))


def test_a_live_press_goes_out_whole_and_at_once() -> None:
    part, shared = courier()
    part.in_service = False
    part.stored(row(5), live=True)
    assert part.waiting == 1 and not part.idle()
    part.pump()
    (published,) = took(shared, effects.Publish)
    assert payloads.decode(published.payload, Alarm) == Alarm(
        id=row(5).id, kind="press", pressed_at_ms=77, repeats=2, lane="live", age_ms=100, sent_wall_ms=0,
        clock="unset", agent=shared.session, outbox="aa", record=ENTRY,
    )  # fmt: skip
    assert part.waits(row(5).id) and not part.waits(row(6).id) and part.next_due_ms() is not None


def test_what_is_old_or_of_unknown_age_goes_with_the_backlog() -> None:
    part, shared = courier()
    part.in_service = False
    part.stored(row(5), live=False)
    part.stored(row(6, None), live=True)
    assert sent(part, shared) == [] and part.waiting == 2
    part.in_service = True
    fill(part, shared, 5, 6)
    assert sent(part, shared) == [(5, "backlog"), (6, "backlog")]


def test_the_live_lane_keeps_the_newest_64_and_the_others_come_with_a_pass() -> None:
    part, shared = courier(connection="")
    for number in range(1, LIVE_MOST + 2):
        part.stored(row(number), live=True)
    shared.connection = "s.1"
    part.in_service = False
    assert sent(part, shared) == [(number, "live") for number in range(2, LIVE_MOST + 2)]
    part.in_service = True
    (asked,) = fetch(part, shared)
    assert asked == effects.FetchWaiting(0, FETCH_ROWS)


def test_48_of_the_backlog_fly_and_the_live_lane_has_the_rest() -> None:
    part, shared = courier(waiting=60)
    fill(part, shared, 1, 60)
    assert len(sent(part, shared)) == BACKLOG_IN_FLIGHT_MOST
    for number in range(101, 121):
        part.stored(row(number), live=True)
    assert [lane for _, lane in sent(part, shared)] == ["live"] * (IN_FLIGHT_MOST - BACKLOG_IN_FLIGHT_MOST)
    part.receipt((row(1).id,), "i", ENTRY)
    assert [lane for _, lane in sent(part, shared)] == ["live"]


def test_receipts_are_believed_of_what_was_published_and_only_of_that() -> None:
    part, shared = courier(waiting=2)
    fill(part, shared, 1, 2)
    assert part.receipt((row(1).id,), "i", ENTRY) == [] and shared.counts["receipt_unasked"] == 1
    sent(part, shared)
    assert part.receipt((row(1).id, row(9).id, row(1).id), "i", ENTRY) == [row(1).id]
    (mark,) = took(shared, effects.MarkReceipted)
    assert (
        mark == effects.MarkReceipted((row(1).id,), "linux", 1_000, "i", ENTRY, 0)
        and shared.counts["receipt_unasked"] == 3
    )
    part.receipted(events.Receipted(mark, (row(1).id,)))
    assert part.waiting == 1 and not part.waits(row(1).id) and part.waits(row(2).id)


def test_a_receipt_that_was_not_stored_lets_the_pass_begin_at_its_row() -> None:
    part, shared = courier(waiting=40)
    fill(part, shared, 1, 40)
    sent(part, shared)
    part.receipt(tuple(row(number).id for number in (7, 9)), "i", ENTRY)
    (mark,) = took(shared, effects.MarkReceipted)
    part.receipt_not_stored(mark)
    part.receipt(tuple(row(number).id for number in range(10, 20)), "i", ENTRY)
    (asked,) = fetch(part, shared)
    assert asked.after_row == 6


def test_a_refused_alarm_makes_room_and_is_offered_again_after_a_minute() -> None:
    part, shared = courier(waiting=1)
    fill(part, shared, 1, 1)
    sent(part, shared)
    part.refused(((row(1).id, "no"), (row(9).id, "no")))
    assert shared.counts["refusal_unasked"] == 1 and not part.waits(row(1).id)
    assert len(took(shared, effects.Log)) == 1
    for later_ms, again in ((REFUSED_PAUSE_MS - 1, []), (1, [(1, "backlog")])):
        shared.now_ms += later_ms
        part.made_waiting(events.MadeWaiting(effects.MarkWaiting((row(1).id,)), (row(1).id,)))
        fill(part, shared, 1, 1)
        assert sent(part, shared) == again


def test_a_fetch_brings_what_is_not_there_already() -> None:
    part, shared = courier(waiting=3)
    fill(part, shared, 1, 2, end=False)
    sent(part, shared)
    part.receipt((row(1).id,), "i", ENTRY)
    (asked,) = fetch(part, shared) or [effects.FetchWaiting(2, FETCH_ROWS)]
    assert asked.after_row == 2
    part._fetching = True
    part.fetched(events.WaitingFetched(asked, (row(1), row(2), row(3)), True))
    assert sent(part, shared) == [(3, "backlog")]


def test_rows_are_read_ahead_below_32_one_fetch_at_a_time() -> None:
    part, shared = courier(waiting=200)
    fill(part, shared, 1, FETCH_BELOW, end=False)
    assert fetch(part, shared) == []
    part.receipt((row(1).id,), "i", ENTRY)
    assert fetch(part, shared) == [effects.FetchWaiting(FETCH_BELOW, FETCH_ROWS)]
    assert fetch(part, shared) == [], "one is under way"


def test_passes_pause_ten_seconds_while_something_waits_and_a_minute_otherwise() -> None:
    for waiting, pause_ms in ((1, PASS_PAUSE_MS), (0, SAFETY_PASS_MS)):
        part, shared = courier(waiting)
        fetch(part, shared)
        part.fetch_failed()
        assert part.next_due_ms() == 1_000 + pause_ms and part.idle()
        shared.now_ms = 999 + pause_ms
        assert fetch(part, shared) == []
        shared.now_ms += 1
        assert fetch(part, shared) == [effects.FetchWaiting(0, FETCH_ROWS)]


def test_without_a_receipt_an_alarm_goes_four_times_and_gives_way() -> None:
    part, shared = courier()
    part.stored(row(1), live=True)
    for _ in range(TRIES_MOST):
        assert sent(part, shared) == [(1, "live")]
        shared.now_ms += 40_000
    assert sent(part, shared) == [] and shared.counts["alarm_not_receipted"] == 1 and not part.waits(row(1).id)
    away, shared = courier()
    away.in_service = False
    away.stored(row(1), live=True)
    for _ in range(2 * TRIES_MOST):
        assert sent(away, shared) == [(1, "live")], "while the station is away nothing gives way"
        shared.now_ms += 40_000


def test_what_was_published_before_the_way_broke_goes_again_when_it_is_back() -> None:
    part, shared = courier()
    part.stored(row(1), live=True)
    sent(part, shared)
    shared.now_ms = 1_500
    part.stored(row(2), live=True)
    sent(part, shared)
    part.came_back(1_500)
    assert sent(part, shared) == [(1, "live")]


def test_while_nothing_is_connected_nothing_is_due() -> None:
    part, shared = courier(waiting=5, connection="")
    part.stored(row(1), live=True)
    part.pump()
    assert shared.effects == [] and part.next_due_ms() is None
