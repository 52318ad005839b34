"""What a file of msgpack holds in bytes: spaCy keeps the weights of a network of PyTorch so, as `torch.save` writes them.

They lie in msgpack within msgpack, in the file `model` of a component, and spaCy has torch unpickle them: before torch 2.6, any pickle.

Promises: every value of bytes is found, as deep as spaCy reads and deeper, as long as the file is msgpack. Does not: build what is in it.

Source: the specification of msgpack; `Model.to_bytes` and `PyTorchShim.to_bytes` of thinc 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from governance.content.effort import Effort

_MODEL: Final = "model"
_DEEPEST: Final = 4
"""Twice as deep as spaCy writes and reads."""
_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
"""How many bytes say the length of a value of bytes."""
_TEXT: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSION: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED: Final = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""How many bytes belong to a value behind its first one: of what holds others, those of their number, as they
follow. All that stand in no table are one byte long."""


def may_hold(name: str, head: bytes) -> bool:
    """Whether spaCy may read a network from a file of this name that begins with `head`: a mapping in msgpack."""
    return name.rpartition("/")[2].casefold() == _MODEL and _is_mapping(head)


def held(data: bytes, effort: Effort) -> Iterator[tuple[int, int]]:
    """Where each value of bytes lies in a document, and in the documents that are such values. Raises `SpentError`."""
    waiting = [(0, len(data), 0)]
    while waiting:
        start, end, depth = waiting.pop()
        for place in _values(data, start, end, effort):
            if depth < _DEEPEST and _is_mapping(data[place[0] : place[0] + 1]):
                waiting.append((*place, depth + 1))
            yield place


def _is_mapping(head: bytes) -> bool:
    return bool(head) and (0x80 <= head[0] <= 0x8F or head[0] in {0xDE, 0xDF})


def _values(data: bytes, position: int, end: int, effort: Effort) -> Iterator[tuple[int, int]]:
    """Where the values of bytes lie: what holds others is written before them, so that one may pass over all from first to last."""
    while position < end:
        effort.demand(1)
        kind = data[position]
        position += 1
        if kind in _BYTES:
            start = position + _BYTES[kind]
            position = start + int.from_bytes(data[position:start])
            yield start, min(position, end)
        elif kind in _TEXT or kind in _EXTENSION:
            start = position + (_TEXT.get(kind) or _EXTENSION[kind])
            position = start + int.from_bytes(data[position:start]) + (kind in _EXTENSION)
        elif 0xA0 <= kind <= 0xBF:
            position += kind - 0xA0
        else:
            position += _FIXED.get(kind, 0)
