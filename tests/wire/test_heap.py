"""What the wire takes of the pole's memory, on the real MicroPython (a 32-bit build, as the boards')."""

from __future__ import annotations

from pathlib import Path

from tests.wire.test_vectors import on_micropython

SCRIPT = """
import gc
# ---
before = gc.mem_alloc()
from sos_wire.agent_end import AgentLine, AgentLink
from sos_wire.link import LIVE
from sos_wire.pole_end import PoleLine, PoleLink
from sos_wire.messages import Press, unpack
# ---
print("code", gc.mem_alloc() - before)
before = gc.mem_alloc()
pole = PoleLink(7, bytes(range(32)), b"p" * 32)
line = PoleLine(True, 115200, 7)
# ---
print("objects", gc.mem_alloc() - before)
agent = AgentLink(7, bytes(range(32)), b"a" * 32)
wire = AgentLine(False, 115200)
pole.begin(1, 1)

def turn(now):
    said = pole.poll(now, now)
    while said is not None:
        line.sent(len(said), now)
        for frame in wire.feed(said, now):
            agent.receive(frame, now)
        said = pole.poll(now, now)
    said = agent.poll(now, now)
    while said is not None:
        for frame in line.feed(said, now):
            pole.receive(frame, now)
        said = agent.poll(now, now)

now = 0x3FFFFFFF - 700  # the ticks wrap while we are idle
for step in range(500):
    now = now + 1
    turn(now)
assert pole.up and agent.up

def idle(now, turns):
    before = gc.mem_alloc()
    for step in range(turns):
        now = (now + 1) & 0x3FFFFFFF
        pole.poll(now, 5)
        pole.wake(now)
        line.wait(now)
        line.quiet(now)
        pole.take()
        pole.room(LIVE)
        pole.up
    return gc.mem_alloc() - before

# ---
print("idle", idle(now, 1000) - idle(now, 400))
before = gc.mem_alloc()
for index in (0, 1, 2, 3):
    pole.send(LIVE, Press("press", 1, 1, index, 5).pack())
    said = pole.poll((now + 1001) & 0x3FFFFFFF, 5)
print("press", (gc.mem_alloc() - before) // 4)
# ---
def live(now, steps):  # beats and presses
    for step in range(steps):
        now = (now + 1800) & 0x3FFFFFFF
        turn(now)
        if step & 7 == 0:
            pole.send(LIVE, Press("press", 1, 1, step, 5).pack())
        agent.take()
        if step & 255 == 0:
            gc.collect()
    assert pole.up and agent.up and pole.losses == 0
    return now

now = live(now, 1000)
# ---
before = gc.mem_alloc()
# ---
now = live(now, 3000)
# ---
print("growth", gc.mem_alloc() - before)
"""


SLACK = 1024  # what the interpreter keeps for itself, and the collector takes for a pointer, comes and goes


def test_idle_polls_allocate_nothing(tmp_path: Path) -> None:
    """The smallest allocation is 16 bytes: one a poll would show as 9,600, one a frame as 48,000."""
    lines = dict(line.split(" ", 1) for line in on_micropython(tmp_path, SCRIPT))
    assert int(lines["idle"]) <= SLACK
    assert int(lines["code"]) <= 40 * 1024
    assert int(lines["objects"]) <= 8 * 1024
    assert int(lines["press"]) <= 2 * 1024
    assert int(lines["growth"]) <= SLACK
