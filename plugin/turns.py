"""Threads that want the same thing take turns; those that want different things do not wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from governance.forking import ForkLock


class Turns:
    """A lock for each name, there for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, ForkLock] = WeakValueDictionary()
        self._guard = ForkLock()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait for the turn of this thread, and have it."""
        with self._guard:
            lock = self._locks.setdefault(name, ForkLock())  # by name: a `with` of it alone would not keep it
        with lock:
            yield
