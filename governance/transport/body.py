"""The body of an upload, in the form that `requests` streams without reading it whole.

Promises: exactly `size` bytes leave, or an error says that the local file changed; a failure of the local disk is a
`TransferError` and never mistaken for one of the network. Does not: hash (the caller's reader may).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from governance.errors import TransferError


class Readable(Protocol):
    """What an upload is read from: an open binary file, or something that reads like one."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...

    def seekable(self) -> bool:
        """True where `seek` works."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to `offset`, so that the body can be sent again."""
        ...

    def tell(self) -> int:
        """The offset of the next byte."""
        ...


class SizedBody:
    """`size` bytes of `source`, from where it stands."""

    def __init__(self, source: Readable, size: int) -> None:
        self._source = source
        self._size = size
        self._start = source.tell() if source.seekable() else None
        self._left = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(256 << 10):
            yield chunk

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises `TransferError` where the file is shorter than it was said to be."""
        wanted = self._left if size < 0 else min(size, self._left)
        if wanted == 0:
            return b""
        with _disk_errors():
            chunk = self._source.read(wanted)
        if not chunk:
            raise TransferError(
                f"the file ended {self._left} bytes early while it was being sent",
                hint="Something else writes to it. Let that finish, then upload again.",
            )
        self._left -= len(chunk)
        return chunk

    def rewind(self) -> bool:
        """Go back to the start for another try. False where the source cannot. Raises `TransferError` where the disk fails."""
        if self._start is None:
            return self._left == self._size
        with _disk_errors():
            self._source.seek(self._start)
        self._left = self._size
        return True


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Keep an error of this machine's disk apart from those of the network, which are of the same type."""
    try:
        yield
    except OSError as error:
        raise TransferError(
            f"the file could not be read while it was being sent: {error.strerror}"
        ) from error
