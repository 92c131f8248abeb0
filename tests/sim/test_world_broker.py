"""The broker's twin by itself: its store, its faults, and an attacker who has its keys."""

from __future__ import annotations

from tests.sim.mqtt_kit import LOST, pass_s, payloads, reasons, tokens, world

from sos_edge.address import HUNG_UP
from sos_edge.mqtt import MAX_IN_FLIGHT
from sos_sim.world.network import SECOND_US
from sos_sim.world.session import matches


def test_a_late_will_comes_behind_the_next_birth() -> None:
    twin = world()
    twin.broker.late_will_us = 20 * SECOND_US
    twin.connect("a", "second", ("t/a", b"gone again"))
    pass_s(twin, 0.1)
    twin.publish("a", "t/a", b"born", True)
    pass_s(twin, 30)
    assert payloads(twin) == [b"born", b"gone"]
    assert twin.broker.retained["t/a"] == b"gone"


def test_a_broker_that_takes_and_never_acknowledges_and_one_that_forgets() -> None:
    twin = world()
    twin.broker.routes = twin.broker.acknowledges = False
    for number in range(MAX_IN_FLIGHT + 1):
        assert twin.link("a").publish("x", b"") is (number < MAX_IN_FLIGHT)
    pass_s(twin, 60)
    assert not tokens(twin)
    assert not payloads(twin)
    assert not reasons(twin)  # it answers pings
    twin = world()
    twin.broker.routes = False
    twin.publish("a", "x", b"", token=1)
    pass_s(twin, 1)
    assert tokens(twin) == [1]
    assert not payloads(twin)


def test_an_attacker_may_say_anything_and_replay_what_was_recorded() -> None:
    twin = world()
    recorded: list[tuple[int, str, str, bytes, bool]] = []
    twin.broker.record = lambda *message: recorded.append(message)
    twin.publish("a", "x", b"said once")
    pass_s(twin, 1)
    _, who, topic, payload, retain = recorded[0]
    assert (who, topic, payload, retain) == ("a", "x", b"said once", False)
    assert twin.broker.attack("mallory", topic, payload)
    assert twin.broker.attack("mallory", "t/a", b"forged", retain=True, qos=0)
    pass_s(twin, 1)
    assert payloads(twin) == [b"said once", b"said once", b"forged"]
    assert twin.broker.retained["t/a"] == b"forged"
    assert twin.broker.steal("mallory", "a")
    pass_s(twin, 1)
    assert reasons(twin) == [LOST]
    assert payloads(twin)[-1] == b"gone"
    assert not twin.broker.steal("mallory", "a")
    assert twin.trace.counts["attack"] == 3
    twin.kill("")
    assert not twin.broker.attack("mallory", "x", b"")


def test_the_store_is_as_old_as_the_last_autosave() -> None:
    twin = world()
    twin.publish("a", "first", b"1", True)
    pass_s(twin, 1700)
    twin.publish("a", "second", b"2", True)
    pass_s(twin, 200)  # the time to save has passed, and nobody asked since
    twin.publish("a", "third", b"3", True)
    pass_s(twin, 1)
    twin.kill("")
    twin.start("")
    assert sorted(twin.broker.retained) == ["first", "second"]
    twin.broker.power_cut(keep_store=False)
    twin.start("")
    assert not twin.broker.retained
    causes = [(row.kind, row.fields[0]) for row in twin.trace.rows if row.part == "broker:1"]
    assert causes == [
        ("up", "start"), ("down", "kill"), ("up", "start"), ("down", "power"), ("up", "start"),
    ]  # fmt: skip


def test_frozen_for_too_long_a_broker_drops_those_whom_it_did_not_hear() -> None:
    twin = world()
    twin.publish("a", "x", b"before")
    pass_s(twin, 0.1)
    twin.freeze("")
    pass_s(twin, 5)
    twin.thaw("")
    pass_s(twin, 1)
    assert not reasons(twin)
    twin.publish("a", "x", b"heard of both")
    pass_s(twin, 0.1)
    twin.freeze("")
    twin.publish("a", "x", b"in its socket")
    pass_s(twin, 17)
    twin.thaw("")
    pass_s(twin, 1)
    assert reasons(twin) == reasons(twin, "watcher") == [LOST]


def test_killed_while_somebody_waits_for_its_answer() -> None:
    twin = world()
    twin.freeze("")
    twin.connect("b", "b")
    pass_s(twin, 1)
    twin.kill("")
    pass_s(twin, 1)
    assert reasons(twin, "b") == [HUNG_UP]
    assert reasons(twin) == [LOST]


def test_filters() -> None:
    for wanted, topic, expected in (
        ("a/b", "a/b", True), ("a/b", "a/b/c", False), ("a/+", "a/b", True), ("a/+", "a", False),
        ("a/#", "a", True), ("a/#", "a/b/c", True), ("#", "a", True), ("#", "$a", False), ("+/b", "$a/b", False),
        ("$a/#", "$a/b", True), ("+", "a/b", False), ("a/+/c", "a//c", True),
    ):  # fmt: skip
        assert matches(wanted, topic) is expected, (wanted, topic)
