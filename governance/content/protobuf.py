"""Messages of Protocol Buffers, followed by their bytes alone, without the code that is made from a schema.

Promises: one pass, of which nothing is kept; what lies between the parts that are asked for is passed over, not read. Does not: know what
a field means; who asks says which fields lead on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from governance.content.effort import Effort
from governance.content.windows import Bytes

Schema = Mapping[str, Mapping[int, str]]
"""Which fields lead on, by message and number, and to which message."""

_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5
_FIXED: Final = {_LONG: 8, _SHORT: 4}
_WORK: Final = 1_000
_FIELD, _MESSAGE = 2, 16
"""How many operations of a pickle each is worth."""
_DEEPEST: Final = 100
"""As deep as the readers of such messages go."""


class MessageError(Exception):
    """Bytes that are no message. The text says why."""


def leaves(data: Bytes, schema: Schema, root: str, effort: Effort) -> Iterator[tuple[str, int, int]]:
    """The fields that the schema leads to and not on from: what each is, and where its bytes lie. Raises `MessageError`; `SpentError`
    for more of them than there is leave to look at."""
    within = [(root, fields(data, 0, len(data), effort))]
    while within:
        kind, inside = within[-1]
        number, start, end = next(inside, (None, 0, 0))
        if number is None:
            within.pop()
            continue
        inner = schema[kind].get(number, "")
        if inner in schema:
            if len(within) == _DEEPEST:
                raise MessageError(f"nested deeper than {_DEEPEST}")
            within.append((inner, fields(data, start, end, effort)))
        elif inner:
            yield inner, start, end


def fields(data: Bytes, start: int, end: int, effort: Effort) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: number, and where their bytes lie."""
    at, seen = start, 0
    effort.demand(_MESSAGE)
    while at < end:
        seen += 1
        if seen % _WORK == 0:
            effort.demand(_FIELD * _WORK)
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, at = _varint(data, at, end)
        elif wire == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise MessageError("a part of it is longer than the whole")
            yield number, at, at + size
            at += size
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise MessageError("a part of it is of an unknown kind")
    if at != end:
        raise MessageError("it ends in the midst of a part")


def _varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise MessageError("a number in it has no end")
