"""SHA-256 of bytes on their way: those that are hashed are those that move.

Promises: the digest is that of the pieces in the order given; large bodies are hashed on a thread of their own, so that
moving and hashing overlap, which nearly halves the time of a large transfer; at most four pieces wait, so that memory stays
bounded; the thread ends with the `with`.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from governance.model.digest import Sha256, parse_sha256
from governance.transport import Readable

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
    hasher = _new(size)
    try:
        yield hasher
    finally:
        _end(hasher)


@contextmanager
def hashing_reader(source: Readable, size: int) -> Iterator[HashingReader]:
    """`source` from where it stands, `size` bytes to its end, hashed while it is read."""
    reader = HashingReader(source, size)
    try:
        yield reader
    finally:
        reader.stop()


class HashingReader:
    """A file that is hashed while it is read. Going back to the start, for another try, starts the hash afresh; going
    anywhere else is a mistake and raises `ValueError`."""

    def __init__(self, source: Readable, size: int) -> None:
        self._source = source
        self._size = size
        self._start = source.tell() if source.seekable() else None
        self._hasher = _new(size)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, hashed."""
        chunk = self._source.read(size)
        self._hasher.update(chunk)
        return chunk

    def seekable(self) -> bool:
        """True where the source can go back to its start."""
        return self._start is not None

    def tell(self) -> int:
        """Where the source stands."""
        return self._source.tell()

    def seek(self, offset: int, /) -> int:
        """Go back to the start."""
        if offset != self._start:
            raise ValueError("a hashed file can only be read from its start")
        self.stop()
        self._hasher = _new(self._size)
        return self._source.seek(offset)

    @property
    def sha256(self) -> Sha256:
        """SHA-256 of what has been read. To be asked for after the last byte."""
        return parse_sha256(self._hasher.hexdigest())

    def stop(self) -> None:
        """Nothing more will be read."""
        _end(self._hasher)


def _new(size: int | None) -> Hasher:
    if size is not None and size < _LARGE:
        return hashlib.sha256()
    try:
        return _Beside()
    except RuntimeError:  # a limit on processes and threads: it takes longer without one
        return hashlib.sha256()


def _end(hasher: Hasher) -> None:
    if isinstance(hasher, _Beside):
        hasher.stop()


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
