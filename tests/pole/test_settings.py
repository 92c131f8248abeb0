"""What a pole is told: read whole, or refused with the name of what is missing or wrong."""

from __future__ import annotations

from typing import Any

import pytest

from sos_pole.settings import Settings, SettingsError

GOOD: dict[str, Any] = {
    "pole": "merlin-1",
    "address": 1,
    "key": "00" * 32,
    "link": {"kind": "rs485", "baud": 9600},
    "board": {"chip": "rp2", "levels": [1, 2, 3], "button": 1, "lamp": 1, "journal": 1, "uart": 1, "silent": 1},
}


def without(name: str, table: str = "") -> dict[str, Any]:
    given = {key: dict(value) if isinstance(value, dict) else value for key, value in GOOD.items()}
    del (given[table] if table else given)[name]
    return given


def test_settings_are_read_whole() -> None:
    read = Settings(GOOD | {"silent_button": True})
    assert vars(read) == {
        "pole": "merlin-1", "address": 1, "key": bytes(32), "silent_button": True, "link": "rs485", "baud": 9600,
        "board": GOOD["board"], "chip": "rp2", "levels": (1, 2, 3),
    }  # fmt: skip
    assert Settings(GOOD | {"address": 65534, "link": {"kind": "uart"}}).baud == 115200
    assert not Settings(without("silent", "board")).silent_button
    assert Settings(without("uart", "board") | {"link": {"kind": "usb"}}).link == "usb"


@pytest.mark.parametrize(
    ("table", "name"),
    [
        *(("", name) for name in GOOD),
        ("link", "kind"),
        *(("board", name) for name in ("chip", "levels", "button", "lamp", "journal", "uart")),
    ],
)
def test_settings_that_lack_something_name_it(table: str, name: str) -> None:
    with pytest.raises(SettingsError, match=f"lacks {name}"):
        Settings(without(name, table))


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": 0},
        {"address": 65535},
        {"key": "00" * 31},
        {"link": {"kind": "tcp"}},
        {"board": {**GOOD["board"], "levels": [1, 2]}},
        {"address": "one"},
        {"key": "zz"},
        {"link": 5},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings(GOOD | wrong)


def test_a_silent_button_needs_its_pin() -> None:
    with pytest.raises(SettingsError, match="lacks silent"):
        Settings(without("silent", "board") | {"silent_button": True})
