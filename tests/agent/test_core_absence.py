"""An agent that was frozen, or that hears late: what waited unread is heard before anything is judged."""

from __future__ import annotations

import pytest
from tests.agent.core_world import World
from tests.agent.test_core_notices import noted, queue
from tests.agent.test_core_rounds import parts, press, took

from sos_agent.core import effects, events
from sos_agent.core.progress import PAGE
from sos_contract.payloads import Progress
from sos_wire.messages import FAULTS


def test_a_sweep_whose_finding_the_disk_did_not_take_begins_anew() -> None:
    """The station lacked alarms, the disk failed at just that commit, and the pages behind it were read well: the
    sweep called itself complete, and a restored station was never offered those alarms."""
    _, sync, _, shared = parts()
    sync.timer()
    (fetch,) = took(shared, effects.FetchReceipted)
    assert not fetch.open_only
    one, two = press(1), press(2)
    sync.fetched(events.ReceiptedFetched(fetch, ((1, one), (2, two)), True))
    sync.progress(Progress(inbox="i", missing=(one,)))
    (waiting,) = took(shared, effects.MarkWaiting)
    sync.failed(waiting)
    sync.progress(Progress(inbox="i", stages=((two, "received"),)))
    (fetch,) = took(shared, effects.FetchReceipted)
    assert fetch == effects.FetchReceipted(2, PAGE, False)
    sync.fetched(events.ReceiptedFetched(fetch, (), True))
    assert sync.state == "idle" and sync.sweeping


def test_a_disagreement_that_nobody_listened_to_is_not_judged_by_its_age() -> None:
    """A notice had come, the beat behind it waited unread while the agent was frozen: with the first frame after it
    the old status, six seconds old by then, ended the fault that the pole still had."""
    part, shared = queue()
    part.add("p1", "tamper", on=True)
    assert not part.beat("p1", 0)
    shared.now_ms += 60_000
    assert not part.beat("p1", 0)
    assert not part.beat("p1", 1 << FAULTS.index("tamper"))
    assert noted(shared) == [("tamper", True, 0)]


def test_an_end_that_the_pole_tells_ends_a_fault_that_is_open() -> None:
    """We were frozen for 40 s and heard of it from the pole alone, after its cable was cut once more: the beginning of
    its outage was news, the end lay near that of the second one, which is ours; in the outbox the fault stayed open
    for ever."""
    world = World()
    world.start()
    world.run(60_000)
    pole = world.poles["p1"]
    lost_ms = world.now_ms - 40_000
    pole_line = world.ports["/dev/home"]
    world.ports["/dev/home"] = None
    back_ms = world.now_ms - 1_000
    world.run(20_000)
    assert ("p1", "link_lost") in world.store.open_faults
    world.ports["/dev/home"] = pole_line
    world.until(lambda: ("p1", "link_lost") not in world.store.open_faults, 10_000)
    pole.notice("link_lost", lost_ms)
    pole.notice("link_back", back_ms)
    world.wake_poles()
    world.run(5_000)
    assert ("p1", "link_lost") not in world.store.open_faults


@pytest.mark.parametrize(("quality", "purges"), [("synced", 1), ("holdover", 0), ("unset", 0)])
def test_nothing_is_forgotten_by_a_clock_that_nobody_disciplines(quality: str, purges: int) -> None:
    """A clock that was set by hand to a time months ahead made every alarm of an earlier start look old: open ones
    were forgotten, their lamps heard no more of them, and a restored station was not offered them."""
    world = World(quality=quality)
    world.start()
    world.run(100)
    assert len(world.effects_of(effects.PurgeReceipted)) == purges


def test_a_pole_that_comes_back_to_its_point_has_no_fault_of_when_it_left() -> None:
    """Its enclosure was open when it was taken down. Nobody ended that in the outbox, and when it was back months later
    its point told the station of a tamper that was none."""
    world = World()
    world.store.open_faults = {("p9", "tamper"), ("p1", "tamper"), ("", "disk_full")}
    world.start()
    world.run(5_000)
    assert {pole for pole, _ in world.store.open_faults} == {"p1", ""}
