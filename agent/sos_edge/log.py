"""Log lines: ``level event key=value ...`` on standard error; an outage once, its end once, the rest counted."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from sos_contract.text import printable

# systemd reads the priority from the start of a line and adds the time itself.
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,")
# A line longer than this is cut: a peer's text may stand in it.
MAX_LINE = 2000
# Different outages kept open at once: ports, brokers, disk, clock; beyond it they are logged each time.
MAX_OUTAGES = 256


def fields(values: dict[str, Any]) -> str:
    """`` key=value`` pairs; values with spaces or signs are quoted, line breaks never get through."""
    return "".join(f" {key}={_quote(value)}" for key, value in values.items() if value is not None)


def _quote(value: Any) -> str:  # noqa: ANN401 - anything may be logged
    text = str(value)
    if text and _PLAIN.issuperset(text):
        return text
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(inner)}"'


class Log:
    """A logger whose every line carries ``context`` (the point, the station)."""

    def __init__(self, name: str, **context: Any) -> None:  # noqa: ANN401 - anything may be logged
        self._logger = logging.getLogger(name)
        self._context = context
        self._outages: dict[str, tuple[float, int]] = {}

    def say(self, event: str, *, level: str = "info", **values: Any) -> None:  # noqa: ANN401
        """One line: ``event``, then the values given, then the context."""
        number = _LEVELS[level]
        if self._logger.isEnabledFor(number):
            self._logger.log(number, "%s%s", event, fields({**values, **self._context}))

    def outage(self, what: str, event: str, *, level: str = "warning", **values: Any) -> None:  # noqa: ANN401
        """``event`` the first time that ``what`` is out; repeats are only counted."""
        since, count = self._outages.get(what, (time.monotonic(), 0))
        if count == 0:
            self.say(event, level=level, **values)
        if count or len(self._outages) < MAX_OUTAGES:
            self._outages[what] = (since, count + 1)

    def outage_over(self, what: str, event: str, **values: Any) -> None:  # noqa: ANN401
        """``event`` with how long and how often, if ``what`` was out."""
        if what in self._outages:
            since, count = self._outages.pop(what)
            self.say(event, **values, out_s=round(time.monotonic() - since, 1), tries=count)


class _Formatter(logging.Formatter):
    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().replace("\n", " | ")[:MAX_LINE]
        if record.exc_info and record.exc_info[1] is not None:
            # One line: a traceback in the journal is read by nobody at three in the morning, its last place is.
            text += f" error={_quote(repr(record.exc_info[1]))}"
        if self._journal:
            return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{stamp}.{int(record.msecs):03}Z {record.levelname.lower()} {text}"


def set_up(level: str = "info", *, write: Callable[[str], object] | None = None) -> None:
    """Send all logging of this process to standard error (or to ``write``), a line each."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if write is None else _Callback(write)
    handler.setFormatter(_Formatter(journal="JOURNAL_STREAM" in os.environ and write is None))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Without threads, processes and tasks in the record a line costs half.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class _Callback(logging.Handler):
    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))
