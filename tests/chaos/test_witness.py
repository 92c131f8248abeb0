"""What the witness takes for true: presses that stand in a flash, and fingers that must have made one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.chaos.test_plan import BETONG

from sos_pole.journal import Journal
from sos_pole.records import STATE
from sos_sim.chaos.flash import PoleFlash
from sos_sim.chaos.witness import Witness
from sos_sim.nor_flash import NorFlash, PowerCut
from sos_wire.messages import KINDS

POLE, START, SIZE = "market-1", 8192, 16384
PRESS, SILENT = KINDS.index("press") + 1, KINDS.index("silent_press") + 1


class Board:
    """A journal in a flash, and the file in which a live pole would keep it behind its file system."""

    def __init__(self, path: Path) -> None:
        self.flash = NorFlash(SIZE)
        self.journal = Journal(self.flash, bytes(range(16)))
        self.journal.open()
        self._path = path
        self.seen = PoleFlash(POLE, path, START, SIZE)

    def press(self, kind: int = PRESS) -> None:
        """One press is written down."""
        self.journal.append(kind, 1000)

    def save(self) -> PoleFlash:
        """What is in the flash is in the file."""
        self._path.write_bytes(bytes(START) + bytes(self.flash.bytes))
        return self.seen


def test_what_stands_in_the_flash_was_pressed_also_when_it_is_released(tmp_path: Path) -> None:
    board = Board(tmp_path / "flash")
    assert not board.seen.everything() and not board.seen.unreleased()
    board.press()
    board.press(SILENT)
    board.journal.release(board.journal.entries[0])
    seen = board.save()
    assert [(one.identity.press, one.kind) for one in seen.everything()] == [(1, "press"), (2, "silent_press")]
    assert [one.identity.press for one in seen.unreleased()] == [2]
    identity = seen.everything()[0].identity
    assert (identity.pole, identity.boot) == (POLE, 1)
    assert identity.incarnation == f"{board.journal.incarnation:016x}"


def test_only_what_was_written_just_now_is_taken_for_news(tmp_path: Path) -> None:
    """A pole wrote a second press before it was heard that it had released the first: the news came too early."""
    board = Board(tmp_path / "flash")
    board.press()
    board.press()
    first, second = (START + entry.address for entry in board.journal.entries)
    seen = board.save()
    assert [one.identity.press for one in seen.slots(first, first + 32)] == [1]
    assert [one.identity.press for one in seen.slots(second, second + 32)] == [2]
    assert seen.slots(first + STATE, first + STATE + 1) == [], "a release"
    assert seen.slots(0, 256) == [], "the file system"


def test_identities_stay_when_the_bank_changes(tmp_path: Path) -> None:
    board = Board(tmp_path / "flash")
    board.press()
    before = board.save().everything()
    assert board.journal.change_banks()
    assert set(board.save().everything()) == set(before)
    assert board.seen.unreleased() == before


def test_a_press_that_was_torn_in_the_writing_is_none(tmp_path: Path) -> None:
    board = Board(tmp_path / "flash")
    board.flash.tear_at = board.flash.writes + 20
    with contextlib.suppress(PowerCut):
        board.press()
    assert not board.save().everything()


def test_a_finger_is_sure_only_where_nothing_was_in_its_way(tmp_path: Path) -> None:
    witness = Witness(BETONG, tmp_path, {}, {"start": START, "len": SIZE})
    for pole, at_s in (("merlin-1", 10.0), ("market-1", 10.0), ("market-1", 10.5), ("lian-yu-1", 10.0)):
        witness.touched(pole, "press", at_s, at_s + 0.2, brief=False)
    witness.touched("sri-betong-1", "press", 10.0, 10.01, brief=True)
    witness.seen.outages.begin("pole:lian-yu-1", "power", 8.0)
    witness.seen.outages.end("pole:lian-yu-1", "power", 9.5)
    sure = [(touch.pole, touch.sure, touch.brief) for touch in witness.touches(20.0)]
    assert sure == [
        ("merlin-1", True, False),
        ("market-1", False, False),  # two in a hurry may be one to the debounce
        ("market-1", False, False),
        ("lian-yu-1", False, False),  # it had just begun to look at its button
        ("sri-betong-1", True, True),
    ]
    witness.seen.outages.begin("pole:merlin-1", "power", 5.0)
    witness.seen.outages.end("pole:merlin-1", "power", 8.0)
    assert witness.touches(20.0)[0].sure
    witness.seen.lag.samples.append((10.1, 1.0))  # all were late here, perhaps that pole's first step, too
    assert not witness.touches(20.0)[0].sure
