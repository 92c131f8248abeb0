"""What the station tells others, word by word; what it counts; what waits for what."""

from __future__ import annotations

from typing import Any

from tests.station.world import WALL_MS, A, World, alarm

from sos_contract import topics
from sos_contract.payloads import Health, Identity, Probe, ProgressQuery, State, encode
from sos_station.core import inbox
from sos_station.core.effects import Log, ProveInbox, ReadAlarms, ReadStages, SetFault
from sos_station.core.events import Clock, CommitFailed, Message, ReadFailed, Started
from sos_station.core.faults import RENEW_MS
from sos_station.core.inbox import MAX_READS, Inbox
from sos_station.core.incidents import family
from sos_station.core.records import Stages, Stamp
from sos_station.core.station import Settings, Station

NOW = Stamp(1_800_000_000_000, "synced", "boot-1", 5_000)
QUERY = ProgressQuery(session="s", alarms=(Identity("merlin-1", "0" * 16, 1, 1),), poles=())


def fields(effects: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(one.text, dict(one.fields)) for one in effects if isinstance(one, Log)]


def test_alarms_are_calls_or_tests() -> None:
    assert [family(kind) for kind in ("press", "silent_press", "test_press", "of_later")] == [
        "call",
        "call",
        "test",
        "call",
    ]


def test_what_is_new_or_clashes_duplicates_nothing() -> None:
    assert inbox.classify([], alarm()) == ("new", -1) and inbox.classify([], alarm(clash=1)) == ("clash", -1)
    assert inbox.classify([("press", 1, 0)], alarm()) == ("clash", -1)
    assert inbox.classify([("x", 1, 0), inbox.content(alarm())], alarm()) == ("duplicate", 1)


def test_a_probe_beyond_all_numbers_is_refused_in_words() -> None:
    made = Inbox("betong", {})
    assert made.probe(A, "merlin", Probe(session="s", number=2**63 - 1)) == [ProveInbox(A, "merlin", "s", 2**63 - 1)]
    ((text, said),) = fields(made.probe(A, "merlin", Probe(session="s" * 65, number=1)))
    assert text == "probe_refused" and said["point"] == "merlin"
    assert said["why"] == "too many stores under way, or it does not fit"


def test_an_alarm_that_cannot_be_is_logged_by_its_kind() -> None:
    made = Inbox("betong", {})
    logged = fields(made.alarm(A, "merlin", encode(alarm(kind="tamper")), NOW))
    assert [(text, said["why"]) for text, said in logged] == [
        ("alarm_refused", "kind tamper is a notice, not an alarm")
    ]


def test_500_questions_are_read_at_a_time_and_each_end_makes_room() -> None:
    made = Inbox("betong", {})
    reads: list[Any] = [made.query(A, "merlin", encode(QUERY))[0] for _ in range(MAX_READS)]
    assert reads[0] == ReadStages(A, "merlin", QUERY.alarms, ())
    assert fields(made.query(A, "merlin", encode(QUERY)))[0][1]["why"] == "too many reads under way"
    made.stages(reads[0], Stages((), None))
    assert made.stages_failed() == []
    for _ in range(2):
        assert isinstance(made.query(A, "merlin", encode(QUERY))[0], ReadStages)
    assert not any(isinstance(one, ReadStages) for one in made.query(A, "merlin", encode(QUERY)))


def test_a_retained_message_is_refused_with_its_topic() -> None:
    world = World()
    world.send("alarm", alarm(), retained=True)
    told = [dict(log.fields) for log in world.logs if log.text == "retained_refused"]
    assert [(said["topic"], said["why"]) for said in told] == [
        (topics.of_point("betong", "merlin", "alarm"), "kept by a broker")
    ]


def test_a_kept_state_of_a_stranger_is_no_second_station() -> None:
    world = World()
    stranger = encode(State(online=True, session="other", wall_ms=1))
    for retained, rivals in ((True, 0), (False, 1)):
        world.handle(Message(A, topics.of_station("betong", "state"), stranger, retained))
        assert sum(isinstance(one, SetFault) and one.kind == "second_station" for one in world.effects) == rivals


def test_the_station_watches_the_end_of_its_own_certificate_from_the_start() -> None:
    station = Station(
        Settings("betong", (A,), ("merlin",), {"merlin-1": "merlin"}, certificate_until_ms=NOW.wall_ms + 5)
    )
    station.handle(Clock(NOW.wall_ms, "synced"), 1_000)
    started = station.handle(Started(bytes(32), "inbox-1", "boot-1"), 1_000)
    faults = [(one.kind, one.pole, one.on) for one in started if isinstance(one, SetFault)]
    assert faults == [("certificate_ends", "", True)] and RENEW_MS > 5


def test_a_page_that_cannot_be_read_is_told_to_who_asked() -> None:
    world = World()
    request = world.request("list")
    (read,) = (
        one
        for one in world.station.handle(
            Message(A, topics.desk_request("betong", "t1"), encode(request), False), world.now_ms
        )
        if isinstance(one, ReadAlarms)
    )
    (answer,) = world.station.handle(ReadFailed(read, "disk gone"), world.now_ms)
    assert b"the station cannot read its inbox: disk gone" in answer.payload  # type: ignore[union-attr]


def test_a_commit_that_failed_says_so_before_it_answers_for_its_commands() -> None:
    world = World()
    world.send("health", Health(session="a.1", uptime_ms=1, clock="synced", outbox_waiting=0, disk_ok=True, poles=()))
    world.slow_disk = True
    request = world.request("command", pole="merlin-1", command="open_repl")
    world.handle(Message(A, topics.desk_request("betong", "t1"), encode(request), False))
    effects = world.station.handle(CommitFailed(tuple(world.stores), "full"), world.now_ms)
    assert [one.text for one in effects if isinstance(one, Log)] == ["inbox_failed"]
    assert any(b"the station's inbox does not take it: full" in getattr(one, "payload", b"") for one in effects)


def test_a_list_of_commands_has_no_error_of_its_own() -> None:
    world = World()
    answer = world.ask("commands")
    assert (answer.error, answer.commands) == ("", ()) and world.ask("commands", id="c9").error


def test_a_change_is_logged_with_its_incident() -> None:
    world = World()
    world.send("alarm", alarm())
    world.ask("accept", 1)
    ((_, said),) = [(log.text, dict(log.fields)) for log in world.logs if log.text == "alarm_changed"]
    assert (said["pole"], said["number"], said["incident"], said["stage"]) == ("merlin-1", 1, 1, "accepted")


def test_an_officer_is_not_said_to_have_acted_in_1970() -> None:
    world = World(wall_ms=90_000, quality="unset")
    world.send("alarm", alarm())
    world.ask("accept", 1)
    world.wall_ms = WALL_MS
    world.handle(Clock(WALL_MS, "synced"))
    error = world.ask("accept", 1, officer="Anong").error
    assert error == "alarm 1 is accepted (Somchai, before our clock was set) already"
