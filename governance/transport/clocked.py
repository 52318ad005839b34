"""How long a server may take: for what has no announced length (the head of an answer, the replies of a mail server), and for a body.

The libraries below bound each wait for bytes, and not all of them together: a server that sends a byte now and then, or
one `100 Continue` after the other, would hold its caller for ever. Promises: what is read through a `ClockedReader` is there by a
moment, or a `TimeoutError` is raised; and the body of an answer, with all that stands between and behind its bytes, comes at a
pace or is given up. Does not: bound a single wait (the socket's own limit does).
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import time
from typing import IO, Any, Final, cast

import urllib3

from governance.transport.failures import SlowAnswerError

SLOWEST: Final = 1 << 10
"""Bytes a second. What came of a body buys time, so that a large file may take as long as a slow line needs; what stands between and
behind its bytes (sizes of chunks, trailers) buys none."""


def with_bounded_answers(kind: type[Any], seconds: float) -> type[Any]:
    """A kind of connection like `kind`, whose answers' heads are there within the time of one wait, and their bodies within `seconds`
    and the time that their bytes buy."""
    return kind if issubclass(kind.response_class, _Response) else _bounded(kind, seconds)  # type: ignore[arg-type]  # classes are hashable


def buy_time(response: urllib3.BaseHTTPResponse, count: int) -> None:
    """Let the body of an answer, of which `count` more bytes came, take the longer."""
    answer = getattr(response, "_original_response", None)
    if isinstance(answer, _Response):
        answer.clocked.came(count)


@functools.cache
def _bounded(kind: type[Any], seconds: float) -> type[Any]:
    answer = type("Response", (_Response,), {"seconds": seconds})
    return type(kind.__name__, (kind,), {"response_class": answer})


class _Response(http.client.HTTPResponse):
    """Reads through a clock."""

    seconds: float

    def __init__(self, sock: socket.socket, *more: Any, **named: Any) -> None:
        super().__init__(sock, *more, **named)
        seconds = sock.gettimeout()
        end = float("inf") if seconds is None else time.monotonic() + seconds
        self.clocked = ClockedReader(self.fp, sock, end=end)
        self.fp = io.BufferedReader(self.clocked)

    def begin(self) -> None:
        """Read status and headers. Raises `TimeoutError` where they are not there in time."""
        super().begin()
        self.clocked.stop(self.seconds)


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
        self._pace: float | None = None
        self._due = 0.0

    def stop(self, pace: float | None = None) -> None:
        """From here on the socket bounds each wait; and all together may take `pace` seconds, and what `came` adds."""
        self._pace = pace
        self._due = time.monotonic() + (pace or 0)
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
        if got and self._pace is not None and time.monotonic() > self._due:
            raise SlowAnswerError(
                f"the answer was not complete in time ({self._pace:g} s, and more as more of a file comes)"
            )
        if self._left is not None:
            self._left -= got or 0
            if self._left < 0:
                raise TimeoutError("it says more than anybody has to say")
        return got

    def came(self, count: int) -> None:
        """So many bytes of the body were handed on."""
        self._due += count / SLOWEST

    def fileno(self) -> int:
        """The socket's."""
        number: int = self._raw.fileno()
        return number

    def close(self) -> None:
        """Give the socket back."""
        self.stop()
        self._raw.close()
        super().close()
