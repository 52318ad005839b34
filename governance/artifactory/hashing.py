"""A file that is hashed while it is read, for uploads: the bytes that were hashed are the bytes that left."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from governance.model.digest import Sha256, parse_sha256


class HashingReader:
    """`source` from where it stands. Going back to the start, for another try, starts the hash afresh; going anywhere
    else is a mistake and raises `ValueError`."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._start = source.tell() if source.seekable() else None
        self._hasher = hashlib.sha256()

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
        self._hasher = hashlib.sha256()
        return self._source.seek(offset)

    @property
    def sha256(self) -> Sha256:
        """SHA-256 of what has been read."""
        return parse_sha256(self._hasher.hexdigest())
