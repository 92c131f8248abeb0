"""The command line: errors are one line that says what, where and what to do; never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from safezone.cli import main
from sos_contract.files import MAX_FILE_BYTES
from sos_contract.site import SiteError, read_keys

GOOD = """
version = 1
id = "small"
name = { th = "x", en = "Small" }
[station]
id = "small"
name = { th = "x", en = "Small station" }
brokers = ["mqtt://127.0.0.1:1883"]
[[point]]
id = "corner"
name = { th = "x", en = "Corner" }
[[point.line]]
port = "/dev/null-1"
[[point.line.pole]]
id = "corner-1"
address = 1
"""


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run the command; its exit code and its one line of complaint."""
    code = main(words)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return code, lines[0]


def test_good_site_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text(GOOD)
    assert main(["site", "check", "--site", str(tmp_path / "site.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"site": "small", "points": 1, "poles": ["corner-1"]}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[[point.line]]", "[[point.line]]\nbuad = 9600", "unknown key 'buad' in [point.line]; did you mean 'baud'?"),
        ("version = 1", "version = 1\nnaem = 2", "unknown key 'naem' at the top; did you mean 'name'?"),
        ('brokers = ["mqtt://127.0.0.1:1883"]', "", "missing required field 'brokers'"),
        ("version = 1", "version = 7", "version 7 of the site file is unknown here"),
        ("version = 1", "version = ", "not a TOML file"),
        ("address = 1", "address = 0", "address 0 of pole 'corner-1' is outside 1 to 65534"),
        ("address = 1", 'address = "one"', "Expected `int`, got `str`".replace("`", "'")),
        ("mqtt://127.0.0.1:1883", "127.0.0.1", "write mqtt://host:port or mqtts://host:port"),
        ("mqtt://127.0.0.1:1883", "mqtt://h:99999", "write mqtt://host:port or mqtts://host:port"),
        ('id = "corner-1"', 'id = "Corner/1"', "must be small letters, digits and '-'"),
        (
            "address = 1",
            'address = 1\n[[point.line.pole]]\nid = "corner-2"\naddress = 2',
            "has 2 poles but is not shared; set shared = true",
        ),
        ("address = 1", 'address = 1\n[[point.line.pole]]\nid = "corner-1"\naddress = 2', "stands there twice"),
    ],
)
def test_broken_site_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, says: str
) -> None:
    path = tmp_path / "site.toml"
    path.write_text(GOOD.replace(before, after))
    code, line = complaint(capsys, "site", "check", "--site", str(path))
    assert code == 2
    assert str(path) in line
    assert says in line


def test_a_terminal_does_not_obey_what_a_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a key in it was shown as it stood there, and could clear the screen or name another window."""
    path = tmp_path / "site.toml"
    path.write_text('"\\u001b[2J" = 1\n' + GOOD)
    code, line = complaint(capsys, "site", "check", "--site", str(path))
    assert code == 2
    assert "unknown key '\\x1b[2J'" in line


def test_what_is_no_file_is_one_line_and_not_a_command_that_never_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe, large = tmp_path / "pipe.toml", tmp_path / "large.toml"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for path, says in ((str(pipe), "a pipe or a device"), ("/dev/zero", "a pipe or a device"), (str(large), "8 MB")):
        code, line = complaint(capsys, "site", "check", "--site", path)
        assert code == 2 and line.startswith(f"safezone: {path}: ") and says in line
    with pytest.raises(SiteError, match="a pipe or a device"):
        read_keys(pipe, [])


@pytest.mark.parametrize("words", [["site", "check"], ["site", "check", "--json"]], ids=" ".join)
def test_a_full_disk_behind_the_output_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "safezone", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "safezone: what was to be told: No space left on device\n"


def test_whoever_closed_our_output_gets_the_exit_code_alone() -> None:
    command = f"{sys.executable} -m safezone site check"
    for words, code in ((f"{command} >&-", 0), (f"{command} --site nowhere >&- 2>&-", 2)):
        done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_letter_that_the_terminal_lacks_is_spelt(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(GOOD.replace('en = "Small"', 'en = "เบตง"'), encoding="utf-8")
    command = [sys.executable, "-m", "safezone", "site", "check", "--site", str(path)]
    words = {"PYTHONIOENCODING": "latin-1", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u0e40" in done.stdout and "corner-1" in done.stdout


def test_absent_site_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, line = complaint(capsys, "site", "check", "--site", str(tmp_path / "none.toml"))
    assert code == 2
    assert "cannot read the site file" in line


def test_mistyped_site_name_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "site", "check", "--site", "betogn") == (
        2,
        "safezone: no site file 'betogn'; did you mean 'betong'?",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["agnet"], "No such command 'agnet'. Did you mean 'agent'?"),
        (["site", "check", "--sitte", "x"], "No such option: --sitte"),
        (["agent"], "Missing option '--site'; see 'safezone agent --help'"),
        (["alarms"], "Missing command; see 'safezone alarms --help'"),
        (["site"], "Missing command; see 'safezone site --help'"),
        ([], "Missing command; see 'safezone --help'"),
        (["sim", "press"], "known are: chantharothai-1, clock-tower-1"),
    ],
)
def test_mistyped_words(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    code, line = complaint(capsys, *words)
    assert code == 2
    assert says in line


@pytest.mark.parametrize("words", [[], ["alarms"], ["sim"], ["site"], ["site", "keys"], ["ledger"]], ids=" ".join)
def test_help_says_what_each_command_does_in_a_whole_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main([*words, "--help"]) == 0
    commands = capsys.readouterr().out.split("Commands:")[1]
    assert not [line for line in commands.splitlines() if line.endswith("...")]


def test_faults_are_listed_without_naming_a_pole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "press", "--fault", "help"]) == 0
    assert "cable-cut" in capsys.readouterr().out


def test_agent_pays_for_no_screen() -> None:
    """The agent's memory and start-up are bounded: its command imports neither the simulator nor rich."""
    code = """
import sys
from safezone.cli import build
build(["agent"])
print([name for name in ("rich", "sos_sim", "sos_station", "amqtt") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
