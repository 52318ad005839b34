"""The SQLite store: one local file, for one host.

Promises: an entry is flushed to disk (WAL, `synchronous=FULL`) when `append` returns; the threads of a process share
one transaction at a time; several processes take turns by a blocking lock on a file beside the database, and each
reads the tree's frontier anew inside its turn. Does not: work over a network file system, or keep a person with write
access to the file from changing it. The triggers stop mistakes; the tree, and checkpoints kept elsewhere, show the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from governance.audit.fork import call_after_fork
from governance.audit.group import GroupCommit
from governance.audit.merkle import Frontier, next_level, node_hash, perfect_root
from governance.audit.store import Draft, EvidenceInfo, Query, Row
from governance.errors import AuditBrokenError, AuditConflictError, AuditUnavailableError
from governance.model.digest import Sha256

_APPLICATION_ID = 0x6D6C676C  # "mlgl" in the file's header, so that `file` and we know it
_SCHEMA_VERSION = 1
_TILE = 256
_TILE_HEIGHT = 8
_PAGE = 256
_POOL = 8
_SELECT = "SELECT seq, id, at, kind, subject, correlation, leaf, data FROM entry"

_SCHEMA = """
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    correlation TEXT NOT NULL,
    leaf BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX entry_subject ON entry (subject, kind);
CREATE INDEX entry_correlation ON entry (correlation);
CREATE INDEX entry_kind ON entry (kind);
-- The hashes of every 256 neighbouring nodes of one level and of the 7 levels above them; `root` is the level above that.
CREATE TABLE tile (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    root BLOB NOT NULL,
    nodes BLOB NOT NULL,
    PRIMARY KEY (level, number)
) STRICT;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, frontier BLOB NOT NULL) STRICT;
INSERT INTO head VALUES (1, 0, x'');
CREATE TABLE evidence (
    sha256 TEXT PRIMARY KEY, category TEXT NOT NULL, at TEXT NOT NULL, size INTEGER NOT NULL, body BLOB
) STRICT;
CREATE TRIGGER entry_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entry_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;
CREATE TRIGGER tile_update BEFORE UPDATE ON tile BEGIN SELECT RAISE(ABORT, 'tiles are never changed'); END;
CREATE TRIGGER tile_delete BEFORE DELETE ON tile BEGIN SELECT RAISE(ABORT, 'tiles are never removed'); END;
CREATE TRIGGER head_update BEFORE UPDATE ON head WHEN NEW.size < OLD.size
    BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
CREATE TRIGGER head_delete BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'the head is never removed'); END;
CREATE TRIGGER evidence_update BEFORE UPDATE ON evidence
    WHEN NEW.sha256 <> OLD.sha256 OR (OLD.body IS NOT NULL AND NEW.body IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'evidence is only erased'); END;
CREATE TRIGGER evidence_delete BEFORE DELETE ON evidence
    BEGIN SELECT RAISE(ABORT, 'digests of evidence are never removed'); END;
"""


class SqliteStore:
    """An `AuditStore` in the file `path`, readable by its owner alone. Made when it is not there, if `may_create`."""

    def __init__(
        self, path: Path, *, bound: int = 4_096, timeout: float = 30.0, may_create: bool = True
    ) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._abandoned: list[sqlite3.Connection] = []
        self._readers: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._is_closed = False
        self._guard = threading.Lock()
        with _translated(path):
            _create(path, may_create=may_create)
            with self._turn():
                _migrate(path)
            self._inode = _inode(path)
        self._group = GroupCommit(self._commit, bound=bound, timeout=timeout, name="audit-sqlite")
        call_after_fork(self._forget)

    def _forget(self) -> None:
        """After a fork: SQLite forbids to use the parent's connections, even to close them, so they are set aside."""
        self._guard = threading.Lock()
        self._abandoned += [*self._readers, *([self._writer] if self._writer else [])]
        self._readers, self._writer = [], None

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """See `AuditStore.append`."""
        return self._group.submit(drafts)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See `AuditStore.rows`. Reads page by page, so nothing is held between two of them."""
        while start < stop:
            upto = min(start + _PAGE, stop)
            page = self._read(f"{_SELECT} WHERE seq >= ? AND seq < ? ORDER BY seq", (start, upto))
            yield from map(Row._make, page)
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
            yield from map(Row._make, page)
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
        found = self._read("SELECT body FROM evidence WHERE sha256 = ?", (sha256,))
        return found[0][0] if found else None

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

    def erase(self, digests: Sequence[Sha256]) -> None:
        """See `AuditStore.erase`. `secure_delete` overwrites the freed pages."""
        with _translated(self._path), self._turn(), contextlib.closing(_connect(self._path)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            with _transaction(connection):
                connection.executemany(
                    "UPDATE evidence SET body = NULL WHERE sha256 = ?", [(digest,) for digest in digests]
                )
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """See `AuditStore.close`."""
        self._group.close()
        with self._guard:
            self._is_closed = True
            readers, self._readers = self._readers, []
            writer, self._writer = self._writer, None
        for connection in (*readers, *([writer] if writer else [])):
            connection.close()

    def _commit(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """One transaction for a batch. Runs in the group's one thread."""
        with _translated(self._path), self._turn():
            if _inode(self._path) != self._inode:
                raise AuditBrokenError(f"the audit log `{self._path}` was replaced while it was in use")
            connection = self._writer or _connect(self._path)
            self._writer = None  # so that a connection which failed is not used again
            try:
                indexes = _insert(connection, drafts)
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
                raise
            self._writer = connection
            return indexes

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the file lock that puts writing processes in line. The kernel wakes the next one: no polling, and a
        process that dies gives the lock back."""
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self, sql: str, values: Sequence[object]) -> list[Any]:
        with self._reader() as connection:
            return connection.execute(sql, tuple(values)).fetchall()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection for one read, from a small pool."""
        with _translated(self._path):
            with self._guard:
                if self._is_closed:
                    raise AuditUnavailableError("the audit log is closed")
                connection = self._readers.pop() if self._readers else None
            connection = connection or _connect(self._path, may_write=False)
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            if not self._is_closed and len(self._readers) < _POOL:
                self._readers.append(connection)
                return
        connection.close()


def _create(path: Path, *, may_create: bool) -> None:
    """Make the file with the right mode before SQLite would make it with the wrong one."""
    if path.exists():
        return
    if not may_create:
        raise AuditUnavailableError(f"there is no audit log at `{path}`", hint="Check `MLGOV_AUDIT_PATH`.")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _connect(path: Path, *, may_write: bool = True) -> sqlite3.Connection:
    # Mode `rw` and not `rwc`: a log that vanished must not come back empty.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")
    if not may_write:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _migrate(path: Path) -> None:
    """Make the schema in an empty file, and refuse a file that is not ours."""
    with contextlib.closing(_connect(path)) as connection:
        application, version, tables = (
            int(connection.execute(sql).fetchone()[0])
            for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if application == 0 and tables == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            with _transaction(connection):
                for statement in _statements(_SCHEMA):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        elif application != _APPLICATION_ID:
            raise AuditBrokenError(f"`{path}` is a SQLite file, but not an audit log")
        elif version > _SCHEMA_VERSION:
            raise AuditBrokenError(
                f"`{path}` is an audit log of version {version}; this program knows up to {_SCHEMA_VERSION}",
                hint="Use the newer version of this program that wrote it.",
            )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, since `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _insert(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> Sequence[int]:
    try:
        with _transaction(connection):
            return _insert_new(connection, drafts)
    except sqlite3.IntegrityError:
        # An id is there already: somebody repeats an append that was not confirmed.
        with _transaction(connection):
            return _insert_missing(connection, drafts)


def _insert_missing(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> Sequence[int]:
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


def _insert_new(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> Sequence[int]:
    head = _head(connection)
    connection.executemany(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(seq, *draft[:7]) for seq, draft in enumerate(drafts, head.size)],
    )
    for draft in drafts:
        for sha256, document in draft.evidence:
            connection.execute(
                "INSERT INTO evidence VALUES (?, ?, ?, ?, ?) ON CONFLICT (sha256) DO UPDATE SET body = excluded.body "
                "WHERE body IS NULL",
                (sha256, draft.kind, draft.at, len(document), document),
            )
    grown = head.extend([draft.leaf for draft in drafts])
    for number in range(head.size // _TILE, grown.size // _TILE):
        _write_tile(connection, 0, number)
    connection.execute("UPDATE head SET size = ?, frontier = ?", (grown.size, grown.to_bytes()))
    return range(head.size, grown.size)


def _head(connection: sqlite3.Connection) -> Frontier:
    """The frontier, read inside the turn since another process may have grown the tree. Rows and head must agree."""
    row: tuple[int, bytes, int | None] = connection.execute(
        "SELECT size, frontier, (SELECT max(seq) FROM entry) FROM head"
    ).fetchone()
    size, packed, last = row
    if size != (0 if last is None else last + 1):
        raise AuditBrokenError(
            f"the audit log's head says {size} entries, but the last entry is {last}: entries were removed or added",
            index=size if last is None else min(size, last + 1),
            hint="Do not go on with this file. Keep it, and compare it with checkpoints and exports made earlier.",
        )
    return Frontier.from_bytes(size, packed)


def _write_tile(connection: sqlite3.Connection, level: int, number: int) -> None:
    """Keep the hashes of 256 complete nodes and of the levels above, and so on upwards where a higher tile is full."""
    nodes = _children(connection, level * _TILE_HEIGHT, number * _TILE, _TILE)
    levels = [nodes]
    while len(levels[-1]) > 2:
        levels.append(next_level(levels[-1]))
    packed = b"".join(hash_ for row in levels for hash_ in row)
    root = node_hash(*levels[-1])
    connection.execute("INSERT INTO tile VALUES (?, ?, ?, ?)", (level, number, root, packed))
    if (number + 1) % _TILE == 0:
        _write_tile(connection, level + 1, number // _TILE)


def _node(connection: sqlite3.Connection, level: int, index: int) -> bytes:
    height, above = divmod(level, _TILE_HEIGHT)
    if above == 0:
        return _children(connection, level, index, 1)[0]
    width = _TILE >> above
    number, place = divmod(index, width)
    # The levels of a tile lie one after another: 256 hashes, 128, 64 and so on; those below `above` come first.
    offset = (2 * _TILE - 2 * width + place) * 32 + 1
    found = connection.execute(
        "SELECT substr(nodes, ?, 32) FROM tile WHERE level = ? AND number = ?", (offset, height, number)
    ).fetchone()
    if found is not None:
        return bytes(found[0])
    return perfect_root(_children(connection, height * _TILE_HEIGHT, index << above, 1 << above))


def _children(connection: sqlite3.Connection, level: int, start: int, count: int) -> list[bytes]:
    """Neighbouring complete nodes of a level that is a multiple of 8."""
    sql = (
        "SELECT leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq"
        if level == 0
        else "SELECT root FROM tile WHERE number >= ? AND number < ? AND level = ? ORDER BY number"
    )
    values = (start, start + count) if level == 0 else (start, start + count, level // _TILE_HEIGHT - 1)
    found = [row[0] for row in connection.execute(sql, values)]
    if len(found) != count:
        raise AuditBrokenError(
            f"the audit log lacks hashes of level {level} from {start} on", index=start << level
        )
    return found


_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA})
_REASONS = {
    sqlite3.SQLITE_FULL: (
        "no space is left on its disk",
        "Free space on that disk; nothing was let through meanwhile.",
    ),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "Give this user the right to write the file and its folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Check the path and this user's rights on file and folder.",
    ),
    sqlite3.SQLITE_IOERR: ("its disk reports an error", "Look at the disk, or free space on it."),
    sqlite3.SQLITE_BUSY: (
        "another program holds it locked",
        "Close the other program that has the file open.",
    ),
}


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """The one place where errors of SQLite and of the file system become errors of ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Extended codes carry the primary one in their low byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BROKEN:
            raise AuditBrokenError(f"the audit log `{path}` is damaged: {error}") from error
        reason, hint = _REASONS.get(code, (str(error), None))
        raise AuditUnavailableError(f"the audit log `{path}` cannot be used: {reason}", hint=hint) from error
    except OSError as error:
        raise AuditUnavailableError(
            f"the audit log `{path}` cannot be used: {error.strerror or error}",
            hint="Check the path, the disk and this user's rights.",
        ) from error
