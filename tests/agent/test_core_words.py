"""What the agent tells others, word by word; what it counts; what it keeps no longer than it must."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from tests.agent.core_world import World, config

from sos_agent.core import effects, events
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.events import AlarmRow, Candidate, Contents, Started
from sos_agent.core.health import HealthReport
from sos_agent.core.lines import Lines
from sos_agent.core.notices import DISAGREE_MS, Notices
from sos_agent.core.ports import ASK_MS, Ports
from sos_agent.core.uptime import Uptime
from sos_contract import payloads
from sos_contract.payloads import Alarm, Health, Identity
from sos_wire.messages import FAULTS, Press
from sos_wire.messages import Notice as Told


def context(**more: Any) -> Context:
    shared = Context(replace(config(), **more), Started(bytes(32), "linux", Contents("aa", 0, 0)), 5_000)
    shared.connection = "s.1"
    return shared


def row(number: int) -> AlarmRow:
    return AlarmRow(number, Identity("p1", "aa", 1, number), "press", 0, 0, "linux", 4_900, None, "unset", "held")


def test_a_press_is_stored_with_the_wall_time_only_where_a_clock_tells_it() -> None:
    for quality, known in (("synced", True), ("holdover", True), ("unset", False)):
        world = World(quality=quality)
        world.start()
        world.until(lambda world=world: world.poles["p1"].services[-1:] == ["in_service"], 5_000)  # type: ignore[misc]
        world.press()
        world.run(20)
        (store,) = world.effects_of(effects.StoreAlarm)
        assert (abs(store.wall_ms - world.wall_ms - world.now_ms) <= 20) if known else store.wall_ms == 0


def test_the_lane_is_told_by_its_name() -> None:
    shared = context()
    part = Courier(shared, Uptime(shared, ()), 1)
    part.in_service = True
    part.pump()
    (fetch,) = shared.effects
    assert isinstance(fetch, effects.FetchWaiting)
    part.fetched(events.WaitingFetched(fetch, (row(1),), True))
    shared.effects = []
    part.pump()
    said: list[Any] = [
        payloads.decode(one.payload, Alarm) for one in shared.effects if isinstance(one, effects.Publish)
    ]
    assert [one.lane for one in said] == ["backlog"]


def test_what_is_being_receipted_waits_nowhere_else() -> None:
    shared = context()
    part = Courier(shared, Uptime(shared, ()), 1)
    part._marking[row(1).id] = 1
    assert part._unheld() == 0


def test_health_tells_the_end_of_the_certificate() -> None:
    shared = context(certificate_until_ms=77)
    uptime = Uptime(shared, ())
    part = HealthReport(shared, uptime, Lines(shared, uptime), Notices(shared, Contents("aa", 0, 0)))
    part.pump("in_service", 0, known=True)
    said: list[Any] = [
        payloads.decode(one.payload, Health) for one in shared.effects if isinstance(one, effects.Publish)
    ]
    assert [one.certificate_until_ms for one in said] == [77]


def test_the_summary_says_how_the_service_is() -> None:
    world = World()
    world.start()
    world.run(12_000)
    assert world.effects_of(effects.Summary)[-1].text == "in_service, 1 of 1 poles, 0 alarms waiting"


def test_each_fault_that_a_beat_makes_good_is_counted() -> None:
    shared = context()
    part = Notices(shared, Contents("aa", 0, 0))
    mask = (1 << FAULTS.index("tamper")) | (1 << FAULTS.index("mains_lost"))
    part.beat("p1", mask)
    for _ in range(2):
        shared.now_ms += DISAGREE_MS // 2
        part.beat("p1", mask)
    assert shared.counts["notice_made_good"] == 2


def test_a_stored_notice_is_read_by_the_next_pass() -> None:
    shared = context()
    part = Notices(shared, Contents("aa", 0, 0))
    part._cursor = 40
    store = effects.StoreNotice("p1", "tamper", True, 0, "linux", 1, None, False)
    part.stored(events.NoticeStored(store, 9, None))
    assert part._cursor == 8
    part.stored(events.NoticeStored(store, 30, None))
    assert part._cursor == 8


def test_a_port_that_came_back_is_tried_at_once() -> None:
    shared = context()
    part = Ports(shared)
    home = (Candidate("/dev/home", "/dev/home", True),)
    part.seen(home)
    part.pump()
    part.closed("/dev/home", "busy")
    shared.effects = []
    part.pump()
    assert shared.effects == [], "a second later"
    part.seen(())
    part.seen(home)
    part.pump()
    assert [one.port for one in shared.effects if isinstance(one, effects.OpenPort)] == ["/dev/home"]


def test_a_port_is_asked_when_it_opens_and_then_at_its_pace() -> None:
    shared = context()
    part = Ports(shared)
    part.seen((Candidate("/dev/home", "/dev/home", True),))
    part.pump()
    part.opened("/dev/home")
    shared.effects = []
    part.pump()
    assert len(shared.effects) == 1
    asked_ms = part.by_name["/dev/home"].ask_ms
    assert abs(asked_ms - shared.now_ms - ASK_MS) <= ASK_MS // 4
    shared.now_ms = asked_ms
    part.pump()
    assert len(shared.effects) == 2


def test_what_cannot_be_a_notice_and_what_is_for_nobody_here_is_counted() -> None:
    world = World()
    world.start()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 5_000)
    pole = world.poles["p1"]
    pole.link.send(1, Told("press", pole.incarnation, pole.boot, 50, 1).pack())
    world.wake_poles()
    world.run(100)
    world._give(events.BrokerMessage(world.session, "sos/v1/betong/point/market/receipt", b"{}", False))
    assert world.agent
    assert (world.agent.counts["notice_impossible"], world.agent.counts["message_elsewhere"]) == (1, 1)


def test_other_content_under_a_known_identity_is_told() -> None:
    world = World()
    world.start()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 5_000)
    identity = world.press()
    world.run(1_000)
    pole = world.poles["p1"]
    pole.link.send(0, Press("press", pole.incarnation, pole.boot, identity.press, 1).pack())
    world.wake_poles()
    world.run(1_000)
    told = [one for one in world.effects_of(effects.Log) if one.message.startswith("identity clash")]
    assert len(told) == 1
