"""From a condition to a closure of three values: True, False, or None for unknown.

A closure gets the record in scope (all facts, or one item of a collection) and all facts. It opens nothing, raises
nothing and does not depend on the order of parts or items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from governance.model.facts import ECOSYSTEMS, FactSpec, FactType, Unknown
from governance.policy.comparing import Spelled, ValueTest
from governance.policy.condition import (
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
    root_facts,
)
from governance.policy.logic import NO_VALUE, all_of, any_of, every_of, fused, negated, some_of, some_text_of
from governance.policy.names import parse_purl
from governance.policy.operators import OPERATORS

Ecosystem: TypeAlias = "Callable[[Record], str | None]"
Grounds: TypeAlias = "Callable[[Record], frozenset[str]]"
"""Given all facts, the names of those that something rests on."""

_ECOSYSTEMS = frozenset(ECOSYSTEMS)


def compile_condition(condition: Condition, scope: Scope) -> Test:
    """The closure of `condition`, whose lists are resolved and whose names and operands were checked when read."""
    if isinstance(condition, AllOf | AnyOf):
        parts = [compile_condition(part, scope) for part in sorted(condition.parts, key=cost_of)]
        return all_of(parts) if isinstance(condition, AllOf) else any_of(parts)
    if isinstance(condition, Not):
        return negated(compile_condition(condition.part, scope))
    if isinstance(condition, Quantified):
        spec, in_item = _found(scope, condition.collection)
        texts = _text_test(condition, spec)
        if texts is not None:
            return _in_scope(some_text_of(condition.collection, texts), scope, in_item=in_item)
        where = compile_condition(condition.where, scope.below(spec))
        make = some_of if condition.quantifier == "some" else every_of
        test = make(condition.collection, where, texts=spec.type is FactType.STRINGS)
        return _in_scope(test, scope, in_item=in_item)
    spec, in_item = _found(scope, condition.fact)
    return _in_scope(_compare(condition, spec, scope, in_item=in_item), scope, in_item=in_item)


def grounds_of(condition: Condition, scope: Scope) -> Grounds:
    """Which facts made `condition` come out as it did: of an `any`, those of the parts that are true, and where none is, of
    those that are unknown. A part that is false is no ground, whatever is known about it."""
    if isinstance(condition, AllOf | AnyOf):
        below = [grounds_of(part, scope) for part in condition.parts]
        if isinstance(condition, AllOf):
            return lambda facts: frozenset().union(*(part(facts) for part in below))
        tests = [compile_condition(part, scope) for part in condition.parts]

        def of_any(facts: Record) -> frozenset[str]:
            truths = [test(facts, facts) for test in tests]
            sought = True if True in truths else None
            held = (part for part, truth in zip(below, truths, strict=True) if truth is sought)
            return frozenset().union(*(part(facts) for part in held))

        return of_any
    names = root_facts(condition, scope)
    return lambda _facts: names


def _text_test(condition: Quantified, spec: FactSpec) -> ValueTest | None:
    """The test of each text, for `some` over a set of texts with one comparison."""
    where = condition.where
    if spec.type is not FactType.STRINGS or condition.quantifier != "some" or not isinstance(where, Compare):
        return None
    found = Scope().below(spec).find(where.fact)
    if found is None or not found[1] or isinstance(where.operand, ListName):
        return None
    built = OPERATORS[where.operator].build(found[0], where.operand)
    return None if isinstance(built, Spelled) else built


def value_of(facts: Record, name: str) -> Any:
    """The value of a fact, as `Facts.get` gives it, from the bare mapping."""
    value = facts.get(name, NO_VALUE)
    if value is NO_VALUE and name.startswith("property."):
        whole = facts.get("property.*", NO_VALUE)
        return whole if isinstance(whole, Unknown) else None
    return value


def cost_of(condition: Condition) -> int:
    """Roughly how long a part takes, so that the quick ones can settle the whole. Their order changes no answer."""
    if isinstance(condition, Compare):
        return 1 if condition.operator in _QUICK else 2
    if isinstance(condition, Not):
        return cost_of(condition.part)
    if isinstance(condition, Quantified):
        return 8 + cost_of(condition.where)
    return sum(cost_of(part) for part in condition.parts)


_QUICK = frozenset({"is", "in", "exists", "lt", "lte", "gt", "gte"})


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
    if name.startswith("property.") and not in_item:
        return lambda record, _facts: built(value_of(record, name))
    return fused(condition, spec, built)


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
