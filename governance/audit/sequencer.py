"""The leader of a PostgreSQL log: gives durable entries their places in the tree.

One thread in each writing process tries to lead; an advisory lock, held by a session of the database, lets one. A leader
whose session ends has lost the lock and can commit nothing more on it; were two ever to believe that they lead (behind
a pooler that shares sessions), the head row, locked in each batch, makes them take turns. So at worst a batch is late.
A leader that lives and does nothing, as a process that was stopped or a machine that was put to sleep, loses its session
after some seconds (PostgreSQL 14 or later), and another one leads. A process that ends places what waits before it does: a command
that wrote one entry may be the only writer for days, and without a place its entry is in no search and no report.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from governance.audit.group import begin_thread
from governance.audit.merkle import Frontier
from governance.audit.postgres_schema import LEADER_LOCK, translated
from governance.audit.tiles import HEIGHT, WIDTH, full_tiles, pack_tile
from governance.errors import AuditBrokenError, AuditError

CHANNEL = "mlgov_audit"
_BATCH = 1_024
_IDLE = 0.25
_RETRY = 1.0
_LAST_TRIES, _BETWEEN_TRIES = 20, 0.05
_PATIENCE = 15.0  # a leader asks four times a second
_SESSION_TIMEOUTS_FROM = 140_000

logger = logging.getLogger(__name__)


class Sequencer:
    """Leads when it can, in a thread of its own that starts with the first write."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, if not begun yet. Raises `AuditUnavailableError` where there can be no more threads."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = begin_thread(self._run, name="audit-sequencer")

    def stop(self) -> None:
        """End after the batch at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        told = None  # an outage of hours is told of when it begins and when it ends, and not each second
        while True:  # once at least, also where the end is asked for before the thread is up
            try:
                with translated(), contextlib.closing(self._connect()) as connection:
                    if told is not None:
                        logger.warning("the audit sequencer has its database again")
                        told = None
                    self._serve(connection)
            except AuditError as error:
                if str(error) != told:
                    level = logging.CRITICAL if isinstance(error, AuditBrokenError) else logging.WARNING
                    logger.log(
                        level, "the audit sequencer starts anew, again and again until it can: %s", error
                    )
                told = str(error)
            except Exception:
                logger.exception("the audit sequencer starts anew")
            if self._stop.wait(_RETRY):
                return

    def _serve(self, connection: Any) -> None:
        """Wait for leadership, then lead until the connection breaks or the end is asked for, and nothing waits any more."""
        tries = 0
        while not try_to_lead(connection):
            if self._stop.wait(_RETRY):
                # Whoever leads does it, unless that one is about to end as well.
                tries += 1
                if tries > _LAST_TRIES or not _is_waiting(connection):
                    return
                time.sleep(_BETWEEN_TRIES)
        connection.execute(f"LISTEN {CHANNEL}")
        while not self._stop.is_set():
            if place_batch(connection) == 0:
                for _ in connection.notifies(timeout=_IDLE, stop_after=1):
                    pass
        while place_batch(connection):
            pass


def _is_waiting(connection: Any) -> bool:
    return connection.execute("SELECT 1 FROM entry WHERE seq IS NULL LIMIT 1").fetchone() is not None


def try_to_lead(connection: Any, *, patience: float = _PATIENCE) -> bool:
    """Whether this session leads now. From then on the database ends it once nothing was heard of it for `patience`
    seconds: the lock of a process that was stopped would keep every entry of every host without a place."""
    if not connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()[0]:
        return False
    names = ["idle_in_transaction_session_timeout"]
    if connection.info.server_version >= _SESSION_TIMEOUTS_FROM:
        names.append("idle_session_timeout")
    for name in names:
        connection.execute("SELECT set_config(%s, %s, false)", (name, str(int(patience * 1000))))
    return True


def place_batch(connection: Any) -> int:
    """Give the entries that wait longest their places, in one transaction. Returns how many."""
    with connection.transaction():
        head = _lock_head(connection)
        waiting = connection.execute(
            "SELECT ticket, leaf FROM entry WHERE seq IS NULL ORDER BY ticket LIMIT %s",
            (_BATCH,),
            binary=True,
        ).fetchall()
        if not waiting:
            return 0
        grown = head.extend([bytes(leaf) for _, leaf in waiting])
        connection.execute(
            "UPDATE entry SET seq = place.seq FROM unnest(%b::bigint[], %b::bigint[]) AS place (ticket, seq)"
            " WHERE entry.ticket = place.ticket",
            ([ticket for ticket, _ in waiting], list(range(head.size, grown.size))),
        )
        for height, number in full_tiles(head.size, grown.size):
            root, nodes = pack_tile(children(connection, height, number * WIDTH, WIDTH))
            connection.execute("INSERT INTO tile VALUES (%s, %s, %b, %b)", (height, number, root, nodes))
        connection.execute("UPDATE head SET size = %s, frontier = %b", (grown.size, grown.to_bytes()))
        return len(waiting)


def children(connection: Any, height: int, start: int, count: int) -> list[bytes]:
    """Neighbouring complete nodes of tree level `8 * height`."""
    if height == 0:
        found = connection.execute(
            "SELECT leaf FROM entry WHERE seq >= %s AND seq < %s ORDER BY seq",
            (start, start + count),
            binary=True,
        ).fetchall()
    else:
        found = connection.execute(
            "SELECT root FROM tile WHERE level = %s AND number >= %s AND number < %s ORDER BY number",
            (height - 1, start, start + count),
            binary=True,
        ).fetchall()
    if len(found) != count:
        raise AuditBrokenError(
            f"the audit log lacks hashes of level {height * HEIGHT} from {start} on",
            index=start << height * HEIGHT,
        )
    return [bytes(row[0]) for row in found]


def _lock_head(connection: Any) -> Frontier:
    """The frontier, with nobody else at work on it. Entries and head must agree."""
    size, packed = connection.execute("SELECT size, frontier FROM head FOR UPDATE", binary=True).fetchone()
    # Apart from the lock: one statement for both would look for entries as they were before it had to wait.
    last = connection.execute("SELECT max(seq) FROM entry").fetchone()[0]
    if size != (0 if last is None else last + 1):
        raise AuditBrokenError(
            f"the audit log's head says {size} entries, but the last entry is {last}: entries were removed or added",
            index=size if last is None else min(size, last + 1),
        )
    return Frontier.from_bytes(size, bytes(packed))
