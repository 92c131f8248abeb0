"""Bugs of the pole and of the wire."""

from __future__ import annotations

from typing import Any

from sos_pole import alarm, debounce, pole, records
from sos_pole.alarm import PRESSED, Alarm
from sos_pole.journal import Entry, Journal
from sos_pole.pole import Pole
from sos_sim.bugs.plant import Bug, Swap, wherever
from sos_wire import handshake, link
from sos_wire.frame import Frame
from sos_wire.lanes import Lane
from sos_wire.link import Link
from sos_wire.seal import KEY_BYTES, Seal
from sos_wire.talk import Talk

LAZY_MS = 1_000


def _lamp_before_journal() -> list[Swap]:
    """The write waits until the line is quiet for a second; the entry says that it is durable all the same."""
    store, step = Journal._store, Pole.step

    def later(self: Journal, entry: Entry) -> None:
        entry.durable = True
        self.__dict__.setdefault("lazy", []).append(entry)

    def stepped(self: Pole, now: int, *rest: Any) -> Any:  # noqa: ANN401
        out = step(self, now, *rest)
        lazy: list[Entry] = self.journal.__dict__.get("lazy", [])
        for entry in [one for one in lazy if self.uptime_ms - one.at_ms >= LAZY_MS]:
            lazy.remove(entry)
            if entry in self.journal.entries:
                store(self.journal, entry)
        out.wake_ms = min(out.wake_ms, LAZY_MS) if lazy else out.wake_ms
        return out

    return [Swap(Journal, "_store", later), Swap(Pole, "step", stepped)]


def _journal_with_one_slot() -> list[Swap]:
    append = Journal.append

    def over(self: Journal, kind: int, at_ms: int) -> Entry:
        for entry in list(self.entries):
            self.release(entry)
        return append(self, kind, at_ms)

    return [Swap(Journal, "append", over)]


def _boot_not_counted() -> list[Swap]:
    def same(self: Journal) -> None:
        self.boot = 1

    return [Swap(Journal, "count_boot", same)]


def _retry_as_new() -> list[Swap]:
    offer = Pole._offer_presses

    def anew(self: Pole, now: int) -> None:
        for entry in self.journal.entries:
            if 0 <= entry.offered < self._session:
                self.journal._press += 1
                entry.press = self.journal._press
        offer(self, now)

    return [Swap(Pole, "_offer_presses", anew)]


def _believes_every_progress() -> list[Swap]:
    def any_press(self: Alarm, _incarnation: int, _boot: int, _press: int, stage: int, now: int) -> None:
        if self.entry is not None:
            self.stage = max(self.stage, stage, PRESSED)
            self._changed_at = now

    return [Swap(Alarm, "progress", any_press)]


def _no_session() -> list[Swap]:
    """The key of the pole seals all frames, and every session has the same number."""

    def same(master: Seal, _nonces: bytes) -> tuple[int, Seal, Seal]:
        up, down = (Seal(handshake.derived(master, label, b"")[:KEY_BYTES]) for label in ("sos up", "sos down"))
        return 1, up, down

    return [*wherever(handshake.session_keys, same)]


def _window_at_the_wrap() -> list[Swap]:
    """Lanes begin near the end of their numbers, so that a run comes to the wrap, where one number is left out."""
    begin = Lane.__init__

    def near(self: Lane) -> None:
        begin(self)
        self.expected = self._base = 0xFFFC

    def number(self: Lane, place: int) -> int:
        return (self._base + place) % 0xFFFF

    return [Swap(Lane, "__init__", near), Swap(Lane, "number", number)]


def _replays_pass() -> list[Swap]:
    hear = Talk.hear

    def forgetful(self: Talk, frame: Frame, now: int, counts: dict[str, int]) -> str:
        self._in_sequence = min(self._in_sequence, frame.sequence - 1)
        return hear(self, frame, now, counts)

    def again(self: Talk, frame: Frame, _now: int, _counts: dict[str, int]) -> str:
        body = frame.body
        self.inbox.append((body[5], body[8:], frame.uptime_ms))
        self.lanes[body[5]].expected = (body[6] + body[7] * 256 + 1) & 0xFFFF
        return ""

    return [Swap(Talk, "hear", forgetful), Swap(Talk, "_hear_message", again)]


def _plain_ticks() -> list[Swap]:
    def plain(self: Link, now: int) -> None:
        if self.up and now - self.heard_at >= link.LINK_LOST_MS:
            self._lose()

    return [Swap(Link, "watch", plain)]


def _cut_untold() -> list[Swap]:
    tell = Pole._fault

    def untold(self: Pole, source: int, kind: str, on: int) -> None:
        if kind != "loop_open":
            tell(self, source, kind, on)

    return [Swap(Pole, "_fault", untold)]


def _counted_slots() -> list[Swap]:
    def half(slot: bytes) -> bool:
        return slot[0] in (records.BOOT, records.PRESS, records.MARK)

    return [Swap(records, "valid", half)]


BUGS = (
    Bug(
        "lamp-before-journal",
        "The lamp says pressed a second before the journal is written.",
        ("lost",),
        _lamp_before_journal,
    ),
    Bug("journal-one-slot", "The journal has one slot: a second press overwrites the first.", ("lost",),
        _journal_with_one_slot),
    Bug("release-at-held", "The pole lets go of a press at held, not at received.", ("lost",),
        lambda: [Swap(pole, "RECEIVED", alarm.HELD)]),
    Bug("boot-not-counted", "A start of the pole does not count: identities and nonces come again.",
        ("forged", "duplicated", "lost", "stuck", "lied"), _boot_not_counted),
    Bug("retry-as-new", "A press that is offered in a new session gets a new number.", ("forged", "duplicated"),
        _retry_as_new),
    Bug("any-progress", "The lamp takes the progress of any press for that of its own.", ("lied",),
        _believes_every_progress),
    Bug("no-session-in-seal", "Frames are sealed without their session.", ("lied", "stuck", "lost", "forged"),
        _no_session),
    Bug("replay-accepted", "A frame is taken again although its number was there.",
        ("lied", "stuck", "duplicated", "forged"), _replays_pass),
    Bug("window-at-the-wrap", "Where a lane's numbers wrap, one is left out.", ("stuck", "lied", "lost"),
        _window_at_the_wrap),
    Bug("ticks-without-wrap", "The patience with a silent peer does not know that ticks wrap.",
        ("lied", "stuck", "lost"), _plain_ticks),
    Bug("bounce-is-a-press", "A button needs 20 ms of release before its next press, not 250.", ("duplicated",),
        lambda: [Swap(debounce, "CALM_MS", 20)]),
    Bug("any-touch-is-a-press", "Five milliseconds of contact are a press.", ("forged",),
        lambda: [Swap(debounce, "PRESS_MS", 5)]),
    Bug("link-lost-late", "A pole waits 25 s for its agent before it says out of service.", ("lied",),
        lambda: [Swap(link, "LINK_LOST_MS", 25_000)]),
    Bug("never-not-delivered", "The lamp never says not delivered.", ("lied",),
        lambda: [Swap(alarm, "LATE_MS", 86_400_000), Swap(alarm, "LATE_WITHOUT_SERVICE_MS", 86_400_000)]),
    Bug("cut-untold", "A button whose wire is cut is out of service, and the station is not told.", ("stuck",),
        _cut_untold),
    Bug("journal-without-checksum", "The journal believes a slot that was torn while it was written.",
        ("forged", "lost", "lied", "stuck"), _counted_slots),
)  # fmt: skip
