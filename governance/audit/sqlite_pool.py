"""The connections of this process to one SQLite file, none of which is open while the process forks.

SQLite remembers by process and file which locks it holds. A forked child has the memory and not the locks: what it opens counts as
guarded and is not, so that whoever closes the file last takes the journal away with all that the child wrote there; and a mutex
or the writer's lock that another thread held is held for ever (sqlite.org/howtocorrupt.html, section 2.6).

Promises: a fork waits until no thread is within `using_sqlite`, and the idle connections are closed before it; both sides open new
ones. Where that cannot be, because a thread does not come to an end or whoever forks does not call Python's hooks first, the child
is refused its logs. Does not: speak for connections that others opened.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Final

import apsw

from governance.errors import AuditUnavailableError

_IDLE: Final = 8
_PATIENCE: Final = 10.0
_LOOK_SECONDS: Final = 0.0005


class _Door:
    """Where threads go in to SQLite, and which a fork holds shut."""

    def __init__(self) -> None:
        self.pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
        self._is_carried = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._inside: set[int] = set()

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        me = threading.get_ident()
        if me in self._inside:
            yield
            return
        try:
            with self._lock:
                self._inside.add(me)
            if self._is_carried:
                raise AuditUnavailableError(
                    "the audit log cannot be used in this process: it was forked while its parent was using the log",
                    hint="Nothing was let through. Start processes with `spawn` or `forkserver`, or before the first model is loaded.",
                )
            yield
        finally:
            self._inside.discard(me)

    def shut(self) -> None:
        """Before a fork."""
        me = threading.get_ident()
        until = time.monotonic() + _PATIENCE
        if me in self._inside or not self._lock.acquire(timeout=_PATIENCE):
            return
        self._holder = me
        while self._inside and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        if not self._inside:
            for pool in list(self.pools):
                pool.rest()

    def open(self) -> None:
        """After it, in the parent."""
        if self._holder == threading.get_ident():
            self._holder = None
            self._lock.release()

    def renew(self) -> None:
        """After it, in the child."""
        is_open = [pool.set_aside() for pool in list(self.pools)]
        self._is_carried = self._is_carried or bool(self._inside) or any(is_open)
        self._begin()


_DOOR: Final = _Door()
using_sqlite = _DOOR.passed
"""Whoever opens a connection to a log, or has one do something, does it within. Raises `AuditUnavailableError`."""


class ConnectionPool:
    """Connections to read with, and the one that writes. Safe to use from many threads."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        """`connect` makes one to read with."""
        self._connect = connect
        self._abandoned: list[apsw.Connection] = []
        self._readers: list[apsw.Connection] = []
        self._writer: apsw.Connection | None = None
        self._guard = threading.Lock()
        self._is_closed = False
        _DOOR.pools.add(self)

    @contextlib.contextmanager
    def reader(self) -> Iterator[apsw.Connection]:
        """A connection for one read. Raises `AuditUnavailableError`."""
        with using_sqlite():
            with self._guard:
                if self._is_closed:
                    raise AuditUnavailableError("the audit log is closed")
                connection = self._readers.pop() if self._readers else None
            if connection is None:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def take_writer(self) -> apsw.Connection | None:
        """The connection that wrote last, if it is good; whoever takes it gives it back with `keep_writer` while it is."""
        writer, self._writer = self._writer, None
        return writer

    def keep_writer(self, connection: apsw.Connection) -> None:
        """The connection to write with next."""
        self._writer = connection

    def close(self) -> None:
        """Close all, and hand out no more."""
        with self._guard:
            self._is_closed = True
        with contextlib.suppress(AuditUnavailableError), using_sqlite():
            self.rest()

    def rest(self) -> None:
        """Close those that nobody uses."""
        with self._guard:
            idle = [*self._readers, *([self._writer] if self._writer else [])]
            self._readers, self._writer = [], None
        for connection in idle:
            connection.close()

    def set_aside(self) -> bool:
        """In a forked child: a parent's connections may not even be closed. Returns whether there were any."""
        carried = [*self._readers, *([self._writer] if self._writer else [])]
        self._abandoned += carried
        self._readers, self._writer = [], None
        self._guard = threading.Lock()
        return bool(carried)

    def _give_back(self, connection: apsw.Connection) -> None:
        with self._guard:
            if not self._is_closed and len(self._readers) < _IDLE:
                self._readers.append(connection)
                return
        connection.close()


os.register_at_fork(before=_DOOR.shut, after_in_parent=_DOOR.open, after_in_child=_DOOR.renew)
