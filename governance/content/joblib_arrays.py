"""Pickles as joblib writes them: the bytes of arrays lie between the operations, each behind the one that completes its `NumpyArrayWrapper`.

joblib reads an array there and then, and goes on behind it. So where the next operation lies is said by a state that the pickle holds:
shape, layout, alignment.

Promises: followed only where all of that is in sight, and where the wrapper's class is used for nothing else; what cannot be followed raises
`UnsureError`. An array of objects is a pickle of its own, whose imports count. Does not: say what an unpickler other than joblib's makes of the
same bytes, which it takes for operations (see `pickles.walk`).

Source: `joblib/numpy_pickle.py`, `NumpyArrayWrapper.read_array` and `NumpyUnpickler.load_build`, of joblib 0.10 to 1.6.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from governance.content.layouts import NOTHING, Layout
from governance.content.machine import Machine
from governance.content.operations import BrokenError, CutError
from governance.content.standard_library import MODULES
from governance.content.values import FALSE, Import, Instance, Value
from governance.content.windows import Bytes

WRAPPER: Final = "joblib.numpy_pickle.NumpyArrayWrapper"

_ARRAY: Final = Instance(Import("numpy", "ndarray"))
_ALIGNMENT: Final = "numpy_array_alignment_bytes"
_LARGEST: Final = 1 << 40


class UnsureError(BrokenError):
    """Where an array ends, or whether there is one, cannot be told."""


class ArrayMachine(Machine):
    """One pickle with arrays. `pads` says whether bytes of alignment are read, as since joblib 1.2."""

    def __init__(self, data: Bytes, *, pads: bool) -> None:
        super().__init__(data, 0)
        self.more_operations = 0
        self._pads = pads
        self._frame_end = 0
        self._is_made = False
        self._special["FRAME"] = self._frame

    def _frame(self, argument: bytes) -> None:
        self._frame_end = self.position + int.from_bytes(argument, "little")

    def _new(self, argument: bytes) -> None:
        self._is_made = len(self._stack) > 1 and _is_wrapper(self._stack[-2]) and self._stack[-1] == ()
        super()._new(argument)
        self._is_made = False

    def _lose(self, values: Iterable[Value]) -> None:
        held = list(values)
        if not self._is_made and any(map(_is_wrapper, held)):
            raise UnsureError("what an array is wrapped in is used otherwise")
        super()._lose(held)

    def _build(self, argument: bytes) -> None:
        given = self._stack[-1] if self._stack else None
        state = given.copy() if isinstance(given, dict) else {}
        super()._build(argument)
        top = self._stack[-1]
        if isinstance(top, Instance) and top.of.name == WRAPPER:
            self._read_array(state)
            self._stack[-1] = _ARRAY

    def _read_array(self, state: Mapping[str | None, Value]) -> None:
        layout, shape = state.get("dtype"), state.get("shape")
        if (
            None in state
            or not isinstance(layout, Layout)
            or not layout.size
            or not isinstance(shape, tuple)
            or not all(isinstance(each, int) and each >= 0 for each in shape)
            or self.position < self._frame_end  # joblib reads behind the frame, and then goes on within
        ):
            raise UnsureError("where an array ends cannot be told")
        if layout.has_objects:
            self._read_objects(state)
            return
        end = self._aligned(state) + layout.size * math.prod(each for each in shape if isinstance(each, int))
        if end > len(self.data):
            raise CutError("the pickle ends inside an array", min(end, _LARGEST))
        self.position = end

    def _aligned(self, state: Mapping[str | None, Value]) -> int:
        """Where the bytes of the array begin."""
        alignment = state.get(_ALIGNMENT, NOTHING)
        if alignment is NOTHING or not self._pads:
            return self.position
        if not isinstance(alignment, int):
            raise UnsureError("how an array is aligned cannot be told")
        if self.position >= len(self.data):
            raise CutError("the pickle ends before an array", self.position + 1)
        return self.position + 1 + self.data[self.position]

    def _read_objects(self, state: Mapping[str | None, Value]) -> None:
        if state.get("allow_mmap") is not FALSE:  # else numpy may take the file's bytes for addresses
            raise UnsureError("an array of objects may be mapped into memory")
        inner = Machine(self.data, self.position)
        try:
            inner.run()
        finally:
            self.imports |= inner.imports
            self.called |= inner.called
            self.calls_all |= inner.calls_all
            self.more_operations += inner.operations
        self.position = inner.position


def is_misread(name: str) -> bool:
    """Whether a name looks like what Python's unpickler makes of an array of objects: inside of it, a number stands for the word `numpy`,
    and outside of it for any other. It imports a module of that name where there is one, and stops for want of a `dtype` in it."""
    module, _, path = name.partition(".")
    return path == "dtype" and module not in MODULES


def _is_wrapper(value: Value) -> bool:
    return isinstance(value, Import) and value.name == WRAPPER
