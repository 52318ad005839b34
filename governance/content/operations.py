"""The operations of pickles, and what each does to an unpickler's stack.

Promises: taken from the standard library's own table, so that none is missing or misread. Does not: run any.

Source: `pickletools` (PEP 3154 for protocol 4, PEP 574 for protocol 5).
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass
from typing import Final


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
    is_number: bool
    """Pushes a number of a few digits."""


MAX_NAME: Final = 512

_TEXT: Final = frozenset(
    {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
)
_SPECIAL: Final = frozenset(
    {
        "MARK", "GLOBAL", "INST", "EXT1", "EXT2", "EXT4", "GET", "BINGET", "LONG_BINGET", "DUP", "PERSID", "EMPTY_DICT",
        "EMPTY_LIST", "EMPTY_TUPLE", "NEWFALSE", "NONE",
    }
)  # fmt: skip
_NUMBER: Final = re.compile(rb"[-+]?[0-9]*L?")
_DOTTED_LINE: Final = re.compile(rb"[\w.\x80-\xff]*")
LINES: Final = {
    "INT": _NUMBER, "LONG": _NUMBER, "GET": _NUMBER, "PUT": _NUMBER,
    "FLOAT": re.compile(rb"[-+0-9.eEinfaINFA_]*"),
    "STRING": re.compile(rb"(?:[\"'].*)?", re.DOTALL),
    "GLOBAL": _DOTTED_LINE, "INST": _DOTTED_LINE,
}  # fmt: skip
"""How far lines are of a form that an unpickler takes; others may hold anything."""
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([0-7]{1,3}))")
PREFIX: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""Bytes of the length that stands before an argument, by an operation's `size`."""


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
            is_number=each.name in {"INT", "BININT", "BININT1", "BININT2"},
        )
    return table


TABLE: Final = _table()
_NEEDS_MORE: Final = frozenset({"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"})
BARE: Final = {code: each for code, each in TABLE.items() if each.name not in _NEEDS_MORE}
"""What an unpickler takes that was not told what persistent ids and extension codes stand for. Those that were (torch's) read a file
that says what it is by its name, its mark or the zip around it."""


def read_lines(argument: bytes) -> tuple[str, str]:
    """The module and name of `GLOBAL`."""
    module, _, name = argument.partition(b"\n")
    return _name(module), _name(name)


def _name(raw: bytes) -> str:
    # Replaced, not refused: the unpickler may still accept bytes that are no UTF-8, and then imports something.
    return raw[:MAX_NAME].decode("utf-8", "backslashreplace")


def read_text(operation: str, argument: bytes) -> str | None:
    """A text, where it is no longer than a name and has no escapes but of characters by their numbers."""
    if len(argument) > MAX_NAME:
        return None  # longer than any name: as good as unknown
    if operation == "STRING":
        argument = argument.strip()
        if len(argument) >= 2 and argument[:1] == argument[-1:] and argument[:1] in {b"'", b'"'}:
            argument = argument[1:-1]
        return _unescaped(argument)
    if operation == "UNICODE" and b"\\u" in argument.lower():
        try:
            return _name(argument.decode("raw_unicode_escape").encode())
        except UnicodeError:  # a lone surrogate is in no name
            return None
    return _name(argument)


def _unescaped(raw: bytes) -> str | None:
    if b"\\" in _ESCAPE.sub(b"", raw):
        return None
    return _name(_ESCAPE.sub(_byte, raw))


def _byte(escape: re.Match[bytes]) -> bytes:
    number = int(escape[1], 16) if escape[1] else int(escape[2], 8)
    return bytes([number & 0xFF])


def read_number(operation: str, argument: bytes) -> int | None:
    """A number, where it is one."""
    if operation != "INT":
        return int.from_bytes(argument, "little", signed=operation == "BININT")
    try:
        return int(argument)
    except ValueError:
        return None


def read_index(argument: bytes) -> int:
    """Where in the memo. Raises `BrokenError`. Python's unpickler in C reads up to a NUL."""
    try:
        return int(argument.partition(b"\0")[0])
    except ValueError as error:
        raise BrokenError("a memo index that is not a number") from error
