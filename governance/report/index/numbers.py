"""Sets of entries within one segment of the log, and how they are packed.

A segment is 2^18 entries. A small set is a list of places of four bytes each; one with 8,192 members and more is a map of one
bit per entry, which is then no larger. In front of either stand four bytes of CRC-32, over key and contents, since the file
they lie in is derived and nobody would look otherwise.
"""

from __future__ import annotations

import re
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SEGMENT_BITS = 18
SEGMENT = 1 << SEGMENT_BITS
_BYTES = SEGMENT // 8
_MOST_LISTED = _BYTES // 4
_NOT_ZERO = re.compile(rb"[^\0]")
_SWAPS = sys.byteorder == "big"


class DamagedIndexError(Exception):
    """The file is not what was written."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of places in one segment: listed, or as bits."""

    listed: frozenset[int] | None
    bits: int = 0

    def __len__(self) -> int:
        return len(self.listed) if self.listed is not None else self.bits.bit_count()

    def __and__(self, other: Numbers) -> Numbers:
        if self.listed is not None and other.listed is not None:
            return Numbers(self.listed & other.listed)
        if self.listed is None and other.listed is None:
            return Numbers(None, self.bits & other.bits)
        few, many = (self, other) if self.listed is not None else (other, self)
        assert few.listed is not None
        held = many.bits.to_bytes(_BYTES, "little")
        return Numbers(frozenset(place for place in few.listed if held[place >> 3] >> (place & 7) & 1))

    def descending(self) -> Iterator[int]:
        """The places, last first."""
        if self.listed is not None:
            return iter(sorted(self.listed, reverse=True))
        return reversed(list(_places(self.bits)))

    def ascending(self) -> Iterator[int]:
        """The places, first first."""
        return iter(sorted(self.listed)) if self.listed is not None else _places(self.bits)


def every(count: int) -> Numbers:
    """The first `count` places."""
    return Numbers(None, (1 << count) - 1)


def pack(key: bytes, places: Sequence[int]) -> bytes:
    """Places, none of them twice, as they are kept under a key."""
    if len(places) >= _MOST_LISTED:
        body = _bits(places).to_bytes(_BYTES, "little")
    else:
        listed = array("I", places)
        if _SWAPS:
            listed.byteswap()
        body = listed.tobytes()
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(4, "little") + body


def unpack(parts: Iterable[tuple[bytes, bytes]]) -> Numbers:
    """The places in any of what `pack` made, each with its key. A term is written in many parts, which are brought together at once: one
    set after the other takes several times as long. Raises `DamagedIndexError`."""
    listed, bits = bytearray(), 0
    for key, packed in parts:
        body = packed[4:]
        if len(body) % 4 or zlib.crc32(body, zlib.crc32(key)).to_bytes(4, "little") != packed[:4]:
            raise DamagedIndexError("a set of entries is not what was written")
        if len(body) == _BYTES:
            bits |= int.from_bytes(body, "little")
        else:
            listed += body
    places = array("I", bytes(listed))
    if _SWAPS:
        places.byteswap()
    return Numbers(None, bits | _bits(places)) if bits else Numbers(frozenset(places))


def _bits(places: Iterable[int]) -> int:
    held = bytearray(_BYTES)
    for place in places:
        held[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(held, "little")


_SET = tuple(tuple(place for place in range(8) if byte >> place & 1) for byte in range(256))
"""The bits that are set in each byte."""


def _places(bits: int) -> Iterator[int]:
    held = bits.to_bytes(_BYTES, "little")
    for found in _NOT_ZERO.finditer(held):
        first = found.start() << 3
        for place in _SET[held[first >> 3]]:
            yield first + place
