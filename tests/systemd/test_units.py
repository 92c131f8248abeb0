"""The units: how tight their sandbox is, that the docs say what it leaves open, and that the programs live in it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.edge_world import AgentProcess, PtyPole
from tests.keys.town import POINT, STATION, TERMINAL, Town, TownBroker, until
from tests.station.processes import StationProcess, alarms, rows
from tests.systemd.sandbox import allowed, settings

from sos_contract.site import read_keys

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "agent/systemd"
AGENT, STATION_UNIT = UNITS / "safezone-agent@.service", UNITS / "safezone-station.service"
BOTH = pytest.mark.parametrize("unit", [AGENT, STATION_UNIT], ids=lambda unit: unit.stem.rstrip("@"))
SANDBOX = Path(__file__).with_name("sandbox.py")
MOST = 2.0  # of 10, as systemd-analyze counts


def instance(unit: Path, folder: Path, more: str = "") -> Path:
    """The unit as systemd would see it: of one point, with a program that is there."""
    text = unit.read_text(encoding="utf-8").replace("/opt/safezone/bin/safezone", sys.executable)
    path = folder / unit.name.replace("@.", "@merlin.")
    path.write_text(text.replace("[Install]", f"{more}\n[Install]"), encoding="utf-8")
    return path


def analysed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SYSTEMD_PAGER": "cat", "SYSTEMD_COLORS": "0"}
    command = ["systemd-analyze", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def exposure(unit: Path) -> float:
    told = analysed("security", "--offline=true", unit).stdout
    found = re.search(r"exposure level for .*: (\d+\.\d+)", told)
    assert found, told
    return float(found[1])


@BOTH
def test_the_sandbox_is_tight_and_tighter_with_the_site_s_addresses(unit: Path, tmp_path: Path) -> None:
    alone = exposure(instance(unit, tmp_path))
    site = "\nIPAddressDeny=any\nIPAddressAllow=localhost 10.20.0.0/24\n"
    assert exposure(instance(unit, tmp_path, site)) < alone <= MOST


@BOTH
def test_systemd_has_nothing_to_say_against_it(unit: Path, tmp_path: Path) -> None:
    told = analysed("verify", instance(unit, tmp_path))
    about = [line for line in (told.stdout + told.stderr).splitlines() if "safezone" in line]
    assert not about, about


@BOTH
def test_the_docs_say_what_is_left_open(unit: Path, tmp_path: Path) -> None:
    rows_of = json.loads(analysed("security", "--offline=true", "--json=short", instance(unit, tmp_path)).stdout)
    left = {row["name"].replace("|", "/") for row in rows_of if row["exposure"] and float(row["exposure"]) > 0}
    page = (UNITS / "README.md").read_text(encoding="utf-8")
    column = 2 if unit == AGENT else 3
    lines = [line.replace(r"\|", "/") for line in page.splitlines() if line.startswith("| `")]
    table = [[cell.strip() for cell in line.split("|")] for line in lines]
    told = {name for row in table if row[column] == "open" for name in re.findall(r"`([^`]+)`", row[1])}
    assert left == told


@BOTH
def test_what_nobody_needs_is_refused(unit: Path) -> None:
    calls = allowed(settings(unit)["SystemCallFilter"])
    assert {"read", "fsync", "flock", "clock_adjtime", "execve", "mknodat"} <= calls
    assert not {"mount", "ptrace", "bpf", "kexec_load", "init_module", "setuid", "chown", "reboot"} & calls


@BOTH
def test_the_kernel_holds_it_and_the_program_s_parts_live_in_it(unit: Path) -> None:
    """Loaded and used as the agent and the station do: TLS, SQLite, serial, GPIO, the clock's quality."""
    probe = (
        "import ctypes, lgpio, gpiozero, mmap, os, serial, socket, sqlite3, ssl\n"
        "from sos_edge import clock\n"
        "ssl.create_default_context()\n"
        "os.close(os.openpty()[0])\n"
        "def refused(act):\n"
        "    try: act()\n"
        "    except OSError as error: return error.errno\n"
        "told = [clock._kernel_status() is not None, refused(lambda: mmap.mmap(-1, 4096, prot=7)),\n"
        "        refused(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),\n"
        "        refused(lambda: os.setpriority(0, 0, 1)),\n"
        "        ctypes.CDLL(None).unshare(0x20000)]\n"
        "print(told)\n"
    )
    command = [sys.executable, str(SANDBOX), str(unit), sys.executable, "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[True, 1, 97, 1, -1]", done.stderr[-600:]


def test_a_press_is_received_and_accepted_with_agent_and_station_in_their_sandboxes(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.write_acl()
    inside = [sys.executable, str(SANDBOX)]
    key = read_keys(town.bundle(POINT) / "poles.toml", ["market-1"])["market-1"]

    async def press() -> None:
        pole = PtyPole(town.folder, key)
        async with AgentProcess(town.machine(POINT), prefix=[*inside, str(AGENT)]) as agent:
            await until(lambda: pole.look == "in_service")
            await pole.press()
            await until(lambda: pole.look == "received")
            shown = rows(await asyncio.to_thread(alarms, town.machine(TERMINAL), "accept", "--officer", "m", "--json"))
            assert [one["stage"] for one in shown] == ["accepted"]
            await until(lambda: pole.look == "accepted")
            assert await agent.end() == 0
        pole.close()

    with TownBroker(town), StationProcess(town.machine(STATION), prefix=[*inside, str(STATION_UNIT)]):
        asyncio.run(press())


RULE = re.compile(r'([A-Z]+(?:\{[A-Za-z_]+\})?)(==|!=|\+=|=)"([^"]*)"')
MATCHED = {"SUBSYSTEM", "SUBSYSTEMS", "KERNEL", "DRIVER", "ENV"}
ASSIGNED = {"GROUP", "MODE", "SYMLINK", "ENV", "ATTR"}


def test_rules_are_rules_and_give_devices_to_the_groups_of_the_unit() -> None:
    groups = settings(AGENT)["SupplementaryGroups"][0].split()
    given = set()
    for line in (UNITS / "70-safezone.rules").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(", ")]
        found = [RULE.fullmatch(part) for part in parts]
        assert all(found), line
        for key, operator, value in (one.groups() for one in found if one):
            assert key.split("{")[0] in (MATCHED if operator in ("==", "!=") else ASSIGNED), line
            assert key != "MODE" or value == "0660", line
            if key == "GROUP":
                given.add(value)
    assert given == set(groups)


def test_who_the_programs_are_is_made_with_all_that_the_units_name(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "safezone.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    users = {settings(unit)["User"][0] for unit in (AGENT, STATION_UNIT)}
    assert users == {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()} - {"root"}
    members = dict(line.split(":")[0::3] for line in (tmp_path / "etc/group").read_text().splitlines())
    for group in settings(AGENT)["SupplementaryGroups"][0].split():
        assert members[group] == "safezone"
