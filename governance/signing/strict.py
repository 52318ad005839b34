"""JSON that came from outside, read strictly: bounded, no key twice, no `NaN`, nothing but what JSON has.

Canonical form is not asked for here (see `governance.model.canonical`): other tools write these documents too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from governance.signing.reason import Reason, refuse, shown


def parse_object(data: bytes, *, what: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises `SignatureError` (reason `not-json`) for anything else."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise refuse(Reason.NOT_JSON, f"{what} is not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise refuse(Reason.NOT_JSON, f"{what} is not a JSON object")
    return value


def member(document: Mapping[str, Any], key: str, kind: type, *, reason: Reason, what: str) -> Any:
    """The member `key`, of type `kind`. Raises `SignatureError` with `reason` where it is absent or something else."""
    value = document.get(key)
    # `bool` is an `int` in Python and must not pass for a number.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise refuse(reason, f"{what}: `{key}` is missing or not a {kind.__name__}")
    return value


def only(document: Mapping[str, Any], allowed: frozenset[str], *, reason: Reason, what: str) -> None:
    """Refuse members that the schema does not have."""
    stray = sorted(set(document) - allowed)
    if stray:
        raise refuse(reason, f"{what} has a member `{shown(stray[0])}` that its schema does not know")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object with the same key twice")
    return document


def _constant(text: str) -> None:
    raise ValueError(f"`{text}` is not JSON")
