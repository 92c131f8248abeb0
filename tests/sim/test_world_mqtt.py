"""The network's and the broker's faults as the client's twin meets them: who is told what, and when."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.sim.mqtt_kit import LOST, URL, pass_s, path, payloads, reasons, tokens, when, world
from tests.sim.mqtt_worlds import Twin

from sos_agent.core import effects as agent_effects
from sos_agent.core import events as agent_events
from sos_agent.edge.mqtt import Brokers
from sos_edge.mqtt import Connected, Disconnected, Message
from sos_station.core import effects as station_effects
from sos_station.core import events as station_events
from sos_station.edge.mqtt import Links

# When the broker says the will of a client that fell silent: seen so in mosquitto 2.0.11, at six clients.
SILENT_S = (15.0, 22.0)


def test_a_black_hole_is_noticed_by_both_ends_in_their_own_time() -> None:
    twin = world()
    began_us = twin.loop.now_us
    path(twin).cut = True
    twin.publish("a", "x", b"lost")
    pass_s(twin, 60)
    assert reasons(twin) == [LOST]
    assert when(twin, "a", Disconnected, began_us) == [10.0]  # TCP_USER_TIMEOUT
    (will_s,) = when(twin, "watcher", Message, began_us)
    assert SILENT_S[0] - 10 < will_s < SILENT_S[1]  # a's last packet may be a ping of up to 10 s before
    assert payloads(twin) == [b"gone"]
    path(twin).cut = False
    pass_s(twin, 60)
    assert payloads(twin) == [b"gone"]  # what the dead socket held never comes


def test_who_has_nothing_to_send_notices_by_its_pings() -> None:
    twin = world()
    began_us = twin.loop.now_us
    path(twin).cut_down = True
    pass_s(twin, 60)
    (lost_s,) = when(twin, "a", Disconnected, began_us)
    assert 10 < lost_s <= 25
    twin.freeze("")
    began_us = twin.loop.now_us
    pass_s(twin, 60)
    (lost_s,) = when(twin, "watcher", Disconnected, began_us)
    assert 10 < lost_s <= 25
    assert reasons(twin, "watcher") == ["connection lost: Keep alive timeout"]  # the kernel goes on acknowledging


def test_a_short_cut_only_delays_and_keeps_the_order() -> None:
    twin = world()
    path(twin).cut = True
    for number in range(5):
        twin.publish("a", "x", b"%d" % number, token=number)
        twin.publish("watcher", "for/a", b"%d" % number)
        pass_s(twin, 1)
    path(twin).cut = False
    twin.publish("a", "x", b"5", token=5)
    pass_s(twin, 10)
    assert payloads(twin, topic="x") == [b"%d" % number for number in range(6)]
    assert payloads(twin, "a") == [b"%d" % number for number in range(5)]
    assert tokens(twin) == list(range(6))
    pass_s(twin, 60)
    assert not reasons(twin)


def test_half_a_cut_lets_the_other_half_through() -> None:
    twin = world()
    path(twin).cut_down = True
    twin.publish("a", "x", b"up", token=1)
    twin.publish("watcher", "for/a", b"down")
    pass_s(twin, 5)
    assert payloads(twin, topic="x") == [b"up"]
    assert not payloads(twin, "a")
    assert not tokens(twin)
    path(twin).cut_down = False
    pass_s(twin, 10)
    assert payloads(twin, "a") == [b"down"]
    assert tokens(twin) == [1]


def test_how_a_client_ends_decides_when_its_will_is_said() -> None:
    ends: dict[str, tuple[Callable[[Twin], None], tuple[float, float] | None]] = {
        "goodbye": (lambda twin: twin.close("a"), None),
        "killed": (lambda twin: twin.network.host("a").kill(), (0, 0.1)),
        "dropped": (lambda twin: path(twin).drop_connection(), (0, 0.1)),
        "power cut": (lambda twin: twin.network.host("a").power_cut(), SILENT_S),
        "frozen": (lambda twin: twin.network.host("a").freeze(), SILENT_S),
    }
    for name, (end, expected) in ends.items():
        twin = world()
        twin.publish("a", "x", b"last packet")
        pass_s(twin, 0.1)
        twin.log.clear()
        began_us = twin.loop.now_us
        end(twin)
        pass_s(twin, 60)
        said = when(twin, "watcher", Message, began_us)
        assert len(said) == (expected is not None), name
        assert expected is None or expected[0] <= said[0] <= expected[1], (name, said)
        assert reasons(twin) == ([LOST] if name == "dropped" else []), name


def test_what_does_not_fit_the_window_follows_as_it_is_acknowledged() -> None:
    twin = world()
    for number in range(250):
        twin.publish("a", "x", b"%d" % number)
        twin.loop.run(twin.loop.now_us + 60)  # more than 20 in the time that an acknowledgement takes
    pass_s(twin, 1)
    assert payloads(twin) == [b"%d" % number for number in range(250)]


def test_a_thawed_program_sees_all_that_came_in_order() -> None:
    twin = world()
    twin.pause("a")
    for number in range(30):
        twin.publish("watcher", "for/a", b"%d" % number)
    pass_s(twin, 3)
    assert not payloads(twin, "a")
    twin.resume("a")
    pass_s(twin, 3)
    assert payloads(twin, "a") == [b"%d" % number for number in range(30)]
    twin.pause("a")
    pass_s(twin, 60)
    assert not reasons(twin)
    twin.resume("a")
    pass_s(twin, 1)
    assert reasons(twin) == [LOST]


def test_each_attempt_that_fails_says_why_and_when() -> None:
    twin = world()
    faults: tuple[tuple[Callable[[bool], None], str, float], ...] = (
        (lambda on: setattr(path(twin, "b"), "refuse", on), "nothing listens on broker:1883", 0),
        (lambda on: setattr(path(twin, "b"), "cut_up", on), "no answer from broker:1883 in 5 s", 5),
        (lambda on: setattr(path(twin, "b"), "hang", on), "no answer in time", 10),
        (lambda on: (twin.freeze if on else twin.thaw)(""), "no answer in time", 5),
    )
    for fault, words, after_s in faults:
        twin.log.clear()
        fault(True)
        began_us = twin.loop.now_us
        twin.connect("b", "b")
        pass_s(twin, 12)
        assert reasons(twin, "b")[0].startswith(words)
        assert when(twin, "b", Disconnected, began_us) == [pytest.approx(after_s, abs=0.1)]
        fault(False)
        pass_s(twin, 1)
        twin.connect("b", "b")
        pass_s(twin, 1)
        assert when(twin, "b", Connected, 0)
        twin.close("b")


def test_an_attempt_that_hangs_blocks_the_next_until_it_ends() -> None:
    twin = world()
    path(twin, "b").hang = True
    twin.connect("b", "b1")
    pass_s(twin, 1)
    twin.connect("b", "b2")
    pass_s(twin, 1)
    assert reasons(twin, "b") == ["the attempt before has not ended yet"]
    path(twin, "b").hang = False
    pass_s(twin, 1)
    twin.connect("b", "b3")
    pass_s(twin, 1)
    assert [event for _, who, event in twin.log if who == "b"][1:] == [Connected(URL, "b3")]


def test_a_brokers_machine_without_power_says_nothing_until_it_is_back() -> None:
    for off_s in (0.1, 4):
        twin = world()
        twin.broker.power_cut()
        pass_s(twin, off_s)
        assert not reasons(twin)
        twin.start("")
        began_us = twin.loop.now_us
        pass_s(twin, 30)
        assert reasons(twin) == [LOST]  # the next packet is answered by a kernel that knows no such connection
        assert when(twin, "a", Disconnected, began_us)[0] <= 15
        assert not payloads(twin)


def test_a_slow_path_takes_its_time_and_loses_nothing() -> None:
    twin = world()
    path(twin).slow_bytes_per_s = 1000
    began_us = twin.loop.now_us
    for number in range(10):
        twin.publish("a", "x", bytes([number]) * 439)  # 500 bytes with all that surrounds it
    pass_s(twin, 30)
    assert [one[0] for one in payloads(twin, topic="x")] == list(range(10))
    assert when(twin, "watcher", Message, began_us)[-1] == pytest.approx(5, abs=0.1)
    assert not reasons(twin)


def test_copies_come_again_and_their_second_acknowledgement_counts_for_nothing() -> None:
    twin = world()
    path(twin).duplicate = 1.0
    twin.publish("a", "x", b"twice", token=1)
    twin.publish("watcher", "for/a", b"twice, too")
    pass_s(twin, 5)
    assert payloads(twin, topic="x") == [b"twice"] * 2
    assert payloads(twin, "a") == [b"twice, too"] * 2
    assert tokens(twin) == [1]


def test_quiet_connections_cost_no_calls_and_their_pings_count_all_the_same() -> None:
    ends = []
    for played_out in (False, True):
        twin = world()
        for one in ("a", "watcher"):
            path(twin, one).jitter_us = 0
            path(twin, one).duplicate = 1e-12 if played_out else 0.0  # odd, so that each ping is played out
        pass_s(twin, 3600)
        asked = twin.loop._number
        pass_s(twin, 1234)
        assert (twin.loop._number > asked) is played_out
        assert not reasons(twin)
        path(twin).cut = True
        began_us = twin.loop.now_us
        pass_s(twin, 60)
        ends.append((when(twin, "a", Disconnected, began_us), when(twin, "watcher", Message, began_us)))
    quiet, played = ends
    assert quiet[0] == [pytest.approx(played[0][0], abs=0.1)]
    assert quiet[1] == [pytest.approx(played[1][0], abs=0.1)]


def test_the_real_adapters_of_agent_and_station_run_on_it() -> None:
    twin = Twin(URL)
    at_agent: list[agent_events.Event] = []
    at_station: list[station_events.Event] = []
    brokers = Brokers("point", tls=None, deliver=at_agent.append, link=twin.network.host("agent").link)
    links = Links([URL], "station", tls=None, deliver=at_station.append, link=twin.network.host("station").link)
    links.carry_out(station_effects.Connect(URL, "s", "t/s", b"gone s"))
    brokers.carry_out(agent_effects.Connect(URL, "one", "t/a", b"gone"))
    pass_s(twin, 1)
    links.carry_out(station_effects.Subscribe(URL, ("#",)))
    pass_s(twin, 1)
    brokers.carry_out(agent_effects.Publish("one", "x", b"live", False, 7))
    brokers.carry_out(agent_effects.Publish("ended", "x", b"of a session that has ended", False, 8))
    pass_s(twin, 1)
    twin.network.host("agent").kill()
    pass_s(twin, 1)
    links.carry_out(station_effects.Publish(URL, "y", b""))
    pass_s(twin, 1)
    links.carry_out(station_effects.Disconnect(URL))
    assert not links.carry_out(station_effects.Publish(URL, "x", b""))
    assert at_agent == [agent_events.BrokerUp("one"), agent_events.Published("one", 7)]
    assert at_station == [
        station_events.BrokerUp(URL),
        station_events.Message(URL, "x", b"live", False),
        station_events.Message(URL, "t/a", b"gone", False),
        station_events.Message(URL, "y", b"", False),
    ]
