"""``python sandbox.py UNIT COMMAND…``: the command under what the kernel's seccomp can hold of that unit's sandbox.

The same filters that systemd would install: system calls, address families, writable and executable memory, namespaces.
What needs a manager (mounts, devices, users) is not here. Works without root, on any processor that libseccomp knows.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

ALLOW = 0x7FFF0000
EQUAL, MASKED = 4, 7  # how libseccomp compares an argument
PROT_WRITE, PROT_EXEC = 2, 4
SHM_EXEC = 0o100000
NEW_NAMESPACES = 0x7E020080  # CLONE_NEW… of linux/sched.h
FAMILIES = 46  # AF_MAX


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def refuse(number: int) -> int:
    """The action that fails with that errno."""
    return 0x00050000 | number


def settings(unit: Path) -> dict[str, list[str]]:
    """Every ``Key=value`` of a unit, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@cache
def group(name: str) -> frozenset[str]:
    """Names of the system calls in a group such as ``@system-service``, groups within it included."""
    if not name.startswith("@"):
        return frozenset({name})
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in told.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return frozenset().union(*(group(line) for line in lines))


def allowed(filters: list[str]) -> set[str]:
    """What ``SystemCallFilter=`` lets through: lists that allow, and lists (``~``) that take away again."""
    names = set(group("@default"))
    for words in filters:
        listed = {name for word in words.removeprefix("~").split() for name in group(word)}
        names = names - listed if words.startswith("~") else names | listed
    return names


class Filter:
    """One filter, made of rules; ``load`` holds it against this process and its children for good."""

    def __init__(self, default: int) -> None:
        self._lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(default)))
        assert self._context

    def add(self, action: int, name: str, *compared: Compare) -> None:
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # not on this processor
        array = (Compare * max(1, len(compared)))(*compared)
        added = self._lib.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, ctypes.c_uint(len(compared)), array
        )
        assert added == 0, (name, added)

    def load(self) -> None:
        assert self._lib.seccomp_load(self._context) == 0


def hold(unit: Path) -> None:
    """Install what ``unit`` says; NoNewPrivileges comes with it."""
    told = settings(unit)
    denied = refuse(1)  # EPERM
    assert told["SystemCallErrorNumber"] == ["EPERM"]
    if told.get("MemoryDenyWriteExecute") == ["yes"]:
        memory = Filter(ALLOW)
        both = PROT_WRITE | PROT_EXEC
        memory.add(denied, "mmap", Compare(2, MASKED, both, both))
        memory.add(denied, "mprotect", Compare(2, MASKED, PROT_EXEC, PROT_EXEC))
        memory.add(denied, "pkey_mprotect", Compare(2, MASKED, PROT_EXEC, PROT_EXEC))
        memory.add(denied, "shmat", Compare(2, MASKED, SHM_EXEC, SHM_EXEC))
        memory.load()
    known = {getattr(socket, name) for name in told["RestrictAddressFamilies"][0].split()}
    families = Filter(ALLOW)
    for family in set(range(FAMILIES)) - known:
        families.add(refuse(97), "socket", Compare(0, EQUAL, family, 0))  # EAFNOSUPPORT
    families.load()
    if told.get("RestrictNamespaces") == ["yes"]:
        spaces = Filter(ALLOW)
        for bit in (bit for bit in range(32) if NEW_NAMESPACES >> bit & 1):
            spaces.add(denied, "unshare", Compare(0, MASKED, 1 << bit, 1 << bit))
            spaces.add(denied, "clone", Compare(0, MASKED, 1 << bit, 1 << bit))
        spaces.load()
    calls = Filter(denied)
    for name in allowed(told["SystemCallFilter"]):
        calls.add(ALLOW, name)
    calls.load()


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
