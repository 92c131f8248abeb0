"""A campaign with real processes, a short one; and bugs that it has to find."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.chaos.test_plan import with_silent
from tests.live.small_site import POINT, POLE, small_site

from sos_contract import topics
from sos_contract.payloads import Receipt, encode
from sos_contract.site import find_site, read_site
from sos_edge import mqtt
from sos_sim.chaos import truth
from sos_sim.chaos.disks import Limited
from sos_sim.chaos.plan import OFTEN_S, plan
from sos_sim.chaos.run import PROMISES
from sos_sim.chaos.town import Town
from sos_sim.live.layout import dump

pytestmark = pytest.mark.live
COMMAND = [sys.executable, "-m", "safezone", "chaos"]
# Half a minute of a plan with every kind of fault and with kills of each sort.
SEED = 1724


def chaos(*words: str, timeout_s: float = 100.0, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``safezone chaos`` as a user would."""
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
    )


@pytest.mark.timeout(200)
def test_half_a_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    site = with_silent(read_site(find_site("betong")))
    (tmp_path / "site.toml").write_text(dump(site), encoding="utf-8")
    (one,) = plan(SEED, 0.5, site)
    assert {act.what for act in one.acts} == {"kill", "tear", "press", *OFTEN_S}
    words = ["--site", str(tmp_path / "site.toml"), "--keep", str(tmp_path / "town"), "--json"]
    done = chaos("--minutes", "0.5", "--seed", str(SEED), *words, timeout_s=190)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    last = said[-1]
    assert {name: last[name] for name in PROMISES} == dict.fromkeys(PROMISES, 0)
    assert last["kills"] == one.count("kill", "tear") >= 6
    assert last["alarms"] >= 20 and last["claims"] >= 40 and last["fingers"] >= 15
    assert not left_of(tmp_path / "town")


def left_of(folder: Path) -> list[str]:
    """Processes and mounts that mention that folder."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    left = ["a mount"] if str(folder) in mounts else []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in words and int(entry.name) != os.getpid():
                left.append(words.decode(errors="replace"))
    return left


def test_nothing_is_left_when_it_is_told_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "town"
    words = ["--minutes", "5", "--seed", "2", "--keep", str(folder), "--json"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "press" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert not left_of(folder)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--minutes", "0"], "--minutes 0 is outside 0.2 to 1440"),
        (["--minutes", "nan"], "--minutes nan is outside 0.2 to 1440"),
        (["--seed", "-1"], "--seed -1 is outside 0 to 2^53"),
        (["--site", "betongg"], "betongg"),
        (["--minutes", "1", "--keep", "/proc"], "--keep /proc: the folder is not empty; name another"),
    ],
)
def test_mistakes_get_one_line(words: list[str], says: str) -> None:
    done = chaos(*words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_without_mosquitto_it_says_what_to_do(tmp_path: Path) -> None:
    code = "import sos_sim.bench.broker as b, shutil; b.shutil.which = lambda *a, **k: None\n"
    code += "from safezone.cli import main; raise SystemExit(main(['chaos', '--minutes', '0.5']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "safezone: no mosquitto here, and this needs a real broker: sudo apt-get install mosquitto"
    )


# --- bugs that are planted behind the back of a real town


def with_town(folder: Path, story: Callable[[Town], Awaitable[None]]) -> None:
    """One test's story in a town of one pole."""

    async def play() -> None:
        async with Town(small_site(), folder) as town:
            await story(town)

    asyncio.run(asyncio.wait_for(play(), 100))


async def pressed(town: Town) -> None:
    """One press that is received."""
    pole = town.zone.poles[POLE]
    at_s = await pole.press(150)
    town.witness.touched(POLE, "press", at_s, at_s + 0.15, brief=False)
    await pole.wait_look("received", 30)


def test_an_alarm_that_vanishes_from_the_inbox_or_comes_from_nowhere_is_found(tmp_path: Path) -> None:
    async def story(town: Town) -> None:
        await pressed(town)
        witness = town.witness
        now = time.monotonic()
        assert not truth.missing(witness.mints, witness.stores.inbox())
        assert not truth.arrived(witness.mints, witness.stores.inbox(), now)
        assert not truth.made_up(witness.touches(now), witness.mints)
        assert not truth.false_claims(witness.seen.claims, witness.kinds)
        assert {claim.look for claim in witness.seen.claims} >= {"pressed", "received"}
        town.down.add("station")
        await town.zone.station.stop()
        database = sqlite3.connect(tmp_path / "station" / "inbox.sqlite")
        with database:
            database.execute("PRAGMA foreign_keys=OFF")
            database.execute("UPDATE alarm SET press = 77")
        database.close()
        inbox = witness.stores.inbox()
        assert [mint.identity.press for mint in truth.missing(witness.mints, inbox)] == [1]
        assert [one.promise for one in truth.arrived(witness.mints, inbox, now)] == ["forged"]

    with_town(tmp_path, story)


def test_a_lamp_that_says_received_too_soon_is_found(tmp_path: Path) -> None:
    """The agent is told by somebody else that the station has it: a receipt for an alarm that no inbox holds."""

    async def story(town: Town) -> None:
        town.down.add("station")
        await town.zone.station.kill()
        pole = town.zone.poles[POLE]
        await pole.press(150)
        await pole.wait_look("held", 30)  # and no further: the station is down
        identity = town.witness.mints[-1].identity
        forger = mqtt.MqttLink(town.broker.url, "forger", deliver=lambda event: None)
        forger.connect("")
        with sqlite3.connect(tmp_path / "station" / "inbox.sqlite") as database:
            (inbox,) = database.execute("SELECT value FROM meta WHERE key = 'incarnation'").fetchone()
        receipt = encode(Receipt(inbox=inbox, alarms=(identity,)))
        topic = topics.of_point(town.site.station.id, POINT, "receipt")
        async with asyncio.timeout(30):
            while pole.look != "received":
                forger.publish(topic, receipt)
                await asyncio.sleep(0.2)
        forger.close()
        found = truth.false_claims(town.witness.seen.claims, town.witness.kinds)
        assert [one.promise for one in found] == ["lied"]
        assert "was not in the inbox" in found[0].words

    with_town(tmp_path, story)


@pytest.mark.parametrize(
    ("bug", "program", "promises"),
    [("held-before-commit", POINT, {"lied"}), ("receipt-before-commit", "station", {"lied"}), ("", POINT, set())],
)
def test_planted_bugs_are_found_with_real_processes(bug: str, program: str, promises: set[str], tmp_path: Path) -> None:
    """A press while that program cannot write: what its lamp says then is true, unless the program has the bug."""

    async def play() -> None:
        async with Town(small_site(), tmp_path, disks=Limited, bug=bug) as town:
            pole, witness = town.zone.poles[POLE], town.witness
            town.disks.fill(program)
            await pole.press(150)
            async with asyncio.timeout(30):
                while not witness.seen.claims:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)
            found = truth.false_claims(witness.seen.claims, witness.kinds)
            assert {one.promise for one in found} == promises
            assert not truth.arrived(witness.mints, witness.stores.inbox(), time.monotonic())

    asyncio.run(asyncio.wait_for(play(), 100))
