"""Exact values at the edges of outages and notices: margins, bounds, passes, what is stored and what is published."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.agent.core_world import config

from sos_agent.core import effects, events
from sos_agent.core.context import Context
from sos_agent.core.events import Contents, NoticeRow, Started
from sos_agent.core.notices import (
    DISAGREE_MS,
    FETCH_ROWS,
    IN_FLIGHT_MOST,
    LISTENED_MS,
    MERGE_ABOVE,
    PASS_PAUSE_MS,
    TRIES_MOST,
    UNSTORED_MOST,
    UNSTORED_RETRY_MS,
    Notices,
)
from sos_agent.core.supervision import OUTAGE_MARGIN_MS, UNHEARD_MS, VALUE_MOST, PoleLinks
from sos_contract import payloads
from sos_contract.payloads import Identity, Notice
from sos_wire.messages import FAULTS


def context(now_ms: int = 1_000, *, connection: str = "", brokers: tuple[str, ...] = ("mqtt://a",)) -> Context:
    made = Context(config(brokers), Started(bytes(32), "linux", Contents("aa", 0, 0)), now_ms)
    made.connection = connection
    return made


def took(shared: Context) -> list[Any]:
    """The effects since the last call."""
    taken, shared.effects = shared.effects, []
    return taken


# -- outages of a pole's link


def links(open_faults: tuple[tuple[str, str], ...] = ()) -> tuple[PoleLinks, Context]:
    shared = context(5_000)
    return PoleLinks(shared, Notices(shared, Contents("aa", 0, 0, open_faults=open_faults)), ["p1"]), shared


def noted(shared: Context) -> list[tuple[str, bool, int]]:
    return [(one.kind, one.on, one.value) for one in took(shared) if isinstance(one, effects.StoreNotice)]


def test_an_outage_tells_how_long_it_was() -> None:
    part, shared = links()
    part.step("p1", "opened", None)
    shared.now_ms = 30_000
    part.step("p1", "lost", 22_000)
    assert noted(shared) == [("link_lost", True, 8_000)]
    shared.now_ms = 47_000
    part.step("p1", "opened", 46_000)
    assert noted(shared) == [("link_lost", False, 25_000)]


def test_an_outage_of_years_tells_what_the_wire_can_say() -> None:
    part, shared = links()
    part.step("p1", "opened", None)
    shared.now_ms = VALUE_MOST + 20_000
    part.step("p1", "lost", 5_000)
    shared.now_ms *= 2
    part.step("p1", "opened", None)
    assert noted(shared) == [("link_lost", True, VALUE_MOST), ("link_lost", False, VALUE_MOST)]


def test_a_pole_that_was_never_heard_is_lost_after_10_s_and_noted_once_over_restarts() -> None:
    for known, expected in (((), [("link_lost", True, UNHEARD_MS)]), ((("p1", "link_lost"),), [])):
        part, shared = links(known)
        assert part.next_due_ms() == 5_000 + UNHEARD_MS
        shared.now_ms = 4_999 + UNHEARD_MS
        part.timer()
        assert noted(shared) == [] and part.states == {"p1": "unheard"}
        shared.now_ms += 1
        part.timer()
        assert noted(shared) == expected and part.states == {"p1": "lost"} and part.next_due_ms() is None


def test_what_the_pole_says_of_an_outage_is_ours_within_a_margin_on_both_sides() -> None:
    part, shared = links()
    assert not part.noted("p1", 20_000)
    part.step("p1", "opened", None)
    shared.now_ms = 30_000
    part.step("p1", "lost", 22_000)
    first, last = 22_000 - OUTAGE_MARGIN_MS, 40_000 + OUTAGE_MARGIN_MS
    assert part.noted("p1", last + 1), "it goes on"
    shared.now_ms = 40_000
    part.step("p1", "opened", 39_000)
    assert [part.noted("p1", at) for at in (first - 1, first, last, last + 1)] == [False, True, True, False]


# -- notices


def queue(waiting: int = 0, open_faults: tuple[tuple[str, str], ...] = (), **made: Any) -> tuple[Notices, Context]:
    shared = context(5_000, **made)
    return Notices(shared, Contents("aa", 0, waiting, open_faults=open_faults)), shared


def test_a_notice_is_stored_whole_with_its_time() -> None:
    part, shared = queue()
    part.add("p1", "tamper", on=True)
    part.add("p1", "battery_low", on=True, value=11_200, at=("before", 77))
    one, two = took(shared)
    assert one == effects.StoreNotice("p1", "tamper", True, 0, "linux", 5_000, None, False)
    assert two == effects.StoreNotice("p1", "battery_low", True, 11_200, "before", 77, None, False)
    assert part.open_faults == {("p1", "tamper"), ("p1", "battery_low")}


@pytest.mark.parametrize(("said", "fault"), [("mains_back", "mains_lost"), ("link_back", "link_lost")])
def test_an_end_that_has_a_name_of_its_own_ends_its_fault(said: str, fault: str) -> None:
    part, shared = queue(open_faults=(("p1", fault), ("p1", "tamper")))
    part.add("p1", said, on=True)
    (stored,) = took(shared)
    assert (stored.kind, stored.on) == (fault, False) and part.open_faults == {("p1", "tamper")}


@pytest.mark.parametrize("kind", ["press_detail", "pole_restarted", "outbox_damaged"])
def test_what_passes_opens_no_fault(kind: str) -> None:
    part, _ = queue()
    part.add("p1", kind, on=True)
    assert part.open_faults == set()


@pytest.mark.parametrize(("waiting", "merge"), [(MERGE_ABOVE - 1, False), (MERGE_ABOVE, True)])
def test_from_64_waiting_on_notices_are_merged_and_details_never(waiting: int, merge: bool) -> None:
    part, shared = queue(waiting)
    part.add("p1", "tamper", on=True)
    part.add("p1", "press_detail", on=True, detail=payloads.Detail(id=Identity("p1", "aa", 1, 1), held_ms=5))
    assert [effect.merge for effect in took(shared)] == [merge, False]


def test_a_beat_that_disagrees_for_six_seconds_is_noted_and_a_shorter_one_is_not() -> None:
    part, shared = queue()
    mask = 1 << FAULTS.index("tamper")
    for at, beat, stores in (
        (5_000, mask, 0),
        (5_000 + LISTENED_MS, mask, 0),
        (4_999 + DISAGREE_MS, mask, 0),
        (4_999 + DISAGREE_MS, 0, 0),  # it agrees: from here on anew
        (5_000 + DISAGREE_MS, mask, 0),
        (5_000 + DISAGREE_MS + LISTENED_MS, mask, 0),
        (4_999 + 2 * DISAGREE_MS, mask, 0),
        (5_000 + 2 * DISAGREE_MS, mask, 1),
        (9_000 + 3 * DISAGREE_MS, mask, 0),
    ):
        shared.now_ms = at
        part.beat("p1", beat)
        assert [effect.on for effect in took(shared)] == [True] * stores
    assert shared.counts["notice_made_good"] == 1


def test_what_could_not_be_stored_is_tried_again_after_5_s_in_order_the_last_of_its_kind() -> None:
    part, shared = queue()
    part.add("p1", "tamper", on=True)
    part.not_stored(took(shared)[0])
    assert part.next_due_ms(False) == 5_000 + UNSTORED_RETRY_MS
    shared.now_ms = 4_999 + UNSTORED_RETRY_MS
    part.pump(False)
    assert took(shared) == []
    shared.now_ms += 1
    part.add("p1", "mains_lost", on=True)  # behind it, and at once
    part.add("p1", "tamper", on=True)
    part.pump(False)
    assert [(effect.kind, effect.at_ms) for effect in took(shared)] == [("mains_lost", 10_000), ("tamper", 10_000)]
    assert part.next_due_ms(False) is None


def test_256_that_could_not_be_stored_are_kept() -> None:
    part, shared = queue()
    store = effects.StoreNotice("p", "tamper", True, 0, "linux", 1, None, False)
    part._storing = UNSTORED_MOST + 1
    for index in range(UNSTORED_MOST + 1):
        part.not_stored(replace(store, pole=f"p{index}"))
        assert shared.counts["notice_not_stored"] == (index == UNSTORED_MOST)
    shared.now_ms += UNSTORED_RETRY_MS
    part.pump(False)
    assert [effect.pole for effect in took(shared)] == [f"p{index}" for index in range(1, UNSTORED_MOST + 1)]


def test_a_stored_notice_overtakes_older_ones_of_its_kind_that_failed() -> None:
    part, shared = queue()
    store = effects.StoreNotice("p1", "tamper", True, 0, "linux", 100, None, False)
    newer, other = replace(store, on=False, at_ms=101), replace(store, kind="chatter")
    for effect in (store, newer, other):
        part.not_stored(effect)
    part.stored(events.NoticeStored(replace(store, on=True, at_ms=100), 7, None))
    assert list(part._unstored.values()) == [newer, other] and shared.counts["notice_overtaken"] == 1
    assert part.waiting == 1
    part.stored(events.NoticeStored(replace(store, at_ms=102), 8, 7))
    assert part.waiting == 1, "one came, one went"


def notice(number: int) -> NoticeRow:
    return NoticeRow(number, "p1", "tamper", True, 3, 2, "linux", 100, 9_000, "synced")


def fetched(part: Notices, shared: Context, rows: int) -> None:
    """Let it read that many, which are all."""
    (fetch,) = (effect for effect in took(shared) if isinstance(effect, effects.FetchNotices))
    assert fetch == effects.FetchNotices(0, FETCH_ROWS)
    part.fetched(events.NoticesFetched(fetch, tuple(notice(number) for number in range(1, rows + 1)), True))


def test_notices_go_eight_at_a_time_whole_and_only_when_the_way_is_free() -> None:
    part, shared = queue(10, connection="s.1")
    part.pump(True)
    fetched(part, shared, 10)
    part.pump(False)
    assert took(shared) == []
    part.pump(True)
    sent = [payloads.decode(effect.payload, Notice) for effect in took(shared)]
    assert [one.number for one in sent if isinstance(one, Notice)] == list(range(1, IN_FLIGHT_MOST + 1))
    assert sent[0] == Notice(
        number=1, outbox="aa", pole="p1", kind="tamper", on=True, value=3, merged=2, wall_ms=9_000, clock="synced",
        detail=None,
    )  # fmt: skip
    part.receipt((1, 10, 99))
    (drop,) = took(shared)
    assert drop == effects.DropNotices((1,)) and shared.counts["receipt_unasked"] == 2
    part.dropped(events.NoticesDropped(drop, 1))
    assert part.waiting == 9
    part.pump(True)
    assert len(took(shared)) == 1


def test_a_notice_without_a_receipt_goes_four_times_and_then_with_a_later_pass() -> None:
    part, shared = queue(1, connection="s.1")
    part.pump(True)
    fetched(part, shared, 1)
    for _ in range(TRIES_MOST):
        part.pump(True)
        assert len(took(shared)) == 1
        shared.now_ms += 40_000
    part.pump(True)
    (again,) = took(shared)
    assert isinstance(again, effects.FetchNotices) and shared.counts["notice_not_receipted"] == 1


def test_a_pass_that_ended_begins_again_after_a_pause_while_something_waits() -> None:
    part, shared = queue(1, connection="s.1")
    part.pump(True)
    (fetch,) = took(shared)
    part.pump(True)
    assert took(shared) == [], "one at a time"
    part.fetch_failed()
    assert part.next_due_ms(True) == 5_000 + PASS_PAUSE_MS and part.next_due_ms(False) is None
    shared.now_ms += PASS_PAUSE_MS - 1
    part.pump(True)
    assert took(shared) == []
    shared.now_ms += 1
    part.pump(True)
    assert took(shared) == [fetch]


def test_what_failed_first_is_not_tried_again_behind_what_is_still_being_stored() -> None:
    """The disk was full, and its own notice hurried the next try: the beginning of an outage came to lie behind its
    end, and stood open once both were stored (seed 425, one hour)."""
    part, shared = queue()
    part.add("p", "link_lost", on=True)
    part.add("p", "link_back", on=True)
    begins, ends = took(shared)
    part.not_stored(begins)
    part.add("", "disk_full", on=True)
    part.pump(False)
    assert not took(shared) and part.next_due_ms(False) is None, "the other may still be stored"
    part.not_stored(ends)
    shared.now_ms += UNSTORED_RETRY_MS
    part.pump(False)
    assert [(effect.kind, effect.on) for effect in took(shared)] == [
        ("link_lost", True), ("disk_full", True), ("link_lost", False),
    ]  # fmt: skip
