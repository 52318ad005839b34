"""What a report counts and joins, in a temporary database on disk.

Promises: memory stays the same whatever the log's size, since rows go to the database in batches and come back one by one;
the file is gone when the ledger is closed, or its process ends. Does not: know what an entry means (see `filling`), or what a
section shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import apsw

from governance.model.people import person

_BATCH = 2_000
_SCHEMA = """
CREATE TABLE decision (
    n INTEGER PRIMARY KEY, seq INTEGER, id TEXT, at TEXT, later INTEGER, correlation TEXT, ref TEXT, action TEXT, kind TEXT,
    name TEXT, version TEXT, digest TEXT, size INTEGER, files INTEGER, actor TEXT, vouched INTEGER, environment TEXT,
    decision TEXT, mode TEXT, result TEXT, degraded TEXT, policy TEXT, revision INTEGER, facts TEXT, rules TEXT, waivers TEXT,
    writer TEXT, policies TEXT, omitted INTEGER, mlflow TEXT);
CREATE TABLE objection (
    n INTEGER, rule TEXT, effect TEXT, severity TEXT, message TEXT, remediation TEXT, waivable INTEGER, evidence TEXT);
CREATE TABLE waived (n INTEGER, rule TEXT, waiver TEXT);
CREATE TABLE outcome (
    seq INTEGER, id TEXT, at TEXT, later INTEGER, decision TEXT, action TEXT, status TEXT, count INTEGER, bytes INTEGER,
    error TEXT, digest TEXT, key_id TEXT, bundle TEXT, writer TEXT, ref TEXT);
CREATE TABLE event (seq INTEGER, id TEXT, at TEXT, span INTEGER, kind TEXT, subject TEXT, writer TEXT, event TEXT, body TEXT);
CREATE TABLE registration (
    seq INTEGER, id TEXT, at TEXT, span INTEGER, event TEXT, name TEXT, version TEXT, digest TEXT, ref TEXT, alias TEXT,
    stage TEXT, actor TEXT, vouched INTEGER, decision TEXT, before TEXT, now TEXT);
CREATE TABLE broken (seq INTEGER, id TEXT, at TEXT, why TEXT);
CREATE TABLE seen (
    n INTEGER PRIMARY KEY, state TEXT, scan TEXT, scan_age INTEGER, database_age INTEGER, total INTEGER,
    scanned INTEGER, skipped INTEGER, content TEXT, signature TEXT, key_id TEXT, unreachable TEXT);
CREATE TABLE tally (what TEXT, name TEXT, more TEXT, count INTEGER, first TEXT, last TEXT, PRIMARY KEY (what, name, more))
    WITHOUT ROWID;
CREATE TABLE dependency (environment TEXT, purl TEXT, ref TEXT, digest TEXT, decision TEXT);
CREATE TABLE turned (
    n INTEGER, at TEXT, ref TEXT, digest TEXT, environment TEXT, before TEXT, before_at TEXT, before_id TEXT, after TEXT,
    after_id TEXT, rules TEXT, advisory TEXT, published TEXT, first_seen TEXT, seconds INTEGER);
CREATE TABLE policy (
    n INTEGER PRIMARY KEY, seq INTEGER, id TEXT, at TEXT, digest TEXT, revision INTEGER, names TEXT, writer TEXT, state TEXT);
CREATE TABLE difference (n INTEGER, direction TEXT, rule TEXT, words TEXT, position TEXT);
CREATE TABLE waiver (
    terms TEXT PRIMARY KEY, name TEXT, rule TEXT, ref TEXT, digest TEXT, environments TEXT, actors TEXT, findings TEXT,
    reason TEXT, ticket TEXT, requested_by TEXT, approved_by TEXT, starts TEXT, expires TEXT, revoked TEXT, state TEXT,
    source TEXT) WITHOUT ROWID;
CREATE TABLE held (policy TEXT, terms TEXT, PRIMARY KEY (policy, terms)) WITHOUT ROWID;
"""
_INDEXES = """
CREATE INDEX decision_id ON decision (id);
CREATE INDEX decision_ref ON decision (ref, environment, result, n, action);
CREATE INDEX decision_bytes ON decision (ref, digest, environment, action, n);
CREATE INDEX objection_n ON objection (n);
CREATE INDEX waived_n ON waived (n);
CREATE INDEX waived_name ON waived (waiver, rule, n);
CREATE INDEX outcome_decision ON outcome (decision);
CREATE INDEX registration_digest ON registration (digest, event);
CREATE INDEX registration_version ON registration (now, version, event);
CREATE INDEX event_kind ON event (kind, event, subject);
"""


def _person(*names: object) -> str | None:
    """In queries: the form in which a person's name is compared."""
    (name,) = names
    return None if name is None else person(str(name))


class Ledger:
    """One report's working tables. A context manager; used by one thread."""

    def __init__(self) -> None:
        self._connection = apsw.Connection("")  # a file without a name, removed by SQLite
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA cache_size = -16384")  # 16 MiB
        self._connection.execute("PRAGMA temp_store = FILE")  # sorting spills to disk too
        self._connection.create_scalar_function("person", _person, 1, deterministic=True)
        self._connection.execute(_SCHEMA)
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        self._connection.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """One row of a table, written with others later."""
        waiting = self._waiting.setdefault(table, [])
        waiting.append(row)
        if len(waiting) >= _BATCH:
            self._write(table)

    def flush(self) -> None:
        """Write what waits."""
        for table in self._waiting:
            self._write(table)

    def index(self) -> None:
        """Call once all decisions, outcomes and events are in, and before anything is asked."""
        self.flush()
        self._connection.execute(_INDEXES)
        self._connection.execute("ANALYZE")

    def tally(self, what: str, counts: dict[tuple[str, str], tuple[int, str, str]]) -> None:
        """Add counts to those under `(what, name, more)`, each with the first and last time."""
        self._connection.executemany(
            "INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (what, name, more) DO UPDATE SET "
            "count = count + excluded.count, first = min(first, excluded.first), last = max(last, excluded.last)",
            [(what, *names, *values) for names, values in counts.items()],
        )

    def rows(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """What a query gives, one by one."""
        return iter(self._connection.execute(sql, tuple(values)))

    def row(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
        """The first row of a query that always gives one."""
        found: tuple[Any, ...] = next(self._connection.execute(sql, tuple(values)))
        return found

    def count(self, sql: str, values: Sequence[object] = ()) -> int:
        """The whole number that a query gives."""
        return int(self.row(sql, values)[0] or 0)

    def close(self) -> None:
        """Remove everything."""
        self._connection.close()

    def _write(self, table: str) -> None:
        waiting = self._waiting[table]
        if waiting:
            marks = ", ".join("?" * len(waiting[0]))
            self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", waiting)  # noqa: S608 - a name of ours
            waiting.clear()
