"""Lines appended to a file, for an agent that picks them up from there.

Promises: lines are on disk when `send` returns, in the file that has this name then; a line that a crash cut short is taken
away before the next is written, since its entry was not counted as delivered; a file that was rotated away is made anew; a
file that holds anything but lines of ours, such as the log itself, is left as it is. Does not: rotate.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from governance.errors import SettingsError, StorageFullError, TransferError
from governance.stream.sink import Message

_LONGEST_LINE: Final = 1 << 20


class FileSink:
    """A file readable by its owner (and group, where the umask lets them)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """See `Sink.send`."""
        data = b"".join(message.line + b"\n" for message in messages)
        with self._translated():
            descriptor = self._opened()
            end = os.fstat(descriptor).st_size
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    # A full disk leaves half a line otherwise. Never longer than it is: a rotation may have cut it.
                    os.ftruncate(descriptor, min(end, os.fstat(descriptor).st_size))
                raise
            if not self._is_current(descriptor) or os.fstat(descriptor).st_size < end + len(data):
                raise TransferError(f"`{self._path}` was moved or cut while it was written to")

    def close(self, *, gracefully: bool) -> None:  # noqa: ARG002 - the contract's argument; each batch is on disk
        """See `Sink.close`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self.close(gracefully=True)
        if self._descriptor is None:
            self._descriptor = self._open()
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        """Whether the path still leads to the open file."""
        try:
            found, held = self._path.stat(), os.fstat(descriptor)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o640)
        try:
            self._lock(descriptor)
            self._drop_torn_line(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _lock(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SettingsError(
                f"`{self._path}` is not a regular file", hint="Entries are appended to regular files alone."
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"another process writes to `{self._path}`", hint="Give each stream a file of its own."
            ) from error

    def _drop_torn_line(self, descriptor: int) -> None:
        """Cut off what follows the last end of line, where it is the beginning of a line of ours, or the nothing that a
        crash may leave in its place."""
        size = os.fstat(descriptor).st_size
        start = max(0, size - _LONGEST_LINE)
        last = os.pread(descriptor, _LONGEST_LINE, start)
        kept = last.rfind(b"\n") + 1
        torn, end = last[kept:], start + kept
        is_ours = (kept or not start) and (torn.startswith(b"{") or not torn.strip(b"\0"))
        if not is_ours or (end > 0 and os.pread(descriptor, 1, 0) != b"{"):
            raise SettingsError(
                f"`{self._path}` holds something else than lines of entries, and is left as it is",
                hint="Name another file; this one is not written to.",
            )
        if end != size:
            os.ftruncate(descriptor, end)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = StorageFullError if error.errno in {errno.ENOSPC, errno.EDQUOT} else TransferError
            raise kind(
                f"`{self._path}` cannot be written: {error.strerror}",
                hint="Fix the folder, its rights or the disk; the entries wait in the log.",
            ) from error
