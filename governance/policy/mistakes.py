"""Mistakes in policy files: each with its place, what was expected, what was found, and the nearest valid name.

Promises: all mistakes of all files in one error, in the order of files and lines. Does not: read files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"

_MAX_SHOWN = 60


class Located(Protocol):
    """A document that knows where its values stand."""

    @property
    def source(self) -> str:
        """Name of the file."""
        ...

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of the value at `path`, or of its key; of the nearest parent where there is none."""
        ...

    def written(self, path: Path) -> str | None:
        """How the scalar at `path` was written in the file."""
        ...


class Problem(str):
    """A mistake as the line that tells it, which also knows its place: `source:line:column message`."""

    __slots__ = ("column", "line", "message", "source")

    source: str
    line: int
    column: int
    message: str

    def __new__(cls, source: str, line: int, column: int, message: str) -> Self:
        """The line of a mistake at this place."""
        colon = ":" if message.startswith("expected") else ""  # else the path stands before the colon
        made = super().__new__(cls, f"{source}:{line}:{column}{colon} {message}")
        made.source, made.line, made.column, made.message = source, line, column, message
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake. `key` says that the key at `path` is wrong, not its value."""

    path: Path
    expected: str
    got: str | None = None
    nearest: str | None = None
    key: bool = False


@dataclass(slots=True)
class Mistakes:
    """A list that the parsers of one document write to."""

    found: list[Mistake] = field(default_factory=list)

    def add(
        self,
        path: Path,
        expected: str,
        *,
        got: object = None,
        among: Iterable[str] = (),
        key: bool = False,
    ) -> None:
        """Note that `expected` should stand at `path`. `among` are the valid names, for the suggestion."""
        near = nearest(got, among) if isinstance(got, str) else None
        shown = None if got is None else show(got)
        self.found.append(Mistake(path=path, expected=expected, got=shown, nearest=near, key=key))

    def lines(self, document: Located) -> list[Problem]:
        """Each mistake as `file:line:column path: expected ..., got ..., did you mean ...`."""
        placed = sorted(
            ((document.place(one.path, key=one.key), one) for one in self.found), key=lambda pair: pair[0]
        )
        return [_line(document, line, column, mistake) for (line, column), mistake in placed]


def nearest(name: str, among: Iterable[str]) -> str | None:
    """The valid name that `name` most likely stands for, if any is close."""
    close = difflib.get_close_matches(name, list(among), n=1, cutoff=0.5 if len(name) < 4 else 0.6)
    return close[0] if close else None


def show(value: object) -> str:
    """A value as it is shown in a mistake: its kind and a short form. Never the whole of a long text."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        cut = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}..."
        return repr(cut)
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def path_text(path: Path) -> str:
    """`spec.rules[3].when.all[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(document)"


def joined(names: Sequence[str]) -> str:
    """A few names for a message: `a`, `b` or `c`; cut after twelve."""
    shown = [f"`{name}`" for name in names[:12]]
    if len(names) > len(shown):
        return f"{', '.join(shown)} ..."
    return f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _line(document: Located, line: int, column: int, mistake: Mistake) -> Problem:
    text = f"{path_text(mistake.path)}: expected {mistake.expected}"
    written = None if mistake.key else document.written(mistake.path)
    if mistake.got is not None:
        text += f", got {mistake.got}"
        if (
            written is not None
            and mistake.got == f"the number {_number(written)}"
            and written not in mistake.got
        ):
            text += f" (written `{written[:_MAX_SHOWN]}`)"
    if mistake.nearest is not None:
        text += f", did you mean `{mistake.nearest}`?"
    return Problem(document.source, line, column, text)


def _number(written: str) -> object:
    try:
        return float(written) if any(sign in written for sign in ".eE") else int(written, 0)
    except ValueError:
        return None
