"""Licences as SPDX expressions (SPDX 2.3, annex D): what can be satisfied with a set of licences, and what needs one.

`MIT OR GPL-3.0-only` is satisfied by an allow list that holds MIT; `MIT AND GPL-3.0-only` is not. An expression
*requires* the licences of a deny list where every choice it offers contains one of them. Ids are compared without
case, deprecated ids stand for the ones that replaced them, and `X WITH exception` is a licence of its own. What nobody
asserts (`MIT AND NOASSERTION`) may be any licence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import license_expression as spdx

Expression: TypeAlias = "str | tuple[str, tuple[Expression, ...]]"
"""A licence, or `and`/`or` over expressions."""

NO_ASSERTION = frozenset({"NOASSERTION", ""})
_NOBODY_KNOWS = "noassertion"
"""The licence that scanners write beside those they found, as in `MIT AND NOASSERTION`: it may be any."""

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
    """Every licence that occurs in a scanner's text; None where it is no expression, or any licence may occur."""
    expression = parse_expression(text)
    found = None if expression is None else symbols(expression)
    return None if found is None or _NOBODY_KNOWS in found else found


def is_satisfied(expression: Expression, allowed: frozenset[str]) -> bool | None:
    """Whether the allowed licences alone are enough; None where it hangs on what nobody asserts."""
    return _over(expression, allowed, decisive="or")


def requires_any(expression: Expression, denied: frozenset[str]) -> bool | None:
    """Whether every choice contains a denied licence; None where it hangs on what nobody asserts."""
    return _over(expression, denied, decisive="and")


def _over(expression: Expression, listed: frozenset[str], *, decisive: str) -> bool | None:
    """Three-valued: of a `decisive` connective one listed part is enough, of the other one part that is not."""
    if isinstance(expression, str):
        return None if expression == _NOBODY_KNOWS else expression in listed
    enough = expression[0] == decisive
    parts = [_over(part, listed, decisive=decisive) for part in expression[1]]
    if enough in parts:
        return enough
    return None if None in parts else not enough


def _tree(node: Any) -> Expression:
    if isinstance(node, spdx.LicenseWithExceptionSymbol):
        return f"{node.license_symbol.key} with {node.exception_symbol.key}".lower()
    if isinstance(node, spdx.LicenseSymbol):
        return str(node.key).lower()
    word = "and" if isinstance(node, spdx.AND) else "or"
    return word, tuple(_tree(part) for part in node.args)
