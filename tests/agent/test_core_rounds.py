"""Exact values of progress: what each pole is told, which page is asked when, what counts as an answer."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent.core_world import config

from sos_agent.core import effects, events
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.events import AlarmRow, Contents, Started
from sos_agent.core.lines import Lines
from sos_agent.core.progress import CLASHES_MOST, PAGE, QUERY_MS, SILENT_MS, Answers, ProgressSync
from sos_agent.core.uptime import Uptime
from sos_contract import payloads
from sos_contract.payloads import Entry, Identity, Progress, ProgressQuery

ENTRY = Entry(7, "ab" * 32)


def parts(*newest: AlarmRow, connection: str = "s.1") -> tuple[Answers, ProgressSync, Lines, Context]:
    shared = Context(config(), Started(bytes(32), "linux", Contents("aa", 0, 0)), 5_000)
    shared.connection = connection
    uptime = Uptime(shared, ())
    lines = Lines(shared, uptime)
    answers = Answers(shared, lines, newest)
    return answers, ProgressSync(shared, Courier(shared, uptime, 0), answers), lines, shared


def press(number: int = 1, *, boot: int = 1, clash: int = 0, incarnation: str = "aa", pole: str = "p1") -> Identity:
    return Identity(pole, incarnation, boot, number, clash)


def row(identity: Identity, stage: str = "held", kind: str = "press") -> AlarmRow:
    return AlarmRow(1, identity, kind, 0, 0, "linux", 1, None, "unset", stage)


def told(lines: Lines) -> dict[tuple[int, bool], str]:
    """(press, first answer) -> stage that is to be told to p1."""
    end = lines.poles["p1"]
    found = {(number, first): stage for ((_, _, number), first), stage in end.answers.items()}
    end.answers.clear()
    return found


def took(shared: Context, kind: type[Any]) -> list[Any]:
    taken, shared.effects = shared.effects, []
    return [effect for effect in taken if isinstance(effect, kind)]


# -- what the poles are told


def test_what_is_stored_is_told_and_the_newest_press_has_the_lamp() -> None:
    answers, _, lines, _ = parts()
    answers.stored(row(press(2)), new=True)
    assert told(lines) == {(2, True): "held"} and lines.poles["p1"].lamp == ("aa", 1, 2)
    answers.stored(row(press(1), "received"), new=False)
    assert told(lines) == {(1, False): "received"} and lines.poles["p1"].lamp == ("aa", 1, 2)
    answers.stored(row(press(3), kind="silent_press"), new=True)
    answers.say(press(3), "received")
    assert told(lines) == {(3, True): "held", (3, False): "received"} and lines.poles["p1"].lamp == ("aa", 1, 2)


@pytest.mark.parametrize(
    ("later", "newer"),
    [
        (press(6, boot=2), True),
        (press(4, boot=2), False),
        (press(5, boot=2), False),
        (press(1, boot=3), True),
        (press(9, boot=1), False),
        (press(5, boot=2, clash=1), True),
        (press(1, boot=1, incarnation="bb"), True),
    ],
)
def test_the_newest_press_is_that_of_the_last_start(later: Identity, newer: bool) -> None:
    first = press(5, boot=2)
    answers, _, _, _ = parts(row(first))
    answers.stored(row(later), new=True)
    assert answers._newest["p1"][0] == (later if newer else first)


def test_stages_never_go_back_also_for_a_session_that_begins_anew() -> None:
    answers, _, lines, _ = parts(row(press(1), "accepted"))
    answers.say(press(1), "received")
    assert told(lines) == {(1, False): "accepted"}
    answers.opened("p1")
    assert told(lines) == {(1, False): "accepted"}
    held, _, lines, _ = parts(row(press(1), "held"))
    held.opened("p1")
    assert told(lines) == {}, "the pole offers it itself"
    held.say(press(1), "received")
    told(lines)
    held.opened("p1")
    assert told(lines) == {(1, False): "received"}


def test_of_clashing_contents_the_pole_hears_of_the_one_that_it_holds() -> None:
    answers, _, lines, _ = parts()
    answers.stored(row(press(1)), new=True)
    answers.stored(row(press(1, clash=1)), new=True)
    told(lines)
    answers.say(press(1), "received")
    assert told(lines) == {}
    answers.say(press(1, clash=1), "received")
    assert told(lines) == {(1, False): "received"}
    answers.stored(row(press(1), "accepted"), new=False)
    assert told(lines) == {(1, False): "accepted"}, "it offers the first one again, so it holds that"


def test_64_clashes_are_remembered() -> None:
    answers, _, lines, _ = parts()
    for number in range(CLASHES_MOST + 1):
        answers.stored(row(press(number, clash=1)), new=True)
    told(lines)
    answers.say(press(0, clash=1), "received")
    assert told(lines) == {}
    answers.say(press(1, clash=1), "received")
    assert told(lines) == {(1, False): "received"}


def test_what_the_disk_lost_is_told_of_poles_that_have_nothing_newer() -> None:
    answers, _, lines, _ = parts()
    assert answers.poles_without() == ("p1",)
    answers.adrift(press(3), "received")
    assert told(lines) == {(3, False): "received"} and lines.poles["p1"].lamp == ("aa", 1, 3)
    answers.adrift(press(3), "received")
    assert told(lines) == {}
    answers.adrift(press(3), "accepted")
    answers.adrift(press(2), "closed")
    told(lines)
    answers.opened("p1")
    assert told(lines) == {(3, False): "accepted"}
    answers.stored(row(press(4)), new=True)
    told(lines)
    answers.adrift(press(3), "closed")
    assert told(lines) == {} and answers.poles_without() == ()


def test_an_older_press_that_the_pole_still_had_hides_no_newer_one_that_the_disk_lost() -> None:
    """The lamp's press was received, the one before it was not, then the agent's disk was lost: as soon as the pole
    had offered the older one, its lamp was told nothing of the newer one, nor beacon and sounder of its end."""
    answers, _, lines, _ = parts(row(press(2)))
    answers.adrift(press(3), "accepted")
    assert told(lines) == {(3, False): "accepted"} and lines.poles["p1"].lamp == ("aa", 1, 3)
    assert answers.poles_without() == ("p1",)
    answers.opened("p1")
    assert told(lines) == {(3, False): "accepted"}
    answers.say(press(2), "received")
    told(lines)
    answers.opened("p1")
    assert told(lines) == {(2, False): "received", (3, False): "accepted"}, "a silent one may be the newer one"
    for other in (press(1), press(2), press(4, incarnation="bb")):
        answers.adrift(other, "closed")
        assert told(lines) == {}, "it is over, or of another board of which nobody knows when it was"
    answers.stored(row(press(4)), new=True)
    assert answers.poles_without() == () and lines.poles["p1"].lamp == ("aa", 1, 4)
    answers.adrift(press(3), "closed")
    told(lines)
    answers.opened("p1")
    assert told(lines) == {}


def test_a_backlog_older_than_what_is_adrift_does_not_end_it() -> None:
    answers, _, lines, _ = parts()
    answers.adrift(press(3), "accepted")
    answers.stored(row(press(2)), new=True)
    assert answers.poles_without() == ("p1",)
    answers.adrift(press(3), "dispatched")
    assert told(lines) == {(2, True): "held", (3, False): "dispatched"}


def test_a_pole_of_no_line_is_told_nothing() -> None:
    answers, _, _, shared = parts()
    answers.say(press(1, pole="p9"), "received")
    assert shared.effects == []


# -- rounds


def page(sync: ProgressSync, shared: Context, *rows: int, end: bool = False) -> effects.FetchReceipted:
    """Answer the fetch that is under way with these rows."""
    (asked,) = took(shared, effects.FetchReceipted)
    sync.fetched(events.ReceiptedFetched(asked, tuple((number, press(number)) for number in rows), end))
    assert isinstance(asked, effects.FetchReceipted)
    return asked


def queries(shared: Context) -> list[ProgressQuery]:
    said = [payloads.decode(effect.payload, ProgressQuery) for effect in took(shared, effects.Publish)]
    return [one for one in said if isinstance(one, ProgressQuery)]


def answer(*stages: tuple[int, str], missing: tuple[int, ...] = ()) -> Progress:
    return Progress(
        inbox="i", stages=tuple((press(number), stage) for number, stage in stages),
        missing=tuple(press(number) for number in missing), record=ENTRY,
    )  # fmt: skip


def test_a_round_goes_page_by_page_and_asks_for_lamps_once() -> None:
    _, sync, _, shared = parts()
    sync.timer()
    assert page(sync, shared, 4, 2) == effects.FetchReceipted(0, PAGE, False)
    assert queries(shared) == [ProgressQuery(session="s.1", alarms=(press(2), press(4)), poles=("p1",))]
    sync.progress(answer((4, "received")))
    assert sync.state == "asking" and took(shared, effects.FetchReceipted) == []
    sync.progress(answer((2, "received")))
    assert page(sync, shared, 9) == effects.FetchReceipted(2, PAGE, False)
    assert queries(shared) == [ProgressQuery(session="s.1", alarms=(press(9),), poles=())]
    sync.progress(answer((9, "accepted")))
    assert page(sync, shared, end=True).after_row == 9
    assert sync.state == "idle" and not sync.sweeping and sync.next_due_ms() == 5_000 + QUERY_MS
    shared.now_ms = 4_999 + QUERY_MS
    sync.timer()
    assert sync.state == "idle"
    shared.now_ms += 1
    sync.timer()
    assert took(shared, effects.FetchReceipted) == [effects.FetchReceipted(0, PAGE, True)], "only what is open"


def test_a_page_without_an_answer_is_left_after_five_seconds_and_the_sweep_begins_anew() -> None:
    _, sync, _, shared = parts(row(press(8)))
    sync.timer()
    page(sync, shared, 1)
    assert len(queries(shared)) == 1 and sync.next_due_ms() == 5_000 + SILENT_MS
    shared.now_ms = 4_999 + SILENT_MS
    sync.timer()
    assert sync.state == "asking"
    shared.now_ms += 1
    sync.timer()
    assert page(sync, shared).after_row == 1
    assert sync.state == "idle" and sync.sweeping


def test_a_connection_that_broke_ends_the_round() -> None:
    _, sync, _, shared = parts(row(press(8)))
    sync.timer()
    page(sync, shared, 1)
    shared.connection = ""
    assert sync.next_due_ms() is None
    sync.timer()
    assert sync.state == "idle" and sync.sweeping
    shared.connection = "s.2"
    sync.begin_round()
    assert sync.next_due_ms() == 5_000
    sync.timer()
    assert page(sync, shared, 1).after_row == 0


def test_a_birth_while_a_page_is_read_or_asked_begins_anew() -> None:
    _, sync, _, shared = parts(row(press(8)))
    sync.timer()
    sync.begin_round(sweep=True)
    assert page(sync, shared, 1).after_row == 0 and sync.state == "fetching"
    page(sync, shared, 1)
    assert len(queries(shared)) == 1
    sync.begin_round()
    assert sync.state == "idle" and sync.next_due_ms() == 5_000
    sync.timer()
    assert took(shared, effects.FetchReceipted) == [effects.FetchReceipted(0, PAGE, False)]


@pytest.mark.parametrize(
    ("identity", "stage"),
    [(press(1, pole="p9"), "received"), (press(1), "held"), (press(1), "pressed"), (press(1), "forgiven")],
)
def test_a_stage_that_cannot_be_is_counted_and_not_stored(identity: Identity, stage: str) -> None:
    _, sync, _, shared = parts()
    sync.progress(Progress(inbox="i", stages=((identity, stage),), missing=()))
    sync.store()
    assert shared.counts["progress_impossible"] == 1 and shared.effects == []


def test_stages_are_stored_once_with_what_the_station_says_of_its_ledger() -> None:
    _, sync, _, shared = parts()
    sync.progress(answer((1, "received"), (2, "closed")))
    sync.store()
    sync.store()
    assert took(shared, effects.StoreProgress) == [
        effects.StoreProgress(((press(1), "received"), (press(2), "closed")), "i", ENTRY, shared.wall_ms)
    ]


def test_missing_is_believed_of_what_was_asked_and_a_failure_sweeps_again() -> None:
    _, sync, _, shared = parts(row(press(8)))
    sync.timer()
    page(sync, shared, 1, 2)
    queries(shared)
    sync.progress(answer(missing=(2, 7)))
    (mark,) = took(shared, effects.MarkWaiting)
    assert mark == effects.MarkWaiting((press(2),), "i", shared.wall_ms) and shared.counts["missing_unasked"] == 1
    sync.sweeping = False
    sync.failed(effects.StoreProgress(()))
    assert not sync.sweeping
    sync.failed(mark)
    assert sync.sweeping and sync.state == "asking"
    sync.progress(answer((1, "received")))
    assert sync.state == "fetching"


def test_a_disk_that_cannot_be_read_ends_the_round_and_keeps_the_sweep() -> None:
    _, sync, _, shared = parts(row(press(8)))
    sync.timer()
    took(shared, effects.FetchReceipted)
    sync.fetch_failed()
    assert sync.state == "idle" and sync.sweeping and sync.next_due_ms() == 5_000 + QUERY_MS
