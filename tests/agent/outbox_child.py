"""Run as a process of its own by the outbox tests: to be killed, or to fill a disk.

``outbox_child.py store FOLDER``: stores presses without end, a line with the number for each that is on disk.
``outbox_child.py fill FOLDER``: fills the disk, stores, makes room, stores; prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.agent.outbox_kit import Bench, notice, press

from sos_agent.core import events

AT_ONCE = 20


def store(folder: Path) -> None:
    """Says a number only once its press is stored, as the agent says ``held``."""
    bench = Bench(folder)
    number = 0
    while True:
        for _ in range(AT_ONCE):
            number += 1
            bench.outbox.carry_out(press(number))
        for event in bench.wait(AT_ONCE):
            assert isinstance(event, events.Stored)
            sys.stdout.write(f"{event.row.id.press}\n")
        sys.stdout.flush()


def fill(folder: Path) -> None:
    """On a file system of 24 MB."""
    bench = Bench(folder)
    names = [type(bench.do(press(1), events.Stored)).__name__]
    junk = folder / "junk"
    with junk.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError as error:
            names.append(str(error.errno))
    # Until the file's own slack is used up, notices still fit; then they are refused, and alarms are not.
    refused = 0
    for _ in range(20_000):
        bench.outbox.carry_out(notice())
        (event,) = bench.wait()
        if isinstance(event, events.StoreFailed):
            refused += 1
            break
    stored = 0
    for number in range(2, 5002):
        bench.outbox.carry_out(press(number))
    for event in bench.wait(5000):
        stored += isinstance(event, events.Stored) and event.outcome == "new"
    ok_while_full = bench.outbox.disk_ok
    bench.outbox.carry_out(notice())
    bench.outbox.carry_out(notice("disk_full", merge=True))
    while_full = [type(event).__name__ for event in bench.wait(2)]
    junk.unlink()
    mended = bench.outbox.refill()
    bench.do(notice(), events.NoticeStored)
    again = bench.outbox.close() and Bench(folder).outbox.contents.waiting_alarms
    found = {"refused": refused, "stored": stored, "ok": ok_while_full, "while_full": while_full, "mended": mended}
    sys.stdout.write(json.dumps({**found, "waiting": again}) + "\n")


if __name__ == "__main__":
    {"store": store, "fill": fill}[sys.argv[1]](Path(sys.argv[2]))
