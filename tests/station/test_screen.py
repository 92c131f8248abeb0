"""What an officer sees: what others wrote stands there as they wrote it, and a bell tells of each new call."""

from __future__ import annotations

from typing import Any

import pytest

from sos_contract.payloads import AlarmView, ChangeView, DeskAnswer, FaultView, Identity
from sos_station import screen


def alarm(number: int = 1, **more: Any) -> AlarmView:
    fields: dict[str, Any] = {
        "number": number, "incident": number, "id": Identity("gate-1", "1", 1, number), "point": "gate",
        "kind": "press", "stage": "received", "age_ms": 1000, "late": False, "clock": "synced", "repeats": 0,
        "clash": False, "received_wall_ms": 0, "officer": "", "disposition": "", "newest": number,
    }  # fmt: skip
    return AlarmView(**(fields | more))


def shown(what: Any, capsys: pytest.CaptureFixture[str]) -> str:
    screen.console().print(what)
    return capsys.readouterr().out


@pytest.mark.parametrize("words", ["he has [a knife]", "see [/log]", "[red] car", "left :fire: at [1]"])
def test_what_an_officer_wrote_stands_there_as_it_was_written(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Words in brackets were taken for a style: the next officer did not see them, or saw no list at all."""
    told = shown(screen.alarm_table([alarm(officer=words, remark=words)]), capsys)
    assert told.count(words) == 2
    change = ChangeView(wall_ms=0, officer=words, stage="accepted", note=words)
    assert shown(screen.alarm_page(alarm(), [change], []), capsys).count(words) == 2
    fault = FaultView(
        point="gate", pole=words, kind="x", since_wall_ms=0, last_good_wall_ms=0, until_wall_ms=1, value=0, count=1
    )
    assert words in shown(screen.fault_table([fault], 0), capsys)


def test_nothing_that_others_wrote_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """An alarm could hide the ones above it from the officer."""
    wild = alarm(kind="\x1b[2J", stage="\x9b2J", point="\x1b]0;", remark="ตำรวจ\u200bมา\nอีก \x07")
    told = shown(screen.alarm_page(wild, [], []), capsys)
    assert "\x1b" not in told and "\x9b" not in told and "\x07" not in told
    assert "ตำรวจ\u200bมา" in told and "อีก" in told


def test_a_bell_rings_once_for_each_new_call() -> None:
    bell = screen.Bell()
    assert bell.rings(DeskAnswer(number="1", run="a", alarms=(alarm(5),)))
    assert not bell.rings(DeskAnswer(number="1", run="a", alarms=(alarm(5),)))
    assert bell.rings(DeskAnswer(number="1", run="a", alarms=(alarm(5, newest=6),)))
    assert not bell.rings(DeskAnswer(number="1", run="a"))
    assert not bell.rings(DeskAnswer(number="1", run="a", alarms=(alarm(7, stage="accepted"),)))


def test_a_bell_rings_for_the_calls_of_a_station_that_was_restored() -> None:
    """Its numbers begin again where the copy ended: the calls up to the number heard last came without a sound."""
    bell = screen.Bell()
    assert bell.rings(DeskAnswer(number="1", run="a", alarms=(alarm(90),)))
    assert not bell.rings(DeskAnswer(number="1", run="b"))
    assert bell.rings(DeskAnswer(number="1", run="b", alarms=(alarm(31),)))


def test_a_list_that_is_too_long_says_so_and_rings_for_what_it_does_not_show(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bell = screen.Bell()
    first = DeskAnswer(number="1", run="a", alarms=(alarm(90),), more=3)
    assert bell.rings(first) and not bell.rings(first)
    assert "3 more rows" in shown(screen.list_page(first), capsys)
    assert bell.rings(DeskAnswer(number="1", run="a", alarms=(alarm(90),), more=4))
    assert "more rows" not in shown(screen.list_page(DeskAnswer(number="1", alarms=(alarm(1),))), capsys)
    assert "no open alarms" in shown(screen.list_page(DeskAnswer(number="1")), capsys)


@pytest.mark.parametrize("wall_ms", [2**63 - 1, -(2**63), 253_402_300_800_000, -62_135_596_800_001])
def test_a_time_that_no_calendar_has_hides_no_other_fault(wall_ms: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A point says since when a fault is: one that lied ended the officers' list in a traceback."""
    faults = [
        FaultView(
            point=point, pole="", kind="point_lost", since_wall_ms=since_ms, last_good_wall_ms=since_ms,
            until_wall_ms=None, value=0, count=1,
        )
        for point, since_ms in (("gate", wall_ms), ("market", 1_800_000_000_000))
    ]  # fmt: skip
    told = shown(screen.fault_table(faults, 1_800_000_060_000), capsys)
    assert "gate" in told and "time unknown" in told and "market" in told and "60 s, open" in told


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "said"),
    [
        (90_000, None, ["time unknown", "unknown, open"]),
        (90_000, 1_800_000_000_000, ["time unknown", "unknown"]),
        (90_000, 150_000, ["time unknown", "60 s"]),
    ],
)
def test_what_a_clock_said_before_it_was_set_is_no_time(
    since_ms: int, until_ms: int | None, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault that began before the station's clock was set stood there since 1970, and lasted for 20,000 days."""
    fault = FaultView(
        point="gate", pole="", kind="point_lost", since_wall_ms=since_ms, last_good_wall_ms=80_000,
        until_wall_ms=until_ms, value=0, count=1,
    )  # fmt: skip
    told = shown(screen.fault_table([fault], 1_800_000_000_000), capsys)
    assert all(part in told for part in said) and "1970" not in told and "days" not in told
    change = ChangeView(wall_ms=90_000, officer="Malee", stage="accepted", note="")
    assert "time unknown" in shown(screen.alarm_page(alarm(), [change], []), capsys)
