"""The station's process on a real broker, an officer's terminal beside it: receipts, restarts, outages, bad input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.station.processes import SAFEZONE, WAIT_S, PointClient, StationProcess, alarms, rows, site_file, until
from tests.station.world import alarm
from tests.support.broker import Broker, free_port
from tests.support.certs import Authority

from sos_contract import topics
from sos_contract.payloads import Notice, Probe, ProbeAnswer, Progress, Receipt, State
from sos_contract.site import read_site
from sos_station.app import App
from sos_station.core.effects import Publish


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def station(broker: Broker, tmp_path: Path) -> Iterator[StationProcess]:
    with StationProcess(site_file(tmp_path, [broker.url])) as running:
        yield running


@pytest.fixture(scope="module")
def quiet_station(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StationProcess]:
    """One for all tests that change nothing; of another name, so that it answers nobody else's terminal."""
    site = site_file(tmp_path_factory.mktemp("quiet"), [broker.url])
    site.write_text(site.read_text("utf-8").replace('id = "betong"', 'id = "quiet"'), "utf-8")
    with StationProcess(site) as running:
        yield running


@pytest.fixture
def point(broker: Broker) -> Iterator[PointClient]:
    client = PointClient(broker.port)
    yield client
    client.close()


def _ready(point: PointClient, number: int = 1) -> None:
    """Until the station answers a probe."""

    def asked() -> bool:
        point.say("probe", Probe(session="s1", number=number))
        while not point.heard.empty():
            if point.heard.get()[0].leaf == "probe_answer":
                return True
        return False

    until(asked)


def test_a_station_whose_inbox_has_gone_ends_in_one_line_and_begins_a_new_one(
    station: StationProcess, point: PointClient
) -> None:
    # It once went on without: nothing was received until somebody started it again.
    _ready(point)
    (station.site.parent / "inbox" / "inbox.sqlite").unlink()
    point.say("alarm", alarm(1))
    assert station.process is not None and station.process.wait(10) == 1
    last = station.log.read_text().splitlines()[-1]
    assert "inbox.sqlite has been removed; it is moved aside and begun anew at the next start" in last
    station.start()
    heard: list[str] = []

    def receipted() -> bool:
        point.say("alarm", alarm(1))
        while not point.heard.empty():
            heard.append(point.heard.get()[0].leaf)
        return "receipt" in heard

    until(receipted)


def test_a_press_reaches_the_officer_and_the_lamp_follows(station: StationProcess, point: PointClient) -> None:
    _ready(point)
    point.say("alarm", alarm(1))
    assert point.next("receipt", Receipt).alarms == (alarm(1).id,)
    (row,) = rows(alarms(station.site, "list", "--json"))
    assert (row["id"]["pole"], row["stage"], row["late"]) == ("merlin-1", "received", False)
    for words, stage in (
        (("accept",), "accepted"),
        (("dispatch", "1", "--note", "unit 4"), "dispatched"),
        (("arrive", "1"), "on_scene"),
        (("close", "1", "--disposition", "genuine", "--officer", "Anong"), "closed"),
    ):
        (row,) = rows(alarms(station.site, *words, "--json"))
        assert row["stage"] == stage
        assert dict(point.next("progress", Progress).stages) == {alarm(1).id: stage}
    (shown,) = rows(alarms(station.site, "show", "1", "--json"))
    record = [(change["stage"], change["officer"], change["note"]) for change in shown["changes"]]
    assert record == [
        ("received", "", ""), ("accepted", "somchai", ""), ("dispatched", "somchai", "unit 4"),
        ("on_scene", "somchai", ""), ("closed", "Anong", ""),
    ]  # fmt: skip


def test_a_killed_station_keeps_all_it_receipted_and_comes_back(station: StationProcess, point: PointClient) -> None:
    _ready(point)
    point.say("alarm", alarm(1))
    point.next("receipt", Receipt)
    rows(alarms(station.site, "accept", "1", "--json"))
    station.kill()
    point.next("state", State, lambda state: not state.online)
    station.start()
    point.next("state", State, lambda state: state.online)
    _ready(point)
    point.say("alarm", alarm(1))
    assert point.next("receipt", Receipt).alarms == (alarm(1).id,)
    assert [row["stage"] for row in rows(alarms(station.site, "list", "--json", "--presses"))] == ["accepted"]


def test_a_station_that_hangs_answers_nothing_and_says_so_to_officers(
    station: StationProcess, point: PointClient
) -> None:
    _ready(point)
    assert station.process is not None
    station.process.send_signal(signal.SIGSTOP)
    try:
        point.say("alarm", alarm(1))
        result = alarms(station.site, "list")
        assert result.returncode == 1
        assert "does not answer within 5 s" in result.stderr and result.stderr.count("\n") == 1
        assert not [topic for topic, _ in _heard(point) if topic.leaf == "receipt"]
    finally:
        station.process.send_signal(signal.SIGCONT)
    point.next("receipt", Receipt)


def _heard(point: PointClient) -> list[tuple[topics.Topic, bytes]]:
    found: list[tuple[topics.Topic, bytes]] = []
    while not point.heard.empty():
        found.append(point.heard.get())
    return found


def test_a_clean_end_says_offline_and_exits_well(station: StationProcess, point: PointClient) -> None:
    _ready(point)
    assert station.stop() == 0
    point.next("state", State, lambda state: not state.online)
    result = alarms(station.site, "list")
    assert (result.returncode, result.stdout) == (1, "")
    assert "it is off" in result.stderr


def test_both_brokers_of_a_site_are_served_at_once_and_either_may_go(tmp_path: Path) -> None:
    with Broker(tmp_path / "a") as first, Broker(tmp_path / "b") as second, contextlib.ExitStack() as stack:
        station = stack.enter_context(StationProcess(site_file(tmp_path, [first.url, second.url])))
        points = [PointClient(first.port), PointClient(second.port, "market")]
        for number, point in enumerate(points):
            _ready(point)
            point.say("alarm", alarm(number + 1, pole=f"{point.point}-1"))
            point.next("receipt", Receipt)
        points[0].close()
        first.stop()
        (row, _) = rows(alarms(station.site, "list", "--json"))
        rows(alarms(station.site, "accept", str(row["number"]), "--json"))
        first.start()
        back = PointClient(first.port)
        _ready(back)
        back.say("alarm", alarm(9))
        back.next("receipt", Receipt, lambda receipt: alarm(9).id in receipt.alarms)
        for point in (back, points[1]):
            point.close()


def test_a_terminal_takes_any_broker_that_works(broker: Broker, station: StationProcess) -> None:
    dead = f"mqtt://127.0.0.1:{free_port()}"
    assert alarms(station.site, "list", "--broker", dead, "--broker", broker.url).returncode == 0
    result = alarms(station.site, "list", "--broker", dead)
    assert result.returncode == 1
    assert "nothing listens on" in result.stderr and result.stderr.count("\n") == 1
    tls_asked = alarms(station.site, "list", "--broker", broker.url.replace("mqtt:", "mqtts:")).stderr
    assert f"127.0.0.1:{broker.port}: mqtts:// needs [station.tls]" in tls_asked, "which of the brokers, and why"


def test_the_notice_view_shows_open_faults(station: StationProcess, point: PointClient) -> None:
    _ready(point)
    point.say("notice", Notice(number=1, outbox="o1", pole="merlin-1", kind="lamp_fault", on=True))
    assert point.next("receipt", Receipt).notices == (1,)
    (fault,) = rows(alarms(station.site, "notices", "--json"))
    assert (fault["point"], fault["pole"], fault["kind"]) == ("merlin", "merlin-1", "lamp_fault")
    shown = alarms(station.site, "notices").stdout
    assert "merlin/merlin-1" in shown and "lamp fault" in shown


def test_tables_say_ages_in_words_and_mark_late_ones(station: StationProcess, point: PointClient) -> None:
    _ready(point)
    assert alarms(station.site, "list").stdout.strip() == "no open alarms"
    point.say("alarm", alarm(1, age_ms=7_300_000, clock="holdover", repeats=3))
    point.next("receipt", Receipt)
    shown = alarms(station.site, "list").stdout
    for words in ("merlin-1", "SOS", "WAITS", "2 h, late", "clock that is holdover", "3 more presses"):
        assert words in shown
    assert "received" in alarms(station.site, "show", "1").stdout
    assert "accepted" in alarms(station.site, "accept", "1").stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("close", "1"), 2, "close needs --disposition"),
        (("close", "1", "--disposition", "genuin"), 2, "did you mean 'genuine'?"),
        (("accept", "one"), 2, "no alarm number"),
        (("accept", "7"), 1, "no alarm 7"),
        (("accept",), 1, "no alarm waits"),
        (("accept", "1", "--seen", "acepted"), 2, "did you mean 'accepted'?"),
        (("list", "--broker", "http://x"), 2, "mqtt://"),
    ],
)
def test_mistakes_at_the_desk_are_one_line(
    quiet_station: StationProcess, words: tuple[str, ...], code: int, says: str
) -> None:
    result = alarms(quiet_station.site, *words)
    assert (result.returncode, result.stdout) == (code, "")
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_nobody_acts_without_a_name(tmp_path: Path) -> None:
    result = alarms(site_file(tmp_path, ["mqtt://127.0.0.1:1"]), "accept", "1", user="")
    assert result.returncode == 2 and "--officer" in result.stderr


def test_a_second_station_on_the_same_inbox_is_one_clear_line(station: StationProcess) -> None:
    with pytest.raises(AssertionError, match="another station"):
        StationProcess(station.site).start()


def test_probes_are_answered_after_a_commit_with_the_inbox_named(station: StationProcess, point: PointClient) -> None:
    _ready(point)
    point.say("probe", Probe(session="s9", number=5))
    answer = point.next("probe_answer", ProbeAnswer, lambda answer: answer.session == "s9")
    assert (answer.number, len(answer.inbox)) == (5, 16)
    assert answer.high_water >= 1


def test_a_broker_that_refuses_is_told_and_asked_again(tmp_path: Path) -> None:
    with Broker(tmp_path / "b", lines=["allow_anonymous false"]) as strict:
        station = StationProcess(site_file(tmp_path, [strict.url]))
        station.start()
        until(lambda: "check user" in station.log.read_text())
        assert station.process is not None and station.process.poll() is None
        assert station.stop() == 0


@pytest.mark.parametrize("started_by", ["at the prompt", "script with &"])
def test_the_live_list_runs_until_ctrl_c(quiet_station: StationProcess, started_by: str) -> None:
    """A shell hands down an ignored SIGINT to what a script starts with ``&``; the list then ran for ever."""
    ours, theirs = pty.openpty()
    trap = 'trap "" INT' if started_by == "script with &" else "trap - INT"
    watch = [*SAFEZONE, "alarms", "watch", "--site", str(quiet_station.site)]
    watching = subprocess.Popen(
        ["sh", "-c", f'{trap}; exec "$@"', "sh", *watch], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"no open alarms" not in shown and select.select([ours], [], [], WAIT_S)[0]:
        shown += os.read(ours, 4096)
    assert b"no open alarms" in shown
    try:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(WAIT_S) == 130
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)


def _check(site: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*SAFEZONE, "station", "--check", "--site", str(site)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.count("\n") == (done.returncode != 0), done.stderr
    return done.returncode, done.stdout.splitlines()


def test_check_names_each_thing_that_would_keep_the_station_from_its_work(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    other = authority.sign("point.merlin")
    port = free_port()
    site = site_file(tmp_path, [f"mqtt://127.0.0.1:{port}"])
    tls = f'\n[station.tls]\nca = "ca/ca.pem"\ncert = "ca/{other.cert.name}"\nkey = "ca/{other.key.name}"\n'
    site.write_text(site.read_text("utf-8").replace("\n[[point]]", f"{tls}\n[[point]]", 1), "utf-8")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "inbox.sqlite").write_text("no database\n" * 999)
    code, lines = _check(site)
    assert code == 1
    assert lines == [
        f"{inbox}/inbox.sqlite: damaged (file is not a database); the station will move it aside and begin a new one",
        f"{other.cert}: belongs to the point 'merlin', not to the station 'betong'",
        f"broker mqtt://127.0.0.1:{port}: nothing listens on 127.0.0.1:{port}; start the broker or mend its address",
    ]
    assert [path.name for path in inbox.iterdir()] == ["inbox.sqlite"]
    inbox.rename(tmp_path / "elsewhere")
    inbox.write_text("no folder")
    assert f"{inbox}: is no folder; move it away, or name another one in the site file" in _check(site)[1]


def test_check_is_content_with_a_good_site_and_tells_of_a_station_that_runs(
    broker: Broker, tmp_path: Path, quiet_station: StationProcess
) -> None:
    assert _check(site_file(tmp_path, [broker.url])) == (0, ["betong: good"])
    assert quiet_station.process is not None
    running = f"a station (process {quiet_station.process.pid}) uses this folder; stop it before you start another"
    assert _check(quiet_station.site) == (1, [f"{quiet_station.site.parent}/inbox: {running}"])


def test_a_press_over_mutual_tls_reaches_the_officer(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, client = authority.sign("server"), authority.sign("station")
    with Broker(tmp_path / "b", tls=(authority.ca, server.cert, server.key)) as broker:
        site = site_file(tmp_path, [broker.url])
        tls = f'\n[station.tls]\nca = "ca/ca.pem"\ncert = "ca/{client.cert.name}"\nkey = "ca/{client.key.name}"\n'
        site.write_text(site.read_text("utf-8").replace("\n[[point]]", f"{tls}\n[[point]]", 1), "utf-8")
        with StationProcess(site):
            point = PointClient(broker.port, tls=(authority.ca, client.cert, client.key))
            _ready(point)
            point.say("alarm", alarm(1))
            assert point.next("receipt", Receipt).alarms == (alarm(1).id,)
            assert [row["stage"] for row in rows(alarms(site, "accept", "--json"))] == ["accepted"]
            point.close()


MISTAKE = """
import sys
from sos_edge.mqtt import MqttLink
def wrong(self, *_):
    raise ZeroDivisionError("planted")
MqttLink.{where} = wrong
from safezone.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("where", ["_open", "_opened"])
def test_a_mistake_of_our_own_beside_the_core_ends_the_station_too(tmp_path: Path, where: str) -> None:
    """It ended a thread, or what the loop had begun, and nothing else: no broker was ever reached, nobody was told."""
    site = site_file(tmp_path, [f"mqtt://127.0.0.1:{free_port()}"])
    command = [sys.executable, "-c", MISTAKE.format(where=where), "station", "--site", str(site)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert "the station stopped on a bug: ZeroDivisionError planted at <string>:5" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_broker_that_takes_nothing_more_is_told_now_and_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a line for each answer to each of a thousand points, in which everything else went under."""
    site = site_file(tmp_path, ["mqtt://127.0.0.1:1"])

    async def main() -> None:
        app = App(read_site(site), tmp_path)
        monkeypatch.setattr(app._links, "carry_out", lambda effect: effect.topic == "a/0")
        for _ in range(3):
            for number in range(100):
                app._publish(Publish("mqtt://127.0.0.1:1", f"a/{number}", b""))
        app._tell_time()
        app._tell_time()
        assert app._inbox.close()

    caplog.set_level("INFO")
    asyncio.run(main())
    (line,) = [record.getMessage() for record in caplog.records if "not_published" in record.getMessage()]
    assert line.startswith("not_published count=297 last=a/99 ")
