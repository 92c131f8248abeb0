"""The timeline: what a developer needs is in the picture, in its place, and nothing hangs over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from sos_contract.site import Site, find_site, read_site
from sos_sim.timeline import page, picture, text
from sos_sim.timeline.bars import bars_of
from sos_sim.timeline.lanes import Lanes
from sos_sim.timeline.picture import Axis, Picture, around
from sos_sim.trace import KINDS, Trace

POLE, PRESS = "clock-tower-1", "clock-tower-1/00112233aabbccdd/2/3"
OTHER = "merlin-1/00112233aabbccde/1/1"
SITE: Site = read_site(find_site("betong"))
WIRE = f"wire:{POLE}"


@dataclass(frozen=True)
class Found:
    promise: str
    at_us: int
    words: str
    part: str


TWICE = Found("duplicated", 612_000_000, f"the press {PRESS} stands in the inbox twice", "station")
STORY: tuple[tuple[float, str, str, tuple[object, ...]], ...] = (
    (0, "look", POLE, ("in_service", "")),
    (100, "fault", POLE, ("wire-loss", "on", "probability 0.3")),
    (120, "finger", POLE, (0, "down", 3)),
    (120.034, "minted", POLE, (PRESS, "press", True, 0)),
    (120.035, "look", POLE, ("pressed", PRESS)),
    (120.036, "row", POLE, ("debounce", "trying", "enough")),
    (121, "finger", "merlin-1", (0, "down", 1)),
    (121.03, "minted", "merlin-1", (OTHER, "press", True, 0)),
    (122.1, "held", "clock-tower", (PRESS, "new")),
    (122.101, "boundary", "agent:clock-tower", ("Publish",)),
    (122.102, "down", "agent:clock-tower", ("crash",)),
    (127, "up", "agent:clock-tower", ("restart",)),
    (128, "loop", "clock-tower-1", (0, "open")),
    (129, "loop", "clock-tower-1", (0, "idle")),
    (600, "fault", POLE, ("wire-loss", "off", "")),
    (603.2, "received", "station", (PRESS, "new", 7, "press", 5000, 483_200, True)),
    (603.3, "screen", "malee", (((PRESS, "received", 483_200, True), (OTHER, "received", None, True)),)),
    (604.3, "screen", "malee", (((PRESS, "received", 484_200, True), (OTHER, "received", None, True)),)),
    (612, "received", "station", (PRESS + ".1", "clash", 8, "press", 5001, 483_200, True)),
)


def told(finding: Found = TWICE, story: tuple[tuple[float, str, str, tuple[object, ...]], ...] = STORY) -> Picture:
    trace = Trace(keep=True)
    for at_s, kind, part, fields in story:
        trace.say(round(at_s * 1e6), kind, part, *fields)
    return around(finding, trace.rows, SITE, ["seed 17; safezone soak --seed 17"])


def test_the_picture_holds_the_press_of_the_finding_from_touch_to_end() -> None:
    found = told()
    assert found.presses == {"A": PRESS}
    way = [(event.lane, event.words.split(",")[0]) for event in found.ways()["A"]]
    assert way == [
        (POLE, "finger down"), (POLE, "press minted"), (POLE, "lamp: pressed"),
        ("agent:clock-tower", "outbox has it: new"),
        ("station", "inbox has it: new"), ("officers", "screen shows: received"), ("station", "inbox has it: clash"),
    ]  # fmt: skip
    assert not [event for event in found.events if event.lane == "merlin-1"], "another pole's press is not in the way"
    assert [event.number for event in found.events] == list(range(1, len(found.events) + 1))


def test_lanes_stand_as_a_press_travels() -> None:
    assert told().lanes == [POLE, WIRE, "agent:clock-tower", "station", "officers"]


def test_bars_tell_what_was_so_and_what_was_so_already() -> None:
    found = told()
    spans = {(bar.lane, bar.name): (bar.from_us / 1e6, bar.until_us / 1e6) for bar in found.bars}
    assert spans[WIRE, "wire-loss"] == (100, 600)
    assert spans["agent:clock-tower", "crash"] == (122.102, 127)
    assert spans[POLE, "loop open"] == (128, 129)
    assert spans[POLE, "pressed"] == (120.035, 615)
    assert [bar.name for bar in found.already()] == ["wire-loss"]


def test_a_finding_without_a_press_shows_the_minute_before_it() -> None:
    found = told(Found("stuck", 130_000_000, "the agent does nothing", "agent:clock-tower"))
    assert (found.begin_us, found.end_us) == (70_000_000, 133_000_000)
    assert set(found.presses.values()) == {PRESS, OTHER}


def test_a_lamp_of_a_pole_without_power_is_dark() -> None:
    trace = Trace(keep=True)
    for at_us, kind, field in (
        (0, "look", "in_service"),
        (5, "down", "power"),
        (9, "up", "power_on"),
        (9, "look", "starting"),
    ):
        trace.say(at_us, kind, POLE, field)
    bars = [(bar.kind, bar.name, bar.from_us, bar.until_us) for bar in bars_of(trace.rows, Lanes(), 0, 20)]
    assert bars == [("look", "in_service", 0, 5), ("down", "power", 5, 9), ("look", "starting", 9, 20)]


def test_time_is_stretched_and_never_runs_back() -> None:
    axis = Axis([0, 10_000, 20_000, 3_600_000_000])
    places = [axis.place(at_us) for at_us in (-5, 0, 5_000, 10_000, 20_000, 1_000_000, 3_600_000_000, 9_000_000_000)]
    assert places == sorted(places) and places[0] == 0 and places[-1] == 1
    assert axis.place(10_000) > 0.03, "ten milliseconds beside an hour are seen"


def test_more_events_than_can_be_read_are_counted() -> None:
    story = tuple((float(second), "attack", "broker:main", (f"number {second}",)) for second in range(200))
    found = told(Found("forged", 199_000_000, f"an alarm that nobody made, {PRESS}", "station"), story)
    assert len(found.events) == picture.MOST_EVENTS
    found = told(Found("forged", 199_000_000, "an alarm that nobody made", "station"), story)
    assert found.events[-1].words == "attack: number 199" and found.left_out == 1


def test_the_text_fits_a_terminal_and_says_all() -> None:
    drawn = text.draw(told())
    assert max(map(len, drawn.splitlines())) <= text.WIDTH
    head = " ".join(drawn.splitlines()[:2])
    assert head.startswith("DUPLICATED at 10 min 12.0 s, station: press A stands in the inbox twice")
    for words in (
        "[wire-loss...",
        "#crash#",
        "=pressed==",
        "safezone soak --seed 17",
        "program dies before Publish",
        "fault wire-loss: probability 0.3",
    ):
        assert words in drawn
    narrow = text.draw(told(), 60)
    assert max(map(len, narrow.splitlines())) <= 60


class _Balance(HTMLParser):
    """Collects the tags that stand open and every attribute that would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect", "line", "circle", "polyline"):
            self.open.append(tag)
        self.loads += [
            str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    drawn = page.draw(told())
    parser = _Balance()
    parser.feed(re.sub(r"(<(?:rect|line|circle|polyline)\b[^>]*)/>", r"\1>", drawn))
    assert not parser.open and not parser.loads and "<script" not in drawn
    for number in range(1, len(told().events) + 1):
        assert f'href="#e{number}"' in drawn and f'id="e{number}"' in drawn
    assert PRESS in drawn and "<code>safezone soak --seed 17</code>" in drawn


def test_what_comes_from_outside_cannot_write_into_the_page() -> None:
    story = ((1.0, "attack", "broker:main", ("<script>alert(1)</script>",)),)
    drawn = page.draw(told(Found("forged", 2_000_000, "<b>x</b>", "station"), story))
    assert "<script" not in drawn and "<b>x</b>" not in drawn


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row_is_shown_or_left_out_on_purpose(kind: str) -> None:
    """A kind that is added to the trace has to be thought of here."""
    from sos_sim.timeline.words import WORDS

    assert kind in WORDS or kind in ("screen", "row")


def test_a_loss_that_stands_is_shown_from_what_brought_it_about() -> None:
    """Three minutes later, where it is found, nothing tells why."""
    story: tuple[tuple[float, str, str, tuple[object, ...]], ...] = (
        (10, "point_lost", "station", ("merlin", "on")),
        (12, "point_lost", "station", ("merlin", "off")),
        (33, "fault", "merlin", ("agent-killed", "on", "")),
        (33.006, "point_lost", "station", ("merlin", "on")),
        (34, "fault", "merlin", ("agent-killed", "off", "")),
        *((100 + number, "up", "broker:1", (str(number),)) for number in range(picture.MOST_EVENTS)),
        (201, "phase", "scenario", ("end",)),
    )
    found = told(Found("lied", 201_000_000, "merlin is called lost still, and it is well", "station"), story)
    assert found.begin_us == 28_006_000
    assert [event.words for event in found.events][:2] == ["fault agent-killed begins", "merlin is lost"]
    elsewhere = told(Found("lied", 201_000_000, "market is called lost still, and it is well", "station"), story)
    assert elsewhere.begin_us == 141_000_000
