"""Files that somebody named, read whole: never waited for, and never larger than anything of ours."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

# A site of a thousand points and all that can be said of them takes some three megabytes.
MAX_FILE_BYTES = 8 * 1024 * 1024


def read_file(path: Path, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """All that is in a file. Raises OSError, its ``strerror`` in words, for whatever is none, or a larger one."""
    try:
        # Without waiting: to open a pipe that nobody writes to would last for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
            data = file.read(most_bytes + 1)
    except ValueError:  # from Python, of a name with a zero in it
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from None
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes // 1024 // 1024} MB", str(path))
    return data
