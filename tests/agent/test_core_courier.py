"""Step 7: both lanes, their order, outages, the backlog's window, crashes between any two effects."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from tests.agent.core_world import World, config

from sos_agent.core import courier, effects, events
from sos_agent.core import lines as lines_core
from sos_contract.payloads import Identity, Receipt
from sos_wire import messages
from sos_wire.link import BACKLOG

INCARNATION = f"{0xC0FFEE:016x}"


def ready(world: World) -> World:
    world.start()
    world.until(lambda: all(pole.services[-1:] == ["in_service"] for pole in world.poles.values()), 5_000)
    return world


def fill(world: World, count: int, poles: tuple[str, ...] = ("p1",)) -> None:
    """Alarms of an earlier run that wait in the outbox: ``count`` in all, the poles in turn."""
    for number in range(1, count + 1):
        identity = Identity(poles[number % len(poles)], "00000000000000ff", 1, number)
        world.store.do(effects.StoreAlarm(identity, "press", number, 0, world.timebase, world.now_ms - 3_600_000))


def assert_in_order(world: World) -> None:
    """Each lane brings each pole's presses in the order of the outbox, first publications considered."""
    rows = {kept.row.id: kept.row.row for kept in world.store.alarms}
    lanes: dict[tuple[str, str], list[int]] = defaultdict(list)
    seen: set[tuple[str, Identity]] = set()
    for alarm in world.station.seen:
        if (alarm.lane, alarm.id) not in seen:
            seen.add((alarm.lane, alarm.id))
            lanes[alarm.lane, alarm.id.pole].append(rows[alarm.id])
    for lane in lanes.values():
        assert lane == sorted(lane)


def test_a_backlog_is_drained_in_order_and_a_new_press_overtakes_it() -> None:
    world = World(config(lines={"/dev/home": ("p1",), "/dev/b": ("p2",)}))
    world.net_ms = 25
    fill(world, 2_000, ("p1", "p2"))
    ready(world)
    world.run(100)
    assert len(world.store.waiting()) > 1_000
    press = world.press()
    took = world.until(lambda: world.stage(press) == "received", 1_000)
    assert took <= 80, "no longer than without a backlog"
    assert len(world.store.waiting()) > 800
    world.until(lambda: not world.store.waiting(), 20_000)
    assert {alarm.id for alarm in world.station.seen} == {kept.row.id for kept in world.store.alarms}
    assert len(world.station.seen) == 2_001, "nothing is said twice while nothing is lost"
    assert [alarm.lane for alarm in world.station.seen if alarm.id == press] == ["live"]
    assert_in_order(world)


def test_memory_is_bounded_however_much_waits() -> None:
    world = World()
    fill(world, 1_500)
    world.station.mute_receipts = True
    ready(world)
    for _ in range(150):
        world.press()
        world.poles["p1"].journal.clear()
        world.run(25)
    assert world.agent is not None
    parts = world.agent._run
    assert parts is not None
    for _ in range(30):
        world.run(1_000)
        assert len(parts.courier._live) <= courier.LIVE_MOST
        assert len(parts.courier._backlog) <= courier.FETCH_BELOW + courier.FETCH_ROWS
        assert len(parts.courier._rows) <= courier.LIVE_MOST + courier.FETCH_BELOW + courier.FETCH_ROWS
    world.station.mute_receipts = False
    world.until(lambda: not world.store.waiting(), 120_000)
    assert not parts.courier._rows
    assert not parts.courier._marking
    assert parts.courier.waiting == 0


def test_in_flight_is_bounded() -> None:
    world = World()
    fill(world, 1_000)
    world.station.mute_receipts = True
    ready(world)
    world.run(1_000)
    assert len(world.station.seen) == courier.BACKLOG_IN_FLIGHT_MOST
    assert world.agent is not None
    assert world.agent._run is not None
    lanes = world.agent._run.courier
    for _ in range(100):
        world.press()
        world.run(20)
        assert lanes._live.flying + lanes._backlog.flying <= courier.IN_FLIGHT_MOST
    assert lanes._live.flying >= courier.IN_FLIGHT_MOST - courier.BACKLOG_IN_FLIGHT_MOST


@pytest.mark.parametrize("outage", ["broker", "station", "deaf", "cable of the network"])
def test_presses_during_an_outage_arrive_after_it_once_each(outage: str) -> None:
    world = ready(World())
    if outage == "broker":
        world.broker_stops()
    elif outage == "station":
        world.station.up = False
    elif outage == "deaf":
        world.station.deaf = True
    else:
        world.station_at.clear()
    presses = []
    for _ in range(5):
        presses.append(world.press())
        world.run(3_000)
    assert all(world.stage(press) == "held" for press in presses)
    assert world.poles["p1"].services[-1] == "station_lost"
    world.brokers_up.add("mqtt://a")
    world.station_at.add("mqtt://a")
    world.station.deaf = False
    world.station_comes_back()
    world.until(lambda: all(world.stage(press) == "received" for press in presses), 7_000)
    world.run(60_000)
    assert sorted({alarm.id for alarm in world.station.seen}) == presses
    assert outage == "deaf" or len(world.station.seen) == len(presses)
    assert_in_order(world)


def test_order_is_kept_when_one_receipt_is_lost() -> None:
    world = ready(World())
    world.station.mute_receipts = True
    presses = [world.press() for _ in range(3)]
    world.run(500)
    world.from_station("receipt", events_receipt(presses[1]))
    world.run(3_900)
    again = [alarm.id for alarm in world.station.seen[3:]]
    assert again == [presses[0], presses[2]]


def events_receipt(*ids: Identity) -> object:
    return Receipt(inbox="inbox-1", alarms=ids)


def test_alarms_go_before_notices() -> None:
    world = World()
    for number in range(50):
        world.store.do(effects.StoreNotice("p1", "tamper", number % 2 == 0, number, world.timebase, 0))
    fill(world, 300)
    ready(world)
    world.until(lambda: not world.store.waiting() and not world.store.notices, 30_000)
    last_first_alarm = max(i for i, e in enumerate(world.out) if isinstance(e, effects.Publish) and "/alarm" in e.topic)
    first_notice = min(i for i, e in enumerate(world.out) if isinstance(e, effects.Publish) and "/notice" in e.topic)
    assert first_notice > last_first_alarm
    assert [notice.number for notice in world.station.notices] == sorted(n.number for n in world.station.notices)


def test_notices_pile_up_merged_and_end_with_the_truth() -> None:
    world = World()
    world.station.up = False
    world.start()
    world.until(lambda: world.poles["p1"].link.up, 5_000)
    for number in range(400):
        world.poles["p1"].notice("chatter", world.now_ms, on=1 - number % 2)
        world.wake_poles()
        world.run(60)
    assert len(world.store.notices) <= 70
    world.station_comes_back()
    world.until(lambda: not world.store.notices, 60_000)
    chatter = [notice for notice in world.station.notices if notice.kind == "chatter"]
    assert not chatter[-1].on
    assert sum(1 + notice.merged for notice in chatter) == 400


def test_a_notice_lost_between_pole_and_disk_is_made_good_from_the_beats() -> None:
    world = ready(World())
    world.poles["p1"].faults = 1  # loop_open, and its notice never came
    world.poles["p1"].set_status()
    world.until(lambda: ("loop_open", True) in [(n.kind, n.on) for n in world.station.notices], 15_000)
    world.poles["p1"].faults = 0
    world.poles["p1"].set_status()
    world.until(lambda: ("loop_open", False) in [(n.kind, n.on) for n in world.station.notices], 15_000)
    assert len([notice for notice in world.station.notices if notice.kind == "loop_open"]) == 2


def test_what_the_pole_tells_of_its_press_and_its_mains() -> None:
    world = ready(World())
    press = world.press()
    pole = world.poles["p1"]
    pole.link.send(BACKLOG, messages.Detail(pole.incarnation, 1, 1, 740).pack())
    pole.notice("mains_lost", world.now_ms)
    pole.notice("mains_back", world.now_ms)
    world.wake_poles()
    world.until(lambda: len(world.station.notices) >= 3, 5_000)
    said = {(n.kind, n.on): n for n in world.station.notices}
    detail = said["press_detail", True].detail
    assert detail is not None
    assert (detail.id, detail.held_ms) == (press, 740)
    assert {("mains_lost", True), ("mains_lost", False)} <= set(said)


def test_a_pass_finds_what_the_count_forgot() -> None:
    world = ready(World())
    world.run(5_000)
    fill(world, 3)  # behind the core's back
    world.until(lambda: not world.store.waiting(), courier.SAFETY_PASS_MS + 1_000)


def test_a_disk_that_cannot_be_read_is_read_again() -> None:
    world = World()
    fill(world, 10)
    world.store.failing = "disk I/O error"
    world.start()
    world.run(20_000)
    world.store.failing = ""
    world.until(lambda: not world.store.waiting(), 15_000)


def test_a_receipt_that_could_not_be_stored_comes_again() -> None:
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "held")
    world.store.failing = "disk I/O error"
    world.until(lambda: world.stage(press) == "received")  # true: the station has it
    world.run(5_000)
    world.store.failing = ""
    assert world.store.waiting()
    world.until(lambda: not world.store.waiting(), 75_000)
    assert {alarm.id for alarm in world.station.seen} == {press}


@pytest.mark.parametrize("late_commits", [False, True], ids=["commits lost", "completions lost"])
def test_a_crash_between_any_two_effects_loses_repeats_and_invents_nothing(late_commits: bool) -> None:
    """Two presses; the agent dies before the n-th effect after the first of them, for every n there is."""
    for crash_after in itertools.count():
        world = ready(World())
        world.late_commits = late_commits
        world.crash_after = crash_after
        presses = [world.press()]
        world.run(7)
        presses.append(world.press())
        world.run(1_500)
        crashed = world.agent is None
        for press in presses:
            rank_told = world.stage(press)
            stored = [kept.row.stage for kept in world.store.alarms if kept.row.id == press]
            assert rank_told == "pressed" or stored, "held was said of what is not on disk"
            assert rank_told != "received" or press in world.station.alarms
        if crashed:
            world.start()
        world.until(lambda w=world, p=presses: all(w.stage(x) == "received" for x in p), 20_000)  # type: ignore[misc]
        world.run(15_000)
        assert sorted(kept.row.id for kept in world.store.alarms) == presses
        assert set(world.station.alarms) == set(presses)
        assert not world.store.waiting()
        assert {kept.row.stage for kept in world.store.alarms} == {"received"}
        if not crashed:
            assert crash_after >= 10
            return


def test_a_crash_at_any_effect_of_a_start_loses_nothing() -> None:
    for crash_after in itertools.count():
        world = World()
        fill(world, 3)
        world.store.do(effects.StoreNotice("p1", "tamper", True, 0, world.timebase, 0))
        press = world.press()
        world.crash_after = crash_after
        world.start()
        world.run(3_000)
        crashed, world.crash_after = world.agent is None, None
        if crashed:
            world.start()
        world.until(lambda w=world, p=press: w.stage(p) == "received", 20_000)  # type: ignore[misc]
        world.until(lambda w=world: not w.store.waiting() and not w.store.notices, 20_000)  # type: ignore[misc]
        assert set(world.station.alarms) == {kept.row.id for kept in world.store.alarms}
        assert len(world.store.alarms) == 4
        if not crashed:
            assert crash_after > 30
            return


def test_the_disk_lost_after_held_is_made_good_by_the_pole() -> None:
    world = World()
    world.station.up = False
    world.start()
    world.until(lambda: world.poles["p1"].link.up, 5_000)
    press = world.press()
    world.until(lambda: world.stage(press) == "held")
    world.crash()
    world.store.__init__(outbox="00000000000000bb")  # type: ignore[misc]
    world.start()
    world.station_comes_back()
    world.until(lambda: world.stage(press) == "received", 20_000)
    assert list(world.station.alarms) == [press]


def test_a_fetch_that_the_pass_has_overtaken_is_not_used() -> None:
    world = World()
    world.store_ms = 80
    fill(world, 500)
    ready(world)
    for _ in range(20):
        world.run(37)
        assert world.agent is not None
        row = world.store.alarms[0].row
        parts = world.agent._run
        assert parts is not None
        parts.courier._rescan(row.row)
        world.agent.handle(events.Timer(), world.now_ms)
    world.until(lambda: not world.store.waiting(), 60_000)


def test_the_lamps_press_is_answered_before_a_backlog() -> None:
    world = ready(World())
    assert world.agent is not None and world.agent._run is not None
    lines, pole = world.agent._run.lines, world.poles["p1"]
    del pole.told[:]
    for number in range(1, 101):
        lines.tell("p1", (INCARNATION, 1, number), "received")
    for stage in ("held", "received"):
        lines.tell("p1", (INCARNATION, 2, 7), stage, lamp=True)
    world.until(lambda: len(pole.told) == 102, 20_000)
    assert pole.told[:2] == [(2, 7, "held"), (2, 7, "received")]
    assert sorted(pole.told[2:]) == [(1, number, "received") for number in range(1, 101)]
    lines.tell("p1", (INCARNATION, 1, 1), "closed")
    world.run(3)  # under way
    for number in range(2, 101):
        lines.tell("p1", (INCARNATION, 1, number), "closed")
    lines.tell("p1", (INCARNATION, 2, 8), "held", lamp=True)
    world.until(lambda: len(pole.told) == 203, 20_000)
    assert pole.told.index((2, 8, "held")) <= 102 + lines_core.OLD_IN_FLIGHT
