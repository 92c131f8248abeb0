"""Single promises of the agent's core that nothing else looks at."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent.core_world import World, config

from sos_agent.core import effects, events
from sos_agent.core.agent import Agent
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.events import AlarmRow, Contents, NoticeRow, Started
from sos_agent.core.lines import Lines
from sos_agent.core.notices import IN_FLIGHT_MOST, Notices
from sos_agent.core.ports import Ports
from sos_agent.core.progress import Answers, ProgressSync
from sos_agent.core.table import ImpossibleError, Table
from sos_agent.core.uptime import Uptime
from sos_contract import payloads
from sos_contract.payloads import Health, Identity
from sos_wire.messages import Notice


def context(connection: str = "s.1") -> Context:
    shared = Context(config(), Started(bytes(32), "linux", Contents("aa", 0, 0)), 5_000)
    shared.connection = connection
    return shared


def served() -> World:
    world = World()
    world.start()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 5_000)
    world.run(2_000)
    return world


def logs(world: World, words: str) -> list[dict[str, Any]]:
    return [dict(one.fields) for one in world.effects_of(effects.Log) if one.message == words]


def test_a_table_steps_by_its_own_rows() -> None:
    table = Table("t", "a", {("a", "go"): ("b", "act")})
    assert table.step(table.first, "go") == ("b", "act")
    with pytest.raises(ImpossibleError, match="t: 'stop' cannot happen while 'a'"):
        table.step("a", "stop")


def test_a_start_says_that_it_is_ready_once() -> None:
    agent = Agent(config())
    agent.handle(events.Clock(1, "synced"), 1_000)
    started = agent.handle(events.Started(bytes(32), "linux", Contents("aa", 0, 0)), 1_000)
    assert started.count(effects.Ready()) == 1 and None not in started


def test_a_lost_broker_is_told_with_its_reason() -> None:
    world = served()
    world.broker_stops()
    assert [told["reason"] for told in logs(world, "broker lost")] == ["connection reset"]


def test_nonsense_of_the_station_is_told_once_and_counted() -> None:
    world = served()
    for _ in range(3):
        world.from_station("receipt", b"{")
        world.run(10)
    assert world.agent and world.agent.counts["payload_refused"] == 3
    assert [told["topic"] for told in logs(world, "refused a message of the station")] == [
        "sos/v1/betong/point/merlin/receipt"
    ]


def test_an_alarm_on_disk_shows_that_the_disk_takes_alarms_again_and_a_duplicate_does_not() -> None:
    world = served()
    world.store.failing = "I/O error"
    identity = world.press()
    world.run(1_500)
    world.store.failing, world.store.full = "", True
    world.run(3_000)
    assert len(logs(world, "presses are held again; notices are not stored yet")) == 1
    assert world.stage(identity) == "received"


def test_health_tells_what_each_pole_says_of_itself() -> None:
    world = served()
    world.run(61_000)
    said = [
        payloads.decode(one.payload, Health)
        for one in world.effects_of(effects.Publish)
        if one.topic.endswith("/health")
    ]
    last: Any = said[-1]
    assert [(pole.pole, pole.link, bool(pole.lamp)) for pole in last.poles] == [("p1", True, True)]


def test_a_notice_keeps_the_time_at_which_it_happened() -> None:
    world = served()
    pole = world.poles["p1"]
    happened_ms = world.now_ms - 1_500
    uptime_ms = happened_ms - pole.started_ms
    pole.link.send(1, Notice("tamper", pole.incarnation, pole.boot, 99, uptime_ms).pack())
    world.wake_poles()
    world.run(100)
    (stored,) = (one for one in world.effects_of(effects.StoreNotice) if one.kind == "tamper")
    assert abs(stored.at_ms - happened_ms) <= 10


def row(number: int) -> AlarmRow:
    return AlarmRow(number, Identity("p1", "aa", 1, number), "press", 0, 0, "linux", 4_900, None, "unset", "held")


def test_what_was_receipted_waits_no_longer_one_by_one() -> None:
    shared = context()
    part = Courier(shared, Uptime(shared, ()), 5)
    mark = effects.MarkReceipted((row(1).id,), "linux", 5_000)
    part.receipted(events.Receipted(mark, (row(1).id,)))
    assert part.waiting == 4
    part.receipted(events.Receipted(mark, ()))
    assert part.waiting == 4


def test_eight_notices_in_the_lane_are_enough_to_read_no_further() -> None:
    shared = context()
    part = Notices(shared, Contents("aa", 0, 30))
    part.pump(True)
    (fetch,) = shared.effects
    assert isinstance(fetch, effects.FetchNotices)
    rows = tuple(
        NoticeRow(number, "p1", "tamper", True, 0, 0, "linux", 1, 0, "unset") for number in range(1, IN_FLIGHT_MOST + 1)
    )
    part.fetched(events.NoticesFetched(fetch, rows, False))
    shared.effects = []
    part.pump(True)
    assert not any(isinstance(effect, effects.FetchNotices) for effect in shared.effects)
    part.receipt((1,))
    part.pump(True)
    assert any(isinstance(effect, effects.FetchNotices) for effect in shared.effects)


def test_a_port_that_nobody_opened_may_be_closed() -> None:
    shared = context()
    Ports(shared).closed("/dev/none", "gone")
    assert shared.effects == []


def test_a_birth_without_a_reason_to_sweep_asks_only_for_what_is_open() -> None:
    shared = context()
    uptime = Uptime(shared, ())
    lines = Lines(shared, uptime)
    sync = ProgressSync(shared, Courier(shared, uptime, 0), Answers(shared, lines, ()))
    sync.sweeping = False
    sync.begin_round()
    sync.timer()
    assert [one.open_only for one in shared.effects if isinstance(one, effects.FetchReceipted)] == [True]
    assert sync.next_due_ms() is None, "while it reads nothing is due"
