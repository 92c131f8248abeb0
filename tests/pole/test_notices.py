"""What is written down and told beside presses: the slots of the journal, and the queue of notices."""

from __future__ import annotations

from typing import Any

from sos_pole import records
from sos_pole.journal import Entry
from sos_pole.notices import Notices
from sos_wire.messages import Detail, Notice, unpack


def entry(press: int) -> Entry:
    return Entry(1, 77, 5, press, 1000, False)


def test_the_slots_of_the_journal_keep_every_field_whole() -> None:
    at_ms = 0xABCD_1234_5678
    slot = records.press_slot(3, True, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFE, at_ms)
    assert len(slot) == records.SLOT and records.valid(slot) and slot[1:11] == b"\xff" * 10
    assert records.press_body(slot) == (3, True, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFE, at_ms)
    assert records.press_body(records.press_slot(2, False, 0, 1, 2, 3)) == (2, False, 0, 1, 2, 3)
    assert records.boot_body(records.boot_slot(2**64 - 1, 9, 8)) == (2**64 - 1, 9, 8)
    assert records.valid(records.mark_slot()) and not records.valid(records.BLANK)


def test_cleared_bits_and_states_leave_a_slot_valid_and_anything_else_does_not() -> None:
    slot = records.press_slot(1, True, 0, 1, 2, 3)
    assert records.counted(slot) == 0
    used = slot[:1] + bytes(2) + b"\xfe\x00" + slot[5:]
    assert records.valid(used) and records.counted(used) == 9
    assert records.counted(slot[:3] + bytes(8) + slot[11:]) == records.BIT_COUNT
    for index in (0, *range(records.BODY, records.SLOT)):
        assert not records.valid(slot[:index] + bytes([slot[index] ^ 1]) + slot[index + 1 :])


class Ear:
    """A link that takes ``free`` messages of the backlog, and the journal's part that notices need."""

    incarnation, boot, up = 77, 5, True

    def __init__(self, free: int = 4) -> None:
        self.free = free
        self.taken: list[Any] = []
        self.entries: list[Entry] = []

    def room(self, _lane: int) -> int:
        return self.free

    def send(self, lane: int, payload: bytes) -> None:
        assert lane == 1 and self.free
        self.free -= 1
        self.taken.append(unpack(payload))


def notices(free: int = 4) -> tuple[Any, Any]:
    ear: Any = Ear(free)
    return Notices(ear), ear


def test_notices_are_numbered_and_whole() -> None:
    queue, ear = notices()
    queue.add("tamper", 123, 7, 1)
    queue.add("mains_lost", 124, 0, 0)
    queue.add_detail(entry(9), 456)
    queue.flush(ear, 1)
    tamper, mains, detail = ear.taken
    assert isinstance(tamper, Notice) and isinstance(detail, Detail)
    assert vars(tamper) == {
        "kind": "tamper", "incarnation": 77, "boot": 5, "number": 1, "at_ms": 123, "value": 7, "on": 1,
    }  # fmt: skip
    assert (mains.number, mains.on) == (2, 0)
    assert vars(detail) == {"incarnation": 77, "boot": 5, "press": 9, "held_ms": 456}


def test_the_17th_notice_pushes_out_the_first() -> None:
    queue, ear = notices(0)
    for index in range(16):
        queue.add_detail(entry(index), 1)
    assert queue.dropped == 0
    queue.add_detail(entry(16), 1)
    ear.free = 20
    queue.flush(ear, 1)
    assert queue.dropped == 1 and [detail.press for detail in ear.taken] == list(range(1, 17))


def test_only_what_did_not_go_out_is_replaced_by_a_later_one_of_its_kind() -> None:
    queue, ear = notices(1)
    queue.add("tamper", 1, 0, 1)
    queue.flush(ear, 1)
    for at_ms, on in ((2, 0), (3, 1), (4, 0)):
        queue.add("tamper", at_ms, 0, on)
    ear.free = 4
    queue.flush(ear, 1)
    assert [(notice.at_ms, notice.on) for notice in ear.taken] == [(1, 1), (3, 1), (4, 0)]


def test_what_was_acknowledged_is_forgotten_and_a_new_session_hears_the_rest() -> None:
    queue, ear = notices(1)
    queue.add("tamper", 1, 0, 1)
    queue.add("mains_lost", 2, 0, 1)
    queue.flush(ear, 1)
    queue.flush(ear, 1)
    assert len(ear.taken) == 1, "no room, and nothing is said twice"
    ear.free = 3
    queue.flush(ear, 1)
    ear.free = 4  # both acknowledged
    queue.flush(ear, 1)
    queue.flush(ear, 2)
    assert [notice.at_ms for notice in ear.taken] == [1, 2]
    queue.add("chatter", 3, 0, 1)
    queue.flush(ear, 2)
    ear.free = 4
    queue.flush(ear, 3)
    assert [notice.at_ms for notice in ear.taken] == [1, 2, 3, 3]


def test_a_detail_waits_until_its_press_is_held_or_gone_and_holds_up_nobody() -> None:
    queue, ear = notices()
    waiting, gone = entry(1), entry(2)
    ear.entries = [waiting]
    queue.add_detail(waiting, 10)
    queue.add_detail(gone, 20)
    queue.flush(ear, 1)
    assert [detail.press for detail in ear.taken] == [2]
    waiting.held = True
    queue.flush(ear, 1)
    assert [detail.press for detail in ear.taken] == [2, 1]
