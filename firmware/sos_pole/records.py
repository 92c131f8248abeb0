"""The journal's slots: 32 bytes each, a checksum over what never changes, and bytes of ones that are cleared later.

Byte 0: type. 1: state (all ones: live; 0: released or void). 2: closed. 3 to 10: 64 bits, cleared one by one to count.
11 to 27: the body. 28 to 31: CRC-32 of byte 0 and the body. Clearing is the one thing that flash does without erasing.
"""

import struct
from binascii import crc32

SLOT = 32
STATE, CLOSED, BITS, BODY, CRC = 1, 2, 3, 11, 28
BITS_BYTES = 8
BIT_COUNT = 64
BOOT, PRESS, MARK, KEY, TRIAL = 0xB0, 0xA5, 0x5E, 0x4B, 0x2D
PART = CRC - BODY - 1  # bytes of a key in one slot; a key and what it is checked by take three
KEY_SLOTS = 6
BLANK = b"\xff" * SLOT
_BOOT = "<BQII"  # format of the journal, incarnation, generation of the bank, boots before the counted ones
_PRESS = "<BHIIIH"  # kind (+ 0x80: counts repeats), repeats before the counted ones, boot, press, uptime (48 bits)
_FORMAT = 1
COUNTS = 0x80


def _slot(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + b"\xff" * (BODY - 1) + body + struct.pack("<I", crc32(body, crc32(bytes((kind,)))))


def boot_slot(incarnation: int, generation: int, base: int) -> bytes:
    """A bank's identity; the first one in a bank makes everything else in it count."""
    return _slot(BOOT, struct.pack(_BOOT, _FORMAT, incarnation, generation, base))


def press_slot(kind: int, counts: bool, repeats: int, boot: int, press: int, at_ms: int) -> bytes:
    """A press, unreleased."""
    flag = COUNTS if counts else 0
    packed = struct.pack(_PRESS, kind | flag, repeats, boot, press, at_ms & 0xFFFFFFFF, at_ms >> 32 & 0xFFFF)
    return _slot(PRESS, packed)


def mark_slot() -> bytes:
    """The wish to open the REPL at the next start."""
    return _slot(MARK, b"\x00" * (CRC - BODY))


def key_slot(kind: int, record: bytes, index: int) -> bytes:
    """One of KEY_SLOTS: a key's record (``keys.py``) in its parts, in order, and once more: one bad bit must not take a
    pole's key away."""
    part = index % 3
    return _slot(kind, bytes((part,)) + record[PART * part : PART * part + PART])


def valid(slot: bytes) -> bool:
    """Whether type and body are as they were written."""
    if slot[0] not in (BOOT, PRESS, MARK, KEY, TRIAL):
        return False
    crc: int = struct.unpack_from("<I", slot, CRC)[0]
    found: int = crc32(slot[BODY:CRC], crc32(slot[:1]))
    return found == crc


def boot_body(slot: bytes) -> "tuple[int, int, int]":
    """Incarnation, generation and boots before the counted ones."""
    body = struct.unpack_from(_BOOT, slot, BODY)
    return body[1], body[2], body[3]


def press_body(slot: bytes) -> "tuple[int, bool, int, int, int, int]":
    """Kind, whether it counts repeats, repeats before the counted ones, boot, press, uptime."""
    body = struct.unpack_from(_PRESS, slot, BODY)
    return body[0] & 0x7F, body[0] >= COUNTS, body[1], body[2], body[3], body[4] | body[5] << 32


def counted(slot: bytes) -> int:
    """How many of the 64 bits are cleared."""
    cleared = 0
    for byte in slot[BITS : BITS + BITS_BYTES]:
        byte ^= 0xFF
        while byte:
            cleared += byte & 1
            byte >>= 1
    return cleared
