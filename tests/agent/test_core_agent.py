"""The agent's core on virtual time, steps 5 to 7: one press, and what may go wrong around it."""

from __future__ import annotations

import pytest
from tests.agent.core_world import World, config

from sos_agent.core import effects, events
from sos_agent.core.agent import Agent
from sos_contract import payloads
from sos_contract.payloads import Identity, Receipt
from sos_wire import messages
from sos_wire.link import LIVE


def ready(world: World) -> World:
    world.start()
    world.until(lambda: all(pole.services[-1:] == ["in_service"] for pole in world.poles.values()), 5_000)
    return world


def stages_told(world: World, pole: str = "p1") -> list[str]:
    return [stage for _, _, stage in world.poles[pole].told]


def test_a_press_is_held_then_received_and_follows_the_officer() -> None:
    world = ready(World())
    press = world.press()
    assert world.until(lambda: world.stage(press) == "held", 200) <= 20
    assert world.until(lambda: world.stage(press) == "received", 200) <= 30
    for stage in ("accepted", "dispatched", "on_scene", "closed"):
        world.station.alarms[press] = stage
        world.until(lambda stage=stage: world.stage(press) == stage, 31_000)  # type: ignore[misc]
    queries = len(world.station.queries)
    world.run(65_000)
    assert stages_told(world) == ["held", "received", "accepted", "dispatched", "on_scene", "closed"]
    assert len(world.station.queries) == queries, "a closed alarm is not asked for"


def test_a_stage_that_the_station_tells_at_once_is_told_at_once() -> None:
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    world.station.alarms[press] = "accepted"
    world.from_station("progress", payloads.Progress(inbox="inbox-1", stages=((press, "accepted"),)))
    assert world.until(lambda: world.stage(press) == "accepted", 100) <= 20


@pytest.mark.parametrize("restarts", [False, True])
def test_after_an_outage_the_lamp_hears_of_its_press_though_a_silent_one_came_later(restarts: bool) -> None:
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    silent = world.press(kind="silent_press")
    world.until(lambda: world.stage(silent) == "received")
    world.unplug()
    world.station.alarms[press] = "accepted"
    world.run(40_000)
    if restarts:
        world.crash()
        world.start()
    world.plug("/dev/home")
    world.run(5_000)
    assert world.stage(press) == "accepted"


def test_held_is_said_only_after_the_commit() -> None:
    world = World()
    world.store_ms = 400
    ready(world)
    press = world.press()
    world.run(300)
    assert world.stage(press) == "pressed"
    assert not world.store.alarms
    world.until(lambda: world.stage(press) == "held", 400)
    assert [kept.row.id for kept in world.store.alarms] == [press]


def test_nothing_is_said_while_the_disk_fails_and_all_is_well_after() -> None:
    world = ready(World())
    world.store.failing = "database or disk is full"
    press = world.press()
    world.run(10_000)
    assert stages_told(world) == []
    assert world.poles["p1"].services[-1] == "station_lost", "a press would not be held: nobody may depend on it"
    assert world.agent is not None
    assert world.agent.counts["alarm_not_stored"] >= 8, "the pole offers again each second"
    world.store.failing = ""
    world.until(lambda: world.stage(press) == "received", 6_000)
    world.until(lambda: ("", "disk_full", False) in [(n.pole, n.kind, n.on) for n in world.station.notices], 10_000)
    told = [(notice.kind, notice.on) for notice in world.station.notices if notice.kind == "disk_full"]
    assert told == [("disk_full", True), ("disk_full", False)]
    assert world.poles["p1"].services[-1] == "in_service"
    errors = [log for log in world.effects_of(effects.Log) if log.level == "error"]
    assert len(errors) == 1, "an outage is logged once"


def test_a_full_disk_that_still_takes_alarms_leaves_the_poles_in_service() -> None:
    """Only notices are refused, for alarms have their own room: "presses are not held" would be a lie."""
    world = ready(World())
    world.store.full = True
    world.unplug()
    world.run(12_000)
    world.plug("/dev/home")
    world.run(5_000)
    press = world.press()
    world.until(lambda: world.stage(press) == "received", 5_000)
    assert world.poles["p1"].services[-1] == "in_service"
    errors = [log.message for log in world.effects_of(effects.Log) if log.level == "error"]
    assert errors == ["the disk is full; presses are held in the room kept for them"]
    world.store.full = False
    world.until(lambda: ("", "disk_full", False) in [(n.pole, n.kind, n.on) for n in world.station.notices], 120_000)


def test_an_offer_while_the_commit_is_under_way_is_not_stored_twice() -> None:
    world = World()
    world.store_ms = 2_500
    ready(world)
    press = world.press()
    world.until(lambda: world.stage(press) == "received", 20_000)
    assert len([effect for effect in world.store.log if isinstance(effect, effects.StoreAlarm)]) == 1


def test_a_duplicate_is_answered_with_the_present_stage() -> None:
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    world.station.alarms[press] = "accepted"
    world.until(lambda: world.stage(press) == "accepted", 31_000)
    world.poles["p1"].told.clear()
    said = messages.Press("press", 0xC0FFEE, 1, 1, press_at(world, press))
    world.poles["p1"].link.send(LIVE, said.pack())
    world.wake_poles()
    world.until(lambda: stages_told(world) == ["accepted"], 200)
    assert [alarm.id for alarm in world.station.seen] == [press]


def press_at(world: World, press: Identity) -> int:
    return next(kept.row.pressed_at_ms for kept in world.store.alarms if kept.row.id == press)


def test_other_content_under_one_identity_is_an_alarm_of_its_own() -> None:
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    world.station.mute_receipts = True
    said = messages.Press("press", 0xC0FFEE, 1, 1, press_at(world, press) + 5)
    world.poles["p1"].told.clear()
    world.poles["p1"].link.send(LIVE, said.pack())
    world.wake_poles()
    world.until(lambda: len(world.station.seen) == 2, 1_000)
    clash = Identity("p1", press.incarnation, 1, 1, 1)
    assert world.station.seen[-1].id == clash
    # the receipt of the first content, said once more, is none of the second's
    world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(press,)))
    world.run(100)
    assert stages_told(world) == ["held"]
    assert [kept.row.id for kept in world.store.waiting()] == [clash]
    world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(clash,)))
    world.run(100)
    assert stages_told(world) == ["held", "received"]


def test_after_a_restart_the_stage_of_one_content_is_not_told_of_the_other() -> None:
    """The lamp's newest press was taken for the first of both: a pole that held the second heard *closed*, let go of
    it and fell idle, although the station had nothing of it."""
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    world.station.up = False
    pole = world.poles["p1"]
    pole.journal[1, 1] = said = messages.Press("press", 0xC0FFEE, 1, 1, press_at(world, press) + 5)
    pole.stages.clear()
    pole.link.send(LIVE, said.pack())
    world.wake_poles()
    world.until(lambda: len(world.store.alarms) == 2, 1_000)
    world.crash()
    world.run(1_000)
    pole.told.clear()
    world.start()
    world.run(5_000)
    assert set(stages_told(world)) == {"held"}
    assert pole.journal


def test_receipts_forged_doubled_or_kept_change_nothing() -> None:
    world = ready(World())
    world.station.mute_receipts = True
    press = world.press()
    world.until(lambda: len(world.station.seen) == 1)
    stranger = Identity("p1", press.incarnation, 1, 77)
    world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(stranger,)))
    world.from_station("receipt", Receipt(inbox="another inbox", alarms=(press,)))
    world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(press,)), retained=True)
    world.from_station("receipt", b'{"v": 99, "inbox": "inbox-1"}')
    world.from_station("receipt", b"\xff\x00 no JSON")
    world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(press,)), session="an old connection")
    world.run(500)
    assert world.stage(press) == "held"
    for _ in range(3):
        world.from_station("receipt", Receipt(inbox="inbox-1", alarms=(press,)))
    world.run(500)
    assert stages_told(world) == ["held", "received"]
    assert world.agent is not None
    counts = world.agent.counts
    assert counts["receipt_unasked"] == 3
    assert counts["receipt_unproved"] == counts["message_elsewhere"] == counts["old_connection"] == 1
    assert counts["payload_refused"] == 2


def test_a_lost_receipt_is_made_good_by_publishing_again() -> None:
    world = ready(World())
    world.station.mute_receipts = True
    press = world.press()
    world.run(1_000)
    world.station.mute_receipts = False
    world.until(lambda: world.stage(press) == "received", 5_000)
    assert [alarm.id for alarm in world.station.seen] == [press, press]


def test_progress_makes_a_lost_receipt_good() -> None:
    world = ready(World())
    world.station.mute_receipts = True
    press = world.press()
    world.run(1_000)
    world.from_station("progress", payloads.Progress(inbox="inbox-1", stages=((press, "accepted"),)))
    world.until(lambda: world.stage(press) == "accepted", 100)
    assert not world.store.waiting()


def test_a_refused_alarm_is_kept_offered_again_and_stands_in_no_way() -> None:
    world = ready(World())
    world.station.refuses[Identity("p1", f"{0xC0FFEE:016x}", 1, 1)] = "pole unknown here"
    first, second = world.press(), world.press()
    world.until(lambda: world.stage(second) == "received", 2_000)
    world.run(200_000)
    offers = [alarm for alarm in world.station.seen if alarm.id == first]
    assert 3 <= len(offers) <= 5
    assert len([log for log in world.effects_of(effects.Log) if log.level == "error"]) == 1
    world.station.refuses.clear()
    world.until(lambda: world.stage(first) == "received", 90_000)


def test_all_kinds_of_press_pass_and_a_notice_of_that_name_does_not() -> None:
    world = ready(World())
    for kind in messages.PRESS_KINDS:
        press = world.press(kind=kind)
        world.until(lambda press=press: world.stage(press) == "received", 2_000)  # type: ignore[misc]
    world.poles["p1"].notice("press", world.now_ms)
    world.wake_poles()
    world.run(1_000)
    assert [alarm.kind for alarm in world.station.seen] == list(messages.PRESS_KINDS)
    assert not [notice for notice in world.station.notices if notice.kind == "press"]


def test_sealed_nonsense_is_counted() -> None:
    world = ready(World())
    world.poles["p1"].link.send(LIVE, b"\x63nonsense")
    world.poles["p1"].link.send(LIVE, messages.Service("in_service").pack())
    world.wake_poles()
    world.run(500)
    assert world.agent is not None
    assert world.agent.counts["message_unknown"] == 2


def test_a_line_with_several_poles_tells_each_its_own() -> None:
    world = ready(World(config(lines={"/dev/home": ("p1", "p2", "p3")})))
    presses = [world.press(pole) for pole in ("p3", "p1", "p2")]
    world.until(lambda: all(world.stage(press) == "received" for press in presses), 2_000)
    assert all(stages_told(world, pole) == ["held", "received"] for pole in world.poles)


def test_a_restarted_pole_offers_its_journal_and_is_answered() -> None:
    world = World()
    world.station.up = False
    world.start()
    world.until(lambda: world.poles["p1"].link.up, 5_000)
    press = world.press()
    world.until(lambda: world.stage(press) == "held")
    world.poles["p1"].restart(world.now_ms)
    world.poles["p1"].stages.clear()
    world.wake_poles()
    world.until(lambda: world.stage(press) == "held", 5_000)
    world.station_comes_back()
    world.until(lambda: world.stage(press) == "received", 10_000)


def test_the_lamps_press_is_told_again_in_each_session() -> None:
    world = ready(World())
    press = world.press()
    world.until(lambda: world.stage(press) == "received")
    world.ports["/dev/home"] = None
    world.run(12_000)
    world.station.alarms[press] = "accepted"
    world.run(31_000)
    assert world.stage(press) == "received"
    world.ports["/dev/home"] = "/dev/home"
    world.until(lambda: world.stage(press) == "accepted", 5_000)


def test_the_end_says_goodbye() -> None:
    world = ready(World())
    assert world.agent is not None
    last = world.agent.handle(events.Stopping(), world.now_ms)
    state = [payloads.decode(e.payload, payloads.State) for e in last if isinstance(e, effects.Publish) and e.retain]
    assert [s.online for s in state if isinstance(s, payloads.State)] == [False]
    assert isinstance(last[1], effects.Disconnect)
    assert [e.port for e in last if isinstance(e, effects.ClosePort)] == ["/dev/home"]
    assert world.agent.next_timer_ms() is None
    assert world.agent.handle(events.Timer(), world.now_ms) == []


def test_before_the_start_only_clock_and_ports_are_heard() -> None:
    agent = Agent(config())
    assert agent.handle(events.Clock(1, "unset"), 0) == []
    assert agent.next_timer_ms() is None
    with pytest.raises(AssertionError):
        agent.handle(events.PortOpened("/dev/home"), 0)


def test_the_same_events_give_the_same_effects() -> None:
    def trace() -> list[effects.Effect]:
        world = ready(World())
        world.press()
        world.run(20_000)
        return world.out

    assert trace() == trace()
