"""What a machine may have wrong, read as a technician reads it: one line, true, and with what to do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.agent.edge_world import AgentProcess, until, write_site
from tests.support.broker import free_port
from tests.support.certs import Authority

from sos_contract.errors import SafezoneError
from sos_contract.site import SiteError, read_keys
from sos_contract.who import Who
from sos_edge import check, sqlite
from sos_edge.mqtt import Tls

MERLIN = Who("point", "merlin")


def test_a_key_that_others_may_read_is_named_and_costs_no_alarm(tmp_path: Path) -> None:
    """A point goes on with it: whoever wants its poles silent must not need more than a mode."""
    authority = Authority(tmp_path / "ca")
    mine = authority.sign("point.merlin")
    mine.key.chmod(0o644)
    told = f"{mine.key}: others may read this key (mode 0644); run: chmod 600 {mine.key}"
    assert list(check.certificate(Tls(authority.ca, mine.cert, mine.key), MERLIN)) == [told]
    site = write_site(tmp_path, f"mqtts://127.0.0.1:{free_port()}")
    tls = f'tls = {{ ca = "{authority.ca}", cert = "{mine.cert}", key = "{mine.key}" }}\n'
    site.write_text(site.read_text().replace("[[point]]", tls + "[[point]]", 1))

    async def main() -> None:
        async with AgentProcess(site) as agent:
            await until(lambda: agent.said("armed"))
            assert len(agent.said(told)) == 1
            assert await agent.end() == 0

    asyncio.run(main())
    mine.key.chmod(0o600)
    assert not list(check.certificate(Tls(authority.ca, mine.cert, mine.key), MERLIN))


def test_a_certificate_that_has_ended_names_the_clock_that_says_so(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    mine = authority.sign("point.merlin", days=-1)
    (line,) = check.certificate(Tls(authority.ca, mine.cert, mine.key), MERLIN)
    assert "this machine's clock says 2" in line and line.endswith("rotate it, or set the clock")


def test_a_pipe_in_the_place_of_a_certificate_or_key_is_not_waited_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    mine = authority.sign("point.merlin")
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe, 0o600)
    for tls in (Tls(pipe, mine.cert, mine.key), Tls(authority.ca, pipe, mine.key), Tls(authority.ca, mine.cert, pipe)):
        with pytest.raises(ValueError, match=r"pipe.pem: cannot be read \(it is a pipe or a device\)"):
            tls.context(check_dates=True)
    told = list(check.certificate(Tls(authority.ca, pipe, mine.key), MERLIN))
    assert told == [f"{pipe}: cannot be read (it is a pipe or a device)"]


def test_a_read_only_disk_is_no_matter_of_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = os.statvfs(tmp_path)
    flags = SimpleNamespace(f_flag=room.f_flag | os.ST_RDONLY, f_bavail=0, f_frsize=1)
    monkeypatch.setattr(os, "statvfs", lambda _path: flags)
    (line,) = check.folder(tmp_path / "data", "agent", 1, "")
    assert "read-only" in line and "chown" not in line


def test_nobody_is_told_to_give_a_folder_of_the_system_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first start there is no data folder: the line said to chown the nearest there is, /var/lib."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: real(path, mode) and not mode & os.W_OK)
    data = tmp_path / "safezone" / "merlin"
    (line,) = check.folder(data, "agent", 1, "")
    assert line == f"{data}: this user may not make it; run: sudo install -d -o <user of the agent> {data}"
    data.mkdir(parents=True)
    (line,) = check.folder(data, "agent", 1, "")
    assert line == f"{data}: this user may not write there; run: sudo chown <user of the agent> {data}"


def test_a_database_that_nobody_can_look_into_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 10)
    path = tmp_path / "outbox.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.executescript("CREATE TABLE one (x); BEGIN EXCLUSIVE;")
    (line,) = check.database(path, "agent", 1)
    assert line == f"{path}: cannot be looked into (database is locked); check its owner and the disk"
    monkeypatch.setattr(sqlite, "_full", lambda _folder: True)
    with pytest.raises(SafezoneError, match="the disk is full"):
        sqlite.check_database(path)
    holder.close()
    path.write_text("no database\n" * 99)
    (line,) = check.database(path, "agent", 1)
    assert "damaged (file is not a database)" in line


def test_a_key_file_of_another_user_needs_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_given: object, **_named: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sos_contract.files.os.open", denied)
    with pytest.raises(SiteError, match="run: sudo chown <user of the agent>"):
        read_keys(tmp_path / "poles.toml", [])
