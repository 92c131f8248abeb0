"""A pole's settings file: settings that the pole can run with, or SettingsError in one line."""

from __future__ import annotations

import json

from sos_contract.resources import data_dir
from sos_pole.settings import LINKS, Settings, SettingsError

PACKAGES = ("sos_pole.settings",)
NAMES = ("pole", "address", "key", "silent_button", "link", "kind", "baud", "board", "chip", "levels", "button", "lamp")


def words() -> list[str]:
    return [f'"{name}": ' for name in NAMES] + ["1e999", "null", '"usb"', '"rs485"']


def seeds() -> list[bytes]:
    return [
        json.dumps(
            {"pole": "merlin-1", "address": 1, "key": bytes(range(32)).hex(), "link": {"kind": kind, "baud": 115200},
             "board": json.loads(board.read_text(encoding="utf-8"))}
        ).encode()
        for kind in LINKS
        for board in sorted(data_dir("boards").glob("*.json"))
    ]  # fmt: skip


def one(data: bytes) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return  # the file's reader on the pole says so: firmware/main.py
    try:
        settings = Settings(given)
    except SettingsError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert len(settings.key) == 32 and 0 < settings.address < 65535 and settings.link in LINKS
