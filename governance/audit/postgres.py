"""The PostgreSQL store: one log for many hosts.

Promises: an entry is committed and flushed when `append` returns. It has no place in the tree then, so its index is not
known yet: one leader, whichever process holds an advisory lock, gives places in batches, and the next one takes over
when it dies. Writers never wait for each other, and never for the leader. Does not: keep the database's owner from
rewriting it; the tree, and checkpoints kept elsewhere, show that.

Sequence numbers of the database have gaps and commit out of order, which is why `ticket` only orders the queue and
`seq`, the leaf index, is counted by the leader from the head row it holds locked.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from governance.audit.entry import EntryKind
from governance.audit.group import GroupCommit
from governance.audit.merkle import HASH_SIZE, Frontier
from governance.audit.postgres_schema import INDEXED, connect, is_shortage, is_starting, migrate, translated
from governance.audit.sequencer import CHANNEL, Sequencer, children
from governance.audit.store import DOCUMENTS_AT_ONCE, Draft, EvidenceInfo, Query, Row, always
from governance.audit.tiles import HEIGHT, node_of_growing_tile, place_of
from governance.errors import AuditBrokenError, AuditConflictError, AuditUnavailableError
from governance.forking import call_after_fork
from governance.model.digest import Sha256

_PAGE = 256
_POOL = 8
_SHORTAGE, _BETWEEN_TRIES = 5.0, 0.1
_NOTIFY_EVERY = 0.02
_LEADER_SECONDS = 0.5  # in which one that lives gives what waits its place
_COLUMNS = "seq, id, at, kind, subject, correlation, leaf, data"

T = TypeVar("T")
_ROW: Callable[[tuple[Any, ...]], Row] = functools.partial(
    tuple.__new__, Row
)  # `Row._make`, without its look at the length

_SELECT_DOCUMENTS = """SELECT sha256, CASE WHEN before < %s THEN body END FROM (
    SELECT sha256, body, sum(octet_length(body)) OVER (ORDER BY sha256) - octet_length(body) AS before
    FROM evidence WHERE sha256 = ANY(%s) AND body IS NOT NULL) AS part"""  # lengths are known without reading what they are of


class PostgresStore:
    """An `AuditStore` in the schema `mlgov_audit` of the database that `dsn` names. Makes the schema if it may. `bound` drafts wait
    at most, and each for `timeout` seconds, before an append is refused."""

    def __init__(self, dsn: str, *, bound: int = 4_096, timeout: float = 30.0) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._abandoned: list[Any] = []
        self._readers: list[Any] = []
        self._writer: Any = None
        # The entry confirmed last, and the connection that confirmed it.
        self._last: tuple[str, Any] | None = None
        self._is_closed = False
        self._notified = 0.0
        self._guard = threading.Lock()
        self._seats = threading.BoundedSemaphore(_POOL)
        with translated(), contextlib.closing(self._opened(lambda: None)[0]) as connection:
            migrate(connection)
        self._group = GroupCommit(self._commit, bound=bound, timeout=timeout, name="audit-postgres")
        self._sequencer = Sequencer(self._connected)
        call_after_fork(self._forget)

    def _forget(self) -> None:
        """After a fork: the sockets belong to the parent, so its connections are set aside and not even closed."""
        self._guard = threading.Lock()
        self._seats = threading.BoundedSemaphore(_POOL)
        self._abandoned += [*self._readers, self._writer, self._sequencer]
        self._readers, self._writer = [], None
        self._sequencer = Sequencer(self._connected)

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """See `AuditStore.append`. The places are given later."""
        self._sequencer.start()
        return self._group.submit(drafts)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See `AuditStore.rows`."""
        while start < stop:
            upto = min(start + _PAGE, stop)
            page = self._read(
                f"SELECT {_COLUMNS} FROM entry WHERE seq >= %s AND seq < %s ORDER BY seq",  # noqa: S608 - a constant
                (start, upto),
            )
            yield from map(_ROW, page)
            start = upto

    def find(self, query: Query) -> Iterator[Row]:
        """See `AuditStore.find`. In the order of tickets, which an entry has from the start and keeps."""
        wanted = {
            "kind = %s": query.kind, **_by_index("subject", query.subject),
            **_by_index("correlation", query.correlation), "at >= %s": query.since,
        }  # fmt: skip
        tests = [test for test, value in wanted.items() if value is not None]
        values = [str(value) for value in wanted.values() if value is not None]
        where = " AND ".join(["ticket > %s", *tests])
        sql = f"SELECT {_COLUMNS}, ticket FROM entry WHERE {where} ORDER BY ticket LIMIT {_PAGE}"  # noqa: S608 - constants
        last = 0
        while True:
            page = self._read(sql, (last, *values))
            yield from (Row._make(row[:8]) for row in page)
            if len(page) < _PAGE:
                return
            last = page[-1][8]

    def get(self, entry_id: str) -> Row | None:
        """See `AuditStore.get`."""
        found = self._read(f"SELECT {_COLUMNS} FROM entry WHERE id = %s", (entry_id,))  # noqa: S608 - a constant
        return Row._make(found[0]) if found else None

    def frontier(self) -> Frontier:
        """See `AuditStore.frontier`."""
        return Frontier.from_bytes(*self._read("SELECT size, frontier FROM head", ())[0])

    def node(self, level: int, index: int) -> bytes:
        """See `AuditStore.node`."""
        if level % HEIGHT:
            height, number, offset = place_of(level, index)
            found = self._read(
                "SELECT substring(nodes FROM %s FOR %s) FROM tile WHERE level = %s AND number = %s",
                (offset + 1, HASH_SIZE, height, number),
            )
            if found:
                return bytes(found[0][0])
        return node_of_growing_tile(self._children, level, index)

    def evidence(self, sha256: Sha256) -> bytes | None:
        """See `AuditStore.evidence`."""
        found = self._read("SELECT body FROM evidence WHERE sha256 = %s", (sha256,))
        return found[0][0] if found else None

    def rows_at(self, numbers: Sequence[int]) -> Iterator[Row]:
        """See `ManyAtOnce.rows_at`."""
        sql = f"SELECT {_COLUMNS} FROM entry WHERE seq = ANY(%s) ORDER BY seq"  # noqa: S608 - a constant
        yield from map(_ROW, self._read(sql, (list(numbers),)))

    def numbers_of(self, kind: EntryKind, correlations: Sequence[str]) -> list[int]:
        """See `ManyAtOnce.numbers_of`."""
        sql = (
            f"SELECT seq FROM entry WHERE left(correlation, {INDEXED}) = ANY(%s) AND correlation = ANY(%s)"  # noqa: S608 - a constant
            " AND kind = %s AND seq IS NOT NULL ORDER BY seq"
        )
        wanted = list(correlations)
        return [row[0] for row in self._read(sql, ([each[:INDEXED] for each in wanted], wanted, kind.value))]

    def documents(self, digests: Sequence[Sha256]) -> Iterator[tuple[Sha256, bytes]]:
        """See `ManyAtOnce.documents`."""
        wanted = list(digests)
        while wanted:
            found = self._read(_SELECT_DOCUMENTS, (DOCUMENTS_AT_ONCE, wanted))
            yield from ((sha256, bytes(body)) for sha256, body in found if body is not None)
            wanted = [sha256 for sha256, body in found if body is None]
            del found  # before the next ones are read

    def kept(self, digests: Sequence[Sha256]) -> set[Sha256]:
        """See `ManyAtOnce.kept`."""
        sql = "SELECT sha256 FROM evidence WHERE sha256 = ANY(%s)"
        return {row[0] for row in self._read(sql, (list(digests),))}

    def evidence_list(self) -> Iterator[EvidenceInfo]:
        """See `AuditStore.evidence_list`."""
        last = ""
        while True:
            page = self._read(
                "SELECT sha256, category, at, size, body IS NULL FROM evidence WHERE sha256 > %s ORDER BY sha256 LIMIT %s",
                (last, _PAGE),
            )
            for sha256, category, at, size, is_erased in page:
                yield EvidenceInfo(sha256=sha256, category=category, at=at, size=size, is_erased=is_erased)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        """See `AuditStore.erase`. The bytes are gone from the table's files once these were written anew (`VACUUM FULL`)."""
        which = "sha256 = ANY(%s) AND body IS NOT NULL"

        def erased(connection: Any) -> list[bool]:
            with connection.transaction():
                # In the order in which `_insert` brings them, and which it waits for.
                connection.execute(
                    f"SELECT 1 FROM evidence WHERE {which} ORDER BY sha256 FOR UPDATE",  # noqa: S608 - a constant
                    (list(digests),),
                )
                is_free = may()
                if is_free:
                    connection.execute(f"UPDATE evidence SET body = NULL WHERE {which}", (list(digests),))  # noqa: S608 - a constant
            return [is_free]

        return self._ask(erased)[0]

    def settle(self, *, timeout: float) -> None:
        """See `PlacedLater.settle`."""
        newest = self._read("SELECT max(ticket) FROM entry WHERE seq IS NULL", ())[0][0]
        if newest is None:
            return
        began = time.monotonic()
        while self._read("SELECT 1 FROM entry WHERE seq IS NULL AND ticket <= %s LIMIT 1", (newest,)):
            waited = time.monotonic() - began
            if waited > timeout:
                raise AuditUnavailableError(
                    f"audit entries got no place in the tree within {timeout:g} s: no search, report or verification has them",
                    hint="One process must lead, as each does that may write: look for errors of the sequencer in the programs' logs.",
                )
            if waited > _LEADER_SECONDS and self._may_lead():
                self._sequencer.start()
            time.sleep(0.02)

    def _may_lead(self) -> bool:
        question = "SELECT has_table_privilege('head', 'UPDATE') AND current_setting('transaction_read_only') = 'off'"
        return bool(self._read(question, ())[0][0])

    def close(self) -> None:
        """See `AuditStore.close`. Another process leads on."""
        self._group.close()
        self._sequencer.stop()
        with self._guard:
            self._is_closed = True
            held = [*self._readers, *([self._writer] if self._writer else [])]
            self._readers, self._writer = [], None
        for connection in held:
            connection.close()

    def _commit(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """One transaction for a batch. Runs in the group's one thread."""

        def take() -> Any:  # so that a connection which failed is not used again
            kept, self._writer = self._writer, None
            return kept

        def write(connection: Any) -> None:
            if self._last is None or self._last[1] is not connection:
                self._demand_last(connection)
            with connection.transaction():
                _insert(connection, drafts)
            self._wake_leader(connection)

        self._writer, _ = self._on_a_living(take, write)
        self._last = drafts[-1].id, self._writer
        return [None] * len(drafts)

    def _connected(self) -> Any:
        """A connection for the leader, who is the first to learn that another database took the place of this one."""
        connection = connect(self._dsn, timeout=self._timeout)
        try:
            self._demand_last(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _demand_last(self, connection: Any) -> None:
        """Demand that a new session has what was confirmed last. A failover to a standby that was behind, and a backup that is restored,
        end every session; and where no head has left since, only a verification of the whole log would tell of what is lost. A standby that
        takes no writes may only be late, and ends the session at the first."""
        if self._last is None:
            return
        entry_id = self._last[0]
        question = "SELECT current_setting('transaction_read_only') = 'on' OR EXISTS (SELECT FROM entry WHERE id = %s)"
        if not connection.execute(question, (entry_id,)).fetchone()[0]:
            raise AuditBrokenError(
                f"the audit database lost what it had confirmed: this process wrote entry `{entry_id}`, which is not there any more",
                hint="Look for what took the database's place, such as a standby that was behind or a backup that was restored, and put the "
                "one that has the entry back. This process lets nothing through meanwhile.",
            )

    def _wake_leader(self, connection: Any) -> None:
        """Tell the leader, apart from the commit: notifying transactions take turns at a lock of the whole server, and
        would flush one after another. What is lost by not telling is a quarter of a second."""
        if time.monotonic() - self._notified < _NOTIFY_EVERY:
            return
        self._notified = time.monotonic()
        with connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))

    def _children(self, height: int, start: int, count: int) -> list[bytes]:
        return self._ask(lambda connection: children(connection, height, start, count))

    def _read(self, sql: str, values: Sequence[object]) -> list[Any]:
        if any(isinstance(value, str) and "\0" in value for value in values):
            return []  # which no text of PostgreSQL's holds, and none can be asked for
        return self._ask(lambda connection: connection.execute(sql, values, binary=True).fetchall())

    def _ask(self, question: Callable[[Any], list[T]]) -> list[T]:
        """Ask on one of at most `_POOL` connections. Where all are in use, it is waited for one as long as for an answer."""
        seats = self._seats
        if not seats.acquire(timeout=self._timeout):
            raise AuditUnavailableError(
                f"all {_POOL} connections that read the audit log were in use for {self._timeout:g} s",
                hint="The database under the audit log answers too slowly for the requests there are. Nothing was let through; try again.",
            )
        try:
            connection, answer = self._on_a_living(self._take_reader, question)
            self._give_back(connection)
        finally:
            seats.release()
        return answer

    def _on_a_living(self, take: Callable[[], Any], act: Callable[[Any], T]) -> tuple[Any, T]:
        """Do something on the connection that `take` gives, or on a new one where that is None, or its session ended while it was
        kept, as when the server was restarted. Everything that is done here may be done twice. What fails leaves no connection.
        """
        with translated():
            connection, is_kept = self._opened(take)
            while True:
                try:
                    return connection, act(connection)
                except BaseException as error:
                    is_dead = connection.broken
                    connection.close()
                    if not (is_kept and is_dead and isinstance(error, Exception)):
                        raise
                connection, is_kept = self._opened(lambda: None)

    def _opened(self, take: Callable[[], Any]) -> tuple[Any, bool]:
        """A connection, and whether it was kept. A server that has none to spare, or is about to start, is asked again for some seconds, in
        which one that others here are done with will do."""
        began = time.monotonic()
        while (kept := take()) is None:
            try:
                return connect(self._dsn, timeout=self._timeout), False
            except Exception as error:
                patience = _SHORTAGE if is_shortage(error) else self._timeout / 2 if is_starting(error) else 0
                if time.monotonic() - began >= patience:
                    raise
            time.sleep(_BETWEEN_TRIES)
            take = self._take_reader
        return kept, True

    def _take_reader(self) -> Any:
        with self._guard:
            if self._is_closed:
                raise AuditUnavailableError("the audit log is closed")
            return self._readers.pop() if self._readers else None

    def _give_back(self, connection: Any) -> None:
        with self._guard:
            if not self._is_closed and len(self._readers) < _POOL:
                self._readers.append(connection)
                return
        connection.close()


def _by_index(column: str, value: str | None) -> dict[str, str | None]:
    """The tests for a text: on the part of it that is indexed, and on all of it."""
    return {f"left({column}, {INDEXED}) = left(%s, {INDEXED})": value, f"{column} = %s": value}


def _insert(connection: Any, drafts: Sequence[Draft]) -> None:
    columns = list(zip(*(draft[:7] for draft in drafts), strict=True))
    inserted = connection.execute(
        "INSERT INTO entry (id, at, kind, subject, correlation, leaf, data)"
        " SELECT id, at, kind, subject, correlation, leaf, data FROM unnest(%b::text[], %b::text[], %b::text[],"
        " %b::text[], %b::text[], %b::bytea[], %b::bytea[])"
        " WITH ORDINALITY AS draft (id, at, kind, subject, correlation, leaf, data, place) ORDER BY place"
        " ON CONFLICT (id) DO NOTHING",
        [list(column) for column in columns],
    ).rowcount
    if inserted != len(drafts):
        _demand_same(connection, drafts)
    # Sorted, so that two processes with the same documents cannot wait for each other in a circle.
    evidence = {sha256: (draft, document) for draft in drafts for sha256, document in draft.evidence}
    for sha256, (draft, document) in sorted(evidence.items(), key=lambda item: item[0]):
        connection.execute(
            "INSERT INTO evidence AS known VALUES (%s, %s, %s, %s, %b) ON CONFLICT (sha256)"
            " DO UPDATE SET body = excluded.body WHERE known.body IS NULL",
            (sha256, draft.kind, draft.at, len(document), document),
        )


def _demand_same(connection: Any, drafts: Sequence[Draft]) -> None:
    """Some ids are there already: right for a repeated append, and a mistake for other bytes."""
    found = connection.execute(
        "SELECT id, leaf FROM entry WHERE id = ANY(%s)", ([draft.id for draft in drafts],)
    )
    leaves = {entry_id: bytes(leaf) for entry_id, leaf in found.fetchall()}
    for draft in drafts:
        if leaves.get(draft.id) != draft.leaf:
            raise AuditConflictError(f"entry id {draft.id} is already used for another entry")
