"""Text for a terminal or a log, whoever wrote it."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with each sign that would not show itself spelt as ``\\xNN``: a file, a peer or a forger may have
    written anything, and a terminal obeys some of it."""
    return text if text.isprintable() else "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def error_line(words: str) -> str:
    """What a program says of its error before it ends: one line on standard error."""
    return f"safezone: {printable(' '.join(words.split()))}\n"
