r"""How numpy lays out the elements of an array, as a pickle tells it: `numpy.dtype("V16")`, then its state.

numpy believes that state. One that says of bytes that they are objects, or of a field that it lies outside of its element, has numpy
follow addresses that the pickle's author wrote: the process crashes, or does what he likes, with no other name than numpy's own.

Promises: a state counts as good only where it is all in sight and is the one that numpy itself writes. Does not: read arrays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from governance.content.values import Import

_TYPE: Final = re.compile(r"[|<>=]?([?bBiufcSUaVMmO])([0-9]{0,9})")
_WIDTHS: Final = {"?": 1, "b": 1, "B": 1, "O": 8, "M": 8, "m": 8}
_OBJECTS: Final = 0x07
"""Of numpy's flags those by which an element holds objects, or is written as a list of them."""
_OF_OBJECTS: Final = 0x1B
"""What is set for each that does."""


@dataclass(slots=True)
class Layout:
    """Of one element. `size` in bytes is None where it is not known; `is_used` once something else may rest on it."""

    code: str
    size: int | None
    has_objects: bool = False
    is_used: bool = False

    def set_state(self, state: object) -> bool:
        """Take over a state. False where it is not known to be good."""
        if not self.code or self.is_used or not isinstance(state, tuple) or len(state) not in {8, 9}:
            return False
        inner, names, fields, size, _, flags = state[2:8]
        if not isinstance(size, int) or not isinstance(flags, int):
            return False
        if self.code == "V" and self.size is None and size >= 0:
            self.size = size
        if size not in {-1, self.size}:
            return False
        if self.code != "V" and (inner, names, fields) != (NOTHING, NOTHING, NOTHING):
            return False
        within = _within(inner, names, fields, self.size)
        if within is None:
            return False
        self.has_objects = self.code == "O" or any(each.has_objects for each in within)
        return flags & _OF_OBJECTS == _OF_OBJECTS if self.has_objects else not flags & _OBJECTS


class _Nothing:
    """`None`, where a pickle has it; our own stands for what is not known."""


NOTHING: Final = _Nothing()


def layout(arguments: object) -> Layout:
    """What `numpy.dtype` makes of these arguments."""
    match arguments:
        case (Import(name="numpy.record"), *_):
            return Layout("V", None)
    if isinstance(arguments, tuple) and arguments and isinstance(arguments[0], str):
        found = _TYPE.fullmatch(arguments[0])
        if found is not None:
            code, digits = found.groups()
            size = int(digits) if digits else _WIDTHS.get(code, 0)
            return Layout(code, 4 * size if code == "U" else size, has_objects=code == "O")
    return Layout("", None)


def _within(inner: object, names: object, fields: object, size: int | None) -> list[Layout] | None:
    """What an element is made of, where it all lies within it."""
    if (inner, names, fields) == (NOTHING, NOTHING, NOTHING):
        return []
    if inner is not NOTHING:
        return _repeated(inner, size) if (names, fields) == (NOTHING, NOTHING) else None
    if (
        not isinstance(names, tuple)
        or not isinstance(fields, Mapping)
        or None in fields
        or not all(isinstance(each, str) and each in fields for each in names)
    ):
        return None
    found = [_field(each, size) for each in fields.values()]
    return [each for each in found if each is not None] if None not in found else None


def _repeated(inner: object, size: int | None) -> list[Layout] | None:
    match inner:
        case (Layout(size=int(one)) as of, shape):
            counts = shape if isinstance(shape, tuple) else (shape,)
            if (
                all(isinstance(each, int) and each >= 0 for each in counts)
                and math.prod(counts) * one == size
            ):
                return [of]
    return None


def _field(field: object, size: int | None) -> Layout | None:
    match field:
        case (Layout(size=int(one)) as of, int(offset)) | (Layout(size=int(one)) as of, int(offset), _):
            return of if size is not None and 0 <= offset <= size - one else None
    return None
