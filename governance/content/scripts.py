"""Which operators of a TorchScript model reach beyond it, to files.

Its code is in the zip beside its tensors, in a language that looks like Python's and knows operators alone; loading it runs nothing of
Python's, and using it opens or writes the files that it names.

Promises: an operator is found however it is called: of `torch`, of `ops.aten`, as a method of what it is given first, or by `getattr`. Does not: call
code harmless; there are thousands of operators, and libraries bring more.

Source: `torch/csrc/jit/serialization/export_module.cpp` for the layout, the schemas of the registered operators for those with a file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from governance.content.effort import Effort

ROOT: Final = "?torchscript"

_CONSTANTS: Final = "constants.pkl"
_REACHES: Final = re.compile(
    rb"\b(from_file|read_file|write_file|load_tensor|sox_io_\w{1,40}|sox_effects_apply_effects_file)\b"
    rb"|(?:\.(?:\s|\\|#[^\n]*\n)*|[\"'])(save)\b"  # a name that a variable may have
    rb"|\b(getattr)\s*\((?:[\s(]*(?:torch|ops)\b|[^\n]*\\)"  # of a module of operators, or by a name that is escaped
)
_PRICE: Final = 4  # operations of a pickle for each hundred bytes
_PIECE: Final = 100


def is_script(members: Iterable[str]) -> bool:
    """Whether a zip with these members is one that torch takes for TorchScript."""
    return any(name.rpartition("/")[2] == _CONSTANTS for name in members)


def is_code(member: str) -> bool:
    """Whether such a zip has code under this name: in its folder `code`, behind the zip's own name."""
    return member.endswith(".py") and "code" in member.split("/")[:2]


def script_reaches(code: bytes, effort: Effort) -> frozenset[str]:
    """The operators that reach beyond the model, as `?torchscript.name`. Raises `SpentError`."""
    effort.demand(_PRICE * (1 + len(code) // _PIECE))
    return frozenset(f"{ROOT}.{match[match.lastindex or 0].decode()}" for match in _REACHES.finditer(code))
