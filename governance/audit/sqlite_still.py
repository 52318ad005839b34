"""A log that may be read and not written to: on read-only media, in a read-only mount, in another user's folder.

SQLite keeps a journal beside the file, and an index of that journal in shared memory, which it must be able to write even to read.
Where it may not, there are two ways left, tried in this order:

1. the journal's index is there, because somebody writes to the log at this moment: it is used as it is;
2. the journal is not there or is empty, so that all entries are in the file: the file is read as one that stands still.

Promises: no entry is left out, since a journal that holds something and cannot be read is an error; and what is read as standing still
did so, or it is an error: file and journal are looked at again after each read. Does not: write, make or lock anything.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import apsw

from governance.audit.sqlite_file import READ_ELSEWHERE, connect_to_read, require_log
from governance.errors import AuditUnavailableError

_NONE = -1


class StillFile:
    """The file at `path`, for those who only read. Raises `AuditUnavailableError` where that cannot be done without leaving out
    entries, and SQLite's errors for a file that is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        try:
            self._require_log()
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError) as error:
            self._stand_still(error)
            self._require_log()

    def connect(self) -> apsw.Connection:
        """A connection to read with."""
        return connect_to_read(self._path, stands_still=self._seen is not None)

    def require_unchanged(self) -> None:
        """Raise `AuditUnavailableError` where what was read may be of two times."""
        if self._seen is not None and self._look() != self._seen:
            raise AuditUnavailableError(
                f"the audit log `{self._path}` is written to, and this user cannot read it meanwhile",
                hint=READ_ELSEWHERE,
            )

    def _require_log(self) -> None:
        with contextlib.closing(self.connect()) as connection:
            require_log(self._path, connection)

    def _stand_still(self, error: apsw.Error) -> None:
        seen = self._look()
        if seen[-1] > 0:
            raise AuditUnavailableError(
                f"the newest entries of the audit log `{self._path}` are in its journal, which cannot be read without the right "
                "to write beside it",
                hint=READ_ELSEWHERE,
            ) from error
        self._seen = seen

    def _look(self) -> tuple[int, ...]:
        """What is different once anybody has written: a writer fills the journal before it touches the file."""
        found = self._path.stat()
        try:
            journal = self._path.with_name(self._path.name + "-wal").stat().st_size
        except FileNotFoundError:
            journal = _NONE
        return found.st_ino, found.st_size, found.st_mtime_ns, journal
