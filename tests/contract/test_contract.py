"""What agent, station and simulator agree on: topics, payloads, stages, the site file."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sos_contract import payloads, stages, topics
from sos_contract.payloads import Alarm, DeskRequest, Identity, Probe, Refused, State, decode, encode
from sos_contract.site import MAX_POINTS, MAX_POLES_ON_A_LINE, SiteError, complaints, find_site, read_keys, read_site
from sos_wire.messages import KINDS

PRESS = Alarm(id=Identity("merlin-1", "00000000000000aa", 3, 17), kind="press", pressed_at_ms=12_345)


# --- topics


@pytest.mark.parametrize("leaf", [*topics.FROM_POINT, *topics.TO_POINT])
def test_topics_of_a_point_come_back_as_they_were_made(leaf: str) -> None:
    made = topics.of_point("betong", "merlin", leaf)
    assert made.startswith("sos/v1/betong/")
    assert topics.parse(made) == ("betong", "merlin", leaf)


def test_topics_of_station_and_desk() -> None:
    assert topics.parse(topics.of_station("betong", "state")) == ("betong", "", "state")
    assert topics.parse(topics.desk_request("betong", "t1")) == ("betong", "t1", "desk_request")
    assert topics.parse(topics.desk_answer("betong", "t1")) == ("betong", "t1", "desk_answer")


@pytest.mark.parametrize("topic", ["", "/", "sos", "sos/v1/x", "sos/v2/x/state", "a/b/c/d", "sos/v1/a/point/b"])
def test_what_is_no_topic_of_ours(topic: str) -> None:
    assert topics.parse(topic) is None


@given(st.text(max_size=60))
def test_any_topic_is_taken_apart_or_refused(topic: str) -> None:
    topics.parse(topic)


# --- payloads


def test_a_payload_comes_back_as_it_was() -> None:
    assert decode(encode(PRESS), Alarm) == PRESS


def test_unknown_fields_are_ignored_and_old_payloads_have_defaults() -> None:
    data = (
        b'{"v":1,"id":{"pole":"p","incarnation":"aa","boot":1,"press":2,"x":1},"kind":"press","pressed_at_ms":5,"y":[]}'
    )
    read = decode(data, Alarm)
    assert isinstance(read, Alarm) and (read.lane, read.age_ms, read.id.clash) == ("live", None, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"v":3,"online":true,"session":"a"}', "version 3"),
        (b'{"v":0,"online":true,"session":"a"}', "version 0"),
        (b'{"online":true,"session":"a"}', "missing required field `v`"),
        (b'{"v":1,"online":"yes","session":"a"}', "Expected `bool`"),
        (b"\xff\xfe", "State"),
        (b"", "State"),
        (b"[" * 5_000, "State"),
        (b" " * (payloads.MAX_PAYLOAD_BYTES + 1), "over 65536"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(data: bytes, words: str) -> None:
    read = decode(data, State)
    assert isinstance(read, Refused) and words in read.reason


def test_the_version_after_ours_is_understood() -> None:
    read = decode(encode(PRESS).replace(b'"v":1', b'"v":2,"new":{}'), Alarm)
    assert isinstance(read, Alarm) and read.id == PRESS.id


@given(st.binary(max_size=300))
def test_no_bytes_make_decode_raise(data: bytes) -> None:
    for kind in (Alarm, Probe, DeskRequest):
        assert isinstance(decode(data, kind), kind | Refused)


def test_every_payload_can_be_made_and_read() -> None:
    kinds = [
        kind
        for kind in vars(payloads).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and "v" in kind.__struct_fields__
    ]
    assert len(kinds) >= 11
    for kind in kinds:
        msgspec.json.schema(kind)


def test_identities_are_told_apart_in_words_too() -> None:
    other = msgspec.structs.replace(PRESS.id, clash=1)
    assert str(PRESS.id) == "merlin-1/00000000000000aa/3/17" and str(other) == f"{PRESS.id}!1"


# --- stages


def test_stages_never_go_back() -> None:
    assert stages.later("accepted", "received") == stages.later("received", "accepted") == "accepted"
    with pytest.raises(ValueError):
        stages.rank("maybe")
    assert set(stages.ALARM_KINDS) | set(stages.NOTICE_KINDS) == set(KINDS)


# --- the site file


SITE = """
version = 1
id = "town"
name = { th = "เมือง", en = "Town" }
[station]
id = "town"
name = { th = "สถานี", en = "Station" }
brokers = ["mqtt://127.0.0.1:1883"]
[[point]]
id = "gate"
name = { th = "ประตู", en = "Gate" }
[[point.line]]
port = "/dev/ttyUSB0"
[[point.line.pole]]
id = "gate-1"
address = 1
"""


def _site(tmp_path: Path, old: str = "", new: str = "") -> Path:
    assert not old or old in SITE
    path = tmp_path / "town.toml"
    path.write_text(SITE.replace(old, new, 1) if old else SITE, encoding="utf-8")
    return path


def test_the_site_that_comes_along_is_the_towns() -> None:
    site = read_site(find_site("betong"))
    assert len(site.point) == 6
    assert len(site.pole_ids()) == 7
    point, line, _ = site.find_pole("ts-centre-1")
    assert (point.id, line.shared) == ("clock-tower", True)
    assert all(point.place and point.place.approximate for point in site.point)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("brokers =", "broker =", "did you mean 'brokers'"),
        ("port =", "prt =", "did you mean 'port'"),
        ("address =", "adress =", "did you mean 'address'"),
        ("version = 1", "version = 1\nretention = { alarm_days = 90 }", "did you mean 'alarms_days'"),
        ("version = 1", "version = 1\nretention = { alarms_days = 30 }", "write 60 to 36500 days"),
        ("version = 1", "version = 1\nretention = { faults_days = 99999 }", "retention.faults_days is 99999"),
        ("version = 1", "version = 9", "version 9"),
        ("version = 1", "version = ", "not a TOML file"),
        ("address = 1", "address = 0", "outside 1 to 65534"),
        ("address = 1", 'address = "x"', "mend the site file"),
        ('id = "gate"', 'id = "Gate/#"', "small letters"),
        ('["mqtt://127.0.0.1:1883"]', "[]", "brokers is empty"),
        ("mqtt://127.0.0.1:1883", "http://x", "is no address"),
        ("mqtt://127.0.0.1:1883", "mqtt://x:99999", "is no address"),
        ("mqtt://127.0.0.1:1883", "mqtts://x:8883", "needs [station.tls]"),
        ('port = "/dev/ttyUSB0"', 'port = "/dev/ttyUSB0"\nbaud = 5', "baud 5"),
        ("address = 1", 'address = 1\n[[point.line.pole]]\nid = "gate-2"\naddress = 2', "set shared = true"),
        ("address = 1", 'address = 1\n[[point.line.pole]]\nid = "gate-1"\naddress = 2', "stands there twice"),
        ('[[point.line.pole]]\nid = "gate-1"\naddress = 1', "", "pole"),
    ],
)
def test_a_site_file_that_cannot_be_right_is_one_line_that_says_so(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(SiteError) as caught:
        read_site(_site(tmp_path, old, new))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "town.toml" in str(caught.value)


_BUTTON = '[point.button]\nid = "{}"\ngpio = 17\n'


@pytest.mark.parametrize(("button", "words"), [("gate-1", "stands there twice"), ("../Gate", "small letters")])
def test_an_own_button_is_a_pole_like_any_other(tmp_path: Path, button: str, words: str) -> None:
    """Under the name of a pole, its presses would be that pole's, and what was answered to one would light the other's
    lamp."""
    path = _site(tmp_path)
    path.write_text(f"{path.read_text()}{_BUTTON.format('gate-own')}")
    assert read_site(path).point[0].button
    path.write_text(path.read_text().replace("gate-own", button))
    with pytest.raises(SiteError, match=words):
        read_site(path)


def test_two_points_may_call_their_ports_by_the_same_name_and_one_may_not(tmp_path: Path) -> None:
    """Every Pi has a /dev/ttyAMA0, and a name by the socket is the same on each."""
    path = _site(tmp_path)
    point = SITE[SITE.index("[[point]]") :]
    path.write_text(SITE + point.replace("gate", "bridge"))
    assert len(read_site(path).point) == 2
    path.write_text(SITE + point[point.index("[[point.line]]") :].replace("gate-1", "gate-2"))
    with pytest.raises(SiteError, match="port of point 'gate' '/dev/ttyUSB0' stands there twice"):
        read_site(path)


def test_the_largest_site_is_looked_through_in_no_time(tmp_path: Path) -> None:
    """Each id was counted among all others: every program of a town of 16,000 poles took seconds more to start."""
    site = read_site(_site(tmp_path))
    (gate,) = site.point
    (line,) = gate.line
    points = []
    for point in range(MAX_POINTS):
        poles = [
            replace(line.pole[0], id=f"pole-{point}-{pole}", address=1 + pole) for pole in range(MAX_POLES_ON_A_LINE)
        ]
        points.append(replace(gate, id=f"point-{point}", line=(replace(line, shared=True, pole=tuple(poles)),)))
    began_s = time.process_time()
    assert list(complaints(replace(site, point=tuple(points)))) == []
    assert time.process_time() - began_s < 1


def test_unknown_names_name_the_nearest(tmp_path: Path) -> None:
    site = read_site(_site(tmp_path))
    with pytest.raises(SiteError, match="did you mean 'gate-1'"):
        site.find_pole("gate1")
    with pytest.raises(SiteError, match="unknown point 'x'"):
        site.find_point("x")
    with pytest.raises(SiteError, match="did you mean 'betong'"):
        find_site("betnog")
    with pytest.raises(SiteError, match="cannot read"):
        read_site(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ('[poles]\ngate-1 = "' + bytes(range(32)).hex() + '"', 0o644, "chmod 600"),
        ('[poles]\ngate-1 = "' + "00" * 32 + '"', 0o600, "32 random bytes"),
        ('[poles]\ngate-1 = "zz"', 0o600, "is not hex"),
        ('[poles]\ngate-2 = "00"', 0o600, "did you mean 'gate-2'"),
        ("[", 0o600, "not a key file"),
        ('[poles]\ngate-1 = "' + "0a" * 31 + '"', 0o600, "make another: safezone site keys revoke pole gate-1"),
        (
            f'[poles]\nx = "{bytes(range(32)).hex()}"\ny = "{bytes(range(32)).hex(" ").upper()}"',
            0o600,
            "'x' and 'y' have",
        ),
    ],
)
def test_keys_that_cannot_be_used(tmp_path: Path, text: str, mode: int, words: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SiteError, match=words):
        read_keys(path, ["gate-1"])
