"""Single promises of the pole's parts that nothing else looks at."""

from __future__ import annotations

import pytest
from tests.pole.journal_model import ENTROPY, PRESS
from tests.pole.rig import KEY, Rig, in_service

from sos_pole.debounce import CALM_MS, FAULT_MS, GAP_MS, PRESS_MS, STUCK_MS, Debounce
from sos_pole.journal import Entry, Journal
from sos_pole.lamp import Player
from sos_pole.pole import VERSION
from sos_pole.runs import IDLE, OPEN, PRESSED
from sos_pole.senses import ON_MS, Readings, Senses
from sos_sim.nor_flash import NorFlash
from sos_wire.frame import Decoder, Frame, parse
from sos_wire.handshake import read_hello
from sos_wire.messages import Command
from sos_wire.ticks import TICKS_MASK


def test_a_spark_within_a_press_belongs_to_its_length() -> None:
    button = Debounce()
    for level, ms in ((IDLE, CALM_MS), (PRESSED, 40), (OPEN, 10), (PRESSED, 20)):
        button.feed(level, ms)
    assert button.held_ms == 70


def fed(*runs: tuple[int, int]) -> Debounce:
    """A button that was seen released, after these runs."""
    button = Debounce()
    for level, ms in ((IDLE, CALM_MS), *runs):
        button.feed(level, ms)
    return button


@pytest.mark.parametrize(
    "runs",
    [
        [(PRESSED, PRESS_MS - 1)],
        [(PRESSED, STUCK_MS - 1)],
        [(PRESSED, 10), (IDLE, GAP_MS - 1)],
        [(PRESSED, 40), (IDLE, CALM_MS - 1)],
        [(OPEN, FAULT_MS - 1)],
    ],
)
def test_a_millisecond_before_something_happens_it_wants_to_look_after_one(runs: list[tuple[int, int]]) -> None:
    assert fed(*runs).wake() == 1


def test_a_touch_after_a_press_leaves_the_length_of_the_press() -> None:
    assert fed((PRESSED, 40), (IDLE, CALM_MS), (PRESSED, 10)).held_ms == 40


@pytest.mark.parametrize("brief", [False, True])
def test_however_long_it_chattered_its_end_is_told_within_minutes(brief: bool) -> None:
    """The counts grew on and on: the end of an hour of it was seen a day later."""
    button = fed() if brief else fed((PRESSED, PRESS_MS))
    for _ in range(3_000):
        button.feed(PRESSED, 1)
        button.feed(IDLE, 300 if brief else 1)
    assert button.chattering
    button.feed(IDLE, 16 * 30_000 if brief else 401 * 50)
    assert not button.chattering


def test_an_entry_is_in_no_flash_until_it_was_written() -> None:
    entry = Entry(1, 2, 3, 4, 5, False)
    assert not entry.durable and not entry.held and (entry.address, entry.session, entry.offered) == (-1, -1, -1)


class Complaining(NorFlash):
    """Erases, and says that it could not."""

    def erase(self, address: int) -> None:
        super().erase(address)
        raise OSError("flash")


def test_an_erase_that_complains_is_told_even_if_the_sector_is_blank() -> None:
    journal = Journal(Complaining(), ENTROPY)
    journal.open()
    journal.dirty = 0b1
    assert not journal.failing and journal.erase_one() and journal.failing and journal.dirty == 0


def test_a_fault_of_lamp_or_sounder_is_one_change_and_so_is_its_end() -> None:
    for output, dead in ((0, 1), (1, 2)):
        senses = Senses(1, 2)
        looks = [senses.look_at(output, False) for _ in range(3)]
        assert looks == [False, False, True] and (senses.readings.changes, senses.readings.dead) == (1, dead)
        looks = [senses.look_at(output, draws) for draws in (True, False, True, True, True)]
        assert looks == [False] * 4 + [True] and (senses.readings.changes, senses.readings.dead) == (2, 0)


def test_an_output_is_judged_once_a_look_from_60_ms_on() -> None:
    senses = Senses(1, 2)
    assert not senses.due(1, 5)
    senses.put(1, 440, TICKS_MASK)
    assert [senses.due(1, at) for at in (ON_MS - 2, ON_MS - 1, ON_MS)] == [False, True, False]
    senses.look(False, False, 0, 0)
    assert senses.due(1, ON_MS + 1) and not senses.due(0, ON_MS + 1)
    senses.put(1, 880, 200)
    assert not senses.due(1, 199 + ON_MS) and senses.due(1, 200 + ON_MS)
    senses.put(1, 0, 300)
    senses.look(False, False, 0, 0)
    assert not senses.due(1, 9_000)


def test_a_command_that_is_refused_is_told_by_its_number() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    rig.agent.tell(Command("open_repl", 77))
    rig.run(1_000)
    refused = [notice for notice in rig.agent.notices() if notice.kind == "command_refused"]
    assert [(notice.value, notice.on) for notice in refused] == [(77, 1)] and not rig.out.open_repl


def test_what_no_flash_keeps_has_no_address() -> None:
    flash = NorFlash(content=bytes(4 * 4096))
    flash.broken = True
    journal = Journal(flash, ENTROPY)
    journal.open()
    assert journal.failing and journal.next == journal.slots() and journal.boot == 1
    entry = journal.append(PRESS, 1)
    assert not entry.durable and entry.address == -1 and journal.entries == [entry]


def test_a_player_that_slept_long_begins_anew_with_its_first_part() -> None:
    player = Player(((10, "a"), (7, "b")), 0)
    assert player.advance(100_000) == 10 and player.value == "a"


def test_nobody_has_looked_before_the_first_look() -> None:
    assert set(vars(Readings()).values()) == {0}


def test_a_greeting_names_the_firmware() -> None:
    rig = Rig(agent=False)
    said: list[Frame] = []
    while not said:
        rig.run(1)
        said = [frame for raw in Decoder().feed(rig.out.send) if isinstance(frame := parse(raw), Frame)]
    hello = read_hello(said[0], KEY)
    assert hello and hello.firmware == VERSION


def test_a_journal_that_needs_upkeep_gets_it_though_nobody_was_ever_heard() -> None:
    flash = NorFlash()
    rig = Rig(flash=flash, agent=False)
    while not rig.pole.journal.nearly_full():
        rig.pole.journal.release(rig.pole.journal.append(PRESS, 1))
    rig.pole.journal.dirty = 0
    again = Rig(flash=flash, agent=False)
    bank = again.pole.journal.bank
    again.run(5_000)
    assert again.pole.journal.bank != bank and not again.pole.journal.due()


def test_a_fault_of_the_journal_is_told_as_of_the_start() -> None:
    flash = NorFlash()
    rig = Rig(flash=flash, agent=False)
    for _ in range(3):
        rig.press(ms=40)
    flash.bytes[3 * 32 + 17] ^= 1
    again = Rig(flash=flash)
    again.run(3_000)
    assert again.agent
    assert [notice.at_ms for notice in again.agent.notices() if notice.kind == "journal_fault"] == [0]


def test_stages_are_no_news_to_the_agent_and_the_state_of_the_pole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = in_service()
    rig.run(300)
    urgent: list[str] = []
    plain = rig.pole.link.set_status

    def note(payload: bytes, at_once: bool) -> None:
        if at_once:
            urgent.append(rig.pole.look)
        plain(payload, at_once)

    monkeypatch.setattr(rig.pole.link, "set_status", note)
    rig.press(ms=40)
    assert rig.pole.look == "received" and urgent == ["pressed"], "it is no longer in service; the rest the agent said"
