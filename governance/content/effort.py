"""How much work a look into files may be, so that a few kilobytes from outside cannot keep a server busy for hours.

Promises: counted in bytes and operations, not in seconds, so that a slow machine looks into no less than a fast one; shared by the
threads that look into one artifact. Does not: say which files are left out where there is too much, which depends on whose turn it is
(the verdict is never clean then); or stop an operation in its midst, so that each thread may go beyond by one pickle.
"""

from __future__ import annotations

import threading
from typing import Final

_UNPACKED: Final = 512 << 20
_OPERATIONS: Final = 20_000_000
"""Some ten seconds. The pickle of a forest of a thousand trees has a hundred thousand."""

SPENT: Final = "looking into all of it would be more work than is done for one artifact"


class SpentError(Exception):
    """More work than there was leave for."""


class Effort:
    """What may still be spent on one artifact."""

    def __init__(self, *, unpacked: int = _UNPACKED, operations: int = _OPERATIONS) -> None:
        self._unpacked = unpacked
        self._operations = operations
        self._lock = threading.Lock()

    @property
    def operations(self) -> int:
        """How many operations of pickles may still be followed; 0 where none."""
        return max(0, self._operations)

    def spend(self, operations: int) -> None:
        """Note operations that were followed."""
        with self._lock:
            self._operations -= operations

    def demand(self, operations: int) -> None:
        """Note work before it is done. Raises `SpentError` where there is no leave for it."""
        self.spend(operations)
        if not self.operations:
            raise SpentError

    def unpack(self, size: int) -> None:
        """Note bytes that were unpacked. Raises `SpentError`."""
        with self._lock:
            self._unpacked -= size
            if self._unpacked < 0:
                raise SpentError


class Budget:
    """The bytes that one file may unpack to, over all levels together, out of an artifact's `Effort`."""

    def __init__(self, size: int, effort: Effort) -> None:
        self.left = size
        self.effort = effort

    def take(self, size: int) -> None:
        """Note bytes that were unpacked. Raises `SpentError`."""
        self.left -= size
        if self.left < 0:
            raise SpentError
        self.effort.unpack(size)
