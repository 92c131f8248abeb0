"""Exact values at the edges of alarms: their ages, what may be taken and what not, the words of the desk."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.station.world import A, alarm

from sos_contract.payloads import AlarmView, Detail, Identity, Notice, Probe, encode
from sos_station.core import desk, inbox
from sos_station.core.effects import Log
from sos_station.core.inbox import LATE_MS, MAX_TRANSIT_MS, Inbox, age_at_receipt_ms
from sos_station.core.incidents import IN_HAND, SETTLED, WAITING_LATE, WAITING_LIVE, WAITING_TEST, join, queue
from sos_station.core.records import AlarmRow, Stamp, age_now_ms, view

WALL_MS = 1_800_000_000_000


def at(mono_ms: int, wall_ms: int = WALL_MS, quality: Any = "synced", timebase: str = "boot-1") -> Stamp:
    return Stamp(wall_ms + mono_ms, quality, timebase, mono_ms)


# -- ages and rows


@pytest.mark.parametrize(
    ("transit_ms", "agents", "ours", "age_ms"),
    [
        (0, "synced", "synced", 40),
        (1, "synced", "synced", 41),
        (MAX_TRANSIT_MS, "synced", "synced", 40 + MAX_TRANSIT_MS),
        (MAX_TRANSIT_MS + 1, "synced", "synced", 40),
        (-1, "synced", "synced", 40),
        (500, "holdover", "synced", 40),
        (500, "synced", "holdover", 40),
    ],
)
def test_the_way_here_is_measured_where_both_clocks_are_good(
    transit_ms: int, agents: Any, ours: Any, age_ms: int
) -> None:
    sent = alarm(sent_wall_ms=WALL_MS, clock=agents)
    assert age_at_receipt_ms(sent, at(transit_ms, quality=ours)) == age_ms
    assert age_at_receipt_ms(replace(sent, age_ms=None), at(transit_ms, quality=ours)) is None


def row(**more: Any) -> AlarmRow:
    fields: dict[str, Any] = {
        "number": 7, "incident": 5, "id": Identity("merlin-1", "0" * 16, 1, 1), "point": "merlin", "kind": "press",
        "repeats": 2, "clash": True, "age_ms": 40, "late": True, "clock": "holdover", "received": at(1_000),
        "stage": "accepted", "officer": "Somchai", "changed_wall_ms": WALL_MS, "disposition": "test", "remark": "r",
        "held_ms": 300, "presses": 4, "waiting": 3, "newest": 9,
    }  # fmt: skip
    return AlarmRow(**{**fields, **more})


def test_an_age_goes_on_by_the_machines_time_or_by_trusted_clocks() -> None:
    assert age_now_ms(row(), at(1_500, wall_ms=5)) == 540, "within one start no clock is asked"
    other = at(200, wall_ms=WALL_MS + 2_000, timebase="boot-2")
    assert age_now_ms(row(), other) == 1_240
    assert age_now_ms(row(received=at(1_000, quality="unset")), other) is None
    assert age_now_ms(row(), replace(other, quality="unset")) is None
    assert age_now_ms(row(), replace(other, wall_ms=WALL_MS + 1_000)) == 40
    assert age_now_ms(row(), replace(other, wall_ms=WALL_MS + 999)) is None
    assert age_now_ms(row(age_ms=None), other) is None


def test_a_view_shows_the_row_whole() -> None:
    assert view(row(), at(1_000)) == AlarmView(
        number=7, incident=5, id=Identity("merlin-1", "0" * 16, 1, 1), point="merlin", kind="press", stage="accepted",
        age_ms=40, late=True, clock="holdover", repeats=2, clash=True, received_wall_ms=WALL_MS + 1_000,
        officer="Somchai", disposition="test", held_ms=300, changed_wall_ms=WALL_MS, remark="r", presses=4, waiting=3,
        newest=9,
    )  # fmt: skip
    assert view(row(newest=0), at(1_000)).newest == 7


def test_the_officers_list_has_its_order() -> None:
    assert queue("received", "press", False) == WAITING_LIVE and queue("received", "press", True) == WAITING_LATE
    assert queue("received", "test_press", True) == WAITING_TEST and queue("closed", "press", True) == SETTLED
    assert queue("on_scene", "test_press", False) == IN_HAND
    assert join(None, 5) == 5 and join(3, 5) == 3
    assert WAITING_LIVE < WAITING_LATE < WAITING_TEST < IN_HAND < SETTLED


# -- what may be taken

BEYOND = 2**32
IDENTITY = Identity("merlin-1", "00000000000000aa", 1, 1)


@pytest.mark.parametrize(
    ("identity", "fits"),
    [
        (IDENTITY, True),
        (replace(IDENTITY, pole="p" * 64), True),
        (replace(IDENTITY, pole="p" * 65), False),
        (replace(IDENTITY, pole=""), False),
        (replace(IDENTITY, pole="p\n"), False),
        (replace(IDENTITY, incarnation="a" * 15), False),
        (replace(IDENTITY, incarnation="a" * 17), False),
        (replace(IDENTITY, incarnation="A" * 16), False),
        *((replace(IDENTITY, **{field: BEYOND - 1}), True) for field in ("boot", "press", "clash")),
        *((replace(IDENTITY, **{field: 0}), True) for field in ("boot", "press", "clash")),
        *((replace(IDENTITY, **{field: BEYOND}), False) for field in ("boot", "press", "clash")),
        *((replace(IDENTITY, **{field: -1}), False) for field in ("boot", "press", "clash")),
    ],
)
def test_an_identity_fits_or_not(identity: Identity, fits: bool) -> None:
    assert (inbox.complaint(replace(alarm(), id=identity)) == "") == fits


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({"kind": "k" * 64}, True),
        ({"kind": "k" * 65}, False),
        ({"kind": ""}, False),
        ({"kind": "a\tb"}, False),
        ({"kind": "tamper"}, False),
        ({"pressed_at_ms": 0, "repeats": 0, "age_ms": 0}, True),
        ({"pressed_at_ms": 2**63 - 1}, True),
        ({"pressed_at_ms": -1}, False),
        ({"repeats": 2**32 - 1}, True),
        ({"repeats": 2**32}, False),
        ({"repeats": -1}, False),
        ({"age_ms": None}, True),
        ({"age_ms": 2**53 - 1}, True),
        ({"age_ms": 2**53}, False),
        ({"age_ms": -1}, False),
    ],
)
def test_an_alarm_fits_or_not(more: dict[str, Any], fits: bool) -> None:
    assert (inbox.complaint(replace(alarm(), **more)) == "") == fits


def notice(**more: Any) -> Notice:
    fields: dict[str, Any] = {"number": 1, "outbox": "aa", "pole": "merlin-1", "kind": "tamper", "on": True}
    return Notice(**{**fields, **more})


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, True),
        ({"pole": "", "outbox": ""}, True),
        ({"kind": ""}, False),
        *(({field: "n" * 64}, True) for field in ("outbox", "pole", "kind")),
        *(({field: "n" * 65}, False) for field in ("outbox", "pole", "kind")),
        *(({field: "\n"}, False) for field in ("outbox", "pole", "kind")),
        *(({field: -(2**63)}, True) for field in ("number", "value", "merged", "wall_ms")),
        ({"detail": Detail(id=IDENTITY, held_ms=0)}, True),
        ({"detail": Detail(id=IDENTITY, held_ms=2**53 - 1)}, True),
        ({"detail": Detail(id=IDENTITY, held_ms=2**53)}, False),
        ({"detail": Detail(id=IDENTITY, held_ms=-1)}, False),
        ({"detail": Detail(id=replace(IDENTITY, boot=-1), held_ms=1)}, False),
    ],
)
def test_a_notice_fits_or_not(more: dict[str, Any], fits: bool) -> None:
    assert (inbox.notice_complaint(notice(**more)) == "") == fits


def taken(**more: Any) -> Any:
    """What becomes of an alarm that comes at 1,000 ms."""
    made = Inbox("betong", {"merlin-1": "merlin", "market-1": "market"})
    (effect,) = made.alarm(A, more.pop("point", "merlin"), encode(alarm(**more)), at(1_000))
    return effect


def test_an_alarm_is_late_behind_a_minute_or_when_nobody_knows() -> None:
    said = [(taken(age_ms=age_ms).age_ms, taken(age_ms=age_ms).late) for age_ms in (LATE_MS, LATE_MS + 1, None)]
    assert said == [(LATE_MS, False), (LATE_MS + 1, True), (None, True)]


def test_a_store_carries_whom_to_answer_and_what_is_odd() -> None:
    store = taken(sent_wall_ms=WALL_MS + 990)
    assert (store.broker, store.point, store.alarm.id.press, store.received, store.age_ms, store.remark) == (
        A, "merlin", 1, at(1_000), 50, "",
    )  # fmt: skip
    assert taken(pole="market-1").remark == "pole belongs to point market"
    assert taken(pole="elsewhere").remark == "pole is not in the station's site file"


@pytest.mark.parametrize(
    ("session", "number", "fits"),
    [("s" * 64, 2**63 - 1, True), ("s" * 65, 1, False), ("s", -(2**63), True)],
)
def test_a_probe_fits_or_not(session: str, number: int, fits: bool) -> None:
    made = Inbox("betong", {})
    (effect,) = made.probe(A, "merlin", Probe(session=session, number=number))
    assert isinstance(effect, Log) != fits


def test_what_is_refused_is_logged_at_each_power_of_two() -> None:
    made = Inbox("betong", {})
    logged = [count for count in range(1, 20) if made.alarm(A, "merlin", b"x", at(0))]
    assert logged == [1, 2, 4, 8, 16] and made.refusals.counts["alarm"] == 19


# -- the desk's words


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), (" #7 ", 7), ("0", None), ("", None), ("x", None), ("-7", None), ("\u0e57", None),
     ("9" * 15, 10**15 - 1), ("9" * 16, None)],
)  # fmt: skip
def test_what_is_an_alarm_number(text: str, number: int | None) -> None:
    assert desk.number_of(text) == number


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [(-5, "0 s"), (999, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_199_999, "119 min"), (7_200_000, "2 h"),
     (172_799_999, "47 h"), (172_800_000, "2 days")],
)  # fmt: skip
def test_spans_change_their_unit_at_two(span_ms: int, words: str) -> None:
    assert desk.in_words(span_ms) == words


def test_hints_say_what_is_not_in_the_rows() -> None:
    seen = (view(row(), at(0)),)
    assert desk.changed_hint(1, 0, seen) == "" and desk.changed_hint(2, 0, seen) == "2 presses covered"
    assert desk.changed_hint(1, 1, seen) == "1 press of this incident still waits for an officer"
    assert desk.changed_hint(3, 2, seen) == "3 presses covered; 2 presses of this incident still wait for an officer"
