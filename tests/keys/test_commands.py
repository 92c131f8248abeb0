"""``safezone site keys`` and ``acl`` as a technician types them: what they make, keep, and refuse."""

from __future__ import annotations

import errno
import json
import shutil
import stat
from pathlib import Path

import pytest
from tests.keys.town import BROKER, POINT, STATION, TERMINAL, Town, complaint, safezone

from safezone.cli import main
from sos_contract.site import read_keys
from sos_contract.who import Who
from sos_edge import clock, files
from sos_edge.lock import FolderLock
from sos_keys import bundles
from sos_keys.authority import Authority
from sos_keys.bundles import welcome

MERLIN = Who("point", "merlin")
WEEK_MS = 7 * 24 * 3_600_000


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in ``folder`` but the lock, which holds only our process's number."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {Path(path).parent.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def test_nobody_else_can_read_what_was_made(town: Town) -> None:
    town.write_acl()
    for path in (town.out, *town.out.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name != "lock":
            assert mode == (0o700 if path.is_dir() else 0o600), path


def test_each_point_gets_the_keys_of_its_own_poles_alone(town: Town) -> None:
    every = read_keys(town.out / "poles.toml", ["market-1", "merlin-1"])
    for point in ("market", "merlin"):
        path = town.bundle(Who("point", point)) / "poles.toml"
        assert read_keys(path, [f"{point}-1"]) == {f"{point}-1": every[f"{point}-1"]}
    assert "merlin" not in (town.bundle(POINT) / "poles.toml").read_text()
    assert not (town.bundle(STATION) / "poles.toml").exists()


def test_a_second_run_changes_nothing_and_a_new_point_gets_its_own(town: Town) -> None:
    before = contents(town.out)
    safezone("site", "keys", "--site", town.file, "--out", town.out)
    assert contents(town.out) == before
    more = town.file.read_text().split("[[point]]")[2].replace("merlin", "bridge")
    town.file.write_text(f"{town.file.read_text()}[[point]]{more}")
    safezone("site", "keys", "--site", town.file, "--out", town.out, "--terminal", "night-desk")
    after = contents(town.out)
    assert changed(before, after) == {"point.bridge", "terminal.night-desk", "issued", "keys"}
    assert {path for path in before if before[path] != after[path]} == {str(town.out / "poles.toml")}
    assert read_keys(town.out / "poles.toml", ["market-1", "merlin-1", "bridge-1"])


def test_a_rotation_touches_one_alone_and_ends_nothing(town: Town) -> None:
    before = contents(town.out)
    safezone("site", "keys", "rotate", "point", "merlin", "--out", town.out)
    after = contents(town.out)
    assert changed(before, after) == {"point.merlin", "issued"}
    assert {Path(path).name for path in before if before[path] != after[path]} == {"cert.pem", "key.pem"}
    assert [one.revoked for one in Authority(town.out / "authority").issued() if one.who == MERLIN] == [False, False]


def test_a_pole_s_key_is_renewed_where_it_lies_and_nowhere_else(town: Town) -> None:
    before = contents(town.out)
    safezone("site", "keys", "revoke", "pole", "merlin-1", "--out", town.out)
    after = contents(town.out)
    assert changed(before, after) == {"point.merlin", "keys"}
    keys = read_keys(town.out / "poles.toml", ["market-1", "merlin-1"])
    assert read_keys(town.bundle(MERLIN) / "poles.toml", ["merlin-1"])["merlin-1"] == keys["merlin-1"]
    assert keys["merlin-1"].hex() not in before[str(town.out / "poles.toml")].decode()
    assert keys["market-1"].hex() in before[str(town.out / "poles.toml")].decode()


@pytest.mark.parametrize("bad", ["00" * 32, "0a" * 8, "no hex"])
def test_a_key_that_is_refused_is_mended_with_the_words_that_refuse_it(
    town: Town, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    path = town.out / "poles.toml"
    path.write_text(f'[poles]\nmarket-1 = "{bytes(range(32)).hex()}"\nmerlin-1 = "{bad}"\n')
    assert main(["site", "keys", "--site", str(town.file), "--out", str(town.out)]) == 2
    words = capsys.readouterr().err.strip().rpartition("make another: safezone ")[2].split()
    safezone(*words, "--out", town.out)
    assert set(read_keys(path, ["market-1", "merlin-1"])) == {"market-1", "merlin-1"}


def test_an_authority_whose_key_others_may_read_signs_nothing(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    key = town.out / "authority/ca.key"
    key.chmod(0o644)
    said = complaint(capsys, "site", "keys", "--site", town.file, "--out", town.out)
    assert f"{key}: others may read it (mode 0644); run: chmod 600 {key}" in said


def test_who_is_revoked_loses_its_rights_and_nobody_else_does(town: Town) -> None:
    town.write_acl()
    before = (town.bundle(BROKER) / "acl").read_text()
    safezone("site", "keys", "revoke", "point", "merlin", "--out", town.out)
    authority = Authority(town.out / "authority")
    assert MERLIN not in welcome(authority)
    assert {POINT, STATION, TERMINAL} <= welcome(authority)
    town.write_acl()
    after = (town.bundle(BROKER) / "acl").read_text()
    assert "merlin" not in after
    kept = [block for block in before.split("\n\n") if "merlin" not in block]
    assert after.split("\n\n") == kept
    # Every folder has the new list, for a broker may be revoked, too.
    assert (town.bundle(BROKER) / "crl.pem").read_bytes() == authority.revocations
    assert (town.bundle(POINT) / "ca.pem").read_bytes() == authority.trust
    safezone("site", "keys", "rotate", "point", "merlin", "--out", town.out)
    assert MERLIN in welcome(Authority(town.out / "authority"))


def conditions(town: Town, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, set[tuple[str, str]]]:
    """Exit code of ``status``, and what it says of whom."""
    capsys.readouterr()
    code = main(["site", "keys", "status", "--out", str(town.out), "--json", *words])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {(line["name"], line["condition"]) for line in lines}


def good(town: Town, *but: str) -> set[tuple[str, str]]:
    """What ``status`` says of everybody but those named."""
    everybody = {path.name for path in town.out.iterdir() if path.is_dir() and "." in path.name}
    return {(name, "good") for name in everybody if name not in but}


def test_status_warns_weeks_ahead(
    town: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    safezone("site", "keys", "rotate", "terminal", "listener", "--out", town.out, "--days", "70")
    safezone("site", "keys", "revoke", "terminal", "listener", "--out", town.out, "--old")
    assert conditions(town, capsys) == (0, good(town))
    others = good(town, "terminal.listener")
    true_ms = clock.wall_ms
    monkeypatch.setattr(clock, "wall_ms", lambda: true_ms() + 3 * WEEK_MS)
    assert conditions(town, capsys) == (1, {*others, ("terminal.listener", "soon")})
    assert conditions(town, capsys, "--weeks", "6") == (0, good(town))
    monkeypatch.setattr(clock, "wall_ms", lambda: true_ms() + 11 * WEEK_MS)
    assert conditions(town, capsys) == (1, {*others, ("terminal.listener", "expired")})


def test_status_tells_what_is_revoked_replaced_or_broken(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    safezone("site", "keys", "revoke", "terminal", "listener", "--out", town.out)
    revoked = ("terminal.listener", "revoked")
    assert conditions(town, capsys) == (0, {*good(town, "terminal.listener"), revoked})
    shutil.copy(town.bundle(POINT) / "key.pem", town.bundle(STATION) / "key.pem")
    # The certificate whose key is lost still opens the broker to whoever has that key.
    lost = {("station.town", "broken"), ("station.town", "older")}
    assert conditions(town, capsys) == (1, {*good(town, "terminal.listener", "station.town"), revoked, *lost})
    said = complaint(capsys, "site", "keys", "--site", town.file, "--out", town.out)
    assert "station.town: has no certificate of this authority with its key; move it away" in said
    shutil.rmtree(town.bundle(STATION))
    safezone("site", "keys", "--site", town.file, "--out", town.out)
    assert ("station.town", "older") in conditions(town, capsys)[1]
    safezone("site", "keys", "revoke", "station", "town", "--old", "--out", town.out)
    assert conditions(town, capsys) == (0, {*good(town, "terminal.listener"), revoked})


def test_what_is_refused_is_one_line_that_says_what_to_do(
    town: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(*words: str | Path) -> str:
        return complaint(capsys, "site", *words)

    out = ("--out", town.out)
    assert "no point 'merln' has a certificate; did you mean 'merlin'?" in says(
        "keys", "rotate", "point", "merln", *out
    )
    assert "unknown kind 'poit'; did you mean 'point'?" in says("keys", "revoke", "poit", "merlin", *out)
    assert "no pole 'market-2' has a key; did you mean 'market-1'?" in says("keys", "rotate", "pole", "market-2", *out)
    assert "write the options after 'status'" in says("keys", *out, "status")
    assert "terminal 'Front Desk' must be" in says("keys", "--site", town.file, *out, "--terminal", "Front Desk")
    assert "make them with 'safezone site keys'" in says("keys", "status", "--out", town.folder / "nowhere")
    plain = town.folder / "plain.toml"
    plain.write_text(town.file.read_text().replace("mqtts://", "mqtt://"))
    assert "is without TLS; write mqtts://127.0.0.1:8883" in says("acl", "--site", plain, *out)
    (town.out / "authority").chmod(0o750)
    assert "others may enter it (mode 0750); run: chmod 700" in says("keys", "status", *out)
    (town.out / "authority").chmod(0o700)
    (town.out / "authority" / "ca.key").write_bytes((town.bundle(POINT) / "key.pem").read_bytes())
    assert "ca.key does not belong to ca.pem" in says("keys", "status", *out)
    (town.out / "authority" / "ca.key").write_bytes(b"")
    assert "a damaged authority" in says("keys", "status", *out)
    (town.out / "authority" / "ca.key").unlink()
    assert "ca.key: No such file or directory" in says("keys", "status", *out)
    lock = FolderLock(town.out, what="test")
    assert "another safezone site keys (process" in says("keys", "status", *out)
    lock.close()
    monkeypatch.setattr(clock, "wall_ms", lambda: 1000)
    assert "this machine's clock was never set" in says("keys", "--site", town.file, *out)


def test_a_run_that_was_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    """What lies half made under a name with a dot before it was never in use."""
    for name in (".authority.new", ".point.market.new"):
        (tmp_path / "keys" / name).mkdir(parents=True, mode=0o700)
        (tmp_path / "keys" / name / "ca.key").write_text("half")
    (tmp_path / "keys").chmod(0o700)
    town = Town(tmp_path)
    assert sorted(path.name for path in town.out.iterdir() if path.name.startswith(".")) == []
    assert not (town.bundle(POINT) / "ca.key").exists()


def test_a_broker_s_certificate_serves_every_form_of_address(tmp_path: Path) -> None:
    """Names and addresses of either kind, each broker once, whatever its ports."""
    text = Town(tmp_path).file.read_text()
    brokers = '["mqtts://[::1]:8883", "mqtts://broker.example.org", "mqtts://broker.example.org:8884"]'
    site = tmp_path / "many.toml"
    site.write_text("\n".join(f"brokers = {brokers}" if "brokers" in line else line for line in text.splitlines()))
    out = tmp_path / "many"
    safezone("site", "keys", "--site", site, "--out", out)
    safezone("site", "acl", "--site", site, "--out", out)
    assert sorted(path.name for path in out.glob("broker.*")) == ["broker.--1", "broker.broker.example.org"]
    config = (out / "broker.broker.example.org" / "mosquitto.conf").read_text()
    assert [line for line in config.splitlines() if line.startswith("listener")] == ["listener 8883", "listener 8884"]
    assert "certfile /etc/mosquitto/safezone/cert.pem" in config
    assert "listener 8883 ::1" in (out / "broker.--1" / "mosquitto.conf").read_text()


def test_a_broker_s_name_that_no_certificate_holds_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    town = Town(tmp_path)
    town.file.write_text(town.file.read_text().replace("127.0.0.1", "สถานี.example"), encoding="utf-8")
    said = complaint(capsys, "site", "keys", "--site", town.file, "--out", town.out)
    assert "'สถานี.example' cannot stand in a certificate; write the broker's name in ASCII" in said


# --- what was put away or lost is not made anew behind anybody's back


def test_no_second_authority_is_begun_beside_what_the_first_one_signed(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """The authority lies on a stick: a run without it began another, whose certificates turn everybody else away."""
    stick = town.folder / "stick"
    (town.out / "authority").rename(stick)
    shutil.rmtree(town.bundle(POINT))
    before = contents(town.out)
    said = complaint(capsys, "site", "keys", "--site", town.file, "--out", town.out)
    assert "authority: not here, though it has signed" in said and "bring it back from your copy" in said
    assert contents(town.out) == before and not (town.out / "authority").exists()
    stick.rename(town.out / "authority")
    safezone("site", "keys", "--site", town.file, "--out", town.out)
    assert town.bundle(POINT).exists()


def test_no_pole_gets_another_key_because_the_file_of_all_keys_was_left_behind(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run without it gave each pole a new one, and each point's folder, too: carried there, no pole was heard."""
    keys = (town.out / "poles.toml").read_bytes()
    (town.out / "poles.toml").unlink()
    before = contents(town.out)
    said = complaint(capsys, "site", "keys", "--site", town.file, "--out", town.out)
    assert "poles.toml: not here, though" in said and "bring it back from your copy" in said
    assert contents(town.out) == before
    (town.out / "poles.toml").write_bytes(keys)
    (town.out / "poles.toml").chmod(0o600)
    safezone("site", "keys", "--site", town.file, "--out", town.out)


def test_an_older_copy_of_the_authority_lets_nobody_in_again(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """Restored from the safe, it knew of no revocation: the next access list let a stolen Pi in again."""
    town.write_acl()
    safe = shutil.copytree(town.out / "authority", town.folder / "safe")
    safezone("site", "keys", "revoke", "point", "merlin", "--out", town.out)
    town.write_acl()
    newest = (town.out / "authority").rename(town.folder / "newest")
    shutil.copytree(safe, town.out / "authority")
    before = contents(town.out)
    for words in (["acl", "--site", town.file], ["keys", "--site", town.file], ["keys", "revoke", "point", "market"]):
        said = complaint(capsys, "site", *words, "--out", town.out)
        assert "authority: older than" in said and "bring the newest copy" in said
    assert contents(town.out) == before
    shutil.rmtree(town.out / "authority")
    newest.rename(town.out / "authority")
    town.write_acl()


def test_a_revoked_one_is_not_handed_out_again_without_a_word(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """A new Pi in a stolen one's place was given the stolen one's certificate, and the broker turned it away."""
    safezone("site", "keys", "revoke", "point", "merlin", "--out", town.out)
    capsys.readouterr()
    safezone("site", "keys", "--site", town.file, "--out", town.out)
    rotate = f"give it another: safezone site keys rotate point merlin --out {town.out}"
    assert f"point.merlin is revoked; {rotate}\n" in capsys.readouterr().out
    town.write_acl()
    assert f"point.merlin has no certificate that is good, and so no rights; {rotate}\n" in capsys.readouterr().out
    safezone("site", "keys", "rotate", "point", "merlin", "--out", town.out)
    assert "is good until" not in capsys.readouterr().out, "it is good no more"
    safezone("site", "keys", "--site", town.file, "--out", town.out)
    town.write_acl()
    assert "merlin" not in capsys.readouterr().out
    assert MERLIN in welcome(Authority(town.out / "authority"))


def test_a_pole_s_new_key_is_not_replaced_by_who_means_its_old_one(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """After 'rotate', as for a certificate: it made a third key, which the pole did not have."""
    safezone("site", "keys", "rotate", "pole", "merlin-1", "--out", town.out)
    before = contents(town.out)
    said = complaint(capsys, "site", "keys", "revoke", "pole", "merlin-1", "--old", "--out", town.out)
    assert "--old is for certificates" in said
    assert contents(town.out) == before


def test_keys_are_made_for_the_site_that_all_other_commands_take(
    town: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SAFEZONE_SITE set, they were made for the example that comes along, in the town's own folder."""
    monkeypatch.setenv("SAFEZONE_SITE", str(town.file))
    before = contents(town.out)
    capsys.readouterr()
    safezone("site", "keys", "--out", town.out)
    safezone("site", "check")
    assert f"{town.file}: " in capsys.readouterr().out and contents(town.out) == before
    safezone("site", "acl", "--out", town.out)
    assert (town.bundle(BROKER) / "acl").exists()
    assert "'merln-1'; did you mean 'merlin-1'?" in complaint(capsys, "site", "keys", "replace", "merln-1")


def test_an_officer_is_told_of_a_key_that_others_may_read(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has it acts as that terminal."""
    key = town.bundle(TERMINAL) / "key.pem"
    key.chmod(0o644)
    capsys.readouterr()
    assert main(["alarms", "list", "--site", str(town.machine(TERMINAL))]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith(f"key.pem: others may read this key (mode 0644); run: chmod 600 {said[0].split(': ')[0]}")
    assert "nothing listens" in said[1]


@pytest.mark.parametrize("holder", [POINT, TERMINAL, BROKER], ids=str)
def test_a_rotation_that_was_cut_off_is_taken_up_by_the_same_command(
    town: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, holder: Who
) -> None:
    """Between key and certificate: 'status' said to rotate, and 'rotate' to move the folder away, which for a terminal
    brought nothing back."""

    def cut(path: Path, data: bytes) -> None:
        if path.name == "cert.pem":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        files.replace(path, data)

    words = ("site", "keys", "rotate", holder.kind, holder.name, "--out", town.out)
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "replace", cut)
        assert "cert.pem: No space left on device" in complaint(capsys, *words)
    assert (holder.common_name, "broken") in conditions(town, capsys)[1]
    safezone(*words)
    safezone("site", "keys", "revoke", holder.kind, holder.name, "--old", "--out", town.out)
    assert conditions(town, capsys) == (0, good(town))
