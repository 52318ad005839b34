"""From a condition to a closure of three values: True, False, or None for unknown.

A closure gets the record in scope (all facts, or one item of a collection) and all facts. It opens nothing, raises
nothing and does not depend on the order of parts or items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from governance.model.facts import ECOSYSTEMS, Collection, FactSpec, Unknown
from governance.policy.comparing import Spelled
from governance.policy.condition import (
    MEMBER,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    ListName,
    Not,
    Quantified,
    Record,
    Scope,
    Test,
)
from governance.policy.names import parse_purl
from governance.policy.operators import OPERATORS

Ecosystem: TypeAlias = "Callable[[Record], str | None]"

NO_VALUE = Unknown("no collector supplies it")
_ECOSYSTEMS = frozenset(ECOSYSTEMS)


def compile_condition(condition: Condition, scope: Scope) -> Test:
    """The closure of `condition`, whose lists are resolved and whose names and operands were checked when read."""
    if isinstance(condition, AllOf):
        return _all([compile_condition(part, scope) for part in condition.parts])
    if isinstance(condition, AnyOf):
        return _any([compile_condition(part, scope) for part in condition.parts])
    if isinstance(condition, Not):
        return _not(compile_condition(condition.part, scope))
    if isinstance(condition, Quantified):
        spec, in_item = _found(scope, condition.collection)
        where = compile_condition(condition.where, scope.below(spec))
        make = _some if condition.quantifier == "some" else _every
        return _in_scope(make(condition.collection, where), scope, in_item=in_item)
    spec, in_item = _found(scope, condition.fact)
    return _in_scope(_compare(condition, spec, scope, in_item=in_item), scope, in_item=in_item)


def value_of(facts: Record, name: str) -> Any:
    """The value of a fact, as `Facts.get` gives it, from the bare mapping."""
    value = facts.get(name, NO_VALUE)
    if value is NO_VALUE and name.startswith("property."):
        whole = facts.get("property.*", NO_VALUE)
        return whole if isinstance(whole, Unknown) else None
    return value


def items_of(facts: Record, name: str) -> tuple[Record, ...] | None:
    """The known items of a collection or set of texts; None where it is unknown or no collection."""
    found = _members(value_of(facts, name))
    return None if found is None else found[0]


def _found(scope: Scope, name: str) -> tuple[FactSpec, bool]:
    found = scope.find(name)
    if found is None:
        raise LookupError(f"fact `{name}` passed the loader and is not in the catalogue")
    return found


def _in_scope(test: Test, scope: Scope, *, in_item: bool) -> Test:
    """A fact named below a quantifier that is no field of the item is looked up among all facts."""
    if in_item or scope.fields is None:
        return test
    return lambda _record, facts: test(facts, facts)


def _compare(condition: Compare, spec: FactSpec, scope: Scope, *, in_item: bool) -> Test:
    operand = condition.operand
    if isinstance(operand, ListName):
        message = f"list `{operand.name}` passed the loader and was not resolved"
        raise LookupError(message)  # noqa: TRY004 - a name that is not there, not a caller's type
    built = OPERATORS[condition.operator].build(spec, operand)
    name = condition.fact
    if isinstance(built, Spelled):
        return _spelled(name, built, _ecosystem(spec, in_item=in_item and scope.fields is not None))
    test = built
    if name.startswith("property.") and not in_item:
        return lambda record, _facts: test(value_of(record, name))
    return lambda record, _facts: test(record.get(name, NO_VALUE))


def _spelled(name: str, built: Spelled, ecosystem: Ecosystem) -> Test:
    test = built.test
    return lambda record, _facts: test(record.get(name, NO_VALUE), ecosystem(record))


def _ecosystem(spec: FactSpec, *, in_item: bool) -> Ecosystem:
    """Whose rules spell the fact: fixed by the catalogue, or said by the artifact, or by the item itself."""
    fixed = spec.ecosystem
    if fixed is not None:
        return lambda _record: fixed
    if in_item:
        return item_ecosystem
    return lambda record: _known_ecosystem(record.get("artifact.ecosystem"))


def item_ecosystem(item: Record) -> str | None:
    """The ecosystem of an item: its field, else the type of its package URL."""
    said = item.get("ecosystem")
    if said is not None:
        return _known_ecosystem(said)
    purl = item.get("purl")
    parsed = parse_purl(purl) if isinstance(purl, str) else None
    return _known_ecosystem(parsed.type) if parsed else None


def _known_ecosystem(said: object) -> str | None:
    return said if isinstance(said, str) and said in _ECOSYSTEMS else None


def _all(tests: list[Test]) -> Test:
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


def _any(tests: list[Test]) -> Test:
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


def _not(part: Test) -> Test:
    def test(record: Record, facts: Record) -> bool | None:
        found = part(record, facts)
        return None if found is None else not found

    return test


def _some(name: str, where: Test) -> Test:
    """True with one known match, else unknown where anything is not known."""

    def test(record: Record, facts: Record) -> bool | None:
        found = _members(record.get(name, NO_VALUE))
        if found is None:
            return None
        items, complete = found
        result: bool | None = False if complete else None
        for item in items:
            one = where(item, facts)
            if one is True:
                return True
            if one is None:
                result = None
        return result

    return test


def _every(name: str, where: Test) -> Test:
    """Unknown over nothing and over what is incomplete: that no licence is bad does not make the licences good."""

    def test(record: Record, facts: Record) -> bool | None:
        found = _members(record.get(name, NO_VALUE))
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


def _members(value: Any) -> tuple[tuple[Record, ...], bool] | None:
    """The items, and whether they are all. An absent collection is an empty one; any other value is unknown."""
    if isinstance(value, Collection):
        items = value.items
        for item in items:
            if item.__class__ is not dict and not isinstance(item, Mapping):
                return tuple(one for one in items if isinstance(one, Mapping)), False
        return items, value.missing is None
    if isinstance(value, tuple):
        texts = tuple({MEMBER: member} for member in value if isinstance(member, str))
        return texts, len(texts) == len(value)
    return ((), True) if value is None else None
