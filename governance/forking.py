"""What must not be carried into a forked child: locks, threads, connections, what is on its way, and the number of a writer's boot.

Data loaders and workers fork a process that has loaded a model already. Over a connection that parent and child share, each gets the
other's answers; a lock that another thread held stays locked in the child, which does not have that thread; and one on a file is
shared, so that it is not free before both have closed the file.

Promises: what was handed to `call_after_fork` is called in each child before anything else runs there, and is forgotten with its
object. Does not: keep what a thread was changing at that moment from being half changed.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

_METHODS: Final[dict[int, weakref.WeakMethod[Callable[[], None]]]] = {}
_NUMBERS: Final = count()
_LOCKED: Final[set[int]] = set()


def call_after_fork(method: Callable[[], None]) -> None:
    """Call a bound method in every child forked from now on, for as long as its object lives."""
    number = next(_NUMBERS)
    _METHODS[number] = weakref.WeakMethod(method, lambda _: _METHODS.pop(number, None))


class ForkLock:
    """A lock that no forked child finds held by a thread of its parent's."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._renew()
        call_after_fork(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@contextmanager
def file_lock(path: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold the lock on a file, which is made for this user alone where it is not there. The kernel wakes the next one: no polling,
    and a process that dies gives the lock back. Raises `OSError`; without `waits`, `BlockingIOError` where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _LOCKED.add(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        if descriptor in _LOCKED:  # else this is a child, and the lock its parent's
            # Not by closing alone: a child forked before the line above was run has the file open as well.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            _LOCKED.discard(descriptor)
            os.close(descriptor)


def _in_child() -> None:
    while _LOCKED:
        os.close(_LOCKED.pop())
    for reference in list(_METHODS.values()):
        method = reference()
        if method is not None:
            method()


os.register_at_fork(after_in_child=_in_child)
# Else what ends with the interpreter itself calls back into a `weakref` that is half gone, and each object writes a traceback.
atexit.register(_METHODS.clear)
