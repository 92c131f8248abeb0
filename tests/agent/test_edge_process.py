"""The agent's process between a real pseudo-terminal and a real mosquitto."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.agent.edge_world import AgentProcess, LittleStation, PtyPole, until, write_site
from tests.support.broker import Broker, free_port

from sos_agent.__main__ import main

ROOT = Path(__file__).parents[2]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_press_travels_to_the_station_and_back_to_the_lamp(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            station, pole = LittleStation(broker), PtyPole(tmp_path)
            agent = AgentProcess(write_site(tmp_path, broker.url))
            await agent.start()
            await until(lambda: pole.look == "in_service", "in service")
            await pole.press()
            await until(lambda: pole.look == "received", "received")
            assert [(one.pole, one.press) for one in station.presses] == [("market-1", 1)]
            assert station.states[-1].online
            assert await agent.end() == 0
            await until(lambda: not station.states[-1].online, "goodbye")
            assert station.states[-1].session == station.states[-2].session
            assert agent.said("stopped")
            assert not agent.said("Traceback")
            pole.close()
            station.close()

    run(main)


def test_what_was_held_reaches_the_station_though_agent_and_broker_died(tmp_path: Path) -> None:
    async def main() -> None:
        broker = Broker(tmp_path)
        pole = PtyPole(tmp_path)
        agent = AgentProcess(write_site(tmp_path, broker.url))
        await agent.start()
        await until(lambda: pole.own._pole.link.up, "link")
        await pole.press()
        await until(lambda: pole.look == "held", "held")
        pole.unplug()  # the pole cannot tell it a second time
        assert await agent.end(signal.SIGKILL) == -signal.SIGKILL
        broker.start()
        station = LittleStation(broker)
        again = AgentProcess(write_site(tmp_path, broker.url))
        await again.start()
        await until(lambda: station.presses, "alarm")
        assert [one.press for one in station.presses] == [1]
        pole.plug_in()
        await until(lambda: pole.look == "received", "received")
        assert await again.end() == 0
        assert len(station.presses) == 1
        pole.close()
        station.close()
        broker.stop()

    run(main)


def test_an_unplugged_pole_is_found_again_and_said_once(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            pole = PtyPole(tmp_path)
            agent = AgentProcess(write_site(tmp_path, broker.url))
            await agent.start()
            await until(lambda: pole.own._pole.link.up, "link")
            pole.unplug()
            await until(lambda: agent.said("port absent"), "absent")
            pole.plug_in()
            await until(lambda: agent.said("port is there"), "there")
            heard = len(agent.lines)
            await pole.press()
            await until(lambda: pole.look == "held", "held")
            assert len(agent.said("port absent")) == 1
            assert heard
            assert await agent.end() == 0
            pole.close()

    run(main)


def test_systemd_hears_ready_status_watchdog_and_stopping(tmp_path: Path) -> None:
    async def main() -> None:
        heard: list[str] = []
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind(str(tmp_path / "notify"))
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(server, lambda: heard.append(server.recv(4096).decode()))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        agent = AgentProcess(write_site(tmp_path, f"mqtt://127.0.0.1:{free_port()}"), environment=environment)
        await agent.start()
        await until(lambda: heard.count("WATCHDOG=1") >= 3, "watchdog")
        assert heard.count("READY=1") == 1
        assert [one for one in heard if one.startswith("STATUS=")]
        assert await agent.end() == 0
        assert heard[-1] == "STOPPING=1" or "STOPPING=1" in heard[-3:]
        loop.remove_reader(server)
        server.close()

    run(main)


def _agent(*words: str | Path, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "safezone", "agent"]
    every = {**os.environ, **environment}
    return subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, timeout=30, env=every, cwd=ROOT, check=False
    )


def test_bad_words_and_sites_are_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = write_site(tmp_path, "mqtt://127.0.0.1:1")
    keys = tmp_path / "town.keys.toml"
    good = keys.read_text()

    def complaint(path: Path = site, point: str = "market") -> str:
        assert main([str(path), point]) == 2
        said = capsys.readouterr().err
        assert said.startswith("safezone: ")
        assert said.count("\n") == 1
        return said

    assert "unknown point 'markt'; did you mean 'market'?" in complaint(point="markt")
    assert "cannot read the site file" in complaint(tmp_path / "absent.toml")
    keys.chmod(0o644)
    assert f"others may read the pole keys (mode 0644); run: chmod 600 {keys}" in complaint()
    keys.chmod(0o600)
    keys.write_text(good.replace("market-1", "market-2"))
    assert "no key for pole 'market-1'; did you mean 'market-2'?" in complaint()
    keys.write_text(good)
    text = site.read_text()
    site.write_text(text.replace("data =", "dta ="))
    assert "unknown key 'dta' in [point]; did you mean 'data'?" in complaint()
    site.write_text(text + '[point.button]\nid = "own-1"\ngpio = 17\nsupervised = true\n')
    assert "a GPIO reads no resistor, so it cannot be supervised" in complaint()


def test_the_command_line_becomes_the_agent(tmp_path: Path) -> None:
    done = _agent("--site", write_site(tmp_path, "mqtt://127.0.0.1:1"), "--point", "markt")
    assert done.returncode == 2
    assert done.stderr == "safezone: unknown point 'markt'; did you mean 'market'?\n"


def test_check_names_each_thing_that_would_fail(tmp_path: Path) -> None:
    button = '[point.button]\nid = "own-1"\ngpio = 17\n'
    port = free_port()
    site = write_site(tmp_path, f"mqtt://127.0.0.1:{port}")
    site.write_text(site.read_text().replace("[[point.line]]", button + "[[point.line]]"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "outbox.db").write_text("no database\n" * 999)
    done = _agent("--check", "--site", site, "--point", "market", GPIOZERO_PIN_FACTORY="nonesuch")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stdout
    assert lines[0].startswith(f"{tmp_path}/data/outbox.db: damaged (file is not a database)")
    assert lines[1].startswith(f"{tmp_path}/port: no such port")
    assert lines[2].startswith("own button 'own-1' on GPIO 17: ")
    assert lines[3].startswith(f"broker mqtt://127.0.0.1:{port}: nothing listens on")
    assert done.stderr == "safezone: 4 of the above would keep the agent of 'market' from its work\n"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["outbox.db"]


def test_check_is_content_with_a_good_site(tmp_path: Path) -> None:
    master, slave = os.openpty()
    (tmp_path / "port").symlink_to(os.ttyname(slave))
    with Broker(tmp_path) as broker:
        done = _agent("--check", "--site", write_site(tmp_path, broker.url), "--point", "market")
    os.close(master)
    os.close(slave)
    assert (done.returncode, done.stdout, done.stderr) == (0, "market: good\n", "")


def test_a_second_agent_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        site = write_site(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
        first, second = AgentProcess(site), AgentProcess(site)
        await first.start()
        await until(lambda: first.said("armed"), "armed")
        await second.start()
        assert await second.wait() == 1
        assert second.lines[-1] == (
            f"safezone: {tmp_path / 'data'}: another agent (process {first.pid}) uses this folder; "
            "stop it, or name another one"
        )
        done = _agent("--check", "--site", site, "--point", "market")
        assert f"an agent (process {first.pid}) uses this folder" in done.stdout
        assert await first.end() == 0

    run(main)


def test_a_damaged_outbox_is_said_and_the_agent_works_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            (tmp_path / "data").mkdir()
            (tmp_path / "data" / "outbox.db").write_text("no database\n" * 999)
            station = LittleStation(broker)
            agent = AgentProcess(write_site(tmp_path, broker.url))
            await agent.start()
            await until(lambda: any(notice.kind == "outbox_damaged" for notice in station.notices), "notice")
            (line,) = agent.said("damaged and is moved aside")
            assert f"{tmp_path}/data/outbox.db.damaged-" in line
            assert "file is not a database" in line
            assert await agent.end() == 0
            station.close()

    run(main)


def test_a_pole_with_another_key_is_not_believed_and_nothing_is_promised_to_it(tmp_path: Path) -> None:
    async def main() -> None:
        pole = PtyPole(tmp_path)
        other = bytes(range(2, 34))
        agent = AgentProcess(write_site(tmp_path, f"mqtt://127.0.0.1:{free_port()}", key=other))
        await agent.start()
        await until(lambda: agent.said("armed"), "armed")
        await pole.press()
        await until(lambda: agent.said("a pole greets with another key; give both the same one"), "told")
        await asyncio.sleep(1.5)  # it greets each second at least
        assert len(agent.said("another key")) == 1
        assert not pole.own._pole.link.up
        assert pole.look == "pressed"
        assert await agent.end() == 0
        pole.close()

    run(main)


def test_a_removed_outbox_ends_the_process_so_that_the_next_start_mends_it(tmp_path: Path) -> None:
    async def main() -> None:
        pole = PtyPole(tmp_path)
        site = write_site(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
        agent = AgentProcess(site)
        await agent.start()
        await until(lambda: pole.own._pole.link.up, "link")
        for path in (tmp_path / "data").glob("outbox.db*"):
            path.unlink()
        await pole.press()
        assert await agent.wait() == 1
        assert "outbox.db has been removed" in agent.lines[-1]
        assert pole.look == "pressed"  # nothing was promised
        await agent.start()
        await until(lambda: pole.look == "held", "held")
        assert await agent.end() == 0
        pole.close()

    run(main)


IN_THE_CORE = """
import sys
from sos_agent.core.agent import Agent
from sos_agent.core.events import PortsSeen
right = Agent.handle
def wrong(self, event, now_ms):
    if isinstance(event, PortsSeen):
        raise ZeroDivisionError("planted")
    return right(self, event, now_ms)
Agent.handle = wrong
from sos_agent.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


IN_THE_WRITER = """
import sys
from sos_agent.core.effects import StoreTimebase
from sos_agent.edge import tables
def wrong(db, effect):
    raise ZeroDivisionError("planted")
tables.WORK[StoreTimebase] = wrong
from sos_agent.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("bug", "place"), [(IN_THE_CORE, "<string>:8 wrong"), (IN_THE_WRITER, "<string>:6 wrong")])
def test_a_mistake_of_our_own_ends_the_process_with_one_line(tmp_path: Path, bug: str, place: str) -> None:
    site = write_site(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
    done = _agent(site, "market", code=bug)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (logged,) = [line for line in done.stderr.splitlines() if "mistake of our own" in line]
    assert "ZeroDivisionError('planted')" in logged
    assert place in logged
    assert done.stderr.splitlines()[-1].startswith("safezone: stopped by a mistake of its own (ZeroDivisionError")


def test_the_agent_carries_nothing_of_the_command_line(tmp_path: Path) -> None:
    code = "import sys, sos_agent.app; print(*{'typer', 'rich', 'pydantic', 'gpiozero'} & set(sys.modules))"
    assert _agent(code=code).stdout == "\n"


@pytest.mark.parametrize("when_s", [0.0, 0.1, 0.3])
def test_sigterm_at_any_time_ends_it_in_order(tmp_path: Path, when_s: float) -> None:
    async def main() -> None:
        agent = AgentProcess(write_site(tmp_path, f"mqtt://127.0.0.1:{free_port()}"))
        await agent.start()
        await until(lambda: agent.said("starting"), "starting")
        await asyncio.sleep(when_s)
        assert await agent.end() in (0, -signal.SIGTERM)
        assert not agent.said("Traceback")

    run(main)
