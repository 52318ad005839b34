"""A list of package names, which is text, although an unpickler would take its first lines for an import.

`catboost`, `numpy`, each on a line, read as a pickle: `c`, import `numpy` of `atboost`. So do all lists that begin with a name in
c or i. Most pickles that run something are no such lists. But four names are enough for one: `cos`, `system`, `Vx`, `Rich` runs
`x` where joblib loads it. Hence all of these are asked for:

1. every line is a requirement (PEP 508), a reference to another file, a comment or empty;
2. an unpickler stops with an error before the pickle's end, so it loads nothing;
3. until then it only imports and pushes: it calls nothing and puts nothing into anything;
4. what it imports is no name that attacks are made of.

Promises: whatever fails one of them is looked at as the pickle it may be. Does not: keep a module from being imported that the
model brings along, which its `MLmodel` could name as well (`loader_module`), and whose source is looked at in its own right.
"""

from __future__ import annotations

from typing import Final

from governance.content.dependencies import read_requirements
from governance.content.judgement import is_dangerous
from governance.content.machine import Machine
from governance.content.operations import BARE, BrokenError, CutError, Operation

_IDLE: Final = frozenset(
    (
        "MARK", "POP", "POP_MARK", "DUP", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET",
        "NONE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "STRING", "UNICODE", "TUPLE", "LIST", "GLOBAL",
    )
)  # fmt: skip
"""What step 3 allows beside plain values. `INST` gets further than its import only with a mark, and then calls."""

_OF_PACKAGES: Final = frozenset({"ast", "calendar", "json", "pdb", "struct"})
"""Modules whose import changes nothing, and which are read out of the names of packages: `cast`, `icalendar`, `ijson`, `ipdb`,
`cstruct`. Step 4 does not mind them."""


def is_listing(head: bytes, *, is_whole: bool) -> bool:
    """Whether a file that begins with `head` is such a list. `is_whole` says that it ends there."""
    return _is_list(head, is_whole=is_whole) and _is_idle(head, is_whole=is_whole)


def _is_list(head: bytes, *, is_whole: bool) -> bool:
    if not head.isascii():
        return False
    lines = head.decode("ascii").split("\n")
    found = read_requirements(lines if is_whole else lines[:-1])  # 1
    return bool(found.packages) and not found.problems


class _ActsError(Exception):
    """Something is called or filled."""


class _IdleMachine(Machine):
    """Goes no further than an operation that does more than import and push; nor than one that asks for what was never put, as
    names such as `joblib` do."""

    def step(self, operation: Operation, argument: bytes) -> None:
        """See `Machine.step`. Raises `_ActsError` too."""
        super().step(operation, argument)
        if operation.name not in _IDLE:
            raise _ActsError

    def recall(self, index: int) -> None:
        """See `Machine.recall`. Raises `BrokenError`."""
        if index not in self._memo:
            raise BrokenError(f"nothing was put under {index}")
        super().recall(index)


def _is_idle(head: bytes, *, is_whole: bool) -> bool:
    # Python's own unpickler takes the file's end for the end of a line.
    machine = _IdleMachine(head + b"\n\n" if is_whole else head, 0, BARE)
    try:
        machine.run()
    except _ActsError:
        return False  # 3
    except CutError:
        if not is_whole:
            return False
    except BrokenError:
        pass
    else:
        return False  # 2
    return not any(_is_feared(name) for name in machine.imports)  # 4


def _is_feared(name: str) -> bool:
    return is_dangerous(name) and name.partition(".")[0] not in _OF_PACKAGES
