"""JSON from outside, as those who load models read it, in memory that its length does not multiply.

Promises: what Python's own `json` reads is read here (`NaN`, UTF-16 and a byte order mark included), or refused; a document of more
values than `MAX_VALUES` is refused before it is loaded: sixty megabytes of `[],` would be two gigabytes of lists. Does not: care what
is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

import orjson

MAX_VALUES: Final = 1_000_000


class DocumentError(ValueError):
    """No JSON, or too much of it."""


class NoDocumentError(DocumentError):
    """No JSON to anybody: what was to read it stops with an error."""


def objects_in(data: bytes) -> Iterator[Mapping[str, object]]:
    """Every object in a document, the outermost first, without recursion. Raises `DocumentError`."""
    waiting = [read_document(data)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def texts_in(values: list[object]) -> Iterator[str]:
    """Every text in some values, but for keys, without recursion."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def read_document(data: bytes) -> object:
    """What a document holds. Raises `DocumentError`."""
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise DocumentError(f"a document of more than {MAX_VALUES} values")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _as_python_reads(data)


def _as_python_reads(data: bytes) -> object:
    try:
        return json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NoDocumentError("a document that is not JSON") from error
    except (ValueError, RecursionError) as error:  # limits that a process may have set higher
        raise DocumentError("a document that is nested too deep, or has a number that is too long") from error
