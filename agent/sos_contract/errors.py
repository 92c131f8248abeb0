"""Errors that end a command: one line that says what is wrong, where, and what to do."""

from __future__ import annotations


class SafezoneError(Exception):
    """The world's fault: a port, a disk, a broker, a peer. The command ends with exit code 1."""

    exit_code = 1


class UserError(SafezoneError):
    """What the user gave cannot be used. The command ends with exit code 2."""

    exit_code = 2
