r"""The header of an `.npy` file (NEP 1): whether what follows it is a pickle.

numpy reads the header as a literal of Python, which has many spellings: `"descr"`, `'\x64escr'`, `'object'` for `'|O'`, any number
of spaces before all of it. Hence it is read here as numpy reads it, and not searched for one of them.

Promises: an array counts as plain only where its header is whole and every type in it is one that numpy writes for plain bytes.
Whatever else it says, `numpy.load` may unpickle. Does not: execute anything, or look at the array.
"""

from __future__ import annotations

import ast
import re
from typing import Final

MARK: Final = b"\x93NUMPY"

_PLAIN: Final = re.compile(r"[|<>=]?[?bBiufcSUVaMm][0-9]*(?:\[[0-9A-Za-z/]+\])?")
_MAX_HEADER: Final = 64 << 10
_LONG: Final = re.compile(r"(?<=[0-9])L\b")
"""How Python 2 wrote large numbers; numpy takes the letter away, too."""


def array_start(data: bytes) -> int:
    """Where the array begins behind the header."""
    width = _width(data)
    return 8 + width + int.from_bytes(data[8 : 8 + width], "little")


def is_plain(data: bytes) -> bool:
    """Whether the array of a file that begins with `data` is known to be no pickle."""
    start = array_start(data)
    if start > min(len(data), _MAX_HEADER):
        return False
    text = _LONG.sub("", data[8 + _width(data) : start].decode("latin-1"))
    try:
        header = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return isinstance(header, dict) and _holds_plain(header.get("descr"))


def _width(data: bytes) -> int:
    return 2 if data[6:7] == b"\x01" else 4


def _holds_plain(descr: object) -> bool:
    """Whether a type is plain: its name, `(type, shape)`, or a list of fields `(name, type)` or `(name, type, shape)`."""
    match descr:
        case str():
            return _PLAIN.fullmatch(descr) is not None
        case tuple((inner, shape)):
            return _is_shape(shape) and _holds_plain(inner)
        case list():
            return all(_is_field(field) for field in descr)
    return False


def _is_field(field: object) -> bool:
    match field:
        case tuple((_, inner)):
            return _holds_plain(inner)
        case tuple((_, inner, shape)):
            return _is_shape(shape) and _holds_plain(inner)
    return False


def _is_shape(shape: object) -> bool:
    return isinstance(shape, int) or (
        isinstance(shape, tuple) and all(isinstance(each, int) for each in shape)
    )
