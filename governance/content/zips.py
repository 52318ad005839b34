"""Whether a zip reads the same to everyone, from the end of its central directory (APPNOTE 4.3.14 to 4.3.16).

Python looks for the directory right before the record at the file's end, and takes whatever stands before the zip for something else.
Others, torch's reader among them, go to where the record says. A file can hold one directory for each: the harmless one would be
looked at, and the other loaded.

Promises: `is_straight` is true only where both are one. Does not: judge members.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from governance.content.windows import Bytes

MEMBER: Final = b"PK\x03\x04"

_ENTRY: Final = b"PK\x01\x02"
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"
_LOCATOR: Final = struct.Struct("<4sLQL")
_LOCATOR_MARK: Final = b"PK\x06\x07"
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_END64_MARK: Final = b"PK\x06\x06"
_MAX_COMMENT: Final = 1 << 16
"""As `zipfile` has it: one more than the record can say."""
_LONGEST: Final = 2 << 20
"""A directory of more members than are looked into."""
_NAMES: Final = struct.Struct("<3H")
_NAMES_AT: Final = 28
_ENTRY_SIZE: Final = 46
_ELSEWHERE: Final = 0xFFFF_FFFF
"""Stands for a number that the larger record holds."""


def has_end(data: bytes) -> bool:
    """Whether `zipfile`, or what Python imports by, would find the end of a zip in these bytes, whatever they begin with."""
    return _end(data) is not None


END_SIZE: Final = _END.size + _MAX_COMMENT
"""In so many last bytes of a file readers look for the end of a zip."""


def ends_as_zip(tail: bytes, size: int) -> bool:
    """Whether a file of `size` bytes whose last ones are `tail` could be a zip, whatever it begins with."""
    at = _end(tail)
    if at is None:
        return False
    *_, listed, offset, _comment = _END.unpack_from(tail, at)
    return _ELSEWHERE in {listed, offset} or bool(listed + offset <= size - len(tail) + at)


def entries_seen(data: bytes) -> int:
    """How often something begins like an entry of a directory: at least as often as there are members."""
    return data.count(_ENTRY)


def directory_in(data: Bytes) -> bytes | None:
    """The end of a zip, from its directory on; None where that is too long, or does not lie where `is_straight` would have it."""
    tail = data[max(0, len(data) - END_SIZE) :]
    at = _end(tail)
    if at is None:
        return None
    *_, size, _offset, _comment = _END.unpack_from(tail, at)
    end64 = at - _LOCATOR.size - _END64.size
    if tail.startswith(_LOCATOR_MARK, max(0, at - _LOCATOR.size)) and end64 >= 0:
        *_, size, _offset = _END64.unpack_from(tail, end64)
        at = end64
    start = len(data) - len(tail) + at - size
    if not 0 <= start <= len(data) - _END.size or len(data) - start > _LONGEST:
        return None
    found = data[start:]
    return found if is_straight(found, before=start) else None


def is_straight(data: bytes, *, before: int = 0) -> bool:
    """Whether the directory lies where the record says, and right before the record. `before` bytes of the zip stand before `data`."""
    at = _end(data)
    if at is None:
        return False
    *_, size, offset, _comment = _END.unpack_from(data, at)
    if at < _LOCATOR.size or not data.startswith(_LOCATOR_MARK, at - _LOCATOR.size):
        return bool(offset + size == before + at)
    return _is_straight64(data, at, size, offset, before)


def _is_straight64(data: bytes, at: int, size: int, offset: int, before: int) -> bool:
    start = at - _LOCATOR.size - _END64.size
    _, _, said, _ = _LOCATOR.unpack_from(data, at - _LOCATOR.size)
    if start < 0 or said != before + start or not data.startswith(_END64_MARK, start):
        return False
    *_, size64, offset64 = _END64.unpack_from(data, start)
    # What Python imports by knew nothing of the larger record before 3.13: it counts from the smaller one, into what may be a comment.
    first = at - size
    if data.startswith(_ENTRY, max(0, first)) and first not in _entries(data, start - size64):
        return False
    agree = size in {size64, _ELSEWHERE} and offset in {offset64, _ELSEWHERE}
    return bool(agree and offset64 + size64 == before + start)


def _entries(data: bytes, at: int) -> Iterator[int]:
    """Where the entries of a directory begin that begins at a place."""
    while at >= 0 and data.startswith(_ENTRY, at) and at + _ENTRY_SIZE <= len(data):
        yield at
        at += _ENTRY_SIZE + sum(_NAMES.unpack_from(data, at + _NAMES_AT))


def _end(data: bytes) -> int | None:
    """Where the record at the end begins: the last thing that looks like one, as `zipfile` has it. What Python imports by is content
    with the mark of one without a comment."""
    last = len(data) - _END.size
    if last < 0:
        return None
    if data.startswith(_END_MARK, last):
        return last
    at = data.rfind(_END_MARK, max(0, last - _MAX_COMMENT))
    return at if 0 <= at <= last else None


def salvaged(data: bytes, limit: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of whatever looks like a member, by its own header and without any directory or check; `limit` bytes of each
    at most. For zips that Python cannot read: other readers ask for fewer things to agree."""
    at = data.find(MEMBER)
    while at >= 0:
        if at + _LOCAL.size <= len(data):
            _, _, _, method, _, _, _, size, _, name_size, extra_size = _LOCAL.unpack_from(data, at)
            start = at + _LOCAL.size + name_size + extra_size
            name = data[at + _LOCAL.size : at + _LOCAL.size + name_size].decode("utf-8", "replace")
            yield name, _unpacked(memoryview(data)[start:], method, size, limit)
        at = data.find(MEMBER, at + 1)


def _unpacked(data: memoryview, method: int, size: int, limit: int) -> bytes:
    if method != zipfile.ZIP_DEFLATED:
        return bytes(
            data[: min(size or limit, limit)]
        )  # with no size said, up to where its content says that it ends
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
    except zlib.error:
        return b""
