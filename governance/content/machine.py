"""One pickle, followed operation by operation for the names it would import. Nothing is ever unpickled.

Promises: what is known of the stack is kept (`values`), so that `STACK_GLOBAL` finds its module and name through the memo, `DUP` and
`POP`; what is asked by `getattr` of an import, or of an instance of one, counts as an import of that name; what is called is told from
what is only named, and all that is named counts as called where that cannot be told; the effect of every other operation on the stack
comes from the standard library's own table; bounded in operations and imports. Where an unpickler stops with an error this may go on;
short of these bounds it never stops where an unpickler goes on. Does not: say what the names are worth.

Source: `pickletools` (PEP 3154 for protocol 4, PEP 574 for protocol 5).
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterable, Mapping
from typing import Final

from governance.content.allowed import ALLOWED
from governance.content.calls import BUILT, CALL_ARGUMENTS, CALLED_AS, CALLS_FIRST
from governance.content.layouts import NOTHING, Layout, layout
from governance.content.operations import (
    LINES,
    MAX_NAME,
    PREFIX,
    TABLE,
    BrokenError,
    CutError,
    Operation,
    read_index,
    read_lines,
    read_number,
    read_text,
)
from governance.content.values import (
    ENUM,
    FALSE,
    GETATTR,
    GROWS,
    LIST,
    MADE,
    OWN,
    PARTIAL,
    REBUILDS,
    Import,
    Instance,
    Value,
    ask,
    may_be_text,
)
from governance.content.windows import Bytes

UNRESOLVED: Final = "?unresolved"
EXTENSION: Final = "?extension"
WITHIN: Final = "?within."
"""Before the path that leads from a module through what it holds, as `os.system` in `pandas.io.common`."""
CHANGES: Final = "?changes."
"""Before the name of an import that is given other attributes, for everything in the process that uses it."""
LAYOUT: Final = "?layout.numpy.dtype"
"""How an array lies in memory, or where, told otherwise than numpy tells it."""

_MAX_OPERATIONS: Final = 2_000_000
_MAX_IMPORTS: Final = 2_000
_MAX_HELD: Final = 64
"""In a tuple or dictionary; of a larger one nothing is known."""
_MARK: Final = object()
_AT_ADDRESS: Final = frozenset({"__array_interface__", "__array_struct__"})
"""Attributes by which numpy takes anything for an array that lies where they say."""
_PAIR: Final = 2
_RESTORES: Final = "__setstate__"
"""What an instance is given its attributes by, where it was given that itself. A dictionary may be made of pairs, and is not followed then: of
what may be one, whatever is named counts as called. Names in the code of a function and the attributes of a class are none."""


class Machine:
    """One pickle. `imports` is what it names, `called` what of it is called while it is loaded; `calls_all` says that any may be."""

    def __init__(self, data: Bytes, position: int, table: Mapping[int, Operation] = TABLE) -> None:
        self.data = data
        self._table = table
        self.position = position
        self.imports: set[str] = set()
        self.called: set[str] = set()
        self.calls_all = False
        self.operations = 0
        self._stack: list[Value] = []
        self._memo: dict[int, Value] = {}
        self._has_getattr = False
        self._has_partial = False
        self._has_method = False
        self._special = {
            "MARK": lambda _: self._stack.append(_MARK),
            "POP": self._pop,
            "DUP": lambda _: self._stack.append(self._top()),
            "GLOBAL": self._global,
            "INST": self._inst,
            "STACK_GLOBAL": self._stack_global,
            "NONE": lambda _: self._stack.append(NOTHING),
            "NEWFALSE": lambda _: self._stack.append(FALSE),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "APPEND": lambda _: self._append(self._take(1, "APPEND")),
            "APPENDS": lambda _: self._append(self._to_mark("APPENDS")),
            "ADDITEMS": lambda _: self._append(self._to_mark("ADDITEMS")),
            "EMPTY_LIST": lambda _: self._stack.append(LIST),
            "LIST": self._list,
            "DICT": self._dict,
            "SETITEM": self._set_item,
            "SETITEMS": self._set_items,
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "TUPLE": self._tuple_to_mark,
            "REDUCE": self._reduce,
            "NEWOBJ": self._new,
            "NEWOBJ_EX": self._new_object,
            "OBJ": self._object,
            "BUILD": self._build,
            **dict.fromkeys(("EXT1", "EXT2", "EXT4"), self._extension),
            "PUT": self._put,
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._put_binary),
            "MEMOIZE": self._memoize,
            "GET": self._get,
            **dict.fromkeys(("BINGET", "LONG_BINGET"), self._get_binary),
        }

    def run(self, most: int = _MAX_OPERATIONS) -> None:
        """Walk to `STOP`, at most `most` operations far. Raises `BrokenError`."""
        try:
            self._walk(most)
        finally:
            self._lose(self._stack)
            if self.calls_all and self._has_method:  # nobody knows what a method is worth that is called
                self._note("builtins.getattr")

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
            if operation.is_number:
                self._stack.append(read_number(operation.name, argument))
            elif operation.is_plain:
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
            width = PREFIX[size]
            length = int.from_bytes(self.data[start : start + width], "little")
            start, size = start + width, length
        if start + size > len(self.data):
            raise CutError(f"the pickle ends inside {operation.name}", start + size)
        self.position = start + size
        return self.data[start : start + min(size, MAX_NAME + 1)]

    def _line_end(self, operation: Operation, start: int) -> int:
        end = self.data.find(b"\n", start)
        if end < 0:
            form = LINES.get(operation.name)
            if form is not None and isinstance(self.data, bytes) and not form.fullmatch(self.data, start):
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
            self._text(read_text(operation.name, argument))
        elif operation.pushes:
            self._stack.extend([None] * operation.pushes)

    def _text(self, text: str | None) -> None:
        """Push a text. What may be an attribute by which values are taken for arrays counts as one, however it is given."""
        if text in _AT_ADDRESS:
            self._note(LAYOUT)
        self._stack.append(text)

    def _drop(self, operation: Operation) -> None:
        if operation.to_mark:
            values = self._to_mark(operation.name)
            self._lose(values)
            self.calls_all |= _RESTORES in values
        if operation.pops:
            self._lose(self._take(operation.pops, operation.name))

    def _take(self, count: int, operation: str) -> list[Value]:
        """The topmost values. No mark is among them: an unpickler stops there."""
        if len(self._stack) < count or _MARK in self._stack[-count:]:
            raise BrokenError(f"{operation} on an empty stack")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _to_mark(self, operation: str) -> list[Value]:
        """All above the last mark, which goes with them."""
        taken: list[Value] = []
        while self._stack:
            value = self._stack.pop()
            if value is _MARK:
                return taken[::-1]
            taken.append(value)
        raise BrokenError(f"{operation} without a mark")

    def _note(self, name: str) -> None:
        if len(self.imports) >= _MAX_IMPORTS:
            raise BrokenError(f"more than {_MAX_IMPORTS} imports")
        self.imports.add(name)

    def _import(self, module: str, path: str) -> None:
        """Push an import. `getattr` is told of only where it is not seen what it is asked for."""
        found = Import(module, path)
        if found.name in GETATTR:
            self._has_getattr = True
        else:
            self._note(found.name)
            if "." in path:
                self._note(WITHIN + path)
        self._stack.append(found)

    def _lose(self, values: Iterable[Value]) -> None:
        """These go where they are not followed."""
        for value in values:
            if isinstance(value, Layout):
                value.is_used = True
            elif isinstance(value, dict):
                value[None] = None  # whoever has it may change it
            elif self._has_getattr and isinstance(value, Import) and value.name in GETATTR:
                self._note(value.name)

    def _keep(self, values: Iterable[Value]) -> None:
        """These are put into something that is followed."""
        self._lose(value for value in values if not isinstance(value, dict))

    def _tuple(self, count: int) -> None:
        values = self._take(count, "TUPLE")
        self._keep(values)
        self.calls_all |= count == _PAIR and values[0] == _RESTORES
        self._stack.append(tuple(values))

    def _tuple_to_mark(self, _argument: bytes) -> None:
        values = self._to_mark("TUPLE")
        self._keep(values)
        self.calls_all |= len(values) == _PAIR and values[0] == _RESTORES
        self._stack.append(tuple(values) if len(values) <= _MAX_HELD else None)

    def _append(self, values: list[Value]) -> None:
        top = self._top()  # without a list to append to an unpickler stops
        self._lose(values)
        self.calls_all |= _RESTORES in values
        if isinstance(top, Instance) and top.of.name in ALLOWED and top.of.name not in GROWS:
            self.calls_all = True  # whatever it was given under the name `append`

    def _list(self, _argument: bytes) -> None:
        values = self._to_mark("LIST")
        self._lose(values)
        self.calls_all |= _RESTORES in values
        self._stack.append(LIST)

    def _dict(self, argument: bytes) -> None:
        values = self._to_mark("DICT")
        self._stack += [{}, _MARK, *values]
        self._set_items(argument)

    def _set_item(self, argument: bytes) -> None:
        self._stack[-2:-2] = [_MARK]
        self._set_items(argument)

    def _set_items(self, _argument: bytes) -> None:
        values, changed = self._to_mark("SETITEMS"), self._top()
        pairs = list(zip(values[::2], values[1::2], strict=False))
        for key, value in pairs:
            if isinstance(key, str) and key in CALLED_AS and _is_called(key, value):
                self._call(value, None)
        keys = [key for key, _ in pairs]
        if _RESTORES in keys or (isinstance(changed, dict) and _RESTORES in changed):
            self.calls_all |= not all(isinstance(key, str) for key in keys)  # its keys may be the pair
        if not isinstance(changed, dict) or len(changed) + len(values) > 2 * _MAX_HELD:
            self._lose([*values, changed])
            return
        self._keep(values)
        changed.update((key if isinstance(key, str) else None, value) for key, value in pairs)

    def _new(self, argument: bytes) -> None:
        of = self._stack[-2] if len(self._stack) > 1 else None
        made = self._instance(of)
        built = {of.name} & BUILT - self.called if isinstance(of, Import) else frozenset()
        self._reduce(argument)
        self.called -= built
        if self._stack[-1] is None:
            self._stack[-1] = made

    def _new_object(self, argument: bytes) -> None:
        self._lose(self._take(1, "NEWOBJ_EX"))
        self._new(argument)

    def _instance(self, of: Value) -> Value:
        if of is OWN or of is ENUM:
            return OWN
        if _is_layout(of):
            return layout(None)
        return Instance(of) if isinstance(of, Import) else None

    def _object(self, argument: bytes) -> None:
        called, *given = self._to_mark("OBJ") or [None]
        self._keep(given)
        self._stack += [called, tuple(given)]
        self._reduce(argument)

    def _reduce(self, _argument: bytes) -> None:
        called, arguments = self._take(2, "REDUCE")
        name = called.name if isinstance(called, Import) else ""
        answer = ask(name, arguments)
        if answer is not None:
            self._answered(*answer)
            return
        self._call(called, arguments)
        self._lose((called, arguments, *(arguments if isinstance(arguments, tuple) else ())))
        made = layout(arguments) if _is_layout(called) else MADE.get(name)
        match arguments:
            case (of, Import() | tuple(), _) if name in REBUILDS:
                made = self._instance(of)
        self._stack.append(made)

    def _answered(self, found: Import | None, made: Value) -> None:
        self._stack.append(None)
        if found is not None:
            self._import(found.module, found.path)
            self._stack.pop()
        self._stack[-1] = made
        if made is PARTIAL:
            self._has_partial = self._has_method = True

    def _call(self, called: Value, arguments: Value) -> None:
        """Remember what is called: by its name, or by what calls what it is given."""
        if isinstance(called, Import):
            self.called.add(called.name)
            self._has_partial |= MADE.get(called.name) is PARTIAL
            if called.name in CALL_ARGUMENTS:
                given = arguments if isinstance(arguments, tuple) else (PARTIAL,)
                self.called |= {each.name for each in given if isinstance(each, Import)}
                self.calls_all |= any(each is PARTIAL or isinstance(each, Instance) for each in given)
                self.calls_all |= called.name == CALLS_FIRST and not isinstance((*given, None)[0], Import)
                if any(map(_is_layout, given)):
                    self._note(LAYOUT)
        elif called is PARTIAL or isinstance(called, Instance) or (called is None and self._has_partial):
            self.calls_all = True  # an instance may hold what it calls

    def _build(self, _argument: bytes) -> None:
        (state,) = self._take(1, "BUILD")
        changed = self._top()
        self._lose((state,))
        if isinstance(changed, Import):
            self._note(CHANGES + changed.name)
        elif isinstance(changed, Layout) and not changed.set_state(state):
            self._note(LAYOUT)

    def _pop(self, _argument: bytes) -> None:
        if not self._stack:
            raise BrokenError("POP on an empty stack")
        self._stack.pop()

    def _top(self) -> Value:
        if not self._stack or self._stack[-1] is _MARK:
            raise BrokenError("an operation on an empty stack")
        return self._stack[-1]

    def _global(self, argument: bytes) -> None:
        self._import(*read_lines(argument))

    def _inst(self, argument: bytes) -> None:
        self._global(argument)
        called, given = self._stack.pop(), self._to_mark("INST")
        self._stack += [_MARK, called, *given]
        self._object(argument)

    def _stack_global(self, _argument: bytes) -> None:
        if len(self._stack) < 2:
            raise BrokenError("STACK_GLOBAL on an empty stack")
        name, module = self._stack.pop(), self._stack.pop()
        if isinstance(module, str) and isinstance(name, str):
            self._import(module, name)
            return
        self._lose((module, name))
        if may_be_text(module) and may_be_text(name):  # else an unpickler stops
            self._note(UNRESOLVED)
        self._stack.append(None)

    def _extension(self, _argument: bytes) -> None:
        self._note(EXTENSION)
        self._stack.append(None)

    def _put(self, argument: bytes) -> None:
        self._memo[read_index(argument)] = self._top()

    def _put_binary(self, argument: bytes) -> None:
        self._memo[int.from_bytes(argument, "little")] = self._top()

    def _memoize(self, _argument: bytes) -> None:
        self._memo[len(self._memo)] = self._top()

    def _get(self, argument: bytes) -> None:
        self.recall(read_index(argument))

    def _get_binary(self, argument: bytes) -> None:
        self.recall(int.from_bytes(argument, "little"))

    def recall(self, index: int) -> None:
        """Push what was put under an index. Where nothing was, an unpickler stops: what is pushed then is of no use to anybody."""
        self._stack.append(self._memo.get(index, NOTHING))


def _is_called(key: str, value: Value) -> bool:
    """Whether an unpickler may call what is given to an instance under such a name. Networks have parts that are called `add`."""
    return isinstance(value, Import) or value is PARTIAL or (isinstance(value, Instance) and key[:1] == "_")


def _is_layout(called: Value) -> bool:
    return isinstance(called, Import) and (called.name == "numpy.dtype" or called.module == "numpy.dtypes")
