"""The core's bounds, and what it does when something fails that rarely does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.agent.core_world import World, config

from sos_agent.core import courier, effects, events, intake, lines, notices, uptime
from sos_agent.core.context import Context
from sos_agent.core.events import Contents, Started
from sos_agent.core.lane import Lane
from sos_agent.core.notices import Notices
from sos_agent.core.ports import Ports
from sos_contract.payloads import Identity, Receipt
from sos_wire import messages
from sos_wire.link import BACKLOG, LIVE


def context(outbox: str = "aa") -> Context:
    return Context(config(), Started(bytes(32), "linux", Contents(outbox, 0, 0)), 1_000)


def ready(world: World) -> World:
    world.start()
    world.until(lambda: all(pole.services[-1:] == ["in_service"] for pole in world.poles.values()), 5_000)
    world.run(1_000)
    return world


def counts(world: World) -> dict[str, int]:
    assert world.agent is not None
    return world.agent.counts


def test_a_lane_keeps_its_order_whatever_order_things_come_in() -> None:
    lane: Lane[str] = Lane(lambda item: item[0])
    for number in (5, 3, 9, 1):
        lane.add(number, f"p{number}")
    taken = lane.take_due(0, 3, lambda ms: ms)
    assert [number for number, _ in taken] == [1, 3, 5]
    assert lane.flying == 3
    assert lane.take_due(1, 3, lambda ms: ms) == []
    lane.remove(3)
    assert [number for number, _ in lane.take_due(2, 3, lambda ms: ms)] == [9]
    assert [number for number, _ in lane.take_due(3_000, 3, lambda ms: ms)] == [1, 5, 9], "all of the group again"
    assert 3 not in lane
    lane.again(10_000)
    assert (lane.flying, lane.unsent(), lane.next_due_ms()) == (0, True, None)


def test_retries_grow_to_a_bound_and_never_end() -> None:
    lane: Lane[str] = Lane(lambda item: item)
    lane.add(1, "p")
    now, gaps = 0, []
    for _ in range(2_000):
        assert lane.take_due(now, 1, lambda ms: ms)
        due = lane.next_due_ms()
        assert due is not None
        gaps.append(due - now)
        now = due
    assert gaps[:5] == [3_000, 6_000, 12_000, 24_000, 30_000]
    assert set(gaps[5:]) == {30_000}


def test_commits_under_way_are_bounded_and_the_pole_offers_again() -> None:
    world = ready(World())
    world.store_ms = 10_000_000
    pole = world.poles["p1"]
    for number in range(1, intake.STORING_MOST + 20):
        said = messages.Press("press", pole.incarnation, 1, number, 1_000 + number)
        lane = LIVE if number % 2 else BACKLOG
        world.until(lambda lane=lane: pole.link.send(lane, said.pack()), 5_000)  # type: ignore[misc]  # noqa: B023
        world.wake_poles()
    world.run(1_000)
    stores = world.effects_of(effects.StoreAlarm)
    assert len(stores) == intake.STORING_MOST
    assert counts(world)["intake_full"] >= 19


def test_notices_that_cannot_be_stored_are_bounded_and_in_order() -> None:
    part = Notices(context(), Contents("aa", 0, 0))
    part._context.effects.clear()
    part._storing = notices.UNSTORED_MOST + 10
    for number in range(notices.UNSTORED_MOST + 10):
        effect = effects.StoreNotice(f"p{number}", "tamper", True, 0, "linux", number)
        part.not_stored(effect)
    assert len(part._unstored) == notices.UNSTORED_MOST
    assert part._context.counts["notice_not_stored"] == 10
    part.add("p99", "tamper", on=False)
    assert part._context.effects == [], "the end waits behind the beginning"
    part.pump(False)
    stored = [e for e in part._context.effects if isinstance(e, effects.StoreNotice) and e.pole == "p99"]
    assert [effect.on for effect in stored] == [True, False]


def test_a_newer_notice_on_disk_overtakes_an_older_one_that_failed() -> None:
    part = Notices(context(), Contents("aa", 0, 0))
    began = effects.StoreNotice("p1", "tamper", True, 0, "linux", 10)
    ended = effects.StoreNotice("p1", "tamper", False, 0, "linux", 20)
    part.not_stored(began)
    part.stored(events.NoticeStored(ended, 1, None))
    assert not part._unstored
    assert part._context.counts["notice_overtaken"] == 1


def test_notices_without_a_receipt_come_again_and_give_way() -> None:
    world = ready(World())
    answer = world.station.answer
    world.station.answer = lambda leaf, payload: iter(()) if leaf == "notice" else answer(leaf, payload)  # type: ignore[method-assign]
    for number in range(20):
        world.store.do(effects.StoreNotice("p1", f"kind{number}", True, 0, world.timebase, 0))
    world.poles["p1"].notice("tamper", world.now_ms)
    world.wake_poles()
    world.run(120_000)
    assert counts(world)["notice_not_receipted"] >= notices.IN_FLIGHT_MOST
    world.station.answer = answer  # type: ignore[method-assign]
    world.until(lambda: not world.store.notices, 90_000)


def test_receipts_of_notices_of_another_outbox_or_of_no_notice_do_nothing() -> None:
    world = ready(World())
    world.from_station("receipt", Receipt(inbox="inbox-1", outbox="another", notices=(1, 2)))
    world.from_station("receipt", Receipt(inbox="inbox-1", outbox=world.store.outbox, notices=(77,)))
    stranger = Identity("p1", "00", 1, 1)
    world.from_station("receipt", Receipt(inbox="inbox-1", refused=((stranger, "no"),)))
    world.run(100)
    assert counts(world)["receipt_unasked"] == 1
    assert counts(world)["refusal_unasked"] == 1


def test_a_notice_that_was_receipted_and_could_not_be_dropped_goes_later() -> None:
    world = ready(World())
    do = world.store.do

    def fail_once(effect: effects.StoreEffect) -> events.Event | None:
        if isinstance(effect, effects.DropNotices):
            world.store.do = do  # type: ignore[method-assign]
            return events.StoreFailed(effect, "disk I/O error")
        return do(effect)

    world.store.do = fail_once  # type: ignore[method-assign]
    world.poles["p1"].notice("tamper", world.now_ms)
    world.wake_poles()
    world.until(lambda: bool(world.store.notices), 1_000)
    world.until(lambda: not world.store.notices, 30_000)


def test_boots_and_clock_that_could_not_be_stored_are_stored_later() -> None:
    world = World()
    world.store.failing = "disk I/O error"
    world.start()
    world.run(10_000)
    world.store.failing = ""
    for _ in range(10):
        world._give(events.Clock(world.wall_ms + world.now_ms, "synced"))
        world.run(10_000)
    assert len(world.store.boots) == len(world.store.timebases) == 1


def test_a_worse_clock_does_not_overwrite_a_better_one() -> None:
    part = uptime.Uptime(context(), ())
    part.clock(5_000_000, "synced")
    part.clock(9_000_000, "holdover")
    part.clock(1, "unset")
    stored = [effect for effect in part._context.effects if isinstance(effect, effects.StoreTimebase)]
    assert [(effect.wall_at_zero_ms, effect.quality) for effect in stored] == [(4_999_000, "synced")]
    assert part.quality == "unset"


def test_a_stall_does_not_make_a_press_younger_and_a_slow_pole_is_followed() -> None:
    shared = context()
    part = uptime.Uptime(shared, ())
    part.heard("p1", "aa", 1, 0)  # zero at 1,000
    shared.now_ms = 31_000
    part.heard("p1", "aa", 1, 20_000)  # read 10 s late
    assert part.time_of("p1", "aa", 1, 20_000) == ("linux", 21_300)
    for _ in range(400):  # the pole's clock loses 0.5 %
        shared.now_ms += 20_000
        part.heard("p1", "aa", 1, int((shared.now_ms - 1_000) * 0.995))
    at = part.time_of("p1", "aa", 1, int((shared.now_ms - 1_000) * 0.995))[1]
    assert at is not None
    assert abs(at - shared.now_ms) <= 100


def test_a_damaged_outbox_is_told() -> None:
    world = World()
    contents = world.store.contents
    world.store.contents = lambda: replace(contents(), damaged="/data/outbox.db.damaged-1")  # type: ignore[method-assign]
    ready(world)
    world.run(1_000)
    assert [(notice.pole, notice.kind) for notice in world.station.notices] == [("", "outbox_damaged")]
    logs = [log for log in world.effects_of(effects.Log) if log.level == "error"]
    assert ("kept", "/data/outbox.db.damaged-1") in logs[0].fields


def test_a_candidate_for_a_line_that_is_none_of_ours_is_not_opened() -> None:
    part = Ports(context())
    part.seen((events.Candidate("/dev/x", "/dev/nobody", True),))
    part.pump()
    assert part._context.effects == []


def test_a_line_goes_home_when_its_other_port_falls_silent() -> None:
    world = ready(World())
    world.unplug()
    world.plug("/dev/ttyACM1")
    world.until(lambda: world.opened == {"/dev/ttyACM1"}, 10_000)
    world.run(2_000)
    world.ports["/dev/ttyACM1"] = None
    world.plug("/dev/home")
    press = world.press()
    world.until(lambda: world.stage(press) == "received", 20_000)
    assert "/dev/home" in world.opened


def test_refused_alarms_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "REFUSED_MOST", 100)
    world = World()
    for number in range(1, 200):
        identity = Identity("p1", "00000000000000ff", 1, number)
        world.store.do(effects.StoreAlarm(identity, "press", number, 0, world.timebase, 0))
        world.station.refuses[identity] = "mended tomorrow"
    ready(world)
    world.run(60_000)
    assert world.agent is not None
    assert world.agent._run is not None
    assert len(world.agent._run.courier._refused) == 100
    press = world.press()
    world.until(lambda: world.stage(press) == "received", 1_000)
    world.station.refuses.clear()
    world.until(lambda: not world.store.waiting(), 120_000)


def test_a_status_that_is_none_is_counted() -> None:
    world = ready(World())
    world.poles["p1"].link.set_status(b"\x63", True)
    world.wake_poles()
    world.run(500)
    assert counts(world)["status_unknown"] >= 1


def test_a_crowd_of_answers_does_not_push_out_the_one_that_the_lamp_waits_for() -> None:
    """A flood of presses is closed with one key: of 200 stages at once the lamp's own came first, and was lost."""
    world = ready(World())
    newest = world.press()
    world.until(lambda: world.stage(newest) == "received")
    assert world.agent is not None and world.agent._run is not None
    run = world.agent._run
    closed = [replace_press(newest, press) for press in range(1_000, 1_200)]
    for identity in (newest, *closed):
        run.answers.say(identity, "closed")
    answers = run.lines.poles["p1"].answers
    assert answers[(newest.incarnation, newest.boot, newest.press), False] == "closed"
    assert len(answers) == lines.ANSWERS_MOST
    assert counts(world)["answer_crowded_out"] == 201 - lines.ANSWERS_MOST


def replace_press(identity: Identity, press: int) -> Identity:
    return Identity(identity.pole, identity.incarnation, identity.boot, press)
