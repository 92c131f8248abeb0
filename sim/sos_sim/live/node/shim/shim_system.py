"""What the board's `sys`, `select`, `micropython`, `os` and `time` have and the interpreter's lack, put in place."""

# mypy: ignore-errors
# Runs on MicroPython only; the names that it imports are modules of the interpreter or of board.mjs.
import builtins
import os
import select as _select
import sys as _sys
import time

import _board
import micropython as _micropython
import uctypes

POLLIN = _select.POLLIN
POLLOUT = _select.POLLOUT


class _Usb:
    """The USB serial port as a stream of bytes; reading waits until all is there, as on the board."""

    def any(self) -> int:
        return _board.usb_any()

    def readinto(self, buffer: object, size: int = -1) -> int:
        want = len(buffer) if size < 0 else min(size, len(buffer))
        got = 0
        while got < want:
            got += _board.usb_read(uctypes.addressof(buffer) + got, want - got)
            if got < want:
                _board.sleep_us(1000)
                _board.usb_any()
        return got

    def read(self, size: int = -1) -> bytes:
        buffer = bytearray(_board.usb_any() if size < 0 else size)
        self.readinto(buffer)
        return bytes(buffer)

    def write(self, data: object) -> int:
        if isinstance(data, str):
            data = data.encode()
        return _board.usb_write(uctypes.addressof(data), len(data)) if len(data) else 0

    def flush(self) -> None:
        """Nothing waits here."""


class _Text(_Usb):
    """sys.stdin and sys.stdout: the same port, as text."""

    def __init__(self) -> None:
        self.buffer = _Usb()

    def read(self, size: int = -1) -> str:
        return _Usb.read(self, size).decode()


class _Poll:
    """select.poll over the two streams a board has here: USB and UART."""

    def __init__(self) -> None:
        self._watched = []

    def register(self, stream: object, mask: int = POLLIN | POLLOUT) -> None:
        self.unregister(stream)
        self._watched.append([stream, mask])

    modify = register

    def unregister(self, stream: object) -> None:
        self._watched = [pair for pair in self._watched if pair[0] is not stream]

    def poll(self, timeout: int = -1) -> list:
        waited = 0
        while True:
            ready = []
            for stream, mask in self._watched:
                found = (POLLIN if mask & POLLIN and stream.any() else 0) | (mask & POLLOUT)
                if found:
                    ready.append((stream, found))
            if ready or 0 <= timeout <= waited:
                return ready
            _board.sleep_us(1000)
            waited += 1

    def ipoll(self, timeout: int = -1, flags: int = 0) -> object:
        return iter(self.poll(timeout))


class _Module:
    """A module with some names of our own; all others are the interpreter's."""

    def __init__(self, module: object, **own: object) -> None:
        for name in dir(module):
            if not name.startswith("__"):
                setattr(self, name, getattr(module, name))
        for name, value in own.items():
            setattr(self, name, value)


def _urandom(size: int) -> bytes:
    buffer = bytearray(size)
    _board.random(uctypes.addressof(buffer), size)
    return bytes(buffer)


def _statvfs(path: str) -> tuple:
    """The board's file system: blocks of 4096 bytes, as far as the journal."""
    blocks = _board.files_size() // 4096
    return (4096, 4096, blocks, blocks // 2, blocks // 2, 0, 0, 0, 0, 255)


# The interpreter's C library counts errors its own way; a board's numbers are those of Linux. ENOENT, EACCES, EEXIST,
# ENOTDIR, EISDIR, EINVAL, ENOTEMPTY.
_ERRORS = {44: 2, 2: 13, 20: 17, 54: 20, 31: 21, 28: 22, 55: 39}
_FILE_CALLS = ("chdir", "ilistdir", "listdir", "mkdir", "remove", "rename", "rmdir", "stat", "unlink")


def _with_board_errors(call: object) -> object:
    def wrapped(*args: object, **options: object) -> object:
        try:
            return call(*args, **options)
        except OSError as error:
            raise OSError(_ERRORS.get(error.errno, error.errno)) from None

    return wrapped


def install(chip: str) -> None:
    """Put it all in place for `chip`, the name sys.platform has there: rp2 or esp32."""
    usb = _Text()
    modules = _sys.modules
    modules["sys"] = _Module(_sys, platform=chip, stdin=usb, stdout=usb)
    modules["select"] = _Module(_select, poll=_Poll)
    modules["micropython"] = _Module(
        _micropython, kbd_intr=_board.kbd_intr, alloc_emergency_exception_buf=lambda size: None
    )
    os.urandom = _urandom
    os.statvfs = _statvfs
    for name in _FILE_CALLS:
        setattr(os, name, _with_board_errors(getattr(os, name)))
    builtins.open = _with_board_errors(open)
    time.ticks_us = _board.ticks_us
    time.sleep = lambda seconds: _board.sleep_us(int(seconds * 1_000_000))
    time.sleep_ms = lambda ms: _board.sleep_us(ms * 1000)
    time.sleep_us = _board.sleep_us
