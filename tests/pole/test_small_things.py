"""Single promises of the pole's parts that nothing else looks at."""

from __future__ import annotations

from tests.pole.journal_model import ENTROPY
from tests.pole.rig import in_service

from sos_pole.debounce import CALM_MS, Debounce
from sos_pole.journal import Entry, Journal
from sos_pole.runs import IDLE, OPEN, PRESSED
from sos_pole.senses import Senses
from sos_sim.nor_flash import NorFlash
from sos_wire.messages import Command


def test_a_spark_within_a_press_belongs_to_its_length() -> None:
    button = Debounce()
    for level, ms in ((IDLE, CALM_MS), (PRESSED, 40), (OPEN, 10), (PRESSED, 20)):
        button.feed(level, ms)
    assert button.held_ms == 70


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


def test_the_lamps_fault_is_one_change() -> None:
    senses = Senses(1, 2)
    looks = [senses.look_at_lamp(False) for _ in range(3)]
    assert looks == [False, False, True] and senses.readings.changes == 1 and senses.readings.lamp_fault


def test_a_command_that_is_refused_is_told_by_its_number() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.stages = ("held",)
    rig.press()
    rig.agent.tell(Command("open_repl", 77))
    rig.run(1_000)
    refused = [notice for notice in rig.agent.notices() if notice.kind == "command_refused"]
    assert [(notice.value, notice.on) for notice in refused] == [(77, 1)] and not rig.out.open_repl
