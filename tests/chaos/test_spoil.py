"""A bad cable's bytes: frames vanish and come twice as wholes, bits turn over, order is kept."""

from __future__ import annotations

import random
from collections.abc import Callable

from sos_sim.live.spoil import Delay, Spoil, Talker, noise

FRAMES = [bytes([number] * 5) + b"\0" for number in range(1, 201)]


def through(spoil: Spoil, seed: int = 1) -> bytes:
    """What arrives of FRAMES."""
    talker = Talker(random.Random(seed))
    return b"".join(talker.through(value, spoil) for frame in FRAMES for value in frame)


def test_nothing_happens_in_fair_weather() -> None:
    assert through(Spoil()) == b"".join(FRAMES)


def test_frames_are_lost_as_wholes() -> None:
    left = through(Spoil(loss=0.3)).split(b"\0")[:-1]
    assert 100 < len(left) < 180
    assert all(part + b"\0" in FRAMES for part in left)
    assert through(Spoil(loss=1.0)) == b""


def test_frames_come_twice_one_behind_the_other() -> None:
    parts = through(Spoil(duplicate=0.5)).split(b"\0")[:-1]
    assert 250 < len(parts) < 350
    assert list(dict.fromkeys(parts)) == [frame[:-1] for frame in FRAMES]


def test_one_bit_of_a_byte_turns_over() -> None:
    sent, came = b"".join(FRAMES), through(Spoil(flip=0.05))
    assert len(sent) == len(came)
    wrong = [a ^ b for a, b in zip(sent, came, strict=True) if a != b]
    assert 20 < len(wrong) < 120
    assert all(one.bit_count() == 1 for one in wrong)


def test_the_same_seed_spoils_the_same() -> None:
    spoil = Spoil(loss=0.1, duplicate=0.1, flip=0.01)
    assert through(spoil, 4) == through(spoil, 4) != through(spoil, 5)
    assert 1 <= len(noise(random.Random(1))) <= 8


def test_what_is_late_stays_in_order_when_the_delay_ends() -> None:
    now, due, came = [0.0], [], []

    def later(after_s: float, call: Callable[[], None]) -> None:
        due.append((now[0] + after_s, call))

    delay = Delay(later, lambda: now[0])
    delay.hand(0.0, lambda: came.append("first"))
    delay.hand(0.5, lambda: came.append("second"))
    now[0] = 0.1
    delay.hand(0.0, lambda: came.append("third"))
    assert came == ["first"]
    for now[0], call in sorted(due, key=lambda one: one[0]):
        call()
    assert came == ["first", "second", "third"]
