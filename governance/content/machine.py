"""One pickle, followed operation by operation for the names it would import. Nothing is ever unpickled.

Promises: what strings are known on the stack is kept, so that `STACK_GLOBAL` finds its module and name through the memo, `DUP` and
`POP`; what is asked of an import by `getattr` counts as an import of that name; the effect of every other operation on the stack comes from the standard library's own table; bounded in operations and
imports. Where an unpickler stops with an error this may go on; short of these bounds it never stops where an unpickler goes
on. Does not: say what the names are worth.

Source: `pickletools` (PEP 3154 for protocol 4, PEP 574 for protocol 5).
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

UNRESOLVED: Final = "?unresolved"
EXTENSION: Final = "?extension"
WITHIN: Final = "?within."
"""Before the path that leads from a module through what it holds, as `os.system` in `pandas.io.common`."""
CHANGES: Final = "?changes."
"""Before the name of an import that is given other attributes, for everything in the process that uses it."""

_MAX_OPERATIONS: Final = 2_000_000
_MAX_NAME: Final = 512
_MAX_IMPORTS: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Import:
    """What an import, or an attribute of one, left on the stack."""

    module: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.module}.{self.path}"


_Held = _Import | str | None
_Value = _Held | tuple[_Held, str]
"""A known string, an import, a pair of which the second is a string, and None for everything else."""

_GETATTR: Final = frozenset({"builtins.getattr", "__builtin__.getattr"})
_MAKES_ENUM: Final = "cloudpickle.cloudpickle._make_skeleton_enum"
_ENUM: Final = _Import("cloudpickle.cloudpickle", "_make_skeleton_enum()")
"""An enumeration that was written whole, of which Python 3.11 asks its members by `getattr`."""


class BrokenError(Exception):
    """The operations cannot be read on."""


class CutError(BrokenError):
    """They go on behind the end of what is at hand: up to `needed` bytes from the start, at least."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation does to the stack."""

    name: str
    size: int
    """Bytes of the argument; negative as in `pickletools`: to the newline (-1), or length first (-2 to -5)."""
    pops: int
    to_mark: bool
    pushes: int
    is_text: bool
    is_plain: bool
    """Pushes one value that is no text, and does nothing else."""


_MARK: Final = "\x00mark"
_TEXT: Final = frozenset(
    {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
)
_SPECIAL: Final = frozenset(
    {"MARK", "GLOBAL", "INST", "EXT1", "EXT2", "EXT4", "GET", "BINGET", "LONG_BINGET", "DUP", "PERSID"}
)
_NUMBER: Final = re.compile(rb"[-+]?[0-9]*L?")
_DOTTED_LINE: Final = re.compile(rb"[\w.\x80-\xff]*")
_LINES: Final = {
    "INT": _NUMBER, "LONG": _NUMBER, "GET": _NUMBER, "PUT": _NUMBER,
    "FLOAT": re.compile(rb"[-+0-9.eEinfaINFA_]*"),
    "STRING": re.compile(rb"(?:[\"'].*)?", re.DOTALL),
    "GLOBAL": _DOTTED_LINE, "INST": _DOTTED_LINE,
}  # fmt: skip
"""How far lines are of a form that an unpickler takes; others may hold anything."""
_PREFIX: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _table() -> dict[int, Operation]:
    table = {}
    for each in pickletools.opcodes:
        before = [item.name for item in each.stack_before]
        to_mark = "mark" in before
        is_plain = not before and len(each.stack_after) == 1 and each.name not in _TEXT | _SPECIAL
        table[ord(each.code)] = Operation(
            name=each.name,
            size=each.arg.n if each.arg is not None else 0,
            pops=before.index("mark") if to_mark else len(before),
            to_mark=to_mark,
            pushes=len(each.stack_after),
            is_text=each.name in _TEXT,
            is_plain=is_plain,
        )
    return table


TABLE: Final = _table()
_NEEDS_MORE: Final = frozenset({"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"})
BARE: Final = {code: each for code, each in TABLE.items() if each.name not in _NEEDS_MORE}
"""What an unpickler takes that was not told what persistent ids and extension codes stand for. Those that were (torch's) read a file
that says what it is by its name, its mark or the zip around it."""


class Machine:
    """One pickle. Strings on the stack are known, everything else is None."""

    def __init__(self, data: bytes, position: int, table: Mapping[int, Operation] = TABLE) -> None:
        self.data = data
        self._table = table
        self.position = position
        self.imports: set[str] = set()
        self.operations = 0
        self._stack: list[_Value] = []
        self._memo: dict[int, _Value] = {}
        self._has_getattr = False
        self._special = {
            "MARK": self._mark,
            "POP": self._pop,
            "DUP": self._dup,
            "GLOBAL": self._global,
            "INST": self._inst,
            "STACK_GLOBAL": self._stack_global,
            "TUPLE2": self._pair,
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "EXT1": self._extension,
            "EXT2": self._extension,
            "EXT4": self._extension,
            "PUT": self._put,
            "BINPUT": self._put_binary,
            "LONG_BINPUT": self._put_binary,
            "MEMOIZE": self._memoize,
            "GET": self._get,
            "BINGET": self._get_binary,
            "LONG_BINGET": self._get_binary,
        }

    def run(self, most: int = _MAX_OPERATIONS) -> None:
        """Walk to `STOP`, at most `most` operations far. Raises `BrokenError`."""
        try:
            self._walk(most)
        finally:
            self._lose(self._stack)

    def _walk(self, most: int) -> None:
        data, end, table = self.data, len(self.data), self._table
        limit = min(most, _MAX_OPERATIONS)
        for self.operations in range(1, limit + 1):
            if self.position >= end:
                raise CutError("the pickle ends without its last operation", end + 1)
            operation = table.get(data[self.position])
            if operation is None:
                raise BrokenError(f"no operation {data[self.position]:#04x} at byte {self.position}")
            self.position += 1
            # Most operations have no argument, and a large pickle has millions of them.
            argument = self._argument(operation) if operation.size else b""
            if operation.is_plain:
                self._stack.append(None)
            elif operation.name == "STOP":
                return
            else:
                self.step(operation, argument)
        raise BrokenError(f"more than {limit} operations")

    def _argument(self, operation: Operation) -> bytes:
        """The bytes of the argument, without any length before them."""
        start, size = self.position, operation.size
        if size == pickletools.UP_TO_NEWLINE:
            end = self._line_end(operation, start)
            if operation.name in {"GLOBAL", "INST"}:
                end = self._line_end(operation, end + 1)
            self.position = end + 1
            return self.data[start:end]
        if size < 0:
            width = _PREFIX[size]
            length = int.from_bytes(self.data[start : start + width], "little")
            start, size = start + width, length
        if start + size > len(self.data):
            raise CutError(f"the pickle ends inside {operation.name}", start + size)
        self.position = start + size
        return self.data[start : start + min(size, _MAX_NAME + 1)]

    def _line_end(self, operation: Operation, start: int) -> int:
        end = self.data.find(b"\n", start)
        if end < 0:
            form = _LINES.get(operation.name)
            if form is not None and not form.fullmatch(self.data, start):
                raise BrokenError(f"a line that is none of {operation.name}")
            raise CutError("the pickle ends inside a line", len(self.data) + 1)
        return end

    def step(self, operation: Operation, argument: bytes) -> None:
        """One operation that does more than push a plain value. Raises `BrokenError`."""
        special = self._special.get(operation.name)
        if special is not None:
            special(argument)
            return
        self._drop(operation)
        if operation.is_text:
            self._stack.append(_text(operation.name, argument))
        elif operation.pushes:
            self._stack.extend([None] * operation.pushes)

    def _drop(self, operation: Operation) -> None:
        if operation.to_mark:
            while self._stack:
                value = self._stack.pop()
                if value is _MARK:
                    break
                if self._has_getattr:
                    self._lose((value,))
            else:
                raise BrokenError(f"{operation.name} without a mark")
        if operation.pops:
            if len(self._stack) < operation.pops:
                raise BrokenError(f"{operation.name} on an empty stack")
            if self._has_getattr:
                self._lose(self._stack[-operation.pops :])
            del self._stack[-operation.pops :]

    def _note(self, name: str) -> None:
        if len(self.imports) >= _MAX_IMPORTS:
            raise BrokenError(f"more than {_MAX_IMPORTS} imports")
        self.imports.add(name)

    def _import(self, module: str, path: str) -> None:
        """Push an import. `getattr` is told of only where it is not seen what it is asked for."""
        found = _Import(module, path)
        if found.name in _GETATTR:
            self._has_getattr = True
        else:
            self._note(found.name)
            if "." in path:
                self._note(WITHIN + path)
        self._stack.append(found)

    def _lose(self, values: Iterable[_Value]) -> None:
        """These go where they are not followed."""
        for value in values:
            if isinstance(value, _Import) and value.name in _GETATTR:
                self._note(value.name)

    def _pair(self, _argument: bytes) -> None:
        if len(self._stack) < 2:
            raise BrokenError("TUPLE2 on an empty stack")
        second, first = self._stack.pop(), self._stack.pop()
        if isinstance(second, str) and isinstance(first, _Import | str):
            self._lose((first,))
            self._stack.append((first, second))
        else:
            self._lose((first, second))
            self._stack.append(None)

    def _reduce(self, _argument: bytes) -> None:
        if len(self._stack) < 2:
            raise BrokenError("REDUCE on an empty stack")
        arguments, called = self._stack.pop(), self._stack.pop()
        self._lose((arguments,))
        name = called.name if isinstance(called, _Import) else None
        if name in _GETATTR and isinstance(arguments, tuple):
            owner, asked = arguments
            if owner is _ENUM and not asked.startswith("_"):
                self._stack.append(None)
                return
            if isinstance(owner, _Import):
                self._import(owner.module, f"{owner.path}.{asked}")
                return
        self._lose((called,))
        self._stack.append(_ENUM if name == _MAKES_ENUM else None)

    def _build(self, _argument: bytes) -> None:
        if len(self._stack) < 2:
            raise BrokenError("BUILD on an empty stack")
        state, changed = self._stack.pop(), self._stack[-1]
        self._lose((state,))
        if isinstance(changed, _Import):
            self._note(CHANGES + changed.name)

    def _mark(self, _argument: bytes) -> None:
        self._stack.append(_MARK)

    def _pop(self, _argument: bytes) -> None:
        if not self._stack:
            raise BrokenError("POP on an empty stack")
        self._stack.pop()

    def _dup(self, _argument: bytes) -> None:
        self._stack.append(self._top())

    def _top(self) -> _Value:
        if not self._stack:
            raise BrokenError("an operation on an empty stack")
        return self._stack[-1]

    def _global(self, argument: bytes) -> None:
        self._import(*_lines(argument))

    def _inst(self, argument: bytes) -> None:
        self._note(".".join(_lines(argument)))
        self._drop(TABLE[ord("t")])  # as TUPLE: everything down to the mark
        self._stack.append(None)

    def _stack_global(self, _argument: bytes) -> None:
        if len(self._stack) < 2:
            raise BrokenError("STACK_GLOBAL on an empty stack")
        name, module = self._stack.pop(), self._stack.pop()
        if isinstance(module, str) and isinstance(name, str) and _MARK not in {module, name}:
            self._import(module, name)
            return
        self._lose((module, name))
        self._note(UNRESOLVED)
        self._stack.append(None)

    def _extension(self, _argument: bytes) -> None:
        self._note(EXTENSION)
        self._stack.append(None)

    def _put(self, argument: bytes) -> None:
        self._memo[_index(argument)] = self._top()

    def _put_binary(self, argument: bytes) -> None:
        self._memo[int.from_bytes(argument, "little")] = self._top()

    def _memoize(self, _argument: bytes) -> None:
        self._memo[len(self._memo)] = self._top()

    def _get(self, argument: bytes) -> None:
        self.recall(_index(argument))

    def _get_binary(self, argument: bytes) -> None:
        self.recall(int.from_bytes(argument, "little"))

    def recall(self, index: int) -> None:
        """Push what was put under an index. Where nothing was, an unpickler stops."""
        self._stack.append(self._memo.get(index))


def _lines(argument: bytes) -> tuple[str, str]:
    module, _, name = argument.partition(b"\n")
    return _name(module), _name(name)


def _name(raw: bytes) -> str:
    # Replaced, not refused: the unpickler may still accept bytes that are no UTF-8, and then imports something.
    return raw[:_MAX_NAME].decode("utf-8", "backslashreplace")


def _text(operation: str, argument: bytes) -> _Value:
    if len(argument) > _MAX_NAME:
        return None  # longer than any name: as good as unknown
    if operation == "STRING":
        argument = argument.strip()
        if len(argument) >= 2 and argument[:1] == argument[-1:] and argument[:1] in {b"'", b'"'}:
            argument = argument[1:-1]
        return None if b"\\" in argument else _name(argument)
    if operation == "UNICODE" and b"\\u" in argument.lower():
        return None
    return _name(argument)


def _index(argument: bytes) -> int:
    try:
        return int(argument)
    except ValueError as error:
        raise BrokenError("a memo index that is not a number") from error
