"""Licences as SPDX expressions (SPDX 2.3, annex D): what can be satisfied with a set of licences, and what needs one.

`MIT OR GPL-3.0-only` is satisfied by an allow list that holds MIT; `MIT AND GPL-3.0-only` is not. An expression
*requires* the licences of a deny list where every choice it offers contains one of them. Ids are compared without
case, deprecated ids stand for the ones that replaced them, and `X WITH exception` is a licence of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import license_expression as spdx

Expression: TypeAlias = "str | tuple[str, tuple[Expression, ...]]"
"""A licence, or `and`/`or` over expressions."""

NO_ASSERTION = frozenset({"NOASSERTION", ""})
_MAX_EXPRESSION = 2000
_MAX_PARTS = 200


@lru_cache(maxsize=1)
def _licensing() -> Any:
    return spdx.get_spdx_licensing()


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression | None:
    """The expression of a scanner's text; None where it is not one or asserts nothing. Unknown ids stay as they are."""
    if len(text) > _MAX_EXPRESSION or text.strip().upper() in NO_ASSERTION or text.count(" ") > _MAX_PARTS:
        return None
    try:
        parsed = _licensing().parse(text, validate=False)
        return None if parsed is None else _tree(parsed)
    except Exception:  # noqa: BLE001 - the library meets text such as `( )` with IndexError and AssertionError too
        return None


def parse_licence(text: str) -> str | None:
    """One licence id (or `id WITH exception`) of the SPDX list, or a `LicenseRef-`, in its normal form; else None."""
    parsed = parse_expression(text)
    if not isinstance(parsed, str):
        return None
    if parsed.startswith(("licenseref-", "documentref-")):
        return parsed
    return parsed if not _licensing().validate(text).errors else None


def known_licences() -> list[str]:
    """All ids of the SPDX list."""
    return sorted(str(key) for key in _licensing().known_symbols)


def symbols(expression: Expression) -> frozenset[str]:
    """Every licence that occurs."""
    if isinstance(expression, str):
        return frozenset({expression})
    return frozenset().union(*(symbols(part) for part in expression[1]))


@lru_cache(maxsize=4096)
def licences_in(text: str) -> frozenset[str] | None:
    """Every licence that occurs in a scanner's text, or None where it is no expression."""
    expression = parse_expression(text)
    return None if expression is None else symbols(expression)


def is_satisfied(expression: Expression, allowed: frozenset[str]) -> bool:
    """Whether the allowed licences alone are enough."""
    if isinstance(expression, str):
        return expression in allowed
    over = all if expression[0] == "and" else any
    return over(is_satisfied(part, allowed) for part in expression[1])


def requires_any(expression: Expression, denied: frozenset[str]) -> bool:
    """Whether every choice contains a denied licence."""
    if isinstance(expression, str):
        return expression in denied
    over = any if expression[0] == "and" else all
    return over(requires_any(part, denied) for part in expression[1])


def _tree(node: Any) -> Expression:
    if isinstance(node, spdx.LicenseWithExceptionSymbol):
        return f"{node.license_symbol.key} with {node.exception_symbol.key}".lower()
    if isinstance(node, spdx.LicenseSymbol):
        return str(node.key).lower()
    word = "and" if isinstance(node, spdx.AND) else "or"
    return word, tuple(_tree(part) for part in node.args)
