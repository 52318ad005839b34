"""The operators, one row each: the types they compare, how the operand is read, and the test it becomes.

The tests are total: a value of the wrong type is unknown (None), never an exception and never false. A fact that is
known to be absent equals nothing and fits no pattern, which is false; it has no order either, so `lt` and its kin are
unknown about it.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from governance.model.facts import Collection, FactSpec, FactType, Unknown
from governance.policy import comparing
from governance.policy.comparing import Built, Spelled, ValueTest
from governance.policy.condition import Operand
from governance.policy.licences import parse_expression, requires_any
from governance.policy.literals import LiteralError, parse_literal
from governance.policy.names import folds_names, loose_name, name_spellings, normal_name, parse_purl
from governance.policy.patterns import PatternError, TextTest, check_regex, compile_glob, compile_regex
from governance.policy.versions import RangeError, in_range, parse_range

ReadOperand: TypeAlias = "Callable[[FactSpec, object], Operand]"
BuildTest: TypeAlias = "Callable[[FactSpec, Any], Built]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row. `read` raises `LiteralError`; `build` gets an operand whose lists are resolved to tuples. `group` is
    the key under which the operator is written (`matches`), `many` says that the operand is a list.
    """

    name: str
    types: frozenset[FactType]
    read: ReadOperand
    build: BuildTest
    meaning: str
    group: str | None = None
    many: bool = False


ORDERS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        "lt": python.lt,
        "lte": python.le,
        "gt": python.gt,
        "gte": python.ge,
    }
)
"""The comparison behind each operator of order."""

_T = FactType
_TEXTS = frozenset({_T.STRING, _T.NAME})
_NUMBERS = frozenset({_T.INTEGER, _T.SCORE, _T.DURATION})
_ORDERED = _NUMBERS | {_T.SEVERITY, _T.VERSION, _T.TIME}
_SCALARS = _ORDERED | _TEXTS | {_T.BOOLEAN, _T.LICENCE, _T.PURL}


def _one(spec: FactSpec, value: object) -> Operand:
    return parse_literal(spec, value)


def _many(spec: FactSpec, value: object) -> Operand:
    """A list in normal form: sorted, each value once."""
    if not isinstance(value, list | tuple) or not value:
        raise LiteralError("a list with at least one value, or `{list: name}`")
    return tuple(sorted({parse_literal(spec, member) for member in value}, key=str))


def _boolean(_spec: FactSpec, value: object) -> Operand:
    if not isinstance(value, bool):
        raise LiteralError("`true` or `false`")
    return value


def _text(check: Callable[[str], object], build: BuildTest | None = None) -> ReadOperand:
    """Reads a text that `check` accepts, and of which `build` can make a test: in other spellings it may be longer."""

    def read(spec: FactSpec, value: object) -> Operand:
        if not isinstance(value, str):
            raise LiteralError("a text in quotes")
        try:
            check(value)
            if build is not None:
                build(spec, value)
        except (PatternError, RangeError) as error:
            raise LiteralError(str(error)) from error
        return value

    return read


def _purl_pattern(text: str) -> None:
    if parse_purl(text) is None:
        raise PatternError("a package URL, with `*` for any text: `pkg:pypi/evil-*`")


def _is(spec: FactSpec, operand: Any) -> Built:
    return comparing.membership(spec, (operand,))


def _order(compare: Callable[[Any, Any], bool]) -> BuildTest:
    return lambda spec, operand: comparing.ordering(spec, compare, operand)


def _exists(spec: FactSpec, operand: Any) -> ValueTest:
    """A value of another sort than the catalogue promises is unknown, even as to whether there is one."""
    if spec.type is FactType.COLLECTION:
        there = _collection_there
    elif spec.type is FactType.STRINGS:
        there = _texts_there
    else:
        there = _scalar_there

    def test(value: Any) -> bool | None:
        found = False if value is None else there(value)
        return None if found is None else found is operand

    return test


def _collection_there(value: Any) -> bool | None:
    if not isinstance(value, Collection):
        return None
    return True if value.items else False if value.is_complete else None


def _texts_there(value: Any) -> bool | None:
    if isinstance(value, Unknown):
        return True if isinstance(value.at_least, tuple) and value.at_least else None
    return bool(value) if isinstance(value, tuple) else None


def _scalar_there(value: Any) -> bool | None:
    return True if isinstance(value, str | int | float) else None


def _glob(spec: FactSpec, operand: Any) -> Built:
    """On names, glob and name are both written as the ecosystem writes them: `Evil_*` meets `evil-pkg` on PyPI."""
    fits = compile_glob(operand)
    if spec.type is not FactType.NAME:
        return comparing.text_test(spec, fits)
    loose = compile_glob(loose_name(operand))
    normal: dict[str, TextTest] = {}

    def test(value: Any, ecosystem: str | None) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        if ecosystem is None:
            return True if fits(value) else None if loose(loose_name(value)) else False
        if ecosystem not in normal:
            normal[ecosystem] = compile_glob(normal_name(ecosystem, operand))
        return normal[ecosystem](normal_name(ecosystem, value))

    return Spelled(test)


def _regex(spec: FactSpec, operand: Any) -> Built:
    """An expression cannot be normalised as a name can, so it is tried on the spellings that its ecosystem takes for the
    same, without regard to case: a deny list must not be passed by spelling.
    """
    fits = compile_regex(operand)
    if spec.type is not FactType.NAME:
        return comparing.text_test(spec, fits)
    loose = compile_regex(f"(?i:{operand})")

    def test(value: Any, ecosystem: str | None) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        if fits(value):
            return True
        if ecosystem is not None and not folds_names(ecosystem):
            return False
        # Where nobody says whose rules apply, PyPI's are the widest.
        if not any(loose(one) for one in name_spellings(ecosystem or "pypi", value)):
            return False
        return True if ecosystem is not None else None

    return Spelled(test)


def _purl_test(_spec: FactSpec, operand: Any) -> ValueTest:
    wanted = parse_purl(operand)
    if wanted is None:
        return lambda _value: None
    package = compile_glob(wanted.package)
    fits = compile_glob(wanted.version) if wanted.version else None
    version = fits if set("*?") & set(wanted.version) else None

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        purl = parse_purl(value)
        if purl is None:
            return None
        if not package(purl.package):
            return False
        if version is not None:
            return version(purl.version) if purl.version else None
        return comparing.same_version(purl, wanted.version) if wanted.version else True

    return test


def _versions_test(_spec: FactSpec, operand: Any) -> Built:
    wanted = parse_range(operand)

    def test(value: Any, ecosystem: str | None) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        return in_range(wanted, ecosystem, value)

    return Spelled(test)


def _requires_test(_spec: FactSpec, operand: Any) -> ValueTest:
    denied = frozenset(operand)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        expression = parse_expression(value)
        return None if expression is None else requires_any(expression, denied)

    return test


_ROWS = (
    Operator(name="is", types=_SCALARS, read=_one, build=_is,
             meaning="equals the value, after both are brought to normal form"),
    Operator(name="in", types=_SCALARS - {_T.BOOLEAN}, read=_many, build=comparing.membership, many=True,
             meaning="equals a value of the list; a licence expression is satisfied by the list alone"),
    Operator(name="lt", types=_ORDERED, read=_one, build=_order(ORDERS["lt"]), meaning="less than"),
    Operator(name="lte", types=_ORDERED, read=_one, build=_order(ORDERS["lte"]), meaning="less than or equal to"),
    Operator(name="gt", types=_ORDERED, read=_one, build=_order(ORDERS["gt"]), meaning="greater than"),
    Operator(name="gte", types=_ORDERED, read=_one, build=_order(ORDERS["gte"]), meaning="greater than or equal to"),
    Operator(name="exists", types=frozenset(_T), read=_boolean, build=_exists,
             meaning="`true`: there is a value (for a set or collection: at least one)"),
    Operator(name="glob", group="matches", types=_TEXTS | {_T.VERSION}, read=_text(compile_glob, _glob),
             build=_glob, meaning="fits a glob: `*` any text, `?` one character"),
    Operator(name="regex", group="matches", types=_TEXTS, read=_text(check_regex, _regex),
             build=_regex, meaning="the whole text fits an RE2 regular expression"),
    Operator(name="purl", group="matches", types=frozenset({_T.PURL}), read=_text(_purl_pattern, _purl_test),
             build=_purl_test, meaning="is a package of this URL, with globs in namespace, name and version"),
    Operator(name="versions", group="matches", types=frozenset({_T.VERSION}), read=_text(parse_range),
             build=_versions_test, meaning="lies in a PEP 440 or VERS range"),
    Operator(name="requires", group="matches", types=frozenset({_T.LICENCE}), read=_many, build=_requires_test,
             many=True, meaning="every choice the licence expression offers contains one of these licences"),
)  # fmt: skip

OPERATORS: Mapping[str, Operator] = MappingProxyType({row.name: row for row in _ROWS})


def operators_for(kind: FactType) -> list[str]:
    """The operators that compare facts of this type, as they are written."""
    return [f"{row.group}: {{{row.name}}}" if row.group else row.name for row in _ROWS if kind in row.types]
