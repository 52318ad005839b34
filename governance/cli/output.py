"""What the command line prints, and how: one look for all verbs.

Promises: nothing that came from outside reaches the terminal as markup or as an escape sequence; results go to standard
output, everything else to standard error; a user's own input stands in backticks. Does not: decide what to print.

Rules for messages (after cedar's and age's): an error is what went wrong, why, and what to do, in that order, the last
on a line of its own; lower case, no exclamation mark.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO, TypedDict

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from governance.errors import GovernanceError, TransferError
from governance.model.canonical import Json

_KEPT = frozenset("\n\t")
_WHOLE_LINES = 500
_LEAST_COLUMN = 6
_ENCODED_AS_IS = frozenset({"utf-8", "utf8"})


class _Width(TypedDict, total=False):
    width: int
    soft_wrap: bool


class OutputError(TransferError):
    """What was to be printed could not be written, so whoever reads it has a part of it at most."""


class ReaderGoneError(OutputError):
    """Whoever read the output closed it, as `head` does. Not a `BrokenPipeError`: click would exit with 1 on that."""


@contextmanager
def writing() -> Iterator[None]:
    """Writing to a standard stream. Raises `OutputError` where the disk behind it is full, and `ReaderGoneError`."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError("the reader of the output went away") from error
    except OSError as error:
        raise OutputError(
            f"the output cannot be written: {error.strerror}",
            hint="Look at the disk, or at whatever the output goes to. What is there now is not all of it.",
        ) from error


class Screen(Console):
    """rich's console, but a reader that goes away or a full disk is an error of ours, with an exit code of its own:
    rich itself would exit with 1, which here says *blocked*."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich prints. Raises `OutputError`."""
        with writing():
            super().print(*objects, **options)

    def on_broken_pipe(self) -> NoReturn:
        """Raise `ReaderGoneError`."""
        raise ReaderGoneError("the reader of the output went away")


class Mark(enum.StrEnum):
    """How something came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


_STYLES = {Mark.OK: "green", Mark.WARN: "yellow", Mark.FAIL: "bold red", Mark.SKIP: "dim"}
_SIGNS = {Mark.OK: "✓", Mark.WARN: "!", Mark.FAIL: "✗", Mark.SKIP: "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a check list: how it came out, what was looked at, what was seen, what to do about it."""

    mark: Mark
    subject: str
    seen: str
    remedy: str | None = None


def out() -> Screen:
    """Where results go. Made anew each time, so that it follows a redirected `sys.stdout`."""
    return Screen(highlight=False, **_width(sys.stdout))


def err() -> Screen:
    """Where errors, warnings and progress go."""
    return Screen(stderr=True, highlight=False, **_width(sys.stderr))


def _width(stream: TextIO) -> _Width:
    """Lines are folded for people only: what reads a pipe or a file wants them whole."""
    return {} if stream.isatty() or "COLUMNS" in os.environ else {"width": _WHOLE_LINES, "soft_wrap": True}


def plain(text: str) -> str:
    r"""`text` with every control character but newline and tab shown as `\x1b` and the like.

    Names of files, users and findings come from outside, and a terminal obeys what it is sent.
    """
    return "".join(
        char if char in _KEPT or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def styled(text: str, style: str = "") -> Text:
    """Text from outside, safe to print."""
    return Text(plain(text), style=style)


def sign(mark: Mark, *, encoding: str | None = None) -> Text:
    """The coloured sign of a mark, or its word where the terminal cannot show the sign."""
    known = (encoding or sys.stdout.encoding or "ascii").lower() in _ENCODED_AS_IS
    return Text(_SIGNS[mark] if known else mark.value, style=_STYLES[mark])


def print_error(error: GovernanceError) -> None:
    """What, why, what to do."""
    console = err()
    first, _, rest = error.message.partition("\n")
    console.print(Text.assemble(("error: ", "bold red"), styled(first)))
    if rest:
        console.print(styled(rest))
    if error.hint and error.hint not in error.message:
        console.print(Text.assemble(("what to do: ", "bold"), styled(error.hint)))


def print_problem(what: str, *, hint: str | None = None) -> None:
    """An error that is not of the tree, such as a wrong option."""
    print_error(GovernanceError(what, hint=hint))


def print_json(document: Json) -> None:
    """One JSON document, indented, keys in order."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    out().print(
        Text(harmless_json(orjson.dumps(_plain_json(document), option=options).decode())), soft_wrap=True
    )


def harmless_json(text: str) -> str:
    r"""The same JSON value with characters that do not print written as `\u009b` and the like. A line break
    stays: inside a string of JSON there is none."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else "".join(f"\\u{unit:04x}" for unit in _units(char))
        for char in text
    )


def _units(char: str) -> Iterable[int]:
    data = char.encode("utf-16-be", "surrogatepass")
    return (data[place] << 8 | data[place + 1] for place in range(0, len(data), 2))


def _plain_json(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _plain_json(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(member) for member in value]
    return value


def print_pairs(pairs: Mapping[str, str | None]) -> None:
    """Names and values in two columns; a pair without a value is left out. A value with a word that has no room beside its name,
    such as a digest or a path, stands below it and unbroken, so that it can be copied."""
    console = out()
    told = {name: styled(value) for name, value in pairs.items() if value is not None}
    names = max(map(len, told), default=0)
    for name, value in told.items():
        if console.is_terminal and _longest_word(value) > console.width - names - 2:
            console.print(Text(name, style="dim"))
            indent = " " * (len(name) - len(name.lstrip()) + 2)
            console.print(Text.assemble(indent, value), soft_wrap=True)
        else:
            grid = Table.grid(padding=(0, 2))
            grid.add_column(style="dim", no_wrap=True, width=names)
            grid.add_column(overflow="fold")
            grid.add_row(name, value)
            _print_grid(grid)


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=0)


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with a heading row. The first column says what a row is about, and is what people copy: a narrow screen breaks it last."""
    listed = [[styled(cell) for cell in row] for row in rows]
    first, width = max((cell_len(row[0].plain) for row in listed), default=0), out().width
    is_whole = first <= min(
        width // 2, width - _LEAST_COLUMN * (len(headings) - 1)
    )  # else rich would cut it off, not fold it
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=is_whole and place == 0)
    for row in listed:
        table.add_row(*row)
    _print_grid(table)


def print_checklist(lines: Iterable[Line]) -> None:
    """Marks, subjects and what was seen; below each that is not in order, what to do."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(sign(line.mark), styled(line.subject), styled(line.seen))
        if line.remedy and line.mark in {Mark.WARN, Mark.FAIL}:
            grid.add_row("", "", Text.assemble(("what to do: ", "bold"), styled(line.remedy)))
    _print_grid(grid)


def _print_grid(grid: Table) -> None:
    """Print a table, without the blanks that fill its last column where nobody sees a column."""
    console = out()
    if console.is_terminal:
        console.print(grid)
        return
    with writing():
        with console.capture() as captured:
            console.print(grid)
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
