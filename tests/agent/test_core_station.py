"""Who is there: probes, brokers, the service that poles are told; and stages kept with a station that changes."""

from __future__ import annotations

import itertools

import pytest
from tests.agent.core_peers import INCARNATION
from tests.agent.core_store import StoreTwin
from tests.agent.core_world import World, config

from sos_agent.core import effects
from sos_contract import payloads
from sos_contract.payloads import Health, Identity, ProbeAnswer, Progress, State


def ready(world: World) -> World:
    world.start()
    world.until(lambda: all(pole.services[-1:] == ["in_service"] for pole in world.poles.values()), 5_000)
    return world


def service(world: World) -> str:
    return world.poles["p1"].services[-1]


def connects(world: World) -> list[str]:
    return [effect.broker for effect in world.effects_of(effects.Connect)]


@pytest.mark.parametrize("loss", ["stopped", "deaf", "broker", "network"])
def test_a_lost_station_is_told_within_20_s_and_its_return_at_once(loss: str) -> None:
    world = ready(World())
    world.run(7_777)
    if loss == "broker":
        world.broker_stops()
    else:
        world.station.up, world.station.deaf = loss != "stopped", loss == "deaf"
        if loss == "network":
            world.station_at.clear()
    took = world.until(lambda: service(world) == "station_lost", 20_000)
    assert 7_000 <= took <= 12_100, "12 s after the last answered probe was sent"
    world.run(33_333)
    world.brokers_up.add("mqtt://a")
    world.station_at.add("mqtt://a")
    world.station.deaf = False
    world.station_comes_back()  # with its retained state as a hint, where there is a broker to tell it
    assert world.until(lambda: service(world) == "in_service", 10_000) <= (6_500 if loss == "broker" else 700)
    logs = [log.message for log in world.effects_of(effects.Log)]
    assert logs.count("station does not answer") == 1
    assert logs.count("station answers") == 2


def test_a_press_that_met_a_restarting_station_goes_again_as_soon_as_it_answers() -> None:
    """Away for less than it takes to be called lost: the alarm must not wait for its next retry, 12 s later."""
    world = ready(World())
    world.station.up = False
    identity = world.press()
    world.run(9_500)
    assert world.stage(identity) == "held"
    world.station_comes_back()
    assert world.until(lambda: world.stage(identity) == "received", 10_000) <= 700


def test_without_a_station_the_poles_hear_starting_and_then_lost() -> None:
    world = World()
    world.brokers_up.clear()
    world.start()
    world.run(11_900)
    assert world.poles["p1"].services == ["starting"]
    world.run(500)
    assert world.poles["p1"].services == ["starting", "station_lost"]


def test_hints_alone_change_nothing() -> None:
    world = World()
    world.station.up = False
    world.start()
    world.run(15_000)
    for _ in range(50):
        world.from_station("state", State(online=True, session="x"), retained=True)
        world.run(20)
    world.run(500)
    assert service(world) == "station_lost"
    probes = [e for e in world.effects_of(effects.Publish) if e.topic.endswith("/probe")]
    assert len(probes) <= 4 + 4, "a flood of hints makes no flood of probes"


def test_a_station_that_says_again_what_it_said_is_probed_at_the_usual_pace() -> None:
    # Agents that took each of its words for a hint fell into step and published a third more than they had to.
    world = ready(World())
    world.run(1_000)
    world.from_station("state", State(online=True, session="x"))
    world.run(1_000)
    probes = len([e for e in world.effects_of(effects.Publish) if e.topic.endswith("/probe")])
    for _ in range(20):
        world.from_station("state", State(online=True, session="x"))
        world.run(1_000)
    now = len([e for e in world.effects_of(effects.Publish) if e.topic.endswith("/probe")])
    assert now - probes <= 4
    world.from_station("state", State(online=True, session="y"))
    world.run(600)
    assert len([e for e in world.effects_of(effects.Publish) if e.topic.endswith("/probe")]) > now


def test_a_kept_goodbye_of_the_station_changes_nothing_either() -> None:
    world = ready(World())
    world.from_station("state", State(online=False, session="x"), retained=True)
    world.run(3_000)
    assert service(world) == "in_service"


def test_answers_that_answer_nothing_prove_nothing() -> None:
    world = World()
    world.station.up = False
    world.start()
    world.until(lambda: world.session != "", 1_000)
    for session, number in ((world.session, 99), ("other", 1), ("", 1)):
        answer = ProbeAnswer(session=session, number=number, inbox="evil", high_water=1)
        world.from_station("probe_answer", answer)
    world.from_station("probe_answer", b"[]")
    world.run(14_000)
    assert service(world) == "station_lost"


def test_an_answer_that_comes_too_late_does_not_bring_the_service_back() -> None:
    world = ready(World())
    world.station.deaf = True
    world.run(30_000)
    number = 3  # sent some 25 s ago
    answer = ProbeAnswer(session=world.session, number=number, inbox="inbox-1", high_water=10_000)
    world.from_station("probe_answer", answer)
    world.run(100)
    assert service(world) == "station_lost"


def test_brokers_are_taken_in_order_and_kept_while_the_probe_comes_back() -> None:
    world = World(config(brokers=("mqtt://a", "mqtt://b", "mqtt://c")))
    world.brokers_up = {"mqtt://b", "mqtt://c"}
    world.station_at = {"mqtt://c"}
    ready_within = 40_000
    world.start()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], ready_within)
    assert connects(world)[:3] == ["mqtt://a", "mqtt://b", "mqtt://c"]
    world.brokers_up.add("mqtt://a")
    world.station_at.add("mqtt://a")
    before = len(connects(world))
    world.run(120_000)
    assert len(connects(world)) == before, "a preferred broker that came back is no reason to leave a good one"
    press = world.press()
    world.until(lambda: world.stage(press) == "received", 1_000)


def test_a_broker_without_the_station_is_left_if_there_is_another_and_not_if_there_is_none() -> None:
    world = World(config(brokers=("mqtt://a", "mqtt://b")))
    world.station_at = {"mqtt://b"}
    world.start()
    took = world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 40_000)
    assert took <= 20_000
    alone = World()
    alone.station.up = False
    alone.start()
    alone.run(300_000)
    assert len(connects(alone)) == 1


def test_a_broker_that_acknowledges_nothing_is_left_even_if_it_is_the_only_one() -> None:
    world = ready(World())
    world.run(1_000)
    world.brokers_up.clear()  # the way is cut and no end tells the other
    world.run(40_000)
    assert len(connects(world)) > 1


def test_back_off_grows_is_jittered_and_bounded() -> None:
    world = World()
    world.brokers_up.clear()
    world.start()
    times: list[int] = []
    seen = 0
    for _ in range(60_000):
        world.run(1)
        if len(connects(world)) > seen:
            seen = len(connects(world))
            times.append(world.now_ms)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] <= 700
    assert max(gaps) <= 6_300
    assert len(set(gaps[4:])) > 3, "agents of one town must not come back in step"


def test_each_connection_has_its_own_session_and_will() -> None:
    world = ready(World())
    world.press()
    world.broker_stops()
    world.brokers_up.add("mqtt://a")
    world.run(3_000)
    wills = [payloads.decode(e.will_payload, State) for e in world.effects_of(effects.Connect)]
    states = [
        payloads.decode(e.payload, State)
        for e in world.effects_of(effects.Publish)
        if e.topic.endswith("/merlin/state") and e.retain
    ]
    assert [w.session for w in wills if isinstance(w, State)] == [s.session for s in states if isinstance(s, State)]
    assert len({w.session for w in wills if isinstance(w, State)}) == 2
    assert not any(w.online for w in wills if isinstance(w, State))
    assert {e.retain for e in world.effects_of(effects.Publish) if "/alarm" in e.topic or "/notice" in e.topic} == {
        False
    }


def test_health_tells_of_poles_once_it_is_known_of_each_whether_it_is_there() -> None:
    world = World(config(lines={"/dev/home": ("p1", "p2")}))
    world.poles["p2"].powered = False
    world.start()
    world.run(9_000)
    assert not healths(world)
    world.run(2_000)
    first = healths(world)[0]
    assert [(pole.pole, pole.link) for pole in first.poles] == [("p1", True), ("p2", False)]
    assert first.poles[0].supply_mv == 12_000
    assert first.session == world.session
    count = len(healths(world))
    world.run(58_000)
    assert len(healths(world)) == count
    world.run(3_000)
    assert len(healths(world)) == count + 1


def healths(world: World) -> list[Health]:
    found = [
        payloads.decode(e.payload, Health) for e in world.effects_of(effects.Publish) if e.topic.endswith("/health")
    ]
    return [health for health in found if isinstance(health, Health)]


# -- a station that was replaced or restored


def with_received(count: int) -> tuple[World, list[Identity]]:
    world = ready(World())
    presses = []
    for _ in range(count):
        presses.append(world.press())
        world.until(lambda: world.stage(presses[-1]) == "received", 2_000)
    return world, presses


@pytest.mark.parametrize(("closed", "grown"), [(False, False), (True, False), (True, True)])
def test_a_station_restored_from_yesterday_is_given_what_it_lacks(closed: bool, grown: bool) -> None:
    """``grown``: what other points offered has driven the copy past what it once was, before this point asks."""
    world, presses = with_received(5)
    if closed:
        for press in presses:
            world.station.alarms[press] = "closed"
        world.run(35_000)
        assert world.stage(presses[-1]) == "closed"
    world.station.up = False
    world.run(20_000)
    yesterday = dict(list(world.station.alarms.items())[:2])
    world.station.alarms, world.station.commits = yesterday, 10_000 if grown else 3
    world.station.run, world.station.opened = "b", 3
    world.station_comes_back()
    world.until(lambda: set(world.station.alarms) == set(presses), 10_000)
    world.until(lambda: not world.store.waiting(), 5_000)
    stages = [kept.row.stage for kept in world.store.alarms]
    assert stages == (["closed"] * 5 if closed else ["received"] * 5), "stages never go back"


def test_a_new_inbox_is_given_everything_receipted() -> None:
    world, presses = with_received(250)
    world.station.alarms = {}
    world.station.inbox = "inbox-2"
    world.until(lambda: set(world.station.alarms) == set(presses), 20_000)
    assert max(len(query.alarms) for query in world.station.queries) <= 100


def test_a_start_asks_for_everything_once() -> None:
    world, presses = with_received(3)
    for press in presses:
        world.station.alarms[press] = "closed"
    world.run(35_000)
    world.crash()
    del world.station.alarms[presses[1]]  # the station lost it while nobody looked, high-water mark and all
    world.start()
    world.until(lambda: presses[1] in world.station.alarms, 10_000)


@pytest.mark.parametrize("accepted", ["while the agent is away", "with the agent there"])
def test_after_the_loss_of_its_disk_the_agent_learns_of_the_lamp_from_the_station(accepted: str) -> None:
    """The lamp stood at *received* until it fell idle: the outbox knew nothing of the press, so nobody was told."""
    world, (press,) = with_received(1)
    pole = world.poles["p1"]
    world.crash()
    world.store = StoreTwin(outbox="00000000000000bb")
    if accepted == "while the agent is away":
        world.run(15_000)
        world.station.alarms[press] = "accepted"
    world.start()
    world.until(lambda: service(world) == "in_service", 10_000)
    world.run(2_000)
    if accepted == "with the agent there":
        assert world.stage(press) == "received"
        world.station.alarms[press] = "accepted"
        world.from_station("progress", Progress(inbox="inbox-1", stages=((press, "accepted"),)))
        world.run(100)
    assert world.stage(press) == "accepted"
    world.station.alarms[press] = "dispatched"  # and this is told to nobody
    world.until(lambda: world.stage(press) == "dispatched", 31_000)
    told = len(pole.told)
    world.run(65_000)
    assert len(pole.told) == told, "what a pole knows is not said again"
    assert not world.store.alarms


def test_after_the_loss_of_its_disk_a_backlog_does_not_keep_the_agent_from_telling_the_lamp() -> None:
    world = ready(World())
    world.station.refuses[Identity("p1", f"{INCARNATION:016x}", 1, 1)] = "not this one"
    older, newer = world.press(), world.press()
    world.until(lambda: world.stage(newer) == "received")
    world.crash()
    world.store = StoreTwin(outbox="00000000000000bb")
    world.station.refuses.clear()
    world.start()
    world.until(lambda: world.stage(older) == "received", 10_000)
    world.run(35_000)
    for stage in ("accepted", "closed"):
        told = tuple((press, stage) for press in (newer, older))
        world.from_station("progress", Progress(inbox="inbox-1", stages=told))
        world.run(100)
        assert (world.stage(newer), world.stage(older)) == (stage, stage)
    later = world.press()
    world.until(lambda: world.stage(later) == "received", 5_000)
    queries = len(world.station.queries)
    world.run(65_000)
    assert all(query.poles == () for query in world.station.queries[queries:]), "its newest press is known again"


def test_a_station_of_the_release_before_is_silent_about_lamps_and_no_sweep_comes_of_it() -> None:
    world = World()
    world.station.ignores_poles = True
    ready(world)
    world.run(20_000)
    world.out.clear()
    world.run(95_000)
    fetched = world.effects_of(effects.FetchReceipted)
    assert len(fetched) >= 3 and all(effect.open_only for effect in fetched)


def test_missing_is_believed_only_of_what_was_asked() -> None:
    world, presses = with_received(1)
    world.from_station("progress", Progress(inbox="inbox-1", missing=(presses[0],)))
    world.run(1_000)
    assert not world.store.waiting()
    assert world.agent is not None
    assert world.agent.counts["missing_unasked"] == 1


def test_impossible_progress_is_refused_and_counted() -> None:
    world, presses = with_received(1)
    world.station.deaf = True
    stranger = Identity("elsewhere", presses[0].incarnation, 1, 1)
    unknown = Identity("p1", presses[0].incarnation, 1, 99)
    stages = ((presses[0], "on fire"), (presses[0], "held"), (stranger, "accepted"), (unknown, "accepted"))
    world.from_station("progress", Progress(inbox="inbox-1", stages=stages))
    world.from_station("progress", Progress(inbox="inbox-9", stages=((presses[0], "accepted"),)))
    world.from_station("progress", Progress(inbox="inbox-1", stages=((presses[0], "dispatched"),)))
    world.run(200)
    world.from_station("progress", Progress(inbox="inbox-1", stages=((presses[0], "accepted"),)))
    world.run(200)
    assert [stage for _, press, stage in world.poles["p1"].told if press == 1] == ["held", "received", "dispatched"]
    assert world.agent is not None
    assert world.agent.counts["progress_impossible"] == 3
    assert world.agent.counts["receipt_unproved"] == 1


def test_progress_that_cannot_be_stored_is_asked_for_again() -> None:
    world, presses = with_received(1)
    world.store.failing = "disk I/O error"
    world.station.alarms[presses[0]] = "accepted"
    world.run(40_000)
    assert world.stage(presses[0]) == "received"
    world.store.failing = ""
    world.until(lambda: world.stage(presses[0]) == "accepted", 40_000)
