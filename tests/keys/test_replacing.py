"""``safezone site keys replace`` and ``site command`` against the real broker, station, agent and pole's core."""

from __future__ import annotations

import asyncio
import errno
import json
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.agent.edge_world import AgentProcess
from tests.keys.test_end_to_end import pole_of, run
from tests.keys.town import LISTENER, POINT, STATION, TERMINAL, Peer, Town, TownBroker, complaint, until
from tests.station.processes import StationProcess

from safezone.cli import main as command_line
from sos_agent.core.effects import StoreKeys
from sos_agent.core.events import Event, KeysNotStored, KeysStored
from sos_agent.edge.keys import FILE_NAME, KeyStore, read_kept
from sos_agent.edge.setup import read_setup
from sos_contract import topics
from sos_contract.errors import UserError
from sos_contract.payloads import Command, decode
from sos_contract.site import read_keys
from sos_edge import files
from sos_keys import poles
from sos_keys.poles import FILE, read_poles, renew_pole
from sos_keys.replacing import NEW_FILE, Replacement
from sos_wire.wrap import fingerprint, unwrap

POLE = "market-1"
NEW, OTHER = bytes(range(32)), bytes(range(64, 96))


def key_of(folder: Path) -> bytes:
    return read_keys(folder / FILE, [POLE])[POLE]


def words(town: Town, *more: str) -> list[str]:
    site = ["--site", str(town.machine(TERMINAL)), "--officer", "malee"]
    return ["site", *more, *site] + (["--out", str(town.out)] if more[0] == "keys" else [])


def replace(town: Town) -> int:
    return command_line(words(town, "keys", "replace", POLE))


def test_a_pole_s_key_is_replaced_over_the_wire_and_whoever_asks_is_recorded(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.write_acl()
    old = key_of(town.out)

    async def main() -> None:
        pole = pole_of(town)
        listener = await Peer(town, town.tls(LISTENER)).connect()
        leaves = ("command", "command_answer", "health")
        heard = [topics.of_point("town", "market", leaf) for leaf in leaves]
        await listener.listen(*heard, "sos/v1/town/desk/+/request", "sos/v1/town/desk/+/answer")
        async with AgentProcess(town.machine(POINT)) as agent:
            await until(lambda: pole.look == "in_service" and listener.heard_of(heard[2]))
            assert "runs on another key now" in await typed(words(town, "keys", "replace", POLE))
            new = key_of(town.out)
            assert new != old and key_of(town.bundle(POINT)) == new and not (town.out / NEW_FILE).exists()
            assert pole.own._pole.link.keys == [new]
            # Whoever hears all that passes through the broker has learnt neither key.
            said = decode(listener.heard_of(heard[0])[0], Command)
            assert isinstance(said, Command) and (said.officer, said.terminal) == ("malee", "front-desk")
            assert unwrap(old, bytes.fromhex(said.wrapped)) == new
            everything = b"".join(one.payload for one in listener.heard)
            assert old.hex().encode() not in everything and new.hex().encode() not in everything
            # The agent's own file has it, for nobody else, and it is good after a restart.
            kept = town.folder / "data" / FILE_NAME
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert await agent.end() == 0
            assert not agent.said(new.hex()) and not agent.said(old.hex())
        sessions = pole.own._pole.link.opened
        async with AgentProcess(town.machine(POINT)) as agent:
            await until(lambda: pole.own._pole.link.opened > sessions and pole.look == "in_service")
            assert pole.own._pole.link.keys == [new]
            await pole.press()
            await until(lambda: pole.look == "received")
            refused = await typed(words(town, "command", POLE, "open_repl"), code=1)
            assert "open_repl was refused" in refused and "somebody waits for help" in refused
            assert await agent.end() == 0
        said_so = await typed(["site", "commands", "--site", str(town.machine(TERMINAL)), "--json"])
        rows = [json.loads(line) for line in said_so.splitlines()]
        found = [(row["command"], row["officer"], row["terminal"], row["outcome"]) for row in rows]
        assert found == [
            ("open_repl", "malee", "front-desk", "refused"),
            ("replace_key", "malee", "front-desk", "done"),
        ]
        listener.link.close()
        pole.close()

    with TownBroker(town), StationProcess(town.machine(STATION)):
        run(main)


async def typed(words: list[str], code: int = 0) -> str:
    """What a command says, in a process of its own."""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "safezone", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return str(done.stdout or done.stderr)


def test_without_an_agent_nothing_is_changed_and_the_next_try_goes_on_with_the_same_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    town = Town(tmp_path)
    town.write_acl()
    old = key_of(town.out)
    with TownBroker(town), StationProcess(town.machine(STATION)):
        for _ in range(2):
            assert "has not told of late" in complaint(capsys, *words(town, "keys", "replace", POLE))
            made = read_poles(town.out / NEW_FILE)
            assert key_of(town.out) == key_of(town.bundle(POINT)) == old
        assert f"{NEW_FILE}: going on with the key" in _said(town, capsys)
        assert read_poles(town.out / NEW_FILE) == made


def _said(town: Town, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert replace(town) == 1
    return capsys.readouterr().out


def test_what_cannot_be_replaced_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = Town(tmp_path)
    site = ["--site", str(town.file), "--officer", "malee"]
    assert "did you mean 'market-1'?" in complaint(capsys, "site", "keys", "replace", "markt-1", *site)
    nowhere = ["--out", str(tmp_path / "nowhere")]
    assert "no keys of a site" in complaint(capsys, "site", "keys", "replace", POLE, *site, *nowhere)
    assert "did you mean 'open_repl'?" in complaint(capsys, "site", "command", POLE, "open_rpl", *site)
    assert "site keys replace" in complaint(capsys, "site", "command", POLE, "replace_key", *site)


# --- the technician's files: cut off anywhere, the same key goes on


def test_the_old_key_is_kept_until_the_new_one_is_proven_and_a_cut_between_any_two_writes_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(tmp_path)
    old = key_of(town.out)
    first = Replacement(town.out, POLE)
    assert stat.S_IMODE((town.out / NEW_FILE).stat().st_mode) == 0o600
    assert key_of(town.out) == old and unwrap(old, bytes.fromhex(first.wrapped)) == first._key
    again = Replacement(town.out, POLE)
    assert again.resumed and again.check == first.check and again.wrapped != first.wrapped
    # Power goes after the first file was rewritten, and after the second.
    renew_pole(town.out, POLE, first._key)
    third = Replacement(town.out, POLE)
    assert not third.resumed and third.check != first.check, "the one before is done"
    assert {path.parent.name for path in third.done()} == {"keys", "point.market"}
    assert key_of(town.out) == key_of(town.bundle(POINT)) == third._key and not (town.out / NEW_FILE).exists()
    with pytest.raises(UserError, match="no key of pole 'nobody-1'"):
        Replacement(town.out, "nobody-1")


def test_a_key_that_is_revoked_takes_the_one_that_was_under_way_along(tmp_path: Path) -> None:
    town = Town(tmp_path)
    first, other = Replacement(town.out, POLE), Replacement(town.out, "merlin-1")
    assert command_line(["site", "keys", "revoke", "pole", POLE, "--out", str(town.out)]) == 0
    assert read_poles(town.out / NEW_FILE).keys() == {"merlin-1"}
    again = Replacement(town.out, POLE)
    assert not again.resumed and again.check != first.check
    assert Replacement(town.out, "merlin-1").check == other.check


@pytest.mark.parametrize("writes", range(4))
def test_a_key_that_was_under_way_is_gone_wherever_the_revocation_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Whoever has the old key could read the wrapped one: after a cut, 'replace' went on with just that."""
    town = Town(tmp_path)
    old, first = key_of(town.out), Replacement(town.out, POLE)
    Replacement(town.out, "merlin-1")  # so that the file of keys under way stays
    left = iter(range(writes))

    def cut(path: Path, data: bytes) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        files.replace(path, data)

    monkeypatch.setattr(poles, "replace", cut)
    code = command_line(["site", "keys", "revoke", "pole", POLE, "--out", str(town.out)])
    monkeypatch.setattr(poles, "replace", files.replace)
    assert (code, key_of(town.out) == old) == [(1, True), (1, True), (1, False), (0, False)][writes]
    assert writes == 0 or Replacement(town.out, POLE).check != first.check


# --- the agent's own file


def store(folder: Path, given: bytes | dict[str, bytes], *effects: StoreKeys) -> list[Event]:
    told: list[Event] = []
    known = {POLE: given} if isinstance(given, bytes) else given
    keys = KeyStore(folder, known, call_soon=lambda call: call(), deliver=told.append)
    for effect in effects:
        keys.carry_out(effect)
    keys.close()
    return told


def test_what_the_agent_keeps_counts_until_the_technician_brings_another_key(tmp_path: Path) -> None:
    both, new = StoreKeys(POLE, NEW, OTHER), StoreKeys(POLE, OTHER, b"")
    assert store(tmp_path, NEW, both) == [KeysStored(both)]
    kept, complaint = read_kept(tmp_path, {POLE: NEW})
    assert (kept[POLE].key, kept[POLE].next, complaint) == (NEW.hex(), OTHER.hex(), "")
    assert store(tmp_path, NEW, new) == [KeysStored(new)]
    assert read_kept(tmp_path, {POLE: NEW})[0][POLE].key == OTHER.hex()
    assert read_kept(tmp_path, {POLE: b"g" * 32}) == ({}, ""), "another key by cable comes first"
    assert read_kept(tmp_path, {"other-1": NEW}) == ({}, "")
    assert (
        NEW.hex() not in (tmp_path / FILE_NAME).read_text() and fingerprint(NEW) in (tmp_path / FILE_NAME).read_text()
    )


def test_a_disk_that_takes_no_key_says_so_and_leaves_what_was(tmp_path: Path) -> None:
    store(tmp_path, NEW, StoreKeys(POLE, NEW, OTHER))
    before = (tmp_path / FILE_NAME).read_bytes()
    (tmp_path / f".{FILE_NAME}.new").mkdir()  # in the way of the file that would take its place
    (told,) = store(tmp_path, NEW, StoreKeys(POLE, OTHER, b""))
    assert isinstance(told, KeysNotStored) and told.reason
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("spoil", ["unreadable", "damaged"])
def test_keys_that_cannot_be_read_are_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    """The next key of any pole took the place of the whole file: those of the others were gone, and they silent."""
    given = {POLE: NEW, "other-1": OTHER}
    store(tmp_path, given, StoreKeys("other-1", b"k" * 32, b""))
    path, read = tmp_path / FILE_NAME, Path.read_bytes
    good = path.read_bytes()
    if spoil == "damaged":
        path.write_bytes(good[:-1])
    spoilt = path.read_bytes()
    with monkeypatch.context() as patch:
        if spoil == "unreadable":
            patch.setattr(Path, "read_bytes", lambda self: unreadable() if self == path else read(self))
        (told,) = store(tmp_path, given, StoreKeys(POLE, NEW, OTHER))
    assert isinstance(told, KeysNotStored) and FILE_NAME in told.reason
    assert path.read_bytes() == spoilt
    path.write_bytes(good)
    (told,) = store(tmp_path, given, StoreKeys(POLE, NEW, OTHER))
    assert isinstance(told, KeysStored) and read_kept(tmp_path, given)[0].keys() == given.keys()


def test_keys_that_can_be_read_again_are_kept_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {POLE: NEW, "other-1": OTHER}
    store(tmp_path, given, StoreKeys("other-1", b"k" * 32, b""))
    told: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: unreadable())
        keys = KeyStore(tmp_path, given, call_soon=lambda call: call(), deliver=told.append)
    keys.carry_out(StoreKeys(POLE, NEW, OTHER))
    keys.close()
    assert isinstance(told[0], KeysStored) and read_kept(tmp_path, given)[0].keys() == given.keys()


def test_a_disk_that_hangs_keeps_no_agent_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end waited on the loop for a key's write, for as long as the disk hung, and the outbox was never closed."""
    free = threading.Event()
    monkeypatch.setattr("sos_agent.edge.keys.CLOSE_S", 0.05)
    monkeypatch.setattr("sos_agent.edge.keys.replace", lambda *_: free.wait(20))
    began = time.monotonic()
    keys = KeyStore(tmp_path, {POLE: NEW}, call_soon=lambda call: call(), deliver=lambda _: None)
    keys.carry_out(StoreKeys(POLE, NEW, OTHER))
    keys.close()
    assert time.monotonic() - began < 10
    free.set()
    keys._thread.join()


def unreadable() -> bytes:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("content", ["", "{", '{"market-1": 1}', '{"market-1": {"given": "", "key": "00"}}'])
def test_a_damaged_file_keeps_no_agent_from_its_work(tmp_path: Path, content: str) -> None:
    town = Town(tmp_path)
    (town.folder / "data").mkdir()
    (town.folder / "data" / FILE_NAME).write_text(content)
    setup = read_setup(town.machine(POINT), "market")
    assert "damaged" in setup.complaint and setup.config.lines[0].poles[0].key == key_of(town.out)
