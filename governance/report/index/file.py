"""The index file: its schema, its identity, and sets of entries by term.

Promises: an index that is damaged is reported as `DamagedIndexError`, whatever SQLite calls it, and one that another version of this
program built as `OtherFormatError`; a file that is not ours, or cannot be made or written, as `NoIndexError`. Does not: know the log.

    posting(segment, term, first, places)   where in a segment a term is said; one row per time the segment was extended
    member(term, whole)                     wholes in which a term is contained
    span(segment, low, high)                earliest and latest `at` in the segment
    broken(number)                          entries that could not be read when they were indexed
    meta(name, value)                       size and root of the log that was read so far, and what its builder knew to read
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from governance.forking import file_lock
from governance.places import open_made
from governance.report.index.numbers import DamagedIndexError, Numbers, pack, unpack

FORMAT = 3
"""Raised with every change of terms, readers or packing: an index of another format is built anew."""

_APPLICATION_ID = 0x6D6C6769  # "mlgi"
_SCHEMA = (
    """CREATE TABLE posting (
        segment INTEGER NOT NULL, term INTEGER NOT NULL, first INTEGER NOT NULL, places BLOB NOT NULL,
        PRIMARY KEY (segment, term, first)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE member (term INTEGER NOT NULL, whole INTEGER NOT NULL, PRIMARY KEY (term, whole)) STRICT, WITHOUT ROWID",
    "CREATE TABLE span (segment INTEGER PRIMARY KEY, low TEXT NOT NULL, high TEXT NOT NULL) STRICT",
    "CREATE TABLE broken (number INTEGER PRIMARY KEY) STRICT",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
)  # fmt: skip
_AT_ONCE = 500
_UNUSABLE = frozenset({
    apsw.SQLITE_CANTOPEN, apsw.SQLITE_READONLY, apsw.SQLITE_FULL, apsw.SQLITE_IOERR, apsw.SQLITE_PERM,
    apsw.SQLITE_BUSY, apsw.SQLITE_LOCKED, apsw.SQLITE_AUTH,
})  # fmt: skip


class NoIndexError(Exception):
    """There can be no index here, and why."""


class OtherFormatError(Exception):
    """Another version of this program built the index, which is not damaged for that."""


class IndexFile:
    """An open index. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make it where there is none. Raises `NoIndexError`, `DamagedIndexError` or
        `OtherFormatError`."""
        self._path = path
        with translated():
            if not path.exists():
                # With the right mode before SQLite would make it with the wrong one.
                os.close(open_made(path))
            self._connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
            self._connection.set_busy_timeout(30_000)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        connection = self._connection
        application, version, tables = (
            int(connection.execute(sql).fetchall()[0][0])  # type: ignore[arg-type]  # these three are integers
            for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        if application == 0 and tables == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            with self.transaction():
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif application != _APPLICATION_ID:
            raise NoIndexError(f"`{self._path}` is another program's file")
        elif version != FORMAT:
            raise OtherFormatError(f"it is of format {version}, and this program builds format {FORMAT}")
        # What is lost in a power failure is read from the log again; the file itself stays sound.
        connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(apsw.Error):
                self._connection.execute("ROLLBACK")
            raise

    def meta(self) -> Mapping[str, str]:
        """What is remembered of the log."""
        with translated():
            return dict(self._connection.execute("SELECT name, value FROM meta"))

    def put_meta(self, values: Mapping[str, str]) -> None:
        """Remember. Inside a transaction."""
        with translated():
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def put_postings(self, segment: int, first: int, postings: Mapping[int, list[int]]) -> None:
        """Write where terms are said, in order of terms, so that the file grows at its end. Inside a transaction."""
        with translated():
            self._connection.executemany(
                "INSERT INTO posting VALUES (?, ?, ?, ?)",
                (
                    (segment, term, first, pack(_key(segment, term, first), postings[term]))
                    for term in sorted(postings)
                ),
            )

    def put_members(self, members: Mapping[int, Iterable[int]]) -> None:
        """Write which terms are contained in which wholes. Inside a transaction."""
        rows = sorted((term, whole) for whole, terms in members.items() for term in terms)
        with translated():
            self._connection.executemany("INSERT OR IGNORE INTO member VALUES (?, ?)", rows)

    def put_span(self, segment: int, low: str, high: str) -> None:
        """Widen the times of a segment. Inside a transaction."""
        with translated():
            self._connection.execute(
                "INSERT INTO span VALUES (?, ?, ?) ON CONFLICT (segment) DO UPDATE"
                " SET low = min(low, excluded.low), high = max(high, excluded.high)",
                (segment, low, high),
            )

    def put_broken(self, numbers: Iterable[int]) -> None:
        """Write down entries that cannot be read. Inside a transaction."""
        with translated():
            self._connection.executemany(
                "INSERT OR IGNORE INTO broken VALUES (?)", [(each,) for each in numbers]
            )

    def places(self, segment: int, terms: Sequence[int]) -> Numbers:
        """Where in a segment any of the terms is said."""
        return unpack(self._postings(segment, terms))

    def _postings(self, segment: int, terms: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
        """What was written of the terms, each part with its key."""
        for start in range(0, len(terms), _AT_ONCE):
            some = terms[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            with translated():
                rows: list[Any] = self._connection.execute(
                    f"SELECT term, first, places FROM posting WHERE segment = ? AND term IN ({marks})",  # noqa: S608 - no values
                    (segment, *some),
                ).fetchall()
            for term, first, packed in rows:
                yield _key(segment, term, first), packed

    def wholes(self, term: int) -> tuple[int, ...]:
        """The wholes that contain a term."""
        with translated():
            return tuple(
                row[0] for row in self._connection.execute("SELECT whole FROM member WHERE term = ?", (term,))
            )

    def spans(self) -> Mapping[int, tuple[str, str]]:
        """Earliest and latest time of each segment."""
        with translated():
            return {
                row[0]: (row[1], row[2])
                for row in self._connection.execute("SELECT segment, low, high FROM span")
            }

    def broken(self) -> tuple[int, ...]:
        """Entries that could not be read."""
        with translated():
            return tuple(
                row[0] for row in self._connection.execute("SELECT number FROM broken ORDER BY number")
            )


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold the lock that puts those who extend an index in line. Raises `NoIndexError`."""
    with contextlib.ExitStack() as held:
        with translated():
            held.enter_context(file_lock(path.with_name(path.name + ".lock")))
        yield


def remove(path: Path) -> None:
    """Take an index away, to build it anew. Whoever has it open reads on in the old one."""
    with translated():
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Where errors of SQLite and of the file system become one of two of ours."""
    try:
        yield
    except apsw.Error as error:
        if getattr(error, "result", 0) in _UNUSABLE:
            raise NoIndexError(str(error)) from error
        raise DamagedIndexError(str(error)) from error
    except OSError as error:
        raise NoIndexError(error.strerror or type(error).__name__) from error


def _key(segment: int, term: int, first: int) -> bytes:
    return b"%d %d %d" % (segment, term, first)
