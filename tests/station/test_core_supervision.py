"""Who is there: points, late wills, brokers, health and notices as faults."""

from __future__ import annotations

import pytest
from tests.station.world import A, B, World, alarm

from sos_contract.payloads import State, decode, encode
from sos_station.core import brokers, points
from sos_station.core.events import BrokerDown, BrokerUp, Message, Tick
from sos_station.core.records import Stamp

OWN_STATE = "sos/v1/betong/state"


def _open(world: World) -> set[tuple[str, str, str]]:
    return set(world.faults())


# --- points


@pytest.mark.parametrize("happening", [points.HEARD, points.WILL, points.SILENCE, points.BLIND])
@pytest.mark.parametrize("state", [points.UNKNOWN, points.PRESENT, points.SUSPECT, points.LOST])
def test_every_row_of_the_points_table(state: str, happening: str) -> None:
    point = points._Point(state)
    if (state, happening) in points.TABLE:
        assert points.Points._move(point, happening) == state
        assert point.state == points.TABLE[state, happening]
    else:
        with pytest.raises(KeyError):
            points.Points._move(point, happening)
        assert point.state == state


def test_a_silent_point_is_a_fault_within_twenty_seconds_and_ends_when_heard() -> None:
    world = World()
    world.probe()
    heard_wall_ms = world.wall_ms
    world.pass_ms(15_000)
    assert ("merlin", "", "point_lost") not in _open(world)
    world.pass_ms(5_000)
    fault = world.faults()["merlin", "", "point_lost"]
    assert fault.last_good_wall_ms == heard_wall_ms
    assert fault.since_wall_ms - heard_wall_ms <= 20_000
    world.probe()
    assert ("merlin", "", "point_lost") not in _open(world)
    ended = world.faults(everything=True)["merlin", "", "point_lost"]
    assert ended.until_wall_ms == world.wall_ms


def test_points_never_heard_are_faults_too() -> None:
    world = World()
    world.pass_ms(20_000)
    assert {("merlin", "", "point_lost"), ("market", "", "point_lost")} <= _open(world)


def test_a_fault_from_before_a_restart_ends_when_the_point_is_heard() -> None:
    world = World()
    world.pass_ms(20_000)
    world.start()
    world.probe()
    assert _open(world) == {("market", "", "point_lost")}


def test_the_will_of_the_present_session_shortens_the_patience() -> None:
    world = World()
    world.probe(session="s2")
    world.send("state", State(online=False, session="s2"))
    world.pass_ms(7_900)
    assert _open(world) == set()
    world.pass_ms(200)
    assert _open(world) == {("merlin", "", "point_lost")}


def test_a_will_that_comes_late_never_lengthens_the_patience() -> None:
    """The broker tells of a frozen agent 15 s or more after it last spoke; the 20 s count from there all the same."""
    world = World()
    world.probe(session="s2")
    world.pass_ms(17_000)
    world.send("state", State(online=False, session="s2"))
    world.pass_ms(1_100)
    assert ("merlin", "", "point_lost") in _open(world)


def test_a_late_will_of_an_old_connection_is_ignored() -> None:
    world = World()
    world.send("state", State(online=True, session="s1"))
    world.send("state", State(online=True, session="s2"))
    world.send("state", State(online=False, session="s1"))
    assert world.station._points.state("merlin") == points.PRESENT
    world.pass_ms(17_000)
    assert _open(world) == set()


def test_an_agent_that_changes_brokers_is_not_reported() -> None:
    world = World(brokers=(A, B))
    world.probe(session="s1")
    world.send("state", State(online=False, session="s1"), broker=A)
    world.pass_ms(3_000)
    world.send("state", State(online=True, session="s2"), broker=B)
    world.pass_ms(12_000)
    assert _open(world) == set()


def test_retained_state_makes_nobody_present() -> None:
    world = World()
    world.send("state", State(online=True, session="s1"), retained=True)
    assert world.station._points.state("merlin") == points.UNKNOWN


def test_a_station_without_brokers_blames_the_brokers_not_the_points() -> None:
    world = World()
    world.probe()
    world.answering = False
    world.handle(BrokerDown(A, "connection lost"))
    world.pass_ms(60_000)
    assert _open(world) == {("betong", "a:1883", "broker_lost")}
    world.answering = True
    world.pass_ms(10_000)
    assert _open(world) == set()
    world.pass_ms(20_000)
    assert ("merlin", "", "point_lost") in _open(world)


@pytest.mark.parametrize("after_ms", [0, 1_700, 3_400, 4_900])
def test_a_broker_that_hangs_is_blamed_and_no_point(after_ms: int) -> None:
    """Its connection stood, and was given up only when its points had been called lost already."""
    world = World()
    world.pass_ms(300)
    for _ in range(4):
        world.pass_ms(5_000)
        world.probe()
        world.probe("market")
    world.pass_ms(after_ms)
    world.answering = False
    world.pass_ms(60_000)
    assert _open(world) == {("betong", "a:1883", "broker_lost")}


@pytest.mark.parametrize("unread", [0, 20])
def test_a_station_that_was_stopped_listens_before_it_judges(unread: int) -> None:
    """It blamed every point, and gave up its brokers, in its first turn after it woke; what they said waited unread.
    And each message that it read before its tick lengthened its patience by all of its absence (seed 171, one hour)."""
    world = World(brokers=(A, B))
    world.probe()
    world.probe("market")
    world.pass_ms(4_000)
    world._forward(world.now_ms + 60_000)
    for _ in range(unread):
        world.probe()
    world.handle(Tick())
    assert _open(world) == set()
    assert not [log for log in world.logs if log.level != "info"]
    world.probe()
    world.pass_ms(16_000)
    assert _open(world) == {("market", "", "point_lost")}


def test_points_of_no_site_are_answered_but_not_watched() -> None:
    world = World()
    world.probe(point="elsewhere")
    assert len([sent for sent in world.sent if sent.topic.leaf == "probe_answer"]) == 1
    world.pass_ms(60_000)
    assert not any(fault[0] == "elsewhere" for fault in _open(world))


# --- brokers


@pytest.mark.parametrize("happening", ["due", "up", "down", "timeout"])
@pytest.mark.parametrize("state", [brokers.DOWN, brokers.CONNECTING, brokers.UP])
def test_every_row_of_the_brokers_table(state: str, happening: str) -> None:
    broker = brokers._Broker(state)
    if (state, happening) in brokers.TABLE:
        brokers.Brokers._move(broker, happening)
        assert broker.state == brokers.TABLE[state, happening]
    else:
        with pytest.raises(KeyError):
            brokers.Brokers._move(broker, happening)
        assert broker.state == state


def test_all_brokers_are_connected_at_once_with_a_will_of_their_own() -> None:
    world = World(brokers=(A, B))
    assert [connect.broker for connect in world.connects] == [A, B]
    wills = [decode(connect.will, State) for connect in world.connects]
    assert all(isinstance(will, State) and not will.online for will in wills)
    said = [sent for sent in world.sent if sent.topic.leaf == "state"]
    assert [sent.broker for sent in said] == [A, B] and all(sent.retain for sent in said)
    sessions = [state.session for sent in said if isinstance(state := decode(sent.payload, State), State)]
    assert sessions == [connect.session for connect in world.connects] and len(set(sessions)) == 2


def test_a_broker_that_is_away_is_asked_with_growing_pauses_and_told_once() -> None:
    world = World(answering=False)
    world.pass_ms(60_000)
    assert 10 <= len(world.connects) <= 25
    assert [log.text for log in world.logs].count("broker_lost") == 1
    world.answering = True
    world.pass_ms(10_000)
    assert [log.text for log in world.logs].count("broker_up") == 1
    assert "secret" not in repr([log.fields for log in world.logs])
    assert _open(world) <= {("merlin", "", "point_lost"), ("market", "", "point_lost")}


def test_one_broker_down_leaves_the_other_at_work() -> None:
    world = World(brokers=(A, B))
    world.answering = False
    world.handle(BrokerDown(A, "connection lost"))
    world.send("alarm", alarm(1), broker=B)
    assert world.receipts() == [alarm(1).id]
    assert ("betong", "b:1883", "broker_lost") not in _open(world)


def test_a_connection_through_which_nothing_comes_back_is_given_up() -> None:
    world = World()
    world.answering = False  # TCP stands, nothing arrives
    world.pass_ms(25_000)
    assert any(("why", "our own messages do not come back") in log.fields for log in world.logs)


def test_an_attempt_that_never_ends_is_given_up() -> None:
    world = World(hanging=True)
    world.pass_ms(15_000)
    assert len(world.connects) == 1
    world.hanging = False
    world.pass_ms(10_000)
    assert len(world.connects) == 2 and world.connects[0].session != world.connects[1].session
    world.send("alarm", alarm(1))
    assert world.receipts() == [alarm(1).id]


def test_an_offline_state_under_our_name_is_put_right() -> None:
    world = World()
    before = len(world.sent)
    world.handle(Message(A, OWN_STATE, encode(State(online=False, session="old")), True))
    (said,) = world.sent[before:]
    state = decode(said.payload, State)
    assert said.retain and isinstance(state, State) and state.online


def test_another_station_under_our_name_is_a_fault_until_it_goes() -> None:
    world = World()
    for _ in range(3):
        world.handle(Message(A, OWN_STATE, encode(State(online=True, session="stranger")), False))
    assert [log.text for log in world.logs].count("second_station") == 1
    assert ("betong", "a:1883", "second_station") in _open(world)
    world.pass_ms(16_000)
    assert ("betong", "a:1883", "second_station") not in _open(world)


def test_a_second_station_that_went_while_we_did_not_run_is_no_fault_any_more() -> None:
    # Whoever stops one of two stations may start that one again, alone: its inbox holds the fault.
    world = World()
    world.handle(Message(A, OWN_STATE, encode(State(online=True, session="stranger")), False))
    world.start()
    world.pass_ms(brokers.RIVAL_GONE_MS - 1)
    assert ("betong", "a:1883", "second_station") in _open(world)
    world.pass_ms(1)
    assert ("betong", "a:1883", "second_station") not in _open(world)


def test_a_second_station_is_not_called_gone_while_nobody_can_be_heard() -> None:
    world = World()
    world.handle(Message(A, OWN_STATE, encode(State(online=True, session="stranger")), False))
    world.answering = False
    world.handle(BrokerDown(A, "connection lost"))
    world.pass_ms(brokers.RIVAL_GONE_MS + 5_000)
    assert ("betong", "a:1883", "second_station") in _open(world)
    world.answering = True
    world.pass_ms(6_250 + brokers.RIVAL_GONE_MS)
    assert ("betong", "a:1883", "second_station") not in _open(world)


def test_what_we_said_on_an_earlier_connection_is_no_stranger() -> None:
    world = World()
    earlier = world.connects[0].session
    world.handle(BrokerDown(A, "connection lost"))
    world.pass_ms(1_000)
    world.handle(Message(A, OWN_STATE, encode(State(online=True, session=earlier)), False))
    assert not [log for log in world.logs if log.text == "second_station"]


def test_an_up_that_nobody_asked_for_raises() -> None:
    world = World()
    with pytest.raises(KeyError):
        world.station.handle(BrokerUp(A), world.now_ms)


def test_stopping_says_so_on_every_broker() -> None:
    from sos_station.core.events import Stopping

    world = World(brokers=(A, B))
    before = len(world.sent)
    for effect in world.station.handle(Stopping(), world.now_ms):
        world._carry_out(effect)
    said = world.sent[before:]
    states = [decode(sent.payload, State) for sent in said]
    assert [sent.broker for sent in said] == [A, B]
    assert all(isinstance(state, State) and not state.online for state in states)


def test_stamps_carry_on_the_wall_clock() -> None:
    world = World()
    world.pass_ms(1_234)
    assert world.station._clock.stamp(world.now_ms) == Stamp(world.wall_ms, "synced", "boot-1", world.now_ms)
