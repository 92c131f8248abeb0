"""A record of what went over the agent's ports and of its own button's levels, to be played in the virtual zone later.

``FOLDER/POINT.record`` is text: its first line is ``safezone record 1`` and the point; then a line each, times in
microseconds since the record began (one monotonic clock):

    0 began WALL_MS                 wall time then, for whoever looks for an hour in it
    TIME port NUMBER BAUD NAME      that port was opened, and is NUMBER from here on
    TIME in NUMBER HEX              these bytes came from the cable, in one piece
    TIME out NUMBER HEX             this frame was given to the port
    TIME level LEVEL BUTTON         the own button's contact: 0 open, 1 closed
    TIME lost COUNT                 so many lines found no room before this one: the disk was slow

It holds what anybody can hear on the cable, sealed as it is there, and no keys. When it has grown to half of its bound
it becomes ``POINT.record.old``, in the place of the one before, and a new one begins: the last hours are there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from io import StringIO
from pathlib import Path

from sos_contract.errors import SafezoneError
from sos_edge.log import Log

FORMAT = "safezone record"
VERSION = 1
MOST_BYTES = 32_000_000  # both files together: a day of a quiet pole
MOST_WAITING = 20_000  # lines in memory: what eight busy ports say in the time that a bad disk hangs
FLUSH_S = 1.0  # what a kill may lose; short enough for a cable that was pulled just now


class Recorder:
    """Takes notes on the loop's thread and writes them on its own, so that a slow disk never holds up a press."""

    def __init__(self, folder: Path, point: str, *, log: Log, most_bytes: int = MOST_BYTES) -> None:
        """Raises SafezoneError if nothing can be written in ``folder``."""
        self.path = folder / f"{point}.record"
        self._point = point
        self._log = log
        self._most_bytes = most_bytes // 2
        self._numbers: dict[str, tuple[int, int]] = {}  # port -> its number and baud
        self._waiting: deque[tuple[int, str]] = deque()  # nanoseconds and the rest of the line
        self._lost = 0
        self._ended = threading.Event()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._turn_over()
        except OSError as error:
            raise SafezoneError(f"{self.path}: cannot record there ({error.strerror}); name another folder") from None
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def opened(self, port: str, baud: int) -> None:
        """That port is open."""
        number, _ = self._numbers.get(port, (len(self._numbers), baud))
        self._numbers[port] = (number, baud)
        self._note(_port_line(port, number, baud))

    def heard(self, port: str, data: bytes) -> None:
        """Bytes came from an open port."""
        self._note(f"in {self._numbers[port][0]} {data.hex()}")

    def said(self, port: str, data: bytes) -> None:
        """Bytes were given to an open port."""
        self._note(f"out {self._numbers[port][0]} {data.hex()}")

    def level(self, button: str, level: int) -> None:
        """The own button's contact has this level now."""
        self._note(f"level {level} {button}")

    def close(self) -> None:
        """Write what waits, as far as the disk takes it within a second."""
        self._ended.set()
        self._thread.join(FLUSH_S)

    def _note(self, text: str) -> None:
        if self._ended.is_set():
            return
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        now_ns = time.monotonic_ns()
        if self._lost:
            self._waiting.append((now_ns, f"lost {self._lost}"))
            self._lost = 0
        self._waiting.append((now_ns, text))

    # --- in the recorder's thread, but for the first file

    def _turn_over(self) -> None:
        """Begin a file; the last one becomes the old one."""
        if self.path.exists():
            self.path.replace(self.path.with_name(self.path.name + ".old"))
        self._began_ns = time.monotonic_ns()
        self._bytes = 0
        ports = "".join(f"0 {_port_line(port, *known)}\n" for port, known in list(self._numbers.items()))
        self._write(f"{FORMAT} {VERSION} {self._point}\n0 began {time.time_ns() // 1_000_000}\n{ports}")

    def _write(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
        self._bytes += len(text)

    def _run(self) -> None:
        try:
            while not self._ended.wait(FLUSH_S):
                self._flush()
            self._flush()
        except OSError as error:
            self._ended.set()
            self._waiting.clear()
            self._log.say("recording has ended", level="error", path=self.path, why=error.strerror)

    def _flush(self) -> None:
        text = StringIO()
        for _ in range(len(self._waiting)):
            at_ns, line = self._waiting.popleft()
            text.write(f"{max(0, at_ns - self._began_ns) // 1000} {line}\n")
        if text.tell():
            self._write(text.getvalue())
        if self._bytes >= self._most_bytes:
            self._turn_over()


def _port_line(port: str, number: int, baud: int) -> str:
    return f"port {number} {baud} {port}"
