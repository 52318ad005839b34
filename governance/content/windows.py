"""A large file, of which a part is held at a time.

Promises: reads like bytes, forwards at best; never more than `_LARGEST` bytes at once, `_MOST` in all, nor more than `reads` times. What
lies one behind the other is read in growing parts, so that a header of ten megabytes takes few requests; what is far off in small ones. Does not: prove
that the parts are of one file; no checksum speaks for a part.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, Protocol, overload

from governance.content.effort import Effort, SpentError

_SMALLEST: Final = 64 << 10
_LARGEST: Final = 4 << 20
_MOST: Final = 64 << 20
_READS: Final = 128
_FAR: Final = 512 << 10
"""Behind the end of what is held: to pass over less costs no less than to read it, where little is passed over."""
_READ_WORK: Final = 10_000
"""How many operations of a pickle reading a part is worth."""


class Bytes(Protocol):
    """What bytes and windows have in common. Places are counted from the start."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...

    def find(self, sought: bytes, start: int, /) -> int:
        """As `bytes.find` of one byte."""
        ...


Read = Callable[[int, int], bytes]
"""Gives the bytes of a file from a place on, so many of them."""


class Window:
    """A file of `size` bytes. Raises what that raises, and `SpentError` for too much of it."""

    def __init__(
        self, read: Read, size: int, effort: Effort, *, reads: int = _READS, far: int = _FAR
    ) -> None:
        self._read = read
        self._size = size
        self._effort = effort
        self._start = 0
        self._held = b""
        self._next = _SMALLEST
        self._left = reads
        self._far = far
        self._bytes_left = _MOST

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...

    def __getitem__(self, place: int | slice, /) -> int | bytes:
        if isinstance(place, int):
            if not 0 <= place - self._start < len(self._held):
                self._hold(place, place + 1)
            return self._held[place - self._start]
        start, stop, _ = place.indices(self._size)
        self._hold(start, stop)
        return self._held[start - self._start : stop - self._start]

    def find(self, sought: bytes, start: int, /) -> int:
        """Where one byte lies, from a place on; -1 where it does not."""
        while start < self._size:
            self._hold(start, start + 1)
            at = self._held.find(sought, start - self._start)
            if at >= 0:
                return self._start + at
            start = self._start + len(self._held)
        return -1

    def _hold(self, start: int, stop: int) -> None:
        end = self._start + len(self._held)
        if self._start <= start and stop <= end:
            return
        follows = self._start <= start <= end + self._far and bool(self._held)
        self._next = min(2 * self._next, _LARGEST) if follows else _SMALLEST
        size = min(max(self._next, stop - start), self._size - start)
        self._left -= 1
        self._bytes_left -= size
        if size > _LARGEST or self._left < 0 or self._bytes_left < 0:
            raise SpentError
        self._effort.demand(_READ_WORK)
        self._held, self._start = self._read(start, size), start


class WindowFile(io.RawIOBase):
    """A window as a file, for readers that want one."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._place = 0

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read from."""
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place, counted from the start, the place before or the end."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._window)}[whence]
        if origin + place < 0:
            raise OSError("a place before the start")
        self._place = origin + place
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, and all that follow for a negative number."""
        end = len(self._window) if size < 0 else min(self._place + size, len(self._window))
        found = []
        while self._place < end:
            found.append(self._window[self._place : min(self._place + _LARGEST, end)])
            self._place += len(found[-1])
        return b"".join(found)
