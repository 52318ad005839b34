"""What comes back from a request. Skeleton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, its body within the size limit. `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class StreamedResponse:
    """An answer whose body is still on the wire."""

    status: int
    headers: Mapping[str, str]

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer`; the number of bytes, 0 at the end. Raises `ProtocolError` where the body ends early."""
        raise NotImplementedError

    def iter_chunks(self, size: int) -> Iterator[memoryview]:
        """Pieces of at most `size` bytes from one reused buffer."""
        raise NotImplementedError
