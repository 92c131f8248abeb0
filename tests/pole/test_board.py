"""The board on pins that are variables: what it reads and drives, when it feeds the watchdog, when it stands back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.pole.fake_board import BOARDS, PRESSED_RAW, FakeBoard, Restarted

from sos_pole.settings import Settings, SettingsError


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    return FakeBoard(tmp_path).install(monkeypatch)


def test_importing_touches_no_hardware() -> None:
    assert not {"machine", "rp2", "esp32", "micropython"} & set(sys.modules)


def test_a_press_goes_from_the_pin_to_lamp_beacon_journal_and_cable(fake: FakeBoard) -> None:
    board, pole = fake.build()
    assert fake.watchdog_ms == 0, "not before the loop"
    fake.run(board, pole, 400)
    assert (fake.watchdog_ms, fake.timer) == (8000, -1)
    fake.sent = b""
    fake.adc[26] = PRESSED_RAW
    fake.run(board, pole, 36)
    assert pole.look == "pressed" and fake.lamp() == (0, 0, 100) and fake.out[17] == 1 and fake.out[16] == 32768
    assert len(pole.journal.entries) == 1 and pole.journal.entries[0].durable


def test_the_loop_sleeps_when_nothing_happens_and_feeds_only_after_steps(fake: FakeBoard) -> None:
    board, pole = fake.build()
    fake.run(board, pole, 15_000)
    assert fake.idled > 14_000
    fed = fake.fed
    assert fed <= 15_000 - fake.idled
    pole.step = None  # a step that fails feeds nothing
    with pytest.raises(TypeError):
        fake.run(board, pole, 3000)
    assert fake.fed == fed


def test_a_dead_sounder_is_told_while_it_should_be_heard(fake: FakeBoard) -> None:
    """Nobody hears that it is dead but those who need it."""
    board, pole = fake.build()
    fake.pins[18] = 0
    fake.run(board, pole, 3000)
    assert not pole.faults, "it is silent, and draws nothing"
    fake.adc[26] = PRESSED_RAW
    fake.run(board, pole, 3000)
    assert pole.faults == 1 << 9
    fake.pins[18] = 1
    fake.run(board, pole, 3000)
    assert not pole.faults


def test_facts_of_the_board_become_facts_of_the_status(fake: FakeBoard) -> None:
    board, pole = fake.build()
    fake.run(board, pole, 3000)
    readings = board._senses.readings
    assert not pole.faults and 12_900 < readings.supply_mv < 13_100 and 269 <= readings.temperature_dc <= 272
    fake.pins[10], fake.pins[11] = 1, 0
    fake.adc[28] = 38_000
    fake.run(board, pole, 6000)
    assert pole.faults == (1 << 4) | (1 << 5) | (1 << 6)
    fake.pins[10], fake.pins[11], fake.adc[28] = 0, 1, 47_000
    fake.run(board, pole, 6000)
    assert not pole.faults


def test_a_lamp_that_draws_nothing_is_a_fault_until_it_does(fake: FakeBoard) -> None:
    board, pole = fake.build()
    fake.pins[12] = 0
    fake.run(board, pole, 60_000)
    assert pole.faults == 1 << 7
    fake.pins[12] = 1
    fake.run(board, pole, 60_000)
    assert not pole.faults


def test_a_hole_in_the_sampling_is_told(fake: FakeBoard) -> None:
    board, pole = fake.build()
    fake.run(board, pole, 1000)
    fake.now += 500
    fake.run(board, pole, 3000)
    assert 490 <= board._senses.readings.blind_ms <= 502


def test_the_repl_opens_with_enclosure_open_and_button_held(fake: FakeBoard) -> None:
    fake.pins[10] = 1
    board, pole = fake.build()
    assert board.turn(pole), "open alone is not enough"
    fake.adc[26] = PRESSED_RAW
    board, pole = fake.build()
    assert not board.turn(pole) and fake.lamp() == (40, 0, 0)
    fake.pins[10] = 0
    board, pole = fake.build()
    assert board.turn(pole), "nor the button alone"


def test_the_repl_opens_once_after_the_mark_and_without_a_watchdog(fake: FakeBoard) -> None:
    board, pole = fake.build()
    fake.run(board, pole, 10)
    pole.journal.mark()
    fake.watchdog_ms = 0
    board, pole = fake.build()
    assert not board.turn(pole) and fake.watchdog_ms == 0 and fake.lamp() == (40, 0, 0)
    board, pole = fake.build()
    assert board.turn(pole)


def test_an_order_for_the_repl_restarts_the_board(fake: FakeBoard) -> None:
    board, pole = fake.build()
    pole.out.open_repl = True
    with pytest.raises(Restarted):
        fake.run(board, pole, 10)


def test_reset_causes(fake: FakeBoard) -> None:
    board, _ = fake.build()
    for cause, name in ((1, "power_on"), (3, "watchdog"), (77, "unknown")):
        fake.cause = cause
        assert board.reset_cause() == name


def test_a_file_system_over_the_journal_is_refused(fake: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.statvfs", lambda path: (4096, 4096, 352))
    with pytest.raises(SettingsError, match="covers the journal"):
        fake.build()


def test_a_shared_line_holds_its_driver_only_while_it_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeBoard(tmp_path, link={"kind": "rs485"}).install(monkeypatch)
    board, pole = fake.build()
    fake.run(board, pole, 3000)
    assert fake.sent and fake.out[2] == 0


def test_an_esp32_runs_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeBoard(tmp_path, "esp32").install(monkeypatch)
    fake.pins = {18: 0, 19: 1}
    board, pole = fake.build()
    fake.run(board, pole, 400)
    fake.adc[34] = PRESSED_RAW
    fake.run(board, pole, 36)
    assert pole.look == "pressed" and fake.timer == 0


class TestSettings:
    """What is wrong is said in one line."""

    @staticmethod
    def good() -> dict[str, object]:
        board = json.loads((BOARDS / "pico.json").read_text())
        return {"pole": "p", "address": 1, "key": "ab" * 32, "link": {"kind": "uart"}, "board": board}

    @pytest.mark.parametrize("name", ["pico", "pico2", "esp32"])
    @pytest.mark.parametrize("silent", [True, False])
    def test_every_board_is_understood(self, name: str, silent: bool) -> None:
        board = json.loads((BOARDS / f"{name}.json").read_text())
        settings = Settings({**self.good(), "board": board, "silent_button": silent})  # type: ignore[dict-item]
        assert settings.chip in ("rp2", "esp32") and settings.baud == 115200

    @pytest.mark.parametrize("name", ["pole", "address", "key", "link", "board"])
    def test_what_is_missing_is_named(self, name: str) -> None:
        given = self.good()
        del given[name]
        with pytest.raises(SettingsError, match=name):
            Settings(given)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "change",
        [{"address": 0}, {"address": 70000}, {"address": "x"}, {"key": "ab" * 31}, {"link": {"kind": "can"}},
         {"link": 3}, {"board": {}}, {"board": {"chip": "rp2", "levels": [1, 2]}}, {"silent_button": True}],
    )  # fmt: skip
    def test_what_is_wrong_is_refused(self, change: dict[str, object]) -> None:
        given = {**self.good(), **change}
        if "silent_button" in change:
            board = dict(given["board"])  # type: ignore[call-overload]
            del board["silent"]
            given["board"] = board
        with pytest.raises(SettingsError) as caught:
            Settings(given)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    def test_no_file_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = FakeBoard(tmp_path).install(monkeypatch)
        for content in (None, "{", ""):
            (tmp_path / "settings.json").unlink(missing_ok=True)
            if content is not None:
                (tmp_path / "settings.json").write_text(content)
            with pytest.raises(SettingsError, match="provision the pole"):
                fake.build()
