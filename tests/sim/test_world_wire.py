"""The virtual cable: time on the line, both directions, meetings on a pair, and each of its faults."""

from __future__ import annotations

import itertools
import random

import pytest

from sos_sim.world.loop import Loop
from sos_sim.world.wire import AGENT, GRAIN_US, End, Wire

BAUD = 10_000  # a byte a millisecond
MS = 1000
FRAME = b"\x00" + bytes(range(1, 19)) + b"\x00"  # 20 ms


class Bench:
    """A cable with an agent, poles and what each of them heard, with its time in milliseconds."""

    def __init__(self, poles: int = 1, *, shared: bool = False, eager: bool = False) -> None:
        self.loop = Loop()
        self.wire = Wire(self.loop, random.Random(3), "line", BAUD, shared)
        self.heard: dict[str, list[tuple[int, bytes]]] = {}
        self.ends: dict[str, End] = {}
        for name in (AGENT, *(f"p{number}" for number in range(1, poles + 1))):
            heard = self.heard[name] = []

            def hear(data: bytes, heard: list[tuple[int, bytes]] = heard) -> None:
                heard.append((self.loop.now_ms, data))

            self.ends[name] = self.wire.attach(name, hear, eager=eager and name == AGENT)

    def run(self, ms: int = 1000) -> None:
        self.loop.run(self.loop.now_us + ms * MS)

    def all(self, name: str) -> bytes:
        return b"".join(data for _, data in self.heard[name])


def test_bytes_take_their_time_and_the_directions_do_not_meet() -> None:
    bench = Bench()
    bench.ends["p1"].send(FRAME)
    bench.ends["p1"].send(b"abc")
    bench.ends[AGENT].send(FRAME)
    bench.run()
    assert bench.heard[AGENT] == [(20, FRAME), (23, b"abc")] and bench.heard["p1"] == [(20, FRAME)]


def test_on_a_pair_all_hear_all_but_themselves() -> None:
    bench = Bench(2, shared=True)
    bench.ends["p1"].send(FRAME)
    bench.run()
    assert bench.heard == {AGENT: [(20, FRAME)], "p1": [], "p2": [(20, FRAME)]}


def test_what_meets_on_a_pair_is_garbage_from_there_on() -> None:
    bench = Bench(2, shared=True)
    bench.ends["p1"].send(FRAME)
    bench.run(5)
    bench.ends["p2"].send(FRAME)
    bench.run()
    heard = bench.all(AGENT)
    assert heard[:5] == FRAME[:5] and heard[20:] == FRAME[15:] and len(heard) == 25
    assert heard[5:20] not in (FRAME[5:], FRAME[:15]) and bench.wire.collisions == 1
    assert bench.all("p1") == FRAME[15:] and bench.all("p2") == FRAME[:5]  # who talks does not listen


def test_an_eager_end_hears_the_first_byte_and_then_at_a_grain() -> None:
    bench = Bench(2, shared=True, eager=True)
    bench.ends["p1"].send(FRAME)
    bench.run()
    times = [at for at, _ in bench.heard[AGENT]]
    assert times[0] == 1 and times[-1] == 20 and bench.all(AGENT) == FRAME
    assert all(after - before <= GRAIN_US // MS for before, after in itertools.pairwise(times))
    assert bench.heard["p2"] == [(20, FRAME)]


def test_who_looks_before_it_acts_hears_what_has_passed() -> None:
    bench = Bench(2, shared=True)
    bench.ends["p1"].send(FRAME)
    bench.run(7)
    assert bench.ends["p2"].pull() == FRAME[:7] and not bench.ends["p2"].pull()
    bench.run()
    assert bench.all("p2") == FRAME[7:] and bench.all(AGENT) == FRAME


@pytest.mark.parametrize(
    ("fault", "agent", "pole"),
    [("cut", FRAME[:8], FRAME[:8]), ("cut_up", FRAME[:8], FRAME), ("cut_down", FRAME, FRAME[:8])],
)
def test_a_cut_takes_hold_within_a_frame(fault: str, agent: bytes, pole: bytes) -> None:
    bench = Bench()
    bench.ends["p1"].send(FRAME)
    bench.ends[AGENT].send(FRAME)
    bench.run(8)
    setattr(bench.wire, fault, True)
    bench.run()
    assert (bench.all(AGENT), bench.all("p1")) == (agent, pole)


def test_a_mended_cable_carries_the_rest() -> None:
    bench = Bench()
    bench.wire.cut = True
    bench.ends["p1"].send(FRAME)
    bench.run(8)
    bench.wire.cut = False
    bench.run()
    assert bench.all(AGENT) == FRAME[8:]


def test_poles_of_a_pair_that_is_cut_off_hear_each_other() -> None:
    bench = Bench(2, shared=True)
    bench.wire.cut = True
    bench.ends["p1"].send(FRAME)
    bench.run()
    assert bench.all("p2") == FRAME and not bench.all(AGENT)


def test_an_adapter_with_an_echo_hears_itself() -> None:
    bench = Bench()
    bench.wire.echo = True
    bench.ends["p1"].send(FRAME)
    bench.run()
    assert bench.all("p1") == FRAME == bench.all(AGENT)


def test_frames_are_lost_doubled_and_have_a_bit_turned_over() -> None:
    other = b"\x00other\x00"
    for fault, expected in (("loss", b""), ("duplicate", FRAME * 2 + other * 2)):
        bench = Bench()
        setattr(bench.wire, fault, 1.0)
        bench.ends["p1"].send(FRAME + other)
        bench.run()
        assert bench.all(AGENT) == expected, fault
    bench = Bench()
    bench.wire.flip = 1.0
    bench.ends["p1"].send(FRAME)
    bench.run()
    turned = [bin(a ^ b).count("1") for a, b in zip(bench.all(AGENT), FRAME, strict=True)]
    assert sum(turned) == 1


def test_a_chance_is_one_of_each_frame() -> None:
    bench = Bench()
    bench.wire.loss = 0.3
    for _ in range(500):
        bench.ends["p1"].send(FRAME * 2)
    bench.run(60_000)
    assert 0.65 < len(bench.all(AGENT)) / len(FRAME) / 1000 < 0.75


def test_delayed_bytes_keep_their_order() -> None:
    bench = Bench()
    bench.wire.delay_us = 100 * MS
    for number in range(40):
        bench.ends["p1"].send(bytes([number]))
        bench.run(2)
    bench.wire.delay_us = 0
    bench.ends["p1"].send(b"\xff")
    bench.run()
    assert bench.all(AGENT) == bytes(range(40)) + b"\xff"
    assert max(at - 2 * index for index, (at, _) in enumerate(bench.heard[AGENT])) > 50


def test_noise_is_heard_on_a_quiet_line_and_spoils_what_passes() -> None:
    bench = Bench()
    bench.wire.noise_per_s = 5
    bench.run(20_000)
    assert 60 < len(bench.heard[AGENT]) < 140 and bench.all(AGENT) == bench.all("p1")
    bench = Bench()
    bench.ends["p1"].send(FRAME)
    bench.wire.noise_per_s = 200
    bench.run(20)
    bench.wire.noise_per_s = 0
    bench.run()
    assert len(bench.all(AGENT)) == len(FRAME) and bench.all(AGENT) != FRAME
    assert bench.all(AGENT)[0] == FRAME[0] or bench.all(AGENT)[-1] == FRAME[-1]


def test_who_looks_away_loses_what_passes_meanwhile() -> None:
    bench = Bench()
    bench.ends[AGENT].send(FRAME)
    bench.run(5)
    bench.ends["p1"].deaf = True
    bench.run(3)
    bench.ends["p1"].deaf = False
    bench.run()
    assert bench.all("p1") == FRAME[:5] + FRAME[8:]


def test_without_power_the_rest_stays_unsaid() -> None:
    bench = Bench()
    bench.ends["p1"].send(FRAME)
    bench.ends["p1"].send(FRAME)
    bench.run(5)
    bench.ends["p1"].hush()
    assert bench.all(AGENT) == FRAME[:5]
    bench.ends["p1"].send(b"again")
    bench.run()
    assert bench.all(AGENT) == FRAME[:5] + b"again"


def test_strangers_listen_and_speak() -> None:
    bench = Bench(2, shared=True)
    taken: list[tuple[int, str, bytes]] = []
    bench.wire.record = lambda at_us, name, data: taken.append((at_us, name, data))
    bench.run(3)
    bench.ends["p1"].send(FRAME)
    bench.run()
    assert taken == [(3 * MS, "p1", FRAME)]
    bench.wire.inject(FRAME, "p2")
    bench.run()
    assert bench.all("p2") == FRAME * 2 and bench.all(AGENT) == FRAME
