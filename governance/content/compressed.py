"""Unpacking what was compressed as one stream, or as several behind each other.

The readers of gzip, bzip2 and xz go on with the next stream where one ends, so a pickle cut into two of them loads like one.

Promises: never more bytes than asked for, and no more than `MAX_STREAMS` streams. Does not: say whether the last stream is whole.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Final, Protocol

MAX_STREAMS: Final = 64

Unpack = Callable[[bytes, int], bytes]


class TooManyStreamsError(Exception):
    """More than `MAX_STREAMS` streams."""


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def unpacker(data: bytes) -> Unpack | None:
    """What unpacks something that begins like this; None where it is not compressed in a way that is known here."""
    return next((unpack for mark, unpack in _UNPACKERS if data.startswith(mark)), None)


def _bounded(make: Callable[[], _Stream]) -> Unpack:
    def unpack(data: bytes, limit: int) -> bytes:
        """At most `limit` bytes. Raises what the first stream raises, or `TooManyStreamsError`."""
        stream = make()
        found = bytearray(stream.decompress(data, limit))
        for _ in range(MAX_STREAMS):
            rest = stream.unused_data.lstrip(b"\x00") if stream.eof else b""
            if not rest or len(found) >= limit:
                return bytes(found)
            stream = make()
            try:
                found += stream.decompress(rest, limit - len(found))
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return bytes(
                    found
                )  # readers take what is no further stream for the end, or stop here with an error
        raise TooManyStreamsError

    return unpack


_zlib: Final = _bounded(lambda: zlib.decompressobj(wbits=47))  # zlib or gzip, by the first bytes
_UNPACKERS: Final = (
    (b"\x1f\x8b", _zlib),
    (b"\x78", _zlib),
    (b"BZh", _bounded(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ", _bounded(lzma.LZMADecompressor)),
    (b"\x5d\x00", _bounded(lzma.LZMADecompressor)),
)
