"""The file under the SQLite store: its schema, how it is opened, and what its errors mean.

Promises: the file is made readable by its owner alone; one that is not ours, or of a newer version, is refused; every
error of SQLite and of the file system becomes one of ours, here and nowhere else.

SQLite comes with the package `apsw`, not with Python: it is the same on every machine, and not one of the releases up to 3.51.2
whose journal may corrupt a database that several processes write to (docs/adr/0023). No process may have a file open with two
copies of SQLite (sqlite.org/howtocorrupt.html, section 2.2.1), so nothing here goes through `sqlite3`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from governance.errors import AuditBrokenError, AuditUnavailableError, NewerLogError
from governance.places import make_private, open_made

_APPLICATION_ID = 0x6D6C676C  # "mlgl" in the file's header, so that `file` and we know it
_PLAIN, _DEFLATED = 1, 2
"""The versions. Their tables are the same; in a file of the second some documents lie deflated (`governance.audit.deflate`), which
programs that know the first alone would take for changed ones, and refuse to open."""
_BUSY_MS = 5_000
_PAGE_SIZE = (
    8_192  # twice the usual: a walk over the log reads a tenth faster, and a commit costs the same flush
)

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
CREATE INDEX entry_correlation ON entry (correlation, kind);
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


def make_file(path: Path, *, may_create: bool) -> None:
    """Make the file with the right mode before SQLite would make it with the wrong one."""
    if path.exists():
        return
    if not may_create:
        raise AuditUnavailableError(
            f"there is no audit log at `{path}`", hint="Check `audit_path` in the settings file."
        )
    make_private(path.parent)
    os.close(open_made(path))


def connect(path: Path, *, may_write: bool = True) -> apsw.Connection:
    """A connection that may be used from any thread, by one at a time. Commits are flushed to disk."""
    # Without `SQLITE_OPEN_CREATE`: a log that vanished must not come back empty.
    return _opened(path, apsw.SQLITE_OPEN_READWRITE, may_write=may_write)


def connect_to_read(path: Path, *, stands_still: bool) -> apsw.Connection:
    """A connection where nothing may be written. SQLite looks at no journal and takes no lock where the file `stands_still`."""
    return _opened(
        path, apsw.SQLITE_OPEN_READONLY, may_write=False, how="immutable=1" if stands_still else ""
    )


def require_log(path: Path, connection: apsw.Connection) -> None:
    """Refuse a file that is not ours, or of another version. Raises `AuditBrokenError`."""
    application, version, _ = _identity(connection)
    _require_ours(path, application, version)
    _require_tables(path, connection)


def _opened(path: Path, flags: int, *, may_write: bool, how: str = "") -> apsw.Connection:
    # Whoever takes a connection has it alone, so a lock around each value that is read would guard nothing.
    flags |= apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX
    connection = apsw.Connection(f"{path.absolute().as_uri()}?{how}", flags)
    connection.set_busy_timeout(_BUSY_MS)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")
    if may_write:  # a page that is laid out anew would keep what lay there, also once that is erased
        connection.execute("PRAGMA secure_delete = ON")
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def migrate(path: Path) -> None:
    """Make the schema in an empty file, and refuse a file that is not ours."""
    with contextlib.closing(connect(path)) as connection:
        application, version, tables = _identity(connection)
        if application == 0 and tables == 0:
            connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            connection.execute("PRAGMA journal_mode = WAL")
            with transaction(connection):
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_PLAIN}")
        else:
            _require_ours(path, application, version)
            _require_tables(path, connection)


def mark_deflated(connection: apsw.Connection) -> None:
    """Say in the file that a document in it is deflated, within the transaction that writes it."""
    if connection.execute("PRAGMA user_version").fetchall() != [(_DEFLATED,)]:
        connection.execute(f"PRAGMA user_version = {_DEFLATED}")


def _identity(connection: apsw.Connection) -> tuple[int, int, int]:
    """Whose file it is, of which version, and how many tables are in it."""
    application, version, tables = (
        int(connection.execute(sql).fetchall()[0][0])  # type: ignore[arg-type]  # these three are integers
        for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    return application, version, tables


def _require_ours(path: Path, application: int, version: int) -> None:
    if application != _APPLICATION_ID:
        raise AuditBrokenError(f"`{path}` is a SQLite file, but not an audit log")
    if version > _DEFLATED:
        raise NewerLogError(
            f"`{path}` is an audit log of version {version}; this program knows up to {_DEFLATED}"
        )
    if version < _PLAIN:
        raise AuditBrokenError(
            f"`{path}` is an audit log of the older version {version}; this program reads from version {_PLAIN} on",
            hint="Export it with the version of this program that wrote it, and begin a new log.",
        )


def _require_tables(path: Path, connection: apsw.Connection) -> None:
    """Refuse a file whose tables were made anew: it is their shape which keeps anything but texts and bytes out of them."""
    found = _tables(connection)
    for name, shape in _own_tables().items():
        if found.get(name) != shape:
            raise AuditBrokenError(
                f"the audit log `{path}` is damaged: its table `{name}` is not as this program made it",
                hint="Keep the file as it is, and compare it with checkpoints and exports made earlier.",
            )


@functools.cache
def _own_tables() -> dict[str, str]:
    with contextlib.closing(apsw.Connection(":memory:")) as connection:
        connection.execute(_SCHEMA)
        return _tables(connection)


def _tables(connection: apsw.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return {str(name): " ".join(str(shape).split()) for name, shape in rows}


@contextlib.contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All of it or nothing, with the write lock from the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


_NOT_NOW = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
)


def empty_journal(path: Path) -> None:
    """Move what the write-ahead journal holds into the database and cut the journal to nothing: as far as the disk has
    room, and where nobody reads at this moment. What cannot be moved stays in it, as good as before."""
    with contextlib.closing(connect(path)) as connection, contextlib.suppress(*_NOT_NOW):
        connection.set_busy_timeout(0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def free_space(path: Path) -> int:
    """Bytes that this user may still write to the file's disk."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


_MAY_NOT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
READ_ELSEWHERE = (
    "Give this user the right to write the file and its folder. To look into a log on read-only media, copy the file, with the "
    "`-wal` beside it if there is one, to a folder of your own, and name the copy as `audit_path` in the settings file."
)
_BROKEN = frozenset({apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB, apsw.SQLITE_SCHEMA})
_REASONS = {
    apsw.SQLITE_FULL: (
        "no space is left on its disk",
        "Free space on that disk; nothing was let through meanwhile.",
    ),
    apsw.SQLITE_READONLY: (
        "it is read-only",
        READ_ELSEWHERE,
    ),
    apsw.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Check the path and this user's rights on file and folder.",
    ),
    apsw.SQLITE_IOERR: ("its disk reports an error", "Look at the disk, or free space on it."),
    apsw.SQLITE_BUSY: (
        "another program holds it locked",  # which SQLite also says where there are no locks at all
        "Close the other program that has the file open. If there is none, the file system has no locks: put the log on a local disk.",
    ),
}


def may_not_write(error: OSError | apsw.Error) -> bool:
    """Whether it is the want of a right to write that kept a file from being opened. SQLite says of a journal that it may not
    make that it cannot open the file."""
    if isinstance(error, OSError):
        return error.errno in _MAY_NOT
    return _code(error) in {apsw.SQLITE_READONLY, apsw.SQLITE_CANTOPEN}


def _code(error: apsw.Error) -> int:
    """SQLite's primary result code, or 0 for what the binding itself objects to."""
    return getattr(error, "result", 0)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Where errors of SQLite and of the file system become errors of ours."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise AuditBrokenError(
            f"the audit log `{path}` is damaged: it holds a text that is not UTF-8"
        ) from error
    except apsw.Error as error:
        code = _code(error)
        if code in _BROKEN:
            raise AuditBrokenError(f"the audit log `{path}` is damaged: {error}") from error
        reason, hint = _REASONS.get(code, (str(error), None))
        raise AuditUnavailableError(f"the audit log `{path}` cannot be used: {reason}", hint=hint) from error
    except OSError as error:
        raise AuditUnavailableError(
            f"the audit log `{path}` cannot be used: {error.strerror or error}",
            hint=READ_ELSEWHERE
            if error.errno in _MAY_NOT
            else "Check the path, the disk and this user's rights.",
        ) from error
