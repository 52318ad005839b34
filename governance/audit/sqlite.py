"""The SQLite store: one local file, for one host.

Promises: an entry is flushed to disk (WAL, `synchronous=FULL`) when `append` returns; the threads of a process share
one transaction at a time; several processes take turns by a blocking lock on a file beside the database, and each
reads the tree's frontier anew inside its turn. Does not: work over a network file system, or keep a person with write
access to the file from changing it. The triggers stop mistakes; the tree, and checkpoints kept elsewhere, show the rest.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from governance.audit.deflate import deflated, inflated
from governance.audit.entry import EntryKind
from governance.audit.group import GroupCommit
from governance.audit.merkle import HASH_SIZE, Frontier
from governance.audit.sqlite_file import (
    connect,
    empty_journal,
    free_space,
    make_file,
    mark_deflated,
    may_not_write,
    migrate,
    transaction,
    translated,
)
from governance.audit.sqlite_pool import ConnectionPool, using_sqlite
from governance.audit.sqlite_still import StillFile
from governance.audit.store import DOCUMENTS_AT_ONCE, Draft, EvidenceInfo, FramedRow, Query, Row, always
from governance.audit.tiles import HEIGHT, WIDTH, full_tiles, node_of_growing_tile, pack_tile, place_of
from governance.errors import AuditBrokenError, AuditConflictError, AuditUnavailableError
from governance.forking import file_lock
from governance.model.digest import Sha256

_PAGE = 256
_SHORT_OF_SPACE = 32 << 20
_MOST_ROWS = 64  # a power of two, so that a batch is at most a few statements, all of them in the cache
_SELECT = "SELECT seq, id, at, kind, subject, correlation, leaf, data FROM entry"
_OF_PAGE = "FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_SELECT_PAGE = f"SELECT seq, id, at, kind, subject, correlation, leaf, data {_OF_PAGE}"
_SELECT_BYTES = f"""SELECT seq, CAST(id AS BLOB), CAST(at AS BLOB), CAST(kind AS BLOB), CAST(subject AS BLOB),
    CAST(correlation AS BLOB), leaf, data {_OF_PAGE}"""
_SELECT_FRAMED = f"""SELECT seq, CAST('{{"at":"' || at || '","body":{{' AS BLOB),
    CAST(',"correlation":"' || correlation || '","id":"' || id || '","kind":"' || kind || '","subject":"' || subject
        || '","v":1,"writer":' AS BLOB), leaf, data {_OF_PAGE}"""

_ROW: Callable[[tuple[Any, ...]], Row] = functools.partial(
    tuple.__new__, Row
)  # `Row._make`, without its look at the length


class SqliteStore:
    """An `AuditStore` in the file `path`, readable by its owner alone. Made when it is not there, if `may_create`. Without
    `only_reads`, a file that may not be written to is refused. `bound` drafts wait at most, and each for `timeout` seconds, before an
    append is refused."""

    def __init__(
        self,
        path: Path,
        *,
        bound: int = 4_096,
        timeout: float = 30.0,
        may_create: bool = True,
        only_reads: bool = False,
    ) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        with translated(path):
            make_file(path, may_create=may_create and not only_reads)
            self._still = self._open(only_reads=only_reads)
            self._inode = _inode(path)
        self._pool = ConnectionPool(
            self._still.connect if self._still else functools.partial(connect, path, may_write=False)
        )
        self._group = GroupCommit(self._commit, bound=bound, timeout=timeout, name="audit-sqlite")

    def _open(self, *, only_reads: bool) -> StillFile | None:
        """Make or look at the file. Returns how it is read where it may not be written to, and that is all that is wanted."""
        try:
            with self._turn(), using_sqlite():
                migrate(self._path)
        except (OSError, apsw.Error) as error:
            if not (only_reads and may_not_write(error)):
                raise
            with using_sqlite():
                return StillFile(self._path)
        return None

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """See `AuditStore.append`."""
        return self._group.submit(drafts)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See `AuditStore.rows`. Reads page by page, so nothing is held between two of them."""
        while start < stop:
            upto = min(start + _PAGE, stop)
            yield from self._page(start, upto)
            start = upto

    def _page(self, start: int, stop: int) -> Iterator[Row]:
        try:
            return map(_ROW, self._read(_SELECT_PAGE, (start, stop)))
        except AuditBrokenError as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise
        return map(_mended, self._read(_SELECT_BYTES, (start, stop)))

    def framed_pages(self, start: int, stop: int) -> Iterator[Sequence[FramedRow]]:
        """See `FramedPages.framed_pages`."""
        while start < stop:
            upto = min(start - start % _PAGE + _PAGE, stop)
            yield self._read(_SELECT_FRAMED, (start, upto))
            start = upto

    def find(self, query: Query) -> Iterator[Row]:
        """See `AuditStore.find`. Entries appended while the caller reads may be among the answers."""
        where, values = ["seq > ?"], [query.kind, query.subject, query.correlation]
        for column, value in zip(("kind", "subject", "correlation"), values, strict=True):
            if value is not None:
                where.append(f"{column} = ?")
        if query.since is not None:
            where.append("at >= ?")
        bound = [str(value) for value in (*values, query.since) if value is not None]
        sql = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY seq LIMIT {_PAGE}"
        last = -1
        while True:
            page = self._read(sql, (last, *bound))
            yield from map(_ROW, page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def get(self, entry_id: str) -> Row | None:
        """See `AuditStore.get`."""
        found = self._read(f"{_SELECT} WHERE id = ?", (entry_id,))
        return Row._make(found[0]) if found else None

    def frontier(self) -> Frontier:
        """See `AuditStore.frontier`."""
        return Frontier.from_bytes(*self._read("SELECT size, frontier FROM head", ())[0])

    def node(self, level: int, index: int) -> bytes:
        """See `AuditStore.node`. Reads one hash from a full tile, or at most 128 where the tile is still growing."""
        with self._reader() as connection:
            return _node(connection, level, index)

    def evidence(self, sha256: Sha256) -> bytes | None:
        """See `AuditStore.evidence`."""
        sql = "SELECT body, size FROM evidence WHERE sha256 = ? AND body IS NOT NULL"
        found = self._read(sql, (sha256,))
        return inflated(*found[0]) if found else None

    def rows_at(self, numbers: Sequence[int]) -> Iterator[Row]:
        """See `ManyAtOnce.rows_at`."""
        marks = ", ".join("?" * len(numbers))
        return map(_ROW, self._read(f"{_SELECT} WHERE seq IN ({marks}) ORDER BY seq", numbers))

    def numbers_of(self, kind: EntryKind, correlations: Sequence[str]) -> list[int]:
        """See `ManyAtOnce.numbers_of`. An index alone answers it."""
        marks = ", ".join("?" * len(correlations))
        sql = f"SELECT seq FROM entry WHERE kind = ? AND correlation IN ({marks})"  # noqa: S608 - no values
        return sorted(row[0] for row in self._read(sql, (kind.value, *correlations)))

    def documents(self, digests: Sequence[Sha256]) -> Iterator[tuple[Sha256, bytes]]:
        """See `ManyAtOnce.documents`."""
        marks = ", ".join("?" * len(digests))
        sql = f"SELECT sha256, body, size FROM evidence WHERE sha256 IN ({marks}) AND sha256 > ? AND body IS NOT NULL ORDER BY sha256"  # noqa: S608 - no values
        last: str | None = ""
        while last is not None:
            with (
                self._reader() as connection,
                contextlib.closing(connection.execute(sql, (*digests, last))) as answer,
            ):
                part, last = _as_many_as_fit(answer)
            yield from part
            del part  # before the next one is read

    def kept(self, digests: Sequence[Sha256]) -> set[Sha256]:
        """See `ManyAtOnce.kept`."""
        marks = ", ".join("?" * len(digests))
        sql = f"SELECT sha256 FROM evidence WHERE sha256 IN ({marks})"  # noqa: S608 - no values
        return {row[0] for row in self._read(sql, digests)}

    def evidence_list(self) -> Iterator[EvidenceInfo]:
        """See `AuditStore.evidence_list`."""
        last = ""
        while True:
            page = self._read(
                "SELECT sha256, category, at, size, body IS NULL FROM evidence WHERE sha256 > ? "
                "ORDER BY sha256 LIMIT ?",
                (last, _PAGE),
            )
            for sha256, category, at, size, is_erased in page:
                yield EvidenceInfo(
                    sha256=sha256, category=category, at=at, size=size, is_erased=bool(is_erased)
                )
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        """See `AuditStore.erase`. `secure_delete` overwrites what is freed, here and wherever a page is laid out anew."""
        with (
            translated(self._path),
            self._turn(),
            using_sqlite(),
            contextlib.closing(connect(self._path)) as connection,
        ):
            with transaction(connection):
                if not may():
                    return False
                connection.executemany(
                    "UPDATE evidence SET body = NULL WHERE sha256 = ?", [(digest,) for digest in digests]
                )
            is_read = next(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))[0]
        if is_read:
            raise AuditUnavailableError(
                f"the documents are erased, but their bytes stay in `{self._path.name}-wal`, which another process reads just now",
                hint="Do the same again when it is done, such as a report or a search.",
            )
        return True

    def close(self) -> None:
        """See `AuditStore.close`."""
        self._group.close()
        self._pool.close()

    def _commit(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """One transaction for a batch. Runs in the group's one thread."""
        with translated(self._path), self._turn(), using_sqlite():
            if _inode(self._path) != self._inode:
                raise AuditBrokenError(f"the audit log `{self._path}` was replaced while it was in use")
            writer = self._pool.take_writer()  # so that a connection which failed is not used again
            if writer is None or free_space(self._path) < _SHORT_OF_SPACE:
                # The journal takes some megabytes before SQLite begins it anew. On a disk that is full, or was when the
                # last writer failed, it would take the very room that moving it into the database needs.
                empty_journal(self._path)
            connection = writer or connect(self._path)
            try:
                indexes = _insert(connection, drafts)
            except BaseException:
                with contextlib.suppress(apsw.Error):
                    connection.close()
                raise
            self._pool.keep_writer(connection)
            return indexes

    def _turn(self) -> contextlib.AbstractContextManager[int]:
        """Hold the file lock that puts writing processes in line."""
        return file_lock(self._lock_path)

    def _read(self, sql: str, values: Sequence[object]) -> list[Any]:
        with self._reader() as connection:
            return connection.execute(sql, tuple(values)).fetchall()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[apsw.Connection]:
        """A connection for one read, from a small pool."""
        with translated(self._path):
            with self._pool.reader() as connection:
                yield connection
            if self._still is not None:
                self._still.require_unchanged()


def _as_many_as_fit(answer: Iterable[Any]) -> tuple[list[tuple[Sha256, bytes]], str | None]:
    """The first documents of an answer, and the last of them where there are more."""
    part: list[tuple[Sha256, bytes]] = []
    size = 0
    for sha256, stored, length in answer:
        document = inflated(stored, length)
        part.append((sha256, document))
        size += len(document)
        if size >= DOCUMENTS_AT_ONCE:
            return part, sha256
    return part, None


def _mended(row: tuple[Any, ...]) -> Row:
    """A row, of which some text is not UTF-8: that becomes a replacement mark, which no entry's own bytes match."""
    seq, *texts, leaf, data = row
    return _ROW((seq, *(text.decode("utf-8", "replace") for text in texts), leaf, data))


def _insert(connection: apsw.Connection, drafts: Sequence[Draft]) -> Sequence[int]:
    try:
        with transaction(connection):
            return _insert_new(connection, drafts)
    except apsw.ConstraintError:
        # An id is there already: somebody repeats an append that was not confirmed.
        with transaction(connection):
            return _insert_missing(connection, drafts)


def _insert_missing(connection: apsw.Connection, drafts: Sequence[Draft]) -> Sequence[int]:
    known: dict[str, tuple[int, bytes]] = {}
    fresh: list[Draft] = []
    size = _head(connection).size
    for draft in drafts:
        identity = draft.id
        if identity not in known:
            found = connection.execute("SELECT seq, data FROM entry WHERE id = ?", (identity,)).fetchone()
            if found is None:
                found = (size + len(fresh), draft.data)
                fresh.append(draft)
            known[identity] = found
        if known[identity][1] != draft.data:
            raise AuditConflictError(f"entry id {identity} is already used for another entry")
    if fresh:
        _insert_new(connection, fresh)
    return [known[draft.id][0] for draft in drafts]


def _insert_new(connection: apsw.Connection, drafts: Sequence[Draft]) -> Sequence[int]:
    head = _head(connection)
    _insert_rows(connection, [(seq, *draft[:7]) for seq, draft in enumerate(drafts, head.size)])
    for draft in drafts:
        for sha256, document in draft.evidence:
            stored = deflated(document)
            if len(stored) < len(document):
                mark_deflated(connection)
            connection.execute(
                "INSERT INTO evidence VALUES (?, ?, ?, ?, ?) ON CONFLICT (sha256) DO UPDATE SET body = excluded.body "
                "WHERE body IS NULL",
                (sha256, draft.kind, draft.at, len(document), stored),
            )
    grown = head.extend([draft.leaf for draft in drafts])
    for height, number in full_tiles(head.size, grown.size):
        root, nodes = pack_tile(_children(connection, height, number * WIDTH, WIDTH))
        connection.execute("INSERT INTO tile VALUES (?, ?, ?, ?)", (height, number, root, nodes))
    connection.execute("UPDATE head SET size = ?, frontier = ?", (grown.size, grown.to_bytes()))
    return range(head.size, grown.size)


def _insert_rows(connection: apsw.Connection, rows: list[tuple[object, ...]]) -> None:
    """Many rows in few statements. Each step of a statement gives the interpreter's lock away, and would have to win it
    back from all the threads that wait to append."""
    start, count = 0, _MOST_ROWS
    while start < len(rows):
        while count > len(rows) - start:
            count //= 2
        sql = "INSERT INTO entry VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * count)  # noqa: S608 - no values
        connection.execute(sql, [value for row in rows[start : start + count] for value in row])
        start += count


def _head(connection: apsw.Connection) -> Frontier:
    """The frontier, read inside the turn since another process may have grown the tree. Rows and head must agree."""
    row: Any = connection.execute("SELECT size, frontier, (SELECT max(seq) FROM entry) FROM head").fetchone()
    size, packed, last = row
    if size != (0 if last is None else last + 1):
        raise AuditBrokenError(
            f"the audit log's head says {size} entries, but the last entry is {last}: entries were removed or added",
            index=size if last is None else min(size, last + 1),
            hint="Do not go on with this file. Keep it, and compare it with checkpoints and exports made earlier.",
        )
    return Frontier.from_bytes(size, packed)


def _node(connection: apsw.Connection, level: int, index: int) -> bytes:
    if level % HEIGHT:
        height, number, offset = place_of(level, index)
        found = connection.execute(
            "SELECT substr(nodes, ?, ?) FROM tile WHERE level = ? AND number = ?",
            (offset + 1, HASH_SIZE, height, number),
        ).fetchone()
        if found is not None:
            return bytes(found[0])

    def children(height: int, start: int, count: int) -> list[bytes]:
        return _children(connection, height, start, count)

    return node_of_growing_tile(children, level, index)


def _children(connection: apsw.Connection, height: int, start: int, count: int) -> list[bytes]:
    """Neighbouring complete nodes of tree level `8 * height`."""
    if height == 0:
        rows = connection.execute(
            "SELECT leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq", (start, start + count)
        )
    else:
        rows = connection.execute(
            "SELECT root FROM tile WHERE level = ? AND number >= ? AND number < ? ORDER BY number",
            (height - 1, start, start + count),
        )
    found = [row[0] for row in rows]
    if len(found) != count:
        raise AuditBrokenError(
            f"the audit log lacks hashes of level {height * HEIGHT} from {start} on",
            index=start << height * HEIGHT,
        )
    return found


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
