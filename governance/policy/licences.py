"""Licences as SPDX expressions (SPDX 2.3, annex D): what can be satisfied with a set of licences, and what needs one.

`MIT OR GPL-3.0-only` is satisfied by an allow list that holds MIT; `MIT AND GPL-3.0-only` is not. An expression
*requires* the licences of a deny list where every choice it offers contains one of them; `AGPL-3.0-or-later` offers the
choice between 3.0 and what came after it. Ids are compared without case, deprecated ids stand for the ones that replaced
them, and `X WITH exception` is a licence of its own. What nobody asserts (`MIT AND NOASSERTION`), and a name that is not
of SPDX (`AGPLv3`, `BSD`), may be any licence.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeAlias

import license_expression as spdx

Expression: TypeAlias = "str | tuple[str, tuple[Expression, ...]]"
"""A licence, or `and`/`or` over expressions."""

NO_ASSERTION = frozenset({"NOASSERTION", ""})
_NOBODY_KNOWS = "noassertion"
"""The licence that scanners write beside those they found, as in `MIT AND NOASSERTION`: it may be any."""

_NO_LICENCE = "none"

_MAX_EXPRESSION = 2000
_MAX_PARTS = 200

_OWN = re.compile(r"(documentref-[a-z0-9.-]+:)?licenseref-[a-z0-9.-]+")
"""A licence that its user defines (SPDX 2.3, annex D.2)."""

_REPLACED = {
    "gpl-2.0-with-autoconf-exception": "gpl-2.0-only with autoconf-exception-2.0",
    "gpl-2.0-with-bison-exception": "gpl-2.0-or-later with bison-exception-2.2",
    "gpl-2.0-with-classpath-exception": "gpl-2.0-only with classpath-exception-2.0",
    "gpl-2.0-with-font-exception": "gpl-2.0-only with font-exception-2.0",
    "gpl-2.0-with-gcc-exception": "gpl-2.0-or-later with gcc-exception-2.0",
    "gpl-3.0-with-autoconf-exception": "gpl-3.0-only with autoconf-exception-3.0",
    "gpl-3.0-with-gcc-exception": "gpl-3.0-only with gcc-exception-3.1",
    "ecos-2.0": "gpl-2.0-or-later with ecos-exception-2.0",
    "wxwindows": "lgpl-2.0-or-later with wxwindows-exception-3.1",
}
"""Deprecated ids of licences with an exception, which the library takes for exceptions alone."""

_VERSIONED = re.compile(
    r"(?P<family>.+?)-(?P<version>\d+(?:\.\d+)*)(?P<kind>-[a-z-]+?)??(?P<end>-only|-or-later|\+)?"
)


@lru_cache(maxsize=1)
def _licensing() -> Any:
    return spdx.get_spdx_licensing()


@lru_cache(maxsize=2)
def _known(*, exceptions: bool = False) -> frozenset[str]:
    """The ids of licences, or of exceptions, in lower case."""
    found = _licensing().known_symbols.items()
    return frozenset(str(key).lower() for key, symbol in found if symbol.is_exception is exceptions)


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression | None:
    """The expression of a scanner's text; None where it is not one or asserts nothing. A name that is not of SPDX is one
    that nobody knows."""
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
    return parsed if isinstance(parsed, str) and parsed not in {_NOBODY_KNOWS, _NO_LICENCE} else None


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
    """Every licence that occurs in a scanner's text, or may be chosen by it; None where it is no expression, or any licence may occur."""
    expression = parse_expression(text)
    found = None if expression is None else symbols(expression)
    if found is None or _NOBODY_KNOWS in found:
        return None
    return found.union(*(later_versions(one) for one in found))


def is_satisfied(expression: Expression, allowed: frozenset[str]) -> bool | None:
    """Whether the allowed licences alone are enough; None where it hangs on what nobody asserts."""
    return _over(expression, allowed, decisive="or")


def requires_any(expression: Expression, denied: frozenset[str]) -> bool | None:
    """Whether every choice contains a denied licence; None where it hangs on what nobody asserts."""
    return _over(expression, denied, decisive="and")


@lru_cache(maxsize=1024)
def later_versions(licence: str) -> frozenset[str]:
    """The licences between which `X-or-later`, or `X+`, lets one choose: this version and those that SPDX knows after it.
    Nothing for a licence of one version."""
    own = _VERSIONED.fullmatch(licence)
    if own is None or own["end"] not in {"-or-later", "+"}:
        return frozenset()
    end = "-only" if own["end"] == "-or-later" else None
    return frozenset(
        one
        for one in _known()
        if one.startswith(own["family"])
        and (other := _VERSIONED.fullmatch(one)) is not None
        and (other["family"], other["kind"], other["end"]) == (own["family"], own["kind"], end)
        and _numbers(other["version"]) >= _numbers(own["version"])
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _over(expression: Expression, listed: frozenset[str], *, decisive: str) -> bool | None:
    """Three-valued: of a `decisive` connective one listed part is enough, of the other one part that is not."""
    if isinstance(expression, str):
        if expression == _NOBODY_KNOWS:
            return None
        # `or-later` is denied where each version that it lets one choose is. That one of them is allowed is not asked: an
        # allow list names what it means.
        later = later_versions(expression) if decisive == "and" else frozenset()
        return expression in listed or (bool(later) and later <= listed)
    enough = expression[0] == decisive
    parts = [_over(part, listed, decisive=decisive) for part in expression[1]]
    if enough in parts:
        return enough
    return None if None in parts else not enough


def _tree(node: Any) -> Expression:
    if isinstance(node, spdx.LicenseWithExceptionSymbol):
        licence, exception = _named(node.license_symbol), str(node.exception_symbol.key).lower()
        is_known = exception in _known(exceptions=True) and licence != _NOBODY_KNOWS and " " not in licence
        return f"{licence} with {exception}" if is_known else _NOBODY_KNOWS
    if isinstance(node, spdx.LicenseSymbol):
        return _named(node)
    word = "and" if isinstance(node, spdx.AND) else "or"
    return word, tuple(_tree(part) for part in node.args)


def _named(symbol: Any) -> str:
    """The licence of an id, in its normal form; what nobody knows where SPDX has none of that name."""
    key = str(symbol.key).lower()
    if key in _REPLACED:
        return _REPLACED[key]
    base = key if key.endswith(("-only+", "-or-later+")) else key.removesuffix("+")
    return key if base in _known() or key == _NO_LICENCE or _OWN.fullmatch(key) else _NOBODY_KNOWS
