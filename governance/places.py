"""Paths of this machine that somebody wrote into settings, and the small files that lie there.

Promises: a file without end is read to a limit and no further. What cannot be the name of a file is a `ValueError` that says so, before anything is opened: a `~` of nobody, more characters
than a name can have, control characters, nothing at all. Does not: look whether something is there.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_LONGEST: Final = 4_095
_LONGEST_PART: Final = 255
_LARGEST: Final = 1 << 20


def expanded(place: str | Path) -> Path:
    """The path that is meant, with a leading `~` replaced. Raises `ValueError`."""
    text = str(place)
    if not text.strip() or text != text.strip():
        raise ValueError("is empty, or begins or ends with a space")
    if any(char < " " or char == "\x7f" for char in text):
        raise ValueError("holds a control character, which no path has")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            "begins with `~`, and this user has no such home folder; write the whole path"
        ) from None
    if len(os.fsencode(path)) > _LONGEST or any(
        len(os.fsencode(part)) > _LONGEST_PART for part in path.parts
    ):
        raise ValueError("is longer than the name of a file can be")
    return path


def read_bounded(path: Path) -> bytes:
    """A key, a passphrase, a certificate: nothing of a mebibyte or more. Raises `OSError`, also for what is larger."""
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data
