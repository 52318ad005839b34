"""Sets of small numbers as the bits of one integer: joined and cut by one operation, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_WORD = 64
_WORD_BYTES = 8


def bits_of(numbers: Iterable[int], width: int) -> int:
    """The set of `numbers`, all of them below `width`."""
    packed = bytearray(width // 8 + 1)
    for number in numbers:
        packed[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(packed, "little")


def numbers_in(bits: int) -> Iterator[int]:
    """The numbers of a set, in order."""
    # A wide integer is cut into words first: each operation on it takes as long as it is wide.
    words = -(-bits.bit_length() // _WORD)
    packed = memoryview(bits.to_bytes(words * _WORD_BYTES, "little"))
    for place in range(words):
        word = int.from_bytes(packed[place * _WORD_BYTES : (place + 1) * _WORD_BYTES], "little")
        while word:
            lowest = word & -word
            yield place * _WORD + lowest.bit_length() - 1
            word ^= lowest
