"""Canonical JSON: the subset of RFC 8785 (JCS) in which signed and logged documents are written.

Promises: one document has one byte string, on any machine and in any order of construction. Does not: canonicalise
bytes that came from elsewhere; signed content stays as it was received.

The subset: objects with ASCII string keys, arrays, strings without surrogates, integers of at most 53 bits, booleans
and null. No floats (RFC 8785, section 3.2.2.3, ties them to ECMAScript's printing, which few libraries get right), so
measures are whole numbers of a unit, or decimal strings. Inside this subset a key-sorted compact encoder equals JCS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from governance.model.digest import Sha256, parse_sha256

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_INT = 2**53 - 1
"""The largest whole number that every reader of JSON takes for itself (RFC 8785, section 3.2.2.3)."""
_MAX_DEPTH = 64


class CanonicalError(ValueError):
    """A value outside the subset. The message names the path to it."""


def canonical_bytes(value: Json) -> bytes:
    """The one byte string of `value` (UTF-8, no final newline). Raises `CanonicalError` outside the subset."""
    if not _are_plain((value,), 0):
        _check(value, "$", 0)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=_plain)


def canonical_digest(value: Json) -> Sha256:
    """SHA-256 of `canonical_bytes(value)`, as lower-case hex."""
    return parse_sha256(hashlib.sha256(canonical_bytes(value)).hexdigest())


def parse_canonical(data: bytes) -> Json:
    """Read JSON strictly: no duplicate keys, no floats, no constants such as NaN. Raises `CanonicalError`.

    Bytes that are JSON but not in canonical form are refused as well, so that a document and its digest stay one to
    one.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_object,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CanonicalError(f"not JSON: {error}") from error
    if canonical_bytes(value) != data:
        raise CanonicalError("JSON that is not in canonical form")
    parsed: Json = value
    return parsed


def _unique_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise CanonicalError("an object with the same key twice")
    return document


def _no_number(text: str) -> Json:
    raise CanonicalError(f"number `{text[:40]}` is not a whole number")


def _plain(value: object) -> object:
    """Let orjson write mappings and sequences that are not `dict` and `list`."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise CanonicalError(f"a {type(value).__name__} is not JSON")


def _are_plain(members: Iterable[Any], depth: int) -> bool:
    """A quick look that lets nearly all documents pass. What it does not know is for `_check` to judge and name."""
    for member in members:
        kind = type(member)
        if kind is str:
            is_plain = member.isascii()
        elif kind is int:
            is_plain = -MAX_INT <= member <= MAX_INT
        elif kind is dict:
            is_plain = (
                depth < _MAX_DEPTH and _has_ascii_keys(member) and _are_plain(member.values(), depth + 1)
            )
        elif kind is list or kind is tuple:
            is_plain = depth < _MAX_DEPTH and _are_plain(member, depth + 1)
        else:
            is_plain = member is None or kind is bool
        if not is_plain:
            return False
    return True


def _has_ascii_keys(value: dict[Any, Any]) -> bool:
    try:
        return "".join(value).isascii()
    except TypeError:
        return False


def _check(value: object, path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise CanonicalError(f"{path[:80]}: nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, float):
        raise CanonicalError(f"{path}: a float is outside the subset")
    elif isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise CanonicalError(f"{path}: integer needs more than 53 bits")
    elif isinstance(value, Mapping):
        _check_members(value, path, depth)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for index, member in enumerate(value):
            _check(member, f"{path}[{index}]", depth + 1)
    elif value is not None:
        raise CanonicalError(f"{path}: a {type(value).__name__} is outside the subset")


def _check_members(value: Mapping[object, object], path: str, depth: int) -> None:
    for key, member in value.items():
        if not isinstance(key, str) or not key.isascii():
            raise CanonicalError(f"{path}: key {key!r} is not an ASCII string")
        _check(member, f"{path}.{key}", depth + 1)


def _check_text(text: str, path: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CanonicalError(f"{path}: text holds a lone surrogate") from error
