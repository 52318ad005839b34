"""Three-valued logic as closures: connectives, quantifiers, and the commonest comparisons in one closure each.

True, False, or None for unknown (Kleene's strong logic). No closure depends on the order of parts or items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from governance.model.facts import Collection, FactSpec, FactType, Unknown
from governance.policy.comparing import ValueTest
from governance.policy.condition import MEMBER, Compare, Record, Test
from governance.policy.literals import SEVERITIES
from governance.policy.operators import ORDERS

NO_VALUE = Unknown("no collector supplies it")
"""Stands for a fact or field that nobody supplied."""


def all_of(tests: Sequence[Test]) -> Test:
    """True where every part is; false where one is."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        return _both(*tests)

    def test(record: Record, facts: Record) -> bool | None:
        result: bool | None = True
        for part in tests:
            found = part(record, facts)
            if found is False:
                return False
            if found is None:
                result = None
        return result

    return test


def any_of(tests: Sequence[Test]) -> Test:
    """True where a part is; false where every part is."""
    if len(tests) == 1:
        return tests[0]

    def test(record: Record, facts: Record) -> bool | None:
        result: bool | None = False
        for part in tests:
            found = part(record, facts)
            if found is True:
                return True
            if found is None:
                result = None
        return result

    return test


def negated(part: Test) -> Test:
    """True where the part is false; unknown stays unknown."""

    def test(record: Record, facts: Record) -> bool | None:
        found = part(record, facts)
        return None if found is None else not found

    return test


def some_of(name: str, where: Test, *, texts: bool) -> Test:
    """True with one known match, else unknown where anything is not known."""

    def test(record: Record, facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        if value.__class__ is Collection and not texts:
            items, result = value.items, None if value.missing is not None else False
        else:
            found = members(value, texts=texts)
            if found is None:
                return None
            items, result = found[0], False if found[1] else None
        for item in items:
            one = where(item, facts)
            if one is True:
                return True
            if one is None:
                result = None
        return result

    return test


def some_text_of(name: str, fits: ValueTest) -> Test:
    """`some_of` over a set of texts, each compared alone."""

    def test(record: Record, _facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        result: bool | None = False
        if value.__class__ is not tuple:
            if value.__class__ is not Unknown or value.at_least.__class__ is not tuple:
                return False if value is None else None
            value, result = value.at_least, None
        for text in value:
            one = fits(text) if text.__class__ is str else None
            if one is True:
                return True
            if one is None:
                result = None
        return result

    return test


def every_of(name: str, where: Test, *, texts: bool) -> Test:
    """Unknown over nothing and over what is incomplete: that no licence is bad does not make the licences good."""

    def test(record: Record, facts: Record) -> bool | None:
        found = members(record.get(name, NO_VALUE), texts=texts)
        if found is None or not found[1] or not found[0]:
            return None
        result: bool | None = True
        for item in found[0]:
            one = where(item, facts)
            if one is False:
                return False
            if one is None:
                result = None
        return result

    return test


def members(value: Any, *, texts: bool) -> tuple[tuple[Record, ...], bool] | None:
    """The items of a collection, or of a set of texts, and whether they are all. One that is absent is empty; any other
    value, and a set where a collection should be, is unknown, which is None here.
    """
    if value is None:
        return (), True
    known = value.at_least if texts and isinstance(value, Unknown) else value
    if texts and isinstance(known, tuple):
        items = tuple({MEMBER: member} for member in known if isinstance(member, str))
        return items, known is value and len(items) == len(known)
    return (value.items, value.missing is None) if isinstance(value, Collection) and not texts else None


def fused(condition: Compare, spec: FactSpec, built: ValueTest) -> Test:
    """The comparison `built` on the fact it names. Values of the usual class are settled at once, others by `built`,
    which gives the same answer on both.
    """
    name, operand = condition.fact, condition.operand
    if spec.type is FactType.SEVERITY and condition.operator != "exists":
        return _severity(name, built)
    if condition.operator in {"is", "in"} and spec.type is FactType.STRING:
        return _text_member(
            name, frozenset(operand if isinstance(operand, tuple) else (operand,)), spec, built
        )
    if condition.operator == "is" and spec.type is FactType.BOOLEAN:
        return _boolean(name, operand is True, built)
    if condition.operator in ORDERS and spec.type in {FactType.INTEGER, FactType.DURATION, FactType.SCORE}:
        kind: type = float if spec.type is FactType.SCORE else int
        return _number_order(name, ORDERS[condition.operator], operand, kind, built)
    return lambda record, _facts: built(record.get(name, NO_VALUE))


def _both(first: Test, second: Test) -> Test:
    def test(record: Record, facts: Record) -> bool | None:
        one = first(record, facts)
        if one is False:
            return False
        other = second(record, facts)
        return other if one is True or other is False else None

    return test


def _text_member(name: str, wanted: frozenset[Any], spec: FactSpec, built: ValueTest) -> Test:
    sure = frozenset(spec.values)

    def open_test(record: Record, _facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        return value in wanted if value.__class__ is str else built(value)

    def closed_test(record: Record, _facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        return value in wanted if value.__class__ is str and value in sure else built(value)

    return closed_test if sure else open_test


def _severity(name: str, built: ValueTest) -> Test:
    answers = {word: built(word) for word in SEVERITIES}

    def test(record: Record, _facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        return answers.get(value) if value.__class__ is str else built(value)

    return test


def _boolean(name: str, wanted: bool, built: ValueTest) -> Test:
    def test(record: Record, _facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        return value is wanted if value.__class__ is bool else built(value)

    return test


def _number_order(
    name: str, compare: Callable[[Any, Any], bool], wanted: Any, kind: type, built: ValueTest
) -> Test:
    def test(record: Record, _facts: Record) -> bool | None:
        value = record.get(name, NO_VALUE)
        if value.__class__ is kind and value == value:  # noqa: PLR0124 - not NaN, which has no order
            return compare(value, wanted)
        return built(value)

    return test
