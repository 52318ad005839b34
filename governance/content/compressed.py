"""Unpacking what was compressed as one stream, or as several behind each other.

The readers of gzip, bzip2 and xz go on with the next stream where one ends, so a pickle cut into two of them loads like one.

Promises: never more bytes than asked for, and no more than `MAX_STREAMS` streams. Does not: say whether the last stream is whole.
"""

from __future__ import annotations

import bz2
import lzma
import pickletools
import zlib
from collections.abc import Callable
from typing import Final, Protocol

MAX_STREAMS: Final = 64

_ZFILE: Final = b"ZF"
_ZFILE_HEADER: Final = 21
_HEADER: Final = 13
_LONGEST: Final = 1 << 38
_UNKNOWN: Final = (1 << 64) - 1
_DICTIONARIES: Final = frozenset(
    (0, 0xFFFF_FFFF, *(1 << bit for bit in range(32)), *(3 << bit for bit in range(31)))
)
_OPERATIONS: Final = frozenset(each.code.encode("latin-1") for each in pickletools.opcodes)

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
    return next(
        (unpack for mark, unpack in _UNPACKERS if data.startswith(mark)), _lzma if is_lzma(data) else None
    )


def is_zfile(data: bytes) -> bool:
    """Whether joblib would read a file that begins like this as those that its first releases compressed: a word, and a length in hex."""
    try:
        int(data[len(_ZFILE) : _ZFILE_HEADER], 16)
    except ValueError:
        return False
    return data.startswith(_ZFILE)


def is_lzma(data: bytes) -> bool:
    """Whether `lzma.open` would read a file that begins like this as LZMA's oldest form, which has no mark, and find what may be a pickle.

    What begins so by chance unpacks to nothing, or to something else: the first byte tells. It takes neither the dictionary that the
    header asks for nor the length that it states.
    """
    size, length = (int.from_bytes(data[start:end], "little") for start, end in ((1, 5), (5, _HEADER)))
    if len(data) <= _HEADER or size not in _DICTIONARIES or not (length < _LONGEST or length == _UNKNOWN):
        return False
    # Older readers do not mind what the first byte behind the header is; it is zero.
    start = data[:1] + (1 << 12).to_bytes(4, "little") + b"\xff" * 8 + b"\x00"
    try:
        first = lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(
            start + data[_HEADER + 1 : _HEADER + 100], 1
        )
    except lzma.LZMAError:
        return False
    return first in _OPERATIONS


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


_lzma: Final = _bounded(lzma.LZMADecompressor)
_zlib: Final = _bounded(lambda: zlib.decompressobj(wbits=47))  # zlib or gzip, by the first bytes


def _zfile(data: bytes, limit: int) -> bytes:
    return _zlib(data[_ZFILE_HEADER:].removeprefix(b" "), limit)


_UNPACKERS: Final = (
    (_ZFILE, _zfile),
    (b"\x1f\x8b", _zlib),
    (b"\x78", _zlib),
    (b"BZh", _bounded(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ", _lzma),
    (b"\x5d\x00", _lzma),
    (b"LZIP", _lzma),
)
