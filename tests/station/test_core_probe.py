"""What a probe's answer proves of an inbox: that it commits, which one it is, and whether it is an older copy."""

from __future__ import annotations

import sqlite3

from tests.station.world import World, alarm

from sos_contract.payloads import ProbeAnswer, Progress, ProgressQuery


def test_a_probe_is_answered_by_a_commit_only() -> None:
    world = World(slow_disk=True)
    world.probe(number=7)
    assert world.told("probe_answer", ProbeAnswer) == []
    world.commit()
    (answer,) = world.told("probe_answer", ProbeAnswer)
    assert (answer.session, answer.number, answer.inbox) == ("s1", 7, "inbox-1")


def test_the_high_water_only_rises() -> None:
    world = World()
    marks = []
    for number in range(5):
        world.probe(number=number)
        world.send("alarm", alarm(number + 1))
        marks.append(world.told("probe_answer", ProbeAnswer)[-1].high_water)
    assert marks == sorted(set(marks))


def test_a_restored_copy_shows_by_its_high_water_and_takes_what_it_lacks() -> None:
    world = World()
    world.send("alarm", alarm(1))
    copy = sqlite3.connect(":memory:", isolation_level=None)
    world.disk.backup(copy)
    world.send("alarm", alarm(2))
    for number in range(9):
        world.probe(number=number)
    high = world.told("probe_answer", ProbeAnswer)[-1].high_water
    world.disk = copy
    world.start()
    world.probe(number=10)
    assert world.told("probe_answer", ProbeAnswer)[-1].high_water < high
    world.send("progress_query", ProgressQuery(session="s1", alarms=(alarm(1).id, alarm(2).id)))
    told = world.told("progress", Progress)[-1]
    assert (told.stages, told.missing) == (((alarm(1).id, "received"),), (alarm(2).id,))
    world.send("alarm", alarm(2))
    assert [found.id.press for found in world.alarms()] == [1, 2]


def test_a_restored_copy_that_has_grown_shows_by_where_it_began() -> None:
    # What other points offered made an older copy's high water higher than it had ever been, before one point asked.
    world = World()
    world.probe(number=1)
    copy = sqlite3.connect(":memory:", isolation_level=None)
    world.disk.backup(copy)
    world.send("alarm", alarm(1))
    world.probe(number=2)
    high, run = (answer := world.told("probe_answer", ProbeAnswer)[-1]).high_water, answer.run
    world.disk = copy
    world.entropy = bytes(32)
    world.start()
    for number in range(3, 9):
        world.probe(number=number, point="market")
    world.probe(number=9)
    answer = world.told("probe_answer", ProbeAnswer)[-1]
    assert answer.opened < high < answer.high_water and answer.run != run
