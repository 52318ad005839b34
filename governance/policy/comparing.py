"""Equality and order of facts, by type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from governance.model.facts import FactSpec, FactType, Unknown
from governance.policy.licences import is_satisfied, parse_expression
from governance.policy.literals import SEVERITIES, severity_rank, time_key
from governance.policy.names import Purl, loose_name, normal_name, parse_purl
from governance.policy.versions import compare_versions, schemes_for

ValueTest: TypeAlias = "Callable[[Any], bool | None]"


@dataclass(frozen=True, slots=True)
class Spelled:
    """A test that must also be told the ecosystem whose rules spell the value: names and versions."""

    test: Callable[[Any, str | None], bool | None]


Built: TypeAlias = "ValueTest | Spelled"


def membership(spec: FactSpec, operand: tuple[Any, ...]) -> Built:
    """A test for `is` and `in`."""
    build = _MEMBERSHIP.get(spec.type)
    return build(operand) if build else _plain_member(spec, frozenset(operand))


def ordering(spec: FactSpec, compare: Callable[[Any, Any], bool], operand: Any) -> Built:
    """A test for `lt`, `lte`, `gt`, `gte`."""
    if spec.type is FactType.VERSION:
        return _version_order(compare, operand)
    exact = (
        _severity_order(compare, operand)
        if spec.type is FactType.SEVERITY
        else _order(spec, compare, operand)
    )
    settled = compare(1, 0)  # a lower bound makes `gt` and `gte` true, `lt` and `lte` false, and nothing else

    def test(value: Any) -> bool | None:
        if value.__class__ is Unknown:
            return settled if value.at_least is not None and exact(value.at_least) is settled else None
        return exact(value)

    return test


def _order(spec: FactSpec, compare: Callable[[Any, Any], bool], operand: Any) -> ValueTest:
    key = order_key(spec)
    wanted = key(operand)

    def test(value: Any) -> bool | None:
        found = key(value)
        return None if found is None else compare(found, wanted)

    return test


def order_key(spec: FactSpec) -> Callable[[Any], Any]:
    """The comparable form of a value of an ordered type other than versions and severities; None where it
    has none."""
    if spec.type is FactType.TIME:
        return lambda value: time_key(value) if isinstance(value, str) else None
    return _integer_key if spec.type in {FactType.INTEGER, FactType.DURATION} else _number_key


def text_test(spec: FactSpec, fits: Callable[[str], bool]) -> ValueTest:
    """A test of a pattern against a text."""
    allowed = frozenset(spec.values)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        return None if allowed and value not in allowed else fits(value)

    return test


def _integer_key(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number_key(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        return None
    return value


def _plain_member(spec: FactSpec, wanted: frozenset[Any]) -> ValueTest:
    """Texts, numbers, durations and booleans. Of a closed enumeration, other values are unknown, not different."""
    if spec.type is FactType.BOOLEAN:
        return lambda value: (
            value in wanted if value is True or value is False else False if value is None else None
        )
    if spec.type in {FactType.INTEGER, FactType.DURATION, FactType.SCORE}:
        key = _number_key if spec.type is FactType.SCORE else _integer_key
        return lambda value: (
            False if value is None else None if (found := key(value)) is None else found in wanted
        )
    allowed = frozenset(spec.values)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        if value in wanted:
            return True
        return None if allowed and value not in allowed else False

    return test


def _severity_member(operand: tuple[Any, ...]) -> ValueTest:
    wanted = frozenset(operand)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        if value in wanted:
            return True
        # `unknown` may turn out to be any of them.
        return False if value in SEVERITIES and value != "unknown" else None

    return test


def _severity_order(compare: Callable[[Any, Any], bool], operand: str) -> ValueTest:
    wanted = severity_rank(operand)
    answers = {word: compare(severity_rank(word), wanted) for word in SEVERITIES if word != "unknown"}
    return lambda value: answers.get(value) if isinstance(value, str) else None


def _name_member(operand: tuple[Any, ...]) -> Spelled:
    exact = frozenset(operand)
    loose = frozenset(loose_name(name) for name in operand)
    normal: dict[str, frozenset[str]] = {}

    def test(value: Any, ecosystem: str | None) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        if value in exact:
            return True
        if loose_name(value) not in loose:
            return False
        if ecosystem is None:
            return None
        if ecosystem not in normal:
            normal[ecosystem] = frozenset(normal_name(ecosystem, name) for name in operand)
        return normal_name(ecosystem, value) in normal[ecosystem]

    return Spelled(test)


def _version_member(operand: tuple[Any, ...]) -> Spelled:
    def test(value: Any, ecosystem: str | None) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        if value in operand:
            return True
        answers = [compare_versions(ecosystem, value, wanted) for wanted in operand]
        return True if 0 in answers else None if None in answers else False

    return Spelled(test)


def _version_order(compare: Callable[[Any, Any], bool], operand: str) -> Spelled:
    def test(value: Any, ecosystem: str | None) -> bool | None:
        if not isinstance(value, str):
            return None
        answer = compare_versions(ecosystem, value, operand)
        return None if answer is None else compare(answer, 0)

    return Spelled(test)


def _licence_member(operand: tuple[Any, ...]) -> ValueTest:
    allowed = frozenset(operand)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        expression = parse_expression(value)
        return None if expression is None else is_satisfied(expression, allowed)

    return test


def _time_member(operand: tuple[Any, ...]) -> ValueTest:
    wanted = frozenset(time_key(one) for one in operand)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        found = time_key(value)
        return None if found is None else found in wanted

    return test


def _purl_member(operand: tuple[Any, ...]) -> ValueTest:
    """A package URL without a version stands for every version of the package; a package that is not pinned may be
    any of its versions."""
    wanted: dict[str, set[str]] = {}
    for one in operand:
        if purl := parse_purl(one):
            wanted.setdefault(purl.package, set()).add(purl.version)

    def test(value: Any) -> bool | None:
        if not isinstance(value, str):
            return False if value is None else None
        purl = parse_purl(value)
        if purl is None:
            return None
        versions = wanted.get(purl.package)
        if versions is None:
            return False
        if "" in versions or purl.version in versions:
            return True
        answers = [same_version(purl, version) for version in versions]
        return True if True in answers else None if None in answers else False

    return test


def same_version(purl: Purl, version: str) -> bool | None:
    """Whether a package has this version, in whatever spelling; unknown where it is not pinned, or the version is none of
    its ecosystem. Where versions have no order, they are texts."""
    if not purl.version:
        return None
    if purl.version == version:
        return True
    if not schemes_for(purl.type):
        return False
    order = compare_versions(purl.type, purl.version, version)
    return None if order is None else order == 0


_MEMBERSHIP: dict[FactType, Callable[[tuple[Any, ...]], Built]] = {
    FactType.SEVERITY: _severity_member,
    FactType.NAME: _name_member,
    FactType.VERSION: _version_member,
    FactType.LICENCE: _licence_member,
    FactType.PURL: _purl_member,
    FactType.TIME: _time_member,
}
