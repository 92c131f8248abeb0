"""The wire once more, from PROTOCOL.md alone: the standard library's hmac and a COBS that goes byte by byte.

Nothing of sos_wire is imported here: this is what the golden vectors and the worked example are held against.
"""

from __future__ import annotations

import hashlib
import hmac
import struct


def cobs(data: bytes) -> bytes:
    """Consistent overhead byte stuffing of less than 254 bytes."""
    out = bytearray()
    run = bytearray()
    for byte in data:
        if byte:
            run.append(byte)
        else:
            out += bytes([len(run) + 1]) + run
            run.clear()
    return bytes(out + bytes([len(run) + 1]) + run)


def digest(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def derive(key: bytes, label: str, data: bytes = b"") -> bytes:
    return digest(key, label.encode() + b"\0" + data)


def header(kind: int, address: int, session: int, sequence: int, uptime_ms: int, version: int = 1) -> bytes:
    return struct.pack("<BBHIIQ", version, kind, address, session, sequence, uptime_ms)


def wire(signed: bytes, key: bytes) -> bytes:
    """A sealed frame between its two zeros."""
    return b"\0" + cobs(signed + digest(key, signed)[:8]) + b"\0"


def session_keys(key: bytes, nonces: bytes) -> tuple[int, bytes, bytes]:
    """The session's number, the key up, the key down."""
    number = int.from_bytes(derive(key, "sos session", nonces)[:4], "little")
    return number, derive(key, "sos up", nonces), derive(key, "sos down", nonces)
