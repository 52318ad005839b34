"""Which items made a rule match: the witnesses of its quantifiers.

A `some` that is asserted is witnessed by the items for which `where` is true; an `every` that is denied (`not: {every:
...}`) by those for which it is false. Quantifiers the other way round have no witness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from governance.model.facts import FactSpec
from governance.policy.condition import AllOf, AnyOf, Condition, Not, Quantified, Scope

FIRST_SEEN = "first_seen"


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A quantifier that has witnesses. They are the items for which `where` is `wanted`."""

    part: Quantified
    collection: FactSpec
    wanted: bool


def witnessed(condition: Condition, scope: Scope, *, asserted: bool = True) -> Iterator[Witnessed]:
    """The quantifiers of `condition` that have witnesses, not looking below a quantifier."""
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from witnessed(part, scope, asserted=asserted)
    elif isinstance(condition, Not):
        yield from witnessed(condition.part, scope, asserted=not asserted)
    elif isinstance(condition, Quantified) and asserted is (condition.quantifier == "some"):
        found = scope.find(condition.collection)
        if found is not None:
            yield Witnessed(condition, found[0], asserted)


def matched_fields(condition: Condition | None, scope: Scope) -> tuple[str, ...]:
    """The fields that a message may name as `{matched.field}`."""
    if condition is None:
        return ()
    names: dict[str, None] = {}
    for one in witnessed(condition, scope):
        names |= dict.fromkeys(scope.below(one.collection).fields or {})
    return tuple(names)


def fields_written(tree: object, scope: Scope) -> tuple[str, ...] | None:
    """The fields that a message may name where the condition could not be read: those of every collection in its tree, None where
    there is none that is known."""
    names: dict[str, None] = {}
    left = [tree]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            for head in ("some", "every"):
                if head in part:
                    found = scope.find(part[head]) if isinstance(part[head], str) else None
                    if found is None:
                        return None
                    names |= dict.fromkeys(scope.below(found[0]).fields or {})
            left += part.values()
        elif isinstance(part, list):
            left += part
    return tuple(names) or None


def bears_grace(condition: Condition | None, scope: Scope) -> bool:
    """Whether a grace period has a day to be counted from: the rule asserts a `some` over items with `first_seen`."""
    if condition is None:
        return False
    return any(
        one.wanted and FIRST_SEEN in (scope.below(one.collection).fields or {})
        for one in witnessed(condition, scope)
    )
