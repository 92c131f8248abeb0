"""The wall clock and how far it can be believed."""

from __future__ import annotations

import struct
import time
from functools import cache
from typing import TYPE_CHECKING

from sos_contract.payloads import RELEASED_MS, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

# linux/timex.h: bit of `status` that the kernel keeps while nobody disciplines the clock.
STA_UNSYNC = 0x0040
# struct timex up to `status`: modes, offset, freq, maxerror, esterror, status, in the machine's own sizes.
_TIMEX_HEAD = struct.Struct("@Illlli")
_TIMEX_BYTES = 256  # 208 with 64-bit longs


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def quality() -> Quality:
    """``synced``: the kernel says that a time source disciplines it; ``holdover``: set once; ``unset``: never set."""
    if wall_ms() < RELEASED_MS:
        return "unset"
    status = _kernel_status()
    return "holdover" if status is None or status & STA_UNSYNC else "synced"


def _kernel_status() -> int | None:
    buffer = bytearray(_TIMEX_BYTES)
    try:
        if _adjtimex()(buffer) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return int(_TIMEX_HEAD.unpack_from(buffer)[5])


@cache
def _adjtimex() -> Callable[[bytearray], int]:
    # Loaded at first use: ctypes costs a megabyte that a command line need not pay.
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).adjtimex

    def read(buffer: bytearray) -> int:
        # modes = 0 only reads, which everybody may.
        return int(call((ctypes.c_char * len(buffer)).from_buffer(buffer)))

    return read
