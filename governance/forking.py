"""What must not be carried into a forked child: locks, threads, connections, what is on its way, and the number of a writer's boot.

Data loaders and workers fork a process that has loaded a model already. Over a connection that parent and child share, each gets the
other's answers; and a lock that another thread held stays locked in the child, which does not have that thread.

Promises: what was handed to `call_after_fork` is called in each child before anything else runs there, and is forgotten with its
object. Does not: keep what a thread was changing at that moment from being half changed.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from itertools import count
from typing import Final

_METHODS: Final[dict[int, weakref.WeakMethod[Callable[[], None]]]] = {}
_NUMBERS: Final = count()


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


def _in_child() -> None:
    for reference in list(_METHODS.values()):
        method = reference()
        if method is not None:
            method()


os.register_at_fork(after_in_child=_in_child)
# Else what ends with the interpreter itself calls back into a `weakref` that is half gone, and each object writes a traceback.
atexit.register(_METHODS.clear)
