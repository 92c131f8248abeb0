"""The table of looks: told apart without colour, by sound alone, and from one lit moment; harmless to the eye."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from sos_pole import lamp
from sos_wire.messages import LOOKS
from sos_wire.ticks import TICKS_MASK

ACTIVE = [look for look in LOOKS if look not in ("starting", "in_service", "out_of_service")]


def rhythm(pattern: tuple[tuple[int, object], ...]) -> list[tuple[bool, int]]:
    """Lit or sounding, for how long; neighbours of the same kind joined. Colour and pitch are gone."""
    joined: list[tuple[bool, int]] = []
    for ms, value in pattern:
        lit = any(value) if isinstance(value, tuple) else bool(value)
        if joined and joined[-1][0] == lit:
            joined[-1] = (lit, joined[-1][1] + ms)
        else:
            joined.append((lit, ms))
    return joined


def alike(one: list[tuple[bool, int]], other: list[tuple[bool, int]]) -> bool:
    """Whether a person could take one for the other: as many parts, each within a third of its length."""
    if len(one) != len(other) or one[0][0] != other[0][0]:
        return False
    if len(one) == 1:
        return True
    return all(max(a, b) < 1.5 * min(a, b) for (_, a), (_, b) in zip(one, other, strict=True))


def test_every_look_has_a_pattern() -> None:
    assert set(lamp.TABLE) == set(LOOKS)
    assert tuple(lamp.TABLE) == LOOKS


@pytest.mark.parametrize(("one", "other"), list(combinations(LOOKS, 2)))
def test_rhythm_alone_tells_looks_apart(one: str, other: str) -> None:
    assert not alike(rhythm(lamp.TABLE[one][0]), rhythm(lamp.TABLE[other][0]))


@pytest.mark.parametrize(("one", "other"), list(combinations(ACTIVE, 2)))
def test_sound_alone_tells_the_looks_of_an_alarm_apart(one: str, other: str) -> None:
    assert not alike(rhythm(lamp.TABLE[one][1]), rhythm(lamp.TABLE[other][1]))


def test_a_pole_at_rest_is_silent_and_an_alarm_is_not() -> None:
    for look in LOOKS:
        assert any(hertz for _, hertz in lamp.TABLE[look][1]) == (look in ACTIVE)


def test_one_lit_moment_tells_the_look() -> None:
    colours: dict[object, str] = {}
    for look in LOOKS:
        lit = {colour for _, colour in lamp.TABLE[look][0] if any(colour)}
        assert lit, look
        for colour in lit:
            assert colours.setdefault(colour, look) == look
            assert lamp.look_of(colour) == look
    assert lamp.look_of((0, 0, 0)) is None and lamp.look_of((1, 2, 3)) is None


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_flashes_more_than_three_times_in_any_second(look: str) -> None:
    at, starts = 0, []
    for _ in range(6):
        for ms, colour in lamp.TABLE[look][0]:
            if any(colour) and len(lamp.TABLE[look][0]) > 1:
                starts.append(at)
            at += ms
    for start in starts:
        assert sum(start <= other < start + 1000 for other in starts) <= 3
    for first, third in zip(starts, starts[3:], strict=False):
        assert third - first > 1000


@pytest.mark.parametrize("look", LOOKS)
def test_the_player_keeps_time_across_the_wrap_of_ticks(look: str) -> None:
    pattern = lamp.TABLE[look][0]
    start = TICKS_MASK - 3000
    player = lamp.Player(pattern, start)
    total = sum(ms for ms, _ in pattern)
    for at in range(0, 3 * total, 10):
        left = player.advance((start + at) & TICKS_MASK)
        place, rest = at % total, 0
        for ms, colour in pattern:
            rest += ms
            if place < rest:
                assert player.value == colour
                assert len(pattern) == 1 or left == rest - place
                break


def test_after_a_long_absence_the_pattern_begins_anew() -> None:
    player = lamp.Player(lamp.TABLE["pressed"][0], 0)
    player.advance(10_000_000)
    assert player.value == (0, 0, 100)


def test_the_readme_shows_this_table() -> None:
    from tests.pole.draw_lamp import END, START, drawn

    text = (Path(__file__).parents[2] / "firmware" / "README.md").read_text(encoding="utf-8")
    inside = text[text.index(START) + len(START) : text.index(END)].strip()
    assert inside == drawn().strip(), "run: .venv/bin/python -m tests.pole.draw_lamp"
