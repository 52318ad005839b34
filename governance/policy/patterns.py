"""Globs and regular expressions over text, both in linear time.

A glob has `*` (any run of characters, `/` included) and `?` (one character); both kinds of pattern must fit the whole
text. Regular expressions are RE2's, which has no backtracking, look-around or back-references.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import re2

from governance.model.facts import written_text

TextTest: TypeAlias = "Callable[[str], bool]"

MAX_PATTERN = 500
_MEMORY = 1 << 20  # of one compiled program; enough for MAX_PATTERN characters of sane text


class PatternError(ValueError):
    """A pattern that is too long, or not one at all. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What a text that fits must at least have: the whole of it, its start or its end. For the index."""

    kind: Literal["whole", "prefix", "suffix"]
    text: str


@lru_cache(maxsize=4096)
def compile_glob(glob: str) -> TextTest:
    """A test for `glob`. Raises `PatternError`."""
    if not glob or len(glob) > MAX_PATTERN:
        raise PatternError(f"a glob of 1 to {MAX_PATTERN} characters")
    if "?" in glob:
        return _full_match("".join(_GLOB_PARTS.get(part, re2.escape(part)) for part in _split(glob)))
    parts = glob.split("*")
    if len(parts) == 1:
        return glob.__eq__
    first, *middle, last = parts
    middle = [part for part in middle if part]
    if not middle:
        return _ends(first, last)
    return _pieces(first, middle, last)


def check_regex(pattern: str) -> None:
    """Raise `PatternError` for a regular expression that nobody may write."""
    if not pattern or len(pattern) > MAX_PATTERN:
        raise PatternError(f"a regular expression of 1 to {MAX_PATTERN} characters")
    _compiled(pattern)


def compile_regex(pattern: str) -> TextTest:
    """A test for the regular expression `pattern`, which was checked and may have been wrapped since, against the whole
    text. Raises `PatternError`."""
    return _full_match(pattern)


def anchor_of(glob: str) -> Anchor | None:
    """The fixed part of a glob by which an index can find it. None where there is none."""
    wild = [place for place, sign in enumerate(glob) if sign in "*?"]
    if not wild:
        return Anchor(kind="whole", text=glob)
    if wild[0] > 0:
        return Anchor(kind="prefix", text=glob[: wild[0]])
    tail = glob[wild[-1] + 1 :]
    return Anchor(kind="suffix", text=tail) if tail else None


_GLOB_PARTS = {"*": "(?s:.*)", "?": "(?s:.)"}


def _split(glob: str) -> list[str]:
    return [part for part in re.split(r"([*?])", glob) if part]


def _ends(first: str, last: str) -> TextTest:
    shortest = len(first) + len(last)
    if not last:
        return lambda text: text.startswith(first)
    if not first:
        return lambda text: text.endswith(last)
    return lambda text: len(text) >= shortest and text.startswith(first) and text.endswith(last)


def _pieces(first: str, middle: list[str], last: str) -> TextTest:
    """Leftmost search for each piece in turn: linear, since a piece found early never has to be given back."""

    def test(text: str) -> bool:
        end = len(text) - len(last)
        if end < len(first) or not text.startswith(first) or not text.endswith(last):
            return False
        place = len(first)
        for piece in middle:
            found = text.find(piece, place, end)
            if found < 0:
                return False
            place = found + len(piece)
        return True

    return test


def _full_match(pattern: str) -> TextTest:
    compiled = _compiled(pattern)

    def test(text: str) -> bool:
        try:
            return compiled.fullmatch(text) is not None
        except UnicodeEncodeError:
            # Lone surrogates are judged as they stand on record, else they would pass every deny list.
            return compiled.fullmatch(written_text(text)) is not None
        except re2.error:
            return False

    return test


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise PatternError(f"a regular expression of RE2 ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
