"""What SQLite does to its files, recorded; and the folder as a disk may hold it after a power cut at any point of that.

A layer under the very library that Python's ``sqlite3`` uses: the default file layer of this process is one whose
files are those of the real one, but for writes, truncations, syncs and deletions, which are noted before they are done.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import random
import shutil
from collections import defaultdict
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p, cast, string_at
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from sos_edge import sqlite

SECTOR = 512  # what a disk writes whole or not at all
_OK = 0
_METHODS = (
    "close", "read", "write", "truncate", "sync", "size", "lock", "unlock", "check", "control", "sector", "traits",
    "shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch",
)  # fmt: skip
_CALLS = (
    "open", "delete", "access", "full_path", "dl_open", "dl_error", "dl_sym", "dl_close", "randomness", "sleep",
    "time", "last_error", "time_64", "set_call", "get_call", "next_call",
)  # fmt: skip


class _Methods(Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = (("version", c_int), *((name, c_void_p) for name in _METHODS))


class _Vfs(Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = (
        ("version", c_int), ("file_bytes", c_int), ("longest", c_int), ("next", c_void_p), ("name", c_char_p),
        ("data", c_void_p), *((name, c_void_p) for name in _CALLS),
    )  # fmt: skip


_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_OPEN_FOLDER = CFUNCTYPE(c_int, c_char_p, c_void_p)
_SET_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GET_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)


@dataclass(frozen=True, slots=True)
class Op:
    """``what``: write, truncate (``at`` is the new size), sync, create, delete, sync_folder or told.

    ``told`` is no operation: the program said something then (``data`` tells what) that a power cut must not undo.
    """

    what: str
    path: str = ""
    at: int = 0
    data: Any = b""


class RecordedDisk:
    """``with RecordedDisk(folder) as disk``: ``disk.ops`` is what happened to the databases that were opened meanwhile
    in ``folder``, in order."""

    def __init__(self, folder: Path) -> None:
        self.ops: list[Op] = []
        self._folder = str(folder.resolve())
        # The extension has the library in it or beside it: its symbols are found through it either way.
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._register: Callable[[Any, int], int] = library.sqlite3_vfs_register
        self._unregister: Callable[[Any], int] = library.sqlite3_vfs_unregister
        self._real = library.sqlite3_vfs_find(None)
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._open = _OPEN(self._opened)
        self._delete = _DELETE(self._deleted)
        self._vfs.name = b"recorded"
        self._vfs.open, self._vfs.delete = (cast(one, c_void_p).value for one in (self._open, self._delete))
        self._files: dict[int, str] = {}
        self._tables: dict[int, tuple[_Methods, tuple[Any, ...]]] = {}  # by the real one: ours, and what it calls
        real = self._real.contents
        get_call, self._set_call = _GET_CALL(real.get_call), _SET_CALL(real.set_call)
        self._real_open_folder = get_call(self._real, b"openDirectory")
        self._open_folder = _OPEN_FOLDER(self._opened_folder)

    def __enter__(self) -> RecordedDisk:
        assert self._register(byref(self._vfs), 1) == _OK
        self._set_call(self._real, b"openDirectory", cast(self._open_folder, c_void_p))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._set_call(self._real, b"openDirectory", self._real_open_folder)
        self._unregister(byref(self._vfs))
        self._register(self._real, 1)

    def tell(self, what: tuple[str, int | str]) -> None:
        """The program has said that, after the operations that allowed it."""
        self.ops.append(Op("told", data=what))

    def watch_folder_syncs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Record those of the program itself, too."""
        really = sqlite._sync_folder

        def sync_folder(folder: Path) -> None:
            really(folder)
            self.ops.append(Op("sync_folder"))

        monkeypatch.setattr(sqlite, "_sync_folder", sync_folder)

    # --- called by SQLite

    def _opened(self, vfs: int, name: int, file: int, flags: int, out: int) -> int:
        path = string_at(name).decode() if name else ""
        ours = path.startswith(self._folder + "/")
        new = ours and not Path(path).exists()
        code: int = _OPEN(self._real.contents.open)(vfs, name, file, flags, out)
        if code == _OK and ours:
            if new:
                self.ops.append(Op("create", path))
            methods = cast(file, POINTER(c_void_p))
            self._files[file] = path
            methods[0] = ctypes.addressof(self._table(methods[0] or 0))
        return code

    def _table(self, real: int) -> _Methods:
        """The real methods, but for those that are recorded."""
        if real not in self._tables:
            theirs = _Methods.from_address(real)
            table = _Methods.from_buffer_copy(theirs)
            close, write = _CLOSE(theirs.close), _WRITE(theirs.write)
            truncate, sync = _TRUNCATE(theirs.truncate), _SYNC(theirs.sync)

            def closed(file: int) -> int:
                self._files.pop(file, None)
                return int(close(file))

            def written(file: int, data: int, count: int, at: int) -> int:
                self.ops.append(Op("write", self._files[file], at, string_at(data, count)))
                return int(write(file, data, count, at))

            def truncated(file: int, size: int) -> int:
                self.ops.append(Op("truncate", self._files[file], size))
                return int(truncate(file, size))

            def synced(file: int, flags: int) -> int:
                code = int(sync(file, flags))
                self.ops.append(Op("sync", self._files[file]))
                return code

            calls = (_CLOSE(closed), _WRITE(written), _TRUNCATE(truncated), _SYNC(synced))
            table.close, table.write, table.truncate, table.sync = (cast(call, c_void_p).value for call in calls)
            self._tables[real] = (table, calls)
        return self._tables[real][0]

    def _deleted(self, vfs: int, name: bytes, sync_folder: int) -> int:
        if name.decode().startswith(self._folder + "/"):
            self.ops.append(Op("delete", name.decode()))
        return int(_DELETE(self._real.contents.delete)(vfs, name, sync_folder))

    def _opened_folder(self, name: bytes, descriptor: int) -> int:
        """SQLite opens a folder for one purpose: to sync it, at once."""
        code = int(_OPEN_FOLDER(self._real_open_folder)(name, descriptor))
        if code == _OK and name.decode().startswith(self._folder + "/"):
            self.ops.append(Op("sync_folder"))
        return code


@dataclass(slots=True)
class _File:
    """``data`` is what is on the disk for sure; ``pending`` may be, each part of it or not."""

    data: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)
    there: bool = False  # for sure
    now: bool = False


def leave(ops: list[Op], folder: Path, rng: random.Random) -> None:
    """Put into ``folder``, which is empty, what the disk may hold when the power goes behind these operations.

    Of each file all that was written before its last sync; of what came after, any part: each sector of each write, and
    each truncation, is done or not. Files that are new or deleted since the folder was last synced may be there or not.
    """
    files: dict[str, _File] = {}
    for op in ops:
        if op.what == "sync_folder":
            for file in files.values():
                file.there = file.now
        elif op.path:
            file = files.setdefault(op.path, _File())
            if op.what == "create":
                file.data, file.pending, file.now = bytearray(), [], True
            elif op.what == "delete":
                file.now = False
            elif op.what == "sync":
                for one in file.pending:
                    _apply(file.data, one, lambda: True)
                file.pending = []
            else:
                file.pending.append(op)
    luck = rng.choice((0.0, 0.5, 0.5, 0.9, 1.0))  # much, little or all of what was under way
    for path, file in files.items():
        if file.now if file.now == file.there else rng.random() < 0.5:
            for one in file.pending:
                _apply(file.data, one, lambda: rng.random() < luck)
            (folder / Path(path).name).write_bytes(file.data)


def _apply(data: bytearray, op: Op, happens: Callable[[], bool]) -> None:
    if op.what == "truncate":
        if happens():
            del data[op.at :]
            data.extend(bytes(op.at - len(data)))
        return
    at = op.at
    end = at + len(op.data)
    while at < end:
        until = min(end, at - at % SECTOR + SECTOR)
        if happens():
            data.extend(bytes(max(0, until - len(data))))
            data[at:until] = op.data[at - op.at : until - op.at]
        at = until


def cut_everywhere(
    ops: list[Op], folder: Path, count: int, seed: int, look: Callable[[Path, dict[str, set[int | str]]], object]
) -> list[str]:
    """What ``look`` found wrong after ``count`` cuts, or at every operation if there are no more.

    It gets a folder as the disk may hold it, and all that was told before the cut, by its first word.
    """
    rng = random.Random(seed)
    wrong = []
    for cut in sorted(rng.sample(range(len(ops) + 1), min(count, len(ops) + 1))):
        left = folder / f"cut-{cut}"
        left.mkdir()
        leave(ops[:cut], left, rng)
        told: dict[str, set[int | str]] = defaultdict(set)
        for op in ops[:cut]:
            if op.what == "told":
                told[op.data[0]].add(op.data[1])
        try:
            look(left, told)
        except AssertionError as error:
            wrong.append(f"cut behind operation {cut} of {len(ops)}: {str(error).partition(chr(10))[0]}")
        shutil.rmtree(left)
    return wrong
