"""Exact values at the edges of the station's parts: patience, back-off, echoes, what is a fault since when."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.station.world import A, B

from sos_contract.payloads import Health, PoleHealth, State, decode
from sos_station.core.brokers import (
    BACKOFF_MOST_MS,
    BROKER_LOST_MS,
    CONNECT_TIMEOUT_MS,
    ECHO_EVERY_MS,
    ECHO_LOST_MS,
    RIVAL_GONE_MS,
    Brokers,
    shown,
)
from sos_station.core.effects import Connect, Disconnect, Log, Publish, SetFault, Subscribe
from sos_station.core.faults import RENEW_MS, HealthWatch
from sos_station.core.points import POINT_LOST_MS, POINT_SUSPECT_MS, Points, _deadline_ms
from sos_station.core.records import Stamp
from sos_wire.seal import Stream

WALL_MS = 1_800_000_000_000


def at(mono_ms: int, wall_ms: int = WALL_MS, quality: Any = "synced", timebase: str = "boot-1") -> Stamp:
    return Stamp(wall_ms + mono_ms, quality, timebase, mono_ms)


# -- brokers


class Middle(Stream):
    """Draws the middle of what it is asked for."""

    def about(self, middle: int, spread: int) -> int:
        assert spread == middle // 4
        return middle


def brokers(*names: str) -> Brokers:
    made = Brokers("betong", names or (A,))
    made.start(Middle(bytes(32)), at(1_000))
    return made


def kinds(effects: list[Any]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def test_an_address_is_shown_without_user_and_scheme() -> None:
    assert [shown(name) for name in (A, B, "plain:1")] == ["a:1883", "b:1883", "plain:1"]


def test_a_start_connects_all_at_once_each_with_its_session_and_will() -> None:
    made = Brokers("betong", (A, B))
    assert made.next_ms() is None
    first, second = made.start(Middle(bytes(32)), at(1_000))
    assert isinstance(first, Connect) and isinstance(second, Connect)
    assert (first.broker, second.broker) == (A, B)
    run, _, number = first.session.partition("-")
    assert (number, second.session, len(run)) == ("1", f"{run}-2", 16)
    assert first.will_topic == "sos/v1/betong/state"
    assert decode(first.will, State) == State(online=False, session=first.session, wall_ms=WALL_MS + 1_000)
    assert made.next_ms() == 1_000 + BROKER_LOST_MS and made.up() == []


def test_an_attempt_without_an_answer_ends_after_20_s() -> None:
    made = brokers()
    assert kinds(made.tick(at(1_000 + BROKER_LOST_MS))) == ["SetFault"]
    assert made.next_ms() == 1_000 + CONNECT_TIMEOUT_MS
    assert made.tick(at(999 + CONNECT_TIMEOUT_MS)) == []
    end, told = made.tick(at(1_000 + CONNECT_TIMEOUT_MS))
    assert end == Disconnect(A) and isinstance(told, Log)
    assert dict(told.fields) == {"broker": "a:1883", "why": "no answer in time"}


def test_pauses_double_from_a_quarter_second_to_five_and_are_told_once() -> None:
    made, now_ms = brokers(), 1_000
    pauses, told = [], 0
    for _ in range(7):
        told += len(made.went_down(A, "nothing listens", at(now_ms)))
        due_ms = made._brokers[A].due_ms
        pauses.append(due_ms - now_ms)
        assert "Connect" not in kinds(made.tick(at(due_ms - 1)))
        now_ms = due_ms
        assert "Connect" in kinds(made.tick(at(now_ms)))
    assert pauses == [250, 500, 1_000, 2_000, 4_000, BACKOFF_MOST_MS, BACKOFF_MOST_MS] and told == 1
    made.came_up(A, at(now_ms))
    made.went_down(A, "reset", at(now_ms))
    assert made._brokers[A].due_ms - now_ms == 250
    assert made.went_down(A, "again", at(now_ms + 1)) == [], "it was down"


@pytest.mark.parametrize("before_ms", [0, 5_000])
def test_a_broker_is_lost_after_10_s_and_its_fault_tells_when_it_was_good(before_ms: int) -> None:
    made = brokers()
    good_wall_ms, since_ms = 0, 1_000
    if before_ms:
        made.came_up(A, at(2_000))
        since_ms = 2_000 + before_ms
        good_wall_ms = WALL_MS + since_ms
    made.went_down(A, "reset", at(since_ms))
    if not before_ms:
        made._brokers[A].good_wall_ms = 0
    faults = [one for ms in (BROKER_LOST_MS - 1, BROKER_LOST_MS) for one in made.tick(at(since_ms + ms))]
    assert [one for one in faults if isinstance(one, SetFault)] == [
        SetFault("betong", "a:1883", "broker_lost", True, at(since_ms + BROKER_LOST_MS), good_wall_ms)
    ]
    assert not any(isinstance(one, SetFault) for one in made.tick(at(since_ms + 2 * BROKER_LOST_MS)))


def test_a_broker_that_comes_up_is_greeted_in_order() -> None:
    made = brokers()
    fault, told, subscribe, state = made.came_up(A, at(3_000))
    assert fault == SetFault("betong", "a:1883", "broker_lost", False, at(3_000)) and isinstance(told, Log)
    assert dict(told.fields) == {"broker": "a:1883", "tries": 0}
    assert isinstance(subscribe, Subscribe) and isinstance(state, Publish)
    assert {"sos/v1/betong/state", "sos/v1/betong/point/+/alarm"} <= set(subscribe.topics)
    said = decode(state.payload, State)
    assert isinstance(said, State) and said.online and state.retain and made.up() == [A]
    assert made.next_ms() == 3_000 + ECHO_EVERY_MS
    made.went_down(A, "reset", at(4_000))
    made.tick(at(4_250))
    assert kinds(made.came_up(A, at(4_300))) == ["Log", "Subscribe", "Publish"], "there was no fault to end"


def echo(made: Brokers, ms: int, **more: Any) -> list[Any]:
    session = more.pop("session", made._brokers[A].session)
    state = State(online=more.pop("online", True), session=session, wall_ms=0)
    return made.heard_state(A, state, more.pop("retained", False), at(ms))


def test_a_connection_whose_echo_is_missing_for_12_s_is_given_up() -> None:
    made = brokers()
    assert echo(made, 1_500) == [], "not up, so nothing of it counts"
    made.came_up(A, at(2_000))
    assert echo(made, 4_000) == []
    assert kinds(made.tick(at(7_000))) == ["Publish"] and kinds(made.tick(at(12_000))) == ["Publish"]
    assert made.next_ms() == 4_000 + ECHO_LOST_MS
    made._brokers[A].due_ms = 0
    assert kinds(made.tick(at(3_999 + ECHO_LOST_MS))) == ["Publish"]
    end, told = made.tick(at(4_000 + ECHO_LOST_MS))
    assert end == Disconnect(A) and "do not come back" in str(told)


def test_a_rival_is_told_once_and_gone_15_s_after_its_last_word() -> None:
    made = brokers()
    made.came_up(A, at(2_000))
    ours = made._brokers[A].session
    assert echo(made, 2_100, session="other", retained=True) == []
    assert echo(made, 2_100, session=ours.replace("-1", "-77")) == [], "an earlier connection of ours"
    assert kinds(echo(made, 2_100, session="other", online=False)) == ["Publish"]
    fault, _told = echo(made, 3_000, session="other" * 40)
    assert fault == SetFault("betong", "a:1883", "second_station", True, at(3_000))
    assert echo(made, 6_000, session="other") == []
    made._brokers[A].echo_ms = 99_000
    assert made._brokers[A].due_ms == 7_100
    made._brokers[A].due_ms = 99_000
    assert made.next_ms() == 6_000 + RIVAL_GONE_MS and made.tick(at(5_999 + RIVAL_GONE_MS)) == []
    assert made.tick(at(6_000 + RIVAL_GONE_MS)) == [
        SetFault("betong", "a:1883", "second_station", False, at(6_000 + RIVAL_GONE_MS))
    ]
    assert made.next_ms() == 99_000


def test_time_in_which_we_did_not_run_is_nobodys_silence() -> None:
    made = brokers()
    made.away(700)
    broker = made._brokers[A]
    assert (broker.due_ms, broker.lost_since_ms, broker.echo_ms) == (1_700 + CONNECT_TIMEOUT_MS, 1_700, 700)
    made.came_up(A, at(2_000))
    echo(made, 2_500, session="other")
    made.away(300)
    assert (broker.due_ms, broker.lost_since_ms, broker.echo_ms, broker.rival_ms) == (7_000, None, 2_300, 2_800)


def test_an_end_is_said_before_the_connection_goes() -> None:
    made = brokers(A, B)
    made.came_up(B, at(2_000))
    state, end = made.stop(at(3_000))
    assert isinstance(state, Publish) and state.broker == B and state.retain and end == Disconnect(B)
    said = decode(state.payload, State)
    assert isinstance(said, State) and not said.online and said.wall_ms == WALL_MS + 3_000


# -- points


def points() -> Points:
    made = Points(["merlin", "market"])
    made.sight(True, at(1_000))
    return made


def test_a_point_is_lost_at_its_millisecond_and_tells_when_it_was_heard() -> None:
    made = points()
    made.heard("merlin", "s1", at(5_000))
    assert made.next_ms() == 1_000 + POINT_LOST_MS and made.tick(at(999 + POINT_LOST_MS)) == []
    fault, told = made.tick(at(1_000 + POINT_LOST_MS))
    assert fault == SetFault("market", "", "point_lost", True, at(1_000 + POINT_LOST_MS), 0) and isinstance(told, Log)
    assert made.next_ms() == 5_000 + POINT_LOST_MS
    fault, _ = made.tick(at(5_000 + POINT_LOST_MS))
    assert isinstance(fault, SetFault) and fault.last_good_wall_ms == WALL_MS + 5_000 and made.next_ms() is None
    assert kinds(made.heard("merlin", "", at(30_000))) == ["SetFault", "Log"]
    assert made.heard("merlin", "", at(30_001)) == [] and made.heard("nowhere", "", at(30_001)) == []


def test_a_will_leaves_eight_seconds_and_never_more_than_there_were() -> None:
    made = points()
    assert kinds(made.heard("merlin", "s1", at(5_000))) == ["SetFault"]
    made.heard("market", "s2", at(5_000))
    made.will("merlin", "old", at(6_000))
    assert made.state("merlin") == "present"
    made.will("merlin", "s1", at(6_000))
    assert made.state("merlin") == "suspect" and made.next_ms() == 6_000 + POINT_SUSPECT_MS
    made.will("merlin", "s1", at(9_000))
    assert made.next_ms() == 6_000 + POINT_SUSPECT_MS, "said twice, it counts from the first"
    made.will("market", "s2", at(16_000))
    assert made._points["market"].since_ms + POINT_SUSPECT_MS == 5_000 + POINT_LOST_MS
    made.heard("merlin", "", at(9_500))
    assert made.state("merlin") == "present" and made._points["merlin"].session == "s1"


def test_without_brokers_nobody_is_silent_and_with_one_again_time_begins_anew() -> None:
    made = points()
    made.heard("merlin", "s1", at(5_000))
    made.sight(False, at(6_000))
    assert made.next_ms() is None and made.tick(at(99_000)) == [] and made.state("merlin") == "unknown"
    made.sight(True, at(99_000))
    made.sight(True, at(100_000))
    assert made.next_ms() == 99_000 + POINT_LOST_MS
    made.away(50)
    assert made.next_ms() == 99_050 + POINT_LOST_MS


@pytest.mark.parametrize("seed", range(20))
def test_the_next_look_comes_in_time_for_whoever_is_silent_longest(seed: int) -> None:
    draw, made, now_ms = random.Random(seed), points(), 1_000
    for _ in range(300):
        now_ms += draw.randrange(3_000)
        match draw.randrange(8):
            case 0:
                made.will(draw.choice(["merlin", "market"]), "s1", at(now_ms))
            case 1:
                made.away(draw.randrange(500))
            case 2:
                made.sight(draw.random() < 0.9, at(now_ms))
            case 3 | 4 | 5:
                made.heard(draw.choice(["merlin", "market"]), "s1", at(now_ms))
            case _:
                made.tick(at(now_ms))
        for looked in (False, True):
            if looked:
                made.tick(at(now_ms))
            waits = [_deadline_ms(point) for point in made._points.values() if point.state != "lost"]
            due_ms = made.next_ms()
            assert (due_ms is None) == (not waits or not made._sighted)
            assert due_ms is None or (due_ms <= min(waits) and (due_ms > now_ms or not looked))


# -- health


def health(**more: Any) -> Health:
    poles = more.pop("poles", (PoleHealth(pole="merlin-1", link=True, supervised=True, lamp="in_service"),))
    return Health(**{"session": "s1", "uptime_ms": 1, "clock": "synced", "outbox_waiting": 0, "disk_ok": True,
                     "poles": poles, **more})  # fmt: skip


def changes(effects: list[Any]) -> list[tuple[str, str, str, bool, int]]:
    changed = [one for one in effects if isinstance(one, SetFault)]
    return [(one.point, one.pole, one.kind, one.on, one.last_good_wall_ms) for one in changed]


def test_health_tells_only_what_changed_and_when_it_was_good() -> None:
    watch = HealthWatch({"merlin-1": "merlin", "market-1": "market"})
    assert all(not on for _, _, _, on, _ in changes(watch.told("merlin", health(), at(1_000))))
    bad = PoleHealth(pole="merlin-1", link=True, supervised=True, lamp="in_service", faults=("tamper",))
    told = watch.told("merlin", health(poles=(bad,), disk_ok=False), at(2_000))
    assert changes(told) == [
        ("merlin", "", "disk_full", True, WALL_MS + 1_000), ("merlin", "merlin-1", "tamper", True, WALL_MS + 1_000),
    ]  # fmt: skip
    assert watch.told("merlin", health(poles=(bad,), disk_ok=False), at(3_000)) == []
    assert watch.last_good_wall_ms("merlin", "merlin-1", "tamper") == WALL_MS + 1_000
    assert watch.last_good_wall_ms("merlin", "merlin-1", "mains_back") == WALL_MS + 3_000
    assert watch.last_good_wall_ms("market", "merlin-1", "tamper") == 0
    watch.noticed("merlin", "merlin-1", "tamper")
    assert len(watch.told("merlin", health(poles=(bad,), disk_ok=False), at(4_000))) == 1, "compared afresh"


def test_a_pole_that_is_not_heard_says_nothing_of_itself() -> None:
    watch = HealthWatch({"merlin-1": "merlin", "market-1": "market"})
    away = PoleHealth(pole="merlin-1", link=False, supervised=True, lamp="in_service", faults=("tamper",))
    foreign = PoleHealth(pole="market-1", link=False, supervised=True)
    told = changes(watch.told("merlin", health(poles=(foreign, away)), at(1_000)))
    assert told == [("merlin", "", "disk_full", False, 0), ("merlin", "merlin-1", "link_lost", True, 0)]


def test_a_certificate_is_near_its_end_a_millisecond_behind_the_limit() -> None:
    watch = HealthWatch({})
    until_ms = WALL_MS + RENEW_MS + 1_000
    assert watch.shown("betong", "", None, at(0)) == [] == watch.shown("betong", "x", 5, at(0, quality="unset"))
    assert changes(watch.shown("betong", "", until_ms, at(1_000))) == [("betong", "", "certificate_ends", False, 0)]
    assert ("betong", "", "certificate_ends", True, WALL_MS + 1_000) in changes(watch.tick(at(1_001)))
    assert watch.tick(at(1_002)) == []
