"""SHA-256 beside the network: large bodies are hashed on a thread of their own.

Promises: the digest is that of the pieces in the order given; at most four pieces wait, so that memory stays bounded; the
thread ends with the `with`. Receiving and hashing then overlap, which nearly halves the time of a large download.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LARGE = 4 << 20
_WAITING = 4


class Hasher(Protocol):
    """What `hashlib` gives, as far as it is used here."""

    def update(self, piece: bytes, /) -> None:
        """The next bytes."""
        ...

    def hexdigest(self) -> str:
        """The digest of all of them, after the last."""
        ...


@contextmanager
def hashing(size: int | None) -> Iterator[Hasher]:
    """A SHA-256 for a body of `size` bytes (None where it is not known)."""
    if size is not None and size < _LARGE:
        yield hashlib.sha256()
        return
    beside = _Beside()
    try:
        yield beside
    finally:
        beside.stop()


class _Beside:
    """A SHA-256 on its own thread. `update` waits where four pieces are waiting already."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_WAITING)
        self._thread = threading.Thread(target=self._work, name="mlgov-hash", daemon=True)
        self._thread.start()

    def update(self, piece: bytes, /) -> None:
        self._room.acquire()
        self._pieces.put(piece)

    def hexdigest(self) -> str:
        self.stop()
        return self._hash.hexdigest()

    def stop(self) -> None:
        self._pieces.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._hash.update(piece)
            self._room.release()
