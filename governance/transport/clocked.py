"""How long a server may take to say what has no announced length: the head of an answer, the replies of a mail server.

The libraries below bound each wait for bytes, and not all of them together: a server that sends a byte now and then, or
one `100 Continue` after the other, would hold its caller for ever. Promises: what is read through a `ClockedReader` is there by a
moment, or a `TimeoutError` is raised. Does not: bound the body of an answer, which its reader does.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import time
from typing import IO, Any, cast


def with_bounded_heads(kind: type[Any]) -> type[Any]:
    """A kind of connection like `kind`, whose answers' heads are there within the time of one wait."""
    return kind if kind.response_class is _Response else _bounded(kind)  # type: ignore[arg-type]  # classes are hashable


@functools.cache
def _bounded(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (kind,), {"response_class": _Response})


class _Response(http.client.HTTPResponse):
    """Reads its head through a clock."""

    def __init__(self, sock: socket.socket, *more: Any, **named: Any) -> None:
        super().__init__(sock, *more, **named)
        seconds = sock.gettimeout()
        end = float("inf") if seconds is None else time.monotonic() + seconds
        self._clocked = ClockedReader(self.fp, sock, end=end)
        self.fp = io.BufferedReader(self._clocked)

    def begin(self) -> None:
        """Read status and headers. Raises `TimeoutError` where they are not there in time."""
        super().begin()
        self._clocked.stop()


class ClockedReader(io.RawIOBase):
    """The bytes that come over `sock`, until `end` (by `time.monotonic`), and at most `most` of them. Takes the place of `file`,
    which the socket made."""

    def __init__(self, file: IO[bytes], sock: socket.socket, *, end: float, most: int | None = None) -> None:
        super().__init__()
        self._raw: Any = cast(io.BufferedReader, file).detach()
        self._sock: socket.socket | None = sock
        self._wait = sock.gettimeout()
        self._end = end
        self._left = most

    def stop(self) -> None:
        """From here on the reader bounds the whole, and the socket each wait."""
        sock, self._sock, self._left = self._sock, None, None
        if sock is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                sock.settimeout(self._wait)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """What one receive brought."""
        if self._sock is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("it does not come to an end")
            self._sock.settimeout(left if self._wait is None else min(left, self._wait))
        got: int | None = self._raw.readinto(buffer)
        if self._left is not None:
            self._left -= got or 0
            if self._left < 0:
                raise TimeoutError("it says more than anybody has to say")
        return got

    def fileno(self) -> int:
        """The socket's."""
        number: int = self._raw.fileno()
        return number

    def close(self) -> None:
        """Give the socket back."""
        self.stop()
        self._raw.close()
        super().close()
