"""Opening a file of this machine so that it is the file that was named. Used before and while it is uploaded.

Promises: a symbolic link in the file's own place is never followed, also not one put there a moment ago; what opens is a regular file.
Does not: look at the folders on the way.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from governance.errors import TransferError, UnsafePathError

# Opening a pipe would wait for whoever writes to it; a regular file is opened the same with and without.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def open_local(path: Path) -> BufferedReader:
    """Open a regular file for reading. Raises `UnsafePathError` for a symbolic link, also one put there just now."""
    try:
        file = open(os.open(path, _FLAGS), "rb")  # noqa: PTH123, SIM115 - no pathlib form knows O_NOFOLLOW; the caller closes it
    except OSError as error:
        if path.is_symlink():
            raise UnsafePathError(
                f"`{path}` is a symbolic link, which is not followed", hint="Log the file it points to."
            ) from error
        raise TransferError(f"`{path}` cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnsafePathError(f"`{path}` is not a regular file")
    return file
