"""How long the head of an answer may take.

The libraries below bound each wait for bytes, and not all of them together: a server that sends a byte now and then, or one
`100 Continue` after the other, would hold its caller for ever. Promises: status and headers are there within the time of one
wait. Does not: bound the body, which its reader does.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import time
from typing import Any, cast


def with_bounded_heads(kind: type[Any]) -> type[Any]:
    """A kind of connection like `kind`, whose answers' heads are bounded."""
    return kind if kind.response_class is _Response else _bounded(kind)


@functools.cache
def _bounded(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (kind,), {"response_class": _Response})


class _Response(http.client.HTTPResponse):
    """Reads its head through a clock."""

    def __init__(self, sock: socket.socket, *more: Any, **named: Any) -> None:
        super().__init__(sock, *more, **named)
        raw = cast(io.BufferedReader, self.fp).detach()
        self._clocked = _Clocked(raw, sock)
        self.fp = io.BufferedReader(self._clocked)

    def begin(self) -> None:
        """Read status and headers. Raises `TimeoutError` where they are not there in time."""
        super().begin()
        self._clocked.stop()


class _Clocked(io.RawIOBase):
    """A socket's bytes, for as long as the socket would wait for the first of them."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._sock: socket.socket | None = sock
        self._seconds = sock.gettimeout()
        self._end = None if self._seconds is None else time.monotonic() + self._seconds

    def stop(self) -> None:
        """From here on the reader bounds the whole, and the socket each wait."""
        sock, self._sock = self._sock, None
        if sock is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                sock.settimeout(self._seconds)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """What one receive brought."""
        if self._sock is not None and self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("the head of the answer is not complete")
            self._sock.settimeout(left)
        return cast("int | None", self._raw.readinto(buffer))  # type: ignore[attr-defined]  # every one of them has it

    def fileno(self) -> int:
        """The socket's."""
        return self._raw.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self.stop()
        self._raw.close()
        super().close()
