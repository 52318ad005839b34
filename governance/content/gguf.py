"""The templates of prompts in the header of a GGUF file.

Promises: the header is followed entry by entry, and nothing of it is kept but the templates; what is no header is refused. Does not: look
at tensors, or read what no loader does (the first version, and those of another byte order or of the future).

Source: the GGUF specification (ggml, docs/gguf.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from governance.content.effort import Effort
from governance.content.templates import TemplateUnreadError
from governance.content.windows import Bytes

MARK: Final = b"GGUF"

_VERSIONS: Final = frozenset({2, 3})
_LAST: Final = 1 << 16
"""Versions beyond are words: many a text begins with the name of the format."""
_KEY: Final = b"chat_template"
_LONGEST_KEY: Final = 1 << 16
_LONGEST: Final = 1 << 20
"""Bytes of a template."""
_DEEPEST: Final = 3
_BROKEN: Final = "a GGUF file whose header does not fit together"
_WORK: Final = 1_000
_PRICE: Final = 3
"""How many operations of a pickle an item is worth."""
_START: Final = struct.Struct("<4sIQQ")
_STRING, _ARRAY = 8, 9
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class GgufError(Exception):
    """No header of GGUF."""


def gguf_templates(data: Bytes, effort: Effort) -> list[str]:
    """All templates in a header. Raises `GgufError`, `TemplateUnreadError` for what is not read here, or `SpentError`."""
    start = data[: _START.size]
    version = int.from_bytes(start[4:8], "little")
    if len(start) < _START.size or not 0 < version < _LAST:
        if version & (_LAST - 1) == 0 and version:
            raise TemplateUnreadError("a GGUF file of the other byte order")
        return []  # no file of this format to anybody
    if version not in _VERSIONS:
        raise TemplateUnreadError(f"a GGUF file of version {version}")
    *_, count = _START.unpack(start)
    return list(_Header(data, effort).templates(count))


class _Header:
    def __init__(self, data: Bytes, effort: Effort) -> None:
        self._data = data
        self._effort = effort
        self._at = _START.size
        self._seen = 0

    def templates(self, count: int) -> Iterator[str]:
        for _ in range(count):
            name = self._text(_LONGEST_KEY)
            kind = self._number(4)
            if _KEY in name and kind in {_STRING, _ARRAY}:
                yield from self._texts(kind)
            else:
                self._skip(kind, _DEEPEST)

    def _texts(self, kind: int) -> Iterator[str]:
        count = 1
        if kind == _ARRAY:
            kind, count = self._number(4), self._number(8)
            if kind != _STRING:
                raise GgufError(_BROKEN)
        for _ in range(count):
            # A loader takes what is not UTF-8 for something, and nothing that matters here is spelt by it.
            yield self._text(_LONGEST).decode("utf-8", "replace")

    def _skip(self, kind: int, depth: int) -> None:
        self._count()
        if kind == _STRING:
            self._pass(self._number(8))
        elif kind in _SIZES:
            self._pass(_SIZES[kind])
        elif kind == _ARRAY and depth:
            inner, count = self._number(4), self._number(8)
            if inner in _SIZES:
                self._pass(_SIZES[inner] * count)
            else:
                for _ in range(count):
                    self._skip(inner, depth - 1)
        else:
            raise GgufError(_BROKEN)

    def _text(self, limit: int) -> bytes:
        self._count()
        size = self._number(8)
        if size > limit:
            raise TemplateUnreadError(f"a text of more than {limit} bytes in a GGUF file")
        at = self._at
        self._pass(size)
        return self._data[at : self._at]

    def _number(self, size: int) -> int:
        at = self._at
        self._pass(size)
        return int.from_bytes(self._data[at : self._at], "little")

    def _pass(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise GgufError(_BROKEN)

    def _count(self) -> None:
        self._seen += 1
        if self._seen % _WORK == 0:
            self._effort.demand(_PRICE * _WORK)
